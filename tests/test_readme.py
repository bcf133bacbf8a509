"""The README runs as printed."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from handlers.registry import HANDLERS
from tests.conftest import OwnGateway
from tests.support.client import App

README = (Path(__file__).parents[1] / "README.md").read_text()


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


def shape(value: object) -> object:
    """What a frame looks like, without the values that differ each time."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)
