"""The README runs as printed."""

import asyncio
import importlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handlers.registry import HANDLERS
from tests.conftest import OwnGateway
from tests.support.client import WAIT_SECONDS, App
from tests.support.node import node

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


async def test_the_example_of_a_handler_works_as_printed(
    own_gateway: OwnGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [program] = blocks("python")
    (tmp_path / "dice.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    dice = importlib.import_module("dice")
    monkeypatch.delitem(sys.modules, "dice")

    gateway = own_gateway(registry={**HANDLERS, "dice.roll": dice.RollHandler})
    right, wrong = blocks("json")[-2].splitlines()
    async with App(gateway) as app, app.connect("alice") as client:
        await client.send(right)
        assert 1 <= (await client.expect("reply", id=1))["shows"] <= 20
        await client.send(wrong)
        assert await client.next() == json.loads(blocks("json")[-1])


async def test_the_frames_are_those_that_one_sees(app: App, alice: str, room: str) -> None:
    welcome, conversation, *_ = blocks("json")
    frames = [json.loads(line) for line in conversation.splitlines()]
    async with app.connect(alice) as client:
        assert client.welcome.keys() == json.loads(welcome)["data"].keys()
        for frame in frames:
            text = json.dumps(frame).replace('"lobby"', json.dumps(room))
            if "status" not in frame and "id" in frame:
                await client.send(text)
                continue
            seen = await client.next()
            assert shape(seen) == shape(frame)
            assert {name: seen.get(name) for name in ("type", "id", "status", "message")} == {
                name: frame.get(name) for name in ("type", "id", "status", "message")
            }


async def test_the_two_clients_talk_as_printed(
    app: App, unique: Callable[[str], str], tmp_path: Path, room: str
) -> None:
    [in_javascript], [in_python, *_] = blocks("js"), blocks("py")
    changes = {
        "./clients/javascript": str(ROOT / "clients/javascript"),
        "http://127.0.0.1:8000": app.gateway.url,
        '"lobby"': json.dumps(room),
    }
    for name, text in {"talk.mjs": in_javascript, "talk.py": in_python}.items():
        for printed, here in changes.items():
            text = text.replace(printed, here)
        (tmp_path / name).write_text(text)
    alice, bobby = unique("alice"), unique("bobby")
    async with (
        app.in_room(unique("carol"), room) as carol,
        talking(await app.token(alice), node(), tmp_path / "talk.mjs") as javascript,
    ):
        await carol.until(type="room.joined")
        async with talking(await app.token(bobby), sys.executable, "-u", tmp_path / "talk.py") as python:
            talk = [f"{bobby}: Good morning\n", f"{alice}: Hello, {bobby}!\n"]
            async with asyncio.timeout(WAIT_SECONDS):
                assert [(await javascript.readline()).decode() for _ in talk] == talk
                assert [(await python.readline()).decode() for _ in talk] == talk


@asynccontextmanager
async def talking(token: str, *command: str | Path) -> AsyncIterator[asyncio.StreamReader]:
    """Run a program with a token, and yield what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=os.environ | {"TOKEN": token}
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


def shape(value: object) -> object:
    """What a frame looks like, without the values that differ each time."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)
