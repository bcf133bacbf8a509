"""The JavaScript client in Node: against a server that misbehaves, and against a live gateway."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from gateway.testing import Gateway
from tests.support.client import PASSWORD, App
from tests.support.node import node

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PACKAGE = ROOT / "clients/javascript"
MISBEHAVING = ("connecting", "tokens", "calls", "rooms", "room-view", "waking", "memory")
WAIT_SECONDS = 90

PRELUDE = """
import { connect, Lost, Refused } from "%s";
const url = process.env.GATEWAY_URL;
const signal = AbortSignal.timeout(300);
globalThis.fetch = async () => ({ ok: true, json: async () => ({ access_token: process.env.GATEWAY_TOKEN }) });
"""
"""What the examples take for granted: the address, and a server of the application that returns a token."""

pytestmark = pytest.mark.server


def run_cases(*names: str, **environment: str) -> None:
    """Run these files of cases in one process of Node, and fail with what it prints."""
    printed = run_node("--test", "--test-isolation=none", *(f"{name}.test.mjs" for name in names), **environment)
    assert "fail 0\n" in printed


def run_node(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [node(), *arguments],
        cwd=HERE,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed.partition("failing tests")[2] or printed
    return printed


def examples(document: Path) -> list[str]:
    return re.findall(r"^```js\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def test_no_server_can_confuse_it() -> None:
    run_cases(*MISBEHAVING)


async def test_a_live_gateway_and_a_network_that_breaks(live: Gateway) -> None:
    async with App(live) as app:
        users = ("alice", "bobby", "carol", "dave")
        tokens = json.dumps({user: await app.token(user) for user in users})
        await asyncio.to_thread(
            run_cases, "live", GATEWAY_URL=live.url, GATEWAY_TOKENS=tokens, GATEWAY_PASSWORD=PASSWORD
        )


async def test_the_examples_of_its_readme_run_as_printed(live: Gateway, tmp_path: Path) -> None:
    program = program_of(tmp_path, *examples(PACKAGE / "README.md"), "await gateway.close();")
    async with App(live) as app:
        token = await app.token("erin")
        printed = await asyncio.to_thread(run_node, str(program), GATEWAY_URL=live.url, GATEWAY_TOKEN=token)
    assert printed.splitlines() == [
        "erin Hello",
        "40900 conflict undefined",
        *("Once ", "upon ", "a ", "time ", "foxes"),
    ]


async def test_ten_lines_talk(live: Gateway, tmp_path: Path) -> None:
    [lines] = [each for each in examples(ROOT / "docs/clients.md") if "Welcome, ${user}" in each]
    program = program_of(tmp_path, "const getToken = () => process.env.GATEWAY_TOKEN;", lines)
    async with App(live) as app, app.in_room("hank", "lobby") as hank:
        environment = os.environ | {"GATEWAY_URL": live.url, "GATEWAY_TOKEN": await app.token("fiona")}
        process = await asyncio.create_subprocess_exec(node(), str(program), env=environment)
        try:
            assert (await hank.until(type="chat.message"))["data"]["text"] == "Hello"
            async with app.in_room("gina", "lobby"):
                welcome = (await hank.until(type="chat.message"))["data"]
                assert (welcome["sender"], welcome["text"]) == ("fiona", "Welcome, gina")
        finally:
            process.kill()
            await process.wait()


def program_of(folder: Path, *parts: str) -> Path:
    """Write a program of examples, which imports the client from the sources."""
    code = "\n".join(parts).replace('import { connect } from "gateway-client";', "")
    path = folder / "program.mjs"
    path.write_text(PRELUDE % (PACKAGE / "gateway-client.js").as_uri() + code)
    return path


def test_every_file_of_cases_is_run() -> None:
    assert {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")} == {*MISBEHAVING, "live"}
