"""`gateway publish` says a text in a room, and a mistake is one line and a status."""

import asyncio
from pathlib import Path
from typing import Protocol

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import Result
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App
from tests.support.services import add_service


class Say(Protocol):
    """Run `gateway publish …`, while the test's own connections live."""

    async def __call__(self, folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Result: ...


@pytest.fixture
def said(run_here: RunHere) -> Say:
    async def run(folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Result:
        return await asyncio.to_thread(run_here, folder, "publish", *arguments, typed=typed, **variables)

    return run


@pytest.fixture
async def gateway_app(gateway: Gateway) -> App:
    return App(gateway)


async def test_a_text_or_standard_input_is_said_in_a_room(
    gateway: Gateway, gateway_app: App, said: Say, tmp_path: Path, alice: str, room: str
) -> None:
    key = await add_service(gateway, f"cron-{room}", "api:publish")
    (tmp_path / "key").write_text(key + "\n")
    async with gateway_app as app, app.in_room(alice, room) as client:
        result = await said(tmp_path, room, "Backup done", GATEWAY_PUBLISH_URL=gateway.url, GATEWAY_SERVICE_KEY=key)
        heard = await client.expect("chat.message", text="Backup done", sender=f"service:cron-{room}")
        assert (result.status, result.out, result.err) == (0, heard["id"] + "\n", "")
        options = ("--url", gateway.ws_url, "--key-file", str(tmp_path / "key"), "--idempotency-key", "night-7")
        for _ in range(2):
            result = await said(tmp_path, room, "-", *options, typed="Zwei\nZeilen: ä\n")
            assert result.status == 0, result
        await client.expect("chat.message", text="Zwei\nZeilen: ä")
        await client.expect_nothing()


async def test_what_the_gateway_refuses_is_one_line(
    gateway: Gateway, gateway_app: App, said: Say, tmp_path: Path, alice: str, room: str
) -> None:
    key = await add_service(gateway, f"cron-{room}", "api:publish", rooms=[room])
    async with gateway_app as app:
        token = await app.token(alice)
    for arguments, credential, problem in (
        ((room, "hello"), key, f"cannot publish: there is no room `{room}`"),
        (("attic", "hello"), key, f"cannot publish: this service may use the rooms {room}, and no other"),
        (("At tic", "hello"), key, "cannot publish: rooms.0: expected 1 to 64 of a-z 0-9 - _ . with a letter or digit"),
        ((room, ""), key, "cannot publish: message.text: String should have at least 1 character"),
        ((room, "x" * 4001), key, "cannot publish: message.text: String should have at most 4000 characters"),
        ((room, "hello"), key[:-1] + "!", "cannot publish: the key is not valid"),
        ((room, "hello"), token, "cannot publish: this is for services"),
        ((room, "hello", "--idempotency-key", "ä b"), key, "--idempotency-key: expected 1 to 64 visible ASCII"),
        ((room, "\udcff"), key, "TEXT: expected UTF-8"),
    ):
        variables = {"GATEWAY_PUBLISH_URL": gateway.url, "GATEWAY_SERVICE_KEY": credential}
        result = await said(tmp_path, *arguments, **variables)
        assert result.problem.startswith(problem), result
        assert credential not in result.err


@pytest.mark.server
@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        ((), {}, "expected the key of a service in GATEWAY_SERVICE_KEY or --key-file"),
        ((), {"GATEWAY_SERVICE_KEY": "gwk_a b"}, "expected the key of a service, gwk_…, in GATEWAY_SERVICE_KEY"),
        ((), {"GATEWAY_SERVICE_KEY": "gwk_ä"}, "expected the key of a service, gwk_…, in GATEWAY_SERVICE_KEY"),
        (("--key-file", "none"), {}, "cannot read the key file none (No such file or directory)"),
        (("--url", "ftp://x"), {"GATEWAY_SERVICE_KEY": "gwk_a"}, "URL: expected one such as"),
        (("--url", "http://127.0.0.1:9"), {"GATEWAY_SERVICE_KEY": "gwk_a"}, "cannot reach http://127.0.0.1:9 ("),
    ],
)
async def test_a_mistake_is_named_and_no_key_is_shown(
    arguments: tuple[str, ...], variables: dict[str, str], problem: str, said: Say, tmp_path: Path
) -> None:
    result = await said(tmp_path, "lobby", "hello", *arguments, **variables)
    assert result.problem.startswith(problem)
    assert "gwk_a" not in result.err


async def test_another_server_is_no_gateway(gateway: Gateway, said: Say, tmp_path: Path) -> None:
    result = await said(tmp_path, "lobby", "hi", "--url", f"{gateway.url}/elsewhere", GATEWAY_SERVICE_KEY="gwk_a")
    assert result.problem == "cannot publish: there is nothing at this path"
