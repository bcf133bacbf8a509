"""`POST /hook/{key}`: what a shell script, a build or a monitor says comes into the room of its URL."""

import asyncio
import shutil
from typing import Any

import pytest

from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.api.conftest import StartBackend
from tests.support.client import App
from tests.support.services import add_service


async def hook_of(gateway: Gateway, room: str, name: str = "ci") -> str:
    """Add an incoming webhook, and return its key."""
    return await add_service(gateway, f"{name}-{room}", "api:publish", rooms=[room], hook_of=room)


@pytest.mark.both_stores
@pytest.mark.parametrize(
    "content",
    [
        {"json": {"text": "Build 7 failed"}},
        {"json": {"text": "Build 7 failed", "username": "ci", "attachments": [{"color": "red"}]}},
        {"data": {"text": "Build 7 failed"}},
        {"files": {"text": (None, "Build 7 failed")}},
        {"content": "Build 7 failed", "headers": {"Content-Type": "text/plain; charset=utf-8"}},
        {"content": b"Build 7 failed\r\n"},
    ],
)
async def test_a_text_comes_in_each_form(app: App, alice: str, room: str, content: dict[str, Any]) -> None:
    key = await hook_of(app.gateway, room)
    async with app.in_room(alice, room) as client:
        response = await app.http.post(f"/hook/{key}", **content)
        assert response.status_code == 200, response.text
        heard = await client.expect("chat.message", sender=f"service:ci-{room}", text="Build 7 failed")
        assert response.json() == {"room": room, "duplicate": False} | {
            name: heard[name] for name in ("id", "epoch", "offset")
        }


async def test_a_shell_script_with_curl_speaks(app: App, alice: str, room: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("this needs curl")
    url = f"{app.gateway.url}/hook/{await hook_of(app.gateway, room)}"
    async with app.in_room(alice, room) as client:
        for arguments in (
            ["--json", '{"text": "Ä & ü"}'],
            ["--data-urlencode", "text=Ä & ü"],
            ["-d", "text=%C3%84+%26+ü"],
            ["-F", "text=Ä & ü"],
            ["-H", "Content-Type: text/plain", "--data-binary", "Ä & ü\n"],
        ):
            process = await asyncio.create_subprocess_exec(
                curl, "--silent", "--fail", url, *arguments, stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(20):
                await process.communicate()
            assert process.returncode == 0
            await client.expect("chat.message", text="Ä & ü")


async def test_the_lines_of_a_text_stay_a_text(app: App, alice: str, room: str) -> None:
    key = await hook_of(app.gateway, room)
    async with app.in_room(alice, room) as client:
        text = 'one\r\nX-Evil: 1\r\n\r\n{"type":"bye"}\u2028\u202e'
        response = await app.http.post(f"/hook/{key}", json={"text": text})
        assert "x-evil" not in response.headers
        await client.expect("chat.message", text=text)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"json": {}}, 422),
        ({"json": []}, 422),
        ({"json": {"text": 1}}, 422),
        ({"json": {"text": ""}}, 422),
        ({"json": {"text": "x" * 4001}}, 422),
        ({"json": {"text": "a\0"}}, 400),
        ({"content": b'{"text":"a","text":"b"}', "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"Build failed", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 422),
        ({"data": {"text": "a\0"}}, 422),
        ({"content": b""}, 422),
        ({"content": b"\n"}, 422),
        ({"content": b"a\0"}, 422),
        ({"content": b"\xff"}, 400),
        ({"content": b"x" * 70_000}, 413),
        ({"content": b"<a/>", "headers": {"Content-Type": "text/xml"}}, 415),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 422),
        ({"content": b"--x\r\n", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"json": {"text": "a"}, "headers": {"Idempotency-Key": "a b"}}, 422),
    ],
)
async def test_a_wrong_text_is_refused_and_says_nothing(
    app: App, alice: str, room: str, content: dict[str, Any], status: int
) -> None:
    key = await hook_of(app.gateway, room)
    async with app.in_room(alice, room) as client:
        response = await app.http.post(f"/hook/{key}", **content)
        assert response.status_code == status, response.text
        assert key not in response.text
        await client.expect_nothing()


async def test_a_wrong_key_is_a_path_with_nothing(app: App, backend: StartBackend, room: str) -> None:
    key = await hook_of(app.gateway, room)
    nothing = await app.http.post("/nothing", json={"text": "a"})
    async with backend(app.gateway) as orders:
        wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
        for each in (
            wrong,
            key[:20],
            key + "A",
            orders.key,
            "x",
            "%0d%0a",
            "gwk_" + "0" * 16 + "_" + "A" * 43,
            "x" * 500,
        ):
            response = await app.http.post(f"/hook/{each}", json={"text": "a"})
            assert (response.status_code, response.json()) == (404, nothing.json())
    # Nor is it the key of a service.
    response = await app.ask("POST", "/api/publish", key, json={"rooms": [room], "message": {"text": "a"}})
    assert response.status_code == 403


async def test_a_text_with_a_key_is_sent_once(app: App, alice: str, room: str) -> None:
    key = await hook_of(app.gateway, room)
    async with app.in_room(alice, room) as client:
        for duplicate in (False, True):
            headers = {"Idempotency-Key": "build-7"}
            response = await app.http.post(f"/hook/{key}", json={"text": "Build 7 failed"}, headers=headers)
            assert response.json()["duplicate"] is duplicate
        await client.expect("chat.message")
        await client.expect_nothing()


async def test_a_room_that_is_gone_is_not_found(app: App, room: str) -> None:
    key = await hook_of(app.gateway, room)
    response = await app.http.post(f"/hook/{key}", json={"text": "a"})
    assert (response.status_code, response.json()["message"]) == (404, f"there is no room `{room}`")


async def test_keys_that_are_guessed_count_for_their_address(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(request_rate=2, service_rate=5)
    gateway.clock.stop()
    async with App(gateway) as app:
        key = await hook_of(gateway, "lobby")
        seen = [(await app.http.post("/hook/gwk_x", json={"text": "a"})).status_code for _ in range(3)]
        assert seen == [404, 404, 429]
        assert (await app.http.post(f"/hook/{key}", json={"text": "a"})).status_code == 429
