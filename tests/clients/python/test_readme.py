"""The README of the Python client and the page about clients: their programs run as printed."""

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import gateway_client
from handlers import BUILT_IN, Registry
from tests.clients.python.test_streams import CountHandler
from tests.conftest import OwnGateway
from tests.gateway.cli.command import PASSWORD
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]
README = (ROOT / "clients/python/README.md").read_text()
[PAGE] = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/clients.md").read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def names_of(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(program, names)
    return names


async def test_each_program_runs_as_printed(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = own_gateway(registry=BUILT_IN | Registry(handlers={"count": CountHandler}))
    hello, login, rooms, stream, grow = (names_of(program) for program in PROGRAMS)
    async with App(server) as app, asyncio.timeout(20), app.in_room("bobby", "lobby") as ben:
        await app.register("alice", PASSWORD)
        hearing = asyncio.create_task(hello["main"](server.url, await app.token("alice")))
        await ben.until(type="chat.message")
        await until(lambda: "alice: Hello!" in capsys.readouterr().out)
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)

        async with login["connect_as"](server.url, "alice", PASSWORD) as gateway:
            assert gateway.user == "alice"
            following = asyncio.create_task(rooms["follow"](gateway))
            await until(lambda: gateway.room("lobby").state == "joined")
            await ben.ask("chat.send", room="lobby", text="Hi Alice")
            await until(lambda: "bobby: Hi Alice" in capsys.readouterr().out)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await stream["count"](gateway)
            assert capsys.readouterr().out == "{'n': 1}\n{'n': 2}\n{'most': 2, 'ends': True}\n"

            async def tokens() -> Any:
                for word in ("Once ", "upon ", "a time"):
                    yield word

            await grow["answer"](gateway, tokens())
            assert (await gateway.room("lobby").history(limit=1)).messages[0].text == "Once upon a time"


async def test_the_program_of_the_page_about_clients_runs_as_printed(own_gateway: OwnGateway) -> None:
    server = own_gateway()
    async with App(server) as app, asyncio.timeout(20):
        async with app.in_room("bobby", "lobby") as bobby:
            talking = asyncio.create_task(names_of(PAGE)["main"](server.url, await app.token("alice")))
            assert (await bobby.until(type="chat.message"))["data"]["text"] == "Hello"
            async with app.in_room("carol", "lobby"):
                assert (await bobby.until(type="chat.message"))["data"]["text"] == "Welcome, carol"
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


def test_the_readme_names_each_error_and_each_option() -> None:
    for name in inspect.signature(gateway_client.connect).parameters.keys() - {"clock"}:
        assert f"`{name}" in README, name
    for name in ("Refused", "Lost", "UnexpectedReply", "Overflowed", "NoToken", "Gap", "StateChanged"):
        assert f"`{name}`" in README, name
