"""The programs of the quickstart run as printed."""

import asyncio
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.chat.commands import line_of_input
from gateway.cli.chat.screen import AnyMessage
from handlers import BUILT_IN
from tests.conftest import OwnGateway
from tests.support.client import App

PAGE = (Path(__file__).parents[1] / "docs/quickstart.md").read_text()
[PROGRAM] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_a_newcomer_s_client_logs_in_joins_and_hears_its_own_message(app: App, tmp_path: Path) -> None:
    assert (await app.register("dora", "correct horse")).status_code == 201
    program = tmp_path / "hello.py"
    program.write_text(PROGRAM.replace("127.0.0.1:8000", f"{app.gateway.host}:{app.gateway.port}"))
    first = await run(program)
    assert [frame["type"] for frame in first] == ["welcome", "reply", "reply", "chat.message"]
    assert [frame.get("id") for frame in first] == [None, 1, 2, None]

    again = await run(program)
    assert [message["text"] for message in again[1]["data"]["messages"]] == ["Hello!"]


async def test_the_printed_handler_streams_the_printed_frames(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [handler] = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    [stream] = re.findall(r"^```jsonl\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    program = types.ModuleType("count")
    monkeypatch.setitem(sys.modules, "count", program)
    exec(handler.replace("0.3", "0"), vars(program))
    asked, *answer = map(json.loads, stream.splitlines())
    assert program.CountHandler.examples == ({"most": 20},)  # the page sends it, and there is time to cancel
    async with App(own_gateway(registry=BUILT_IN | program.registry)) as app, app.connect("dora") as dora:
        await dora.send(asked)
        assert [await dora.next() for _ in answer] == answer
    [typed] = re.findall(r"`(/call .*?)`", PAGE)
    assert line_of_input(1, typed).message == AnyMessage("count", {"most": 20})


async def run(program: Path) -> list[dict[str, Any]]:
    """Run a program; return the frames that it prints."""
    process = await asyncio.create_subprocess_exec(sys.executable, program, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return [json.loads(line) for line in output.decode().splitlines()]
