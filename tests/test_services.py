"""The programs and commands of docs/services.md run as printed."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from gateway.routes.model import Hook
from gateway.webhooks.delivery import Delivery, Event, Outcome
from tests.conftest import OwnGateway
from tests.support.child import free_port
from tests.support.client import App
from tests.support.lacking import program
from tests.support.node import node
from tests.support.services import add_service
from tests.support.streams import answer_of, start
from tests.support.waiting import until

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/services.md").read_text()
EXAMPLES = ROOT / "docs/examples"
SECRET = "whsec_" + base64.b64encode(b"orders" * 5).decode()


def printed(language: str) -> list[str]:
    """Return the blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


MAKE_LOBBY, FROM_CURL, READ, CALL, MAKE_KITCHEN = printed("sh")
[IN_PYTHON], [IN_NODE], [REPLY] = printed("python"), printed("js"), printed("json")
WITH_A_WORKER, WITH_A_URL = printed("toml")


async def run(*command: str, **variables: str) -> str:
    """Run a program, which must succeed, and return what it prints."""
    environment = os.environ | variables
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()


async def curl(script: str, **variables: str) -> Any:
    program("curl")
    commands = [line for line in script.splitlines() if not line.startswith("export")]
    return json.loads(await run("bash", "-c", "\n".join(commands), **variables))


@contextmanager
def running(*command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example, and stop it at the end."""
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True, cwd=EXAMPLES)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


async def test_a_service_speaks_from_curl_python_and_node(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    variables = {"GATEWAY": gateway.url, "KEY": await add_service(gateway, "shop", "api:publish", "api:rooms")}
    assert (await curl(MAKE_LOBBY, **variables))["name"] == "lobby"
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await curl(FROM_CURL, **variables)
        await alice.expect("chat.message", sender="service:shop", text="Hello from curl")
        await run(sys.executable, "-c", IN_PYTHON, **variables)
        await alice.expect("chat.message", sender="service:shop", text="Hello from Python")
        await run(node(), "--input-type=module", "-e", IN_NODE, **variables)
        await alice.expect("chat.message", sender="service:shop", text="Hello from Node")
    read = await curl(READ, **variables)
    assert [each["text"] for each in read["messages"]] == ["Hello from Node", "Hello from Python", "Hello from curl"]


async def test_a_worker_answers_curl(own_gateway: OwnGateway, tmp_path: Path) -> None:
    gateway = own_gateway(routes=routes_file(tmp_path, WITH_A_WORKER))
    key = await add_service(gateway, "shop", "api:publish", "api:serve")
    variables = {"GATEWAY_URL": f"{gateway.ws_url}/ws/service", "GATEWAY_KEY": key}
    async with App(gateway) as app:
        await app.register("alice")
        with running(sys.executable, "worker.py", **variables):
            await until(lambda: gateway.state.workers.figures.connections)
            assert await curl(CALL, GATEWAY=gateway.url, TOKEN=await app.token("alice")) == json.loads(REPLY)


def in_python(port: int) -> list[str]:
    return [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "error"]


def in_node(_: int) -> list[str]:
    return [node(), "service.mjs"]


@pytest.mark.parametrize("command", [in_python, in_node], ids=["python", "node"])
async def test_a_service_with_a_url_answers_publishes_and_gets_events(
    own_gateway: OwnGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    port = free_port()
    monkeypatch.setenv("ORDERS_SECRET", SECRET)
    gateway = own_gateway(routes=routes_file(tmp_path, WITH_A_URL.replace("127.0.0.1:9000", f"127.0.0.1:{port}")))
    key = await add_service(gateway, "shop", "api:publish", "api:rooms")
    assert (await curl(MAKE_KITCHEN, GATEWAY=gateway.url, KEY=key))["name"] == "kitchen"
    with running(*command(port), PORT=str(port)) as service:
        await until(lambda: is_open(port))
        async with App(gateway) as app, app.in_room("alice", "kitchen") as alice:
            assert await alice.ask("orders.create", sku="tea") == {"order": 1}
            await alice.expect("chat.message", sender="service:shop", text="Order 1: tea, for alice")
            assert (await alice.refused("orders.create"))["name"] == "no_order"
            assert await next_line(service) == "message.stored Order 1: tea, for alice\n"
            hook = gateway.state.routes.current.hooks["kitchen"]
            assert (
                await tried(hook)
            ).result == "delivered"  # an event without a message, as `gateway hooks test` sends
            assert (await next_line(service)).startswith("hook.test ")
            assert await alice.ask("orders.create", sku="milk") == {"order": 2}
            assert (await app.http.post(f"http://127.0.0.1:{port}/orders", json={})).status_code == 401
            if command is in_python:
                await alice.expect("chat.message", text="Order 2: milk, for alice")
                chunks, reply = await answer_of(alice, await start(alice, 50, "orders.watch"))
                assert (chunks, reply["data"]) == (["picked", "packed", "sent"], {"done": True})


async def next_line(service: subprocess.Popen[str]) -> str:
    assert service.stdout is not None
    async with asyncio.timeout(20):
        return await asyncio.to_thread(service.stdout.readline)


async def tried(hook: Hook) -> Outcome:
    """Send a trial to a hook."""
    delivery = Delivery(hook, "gateway", SystemClock())
    try:
        return await delivery.send(Event("msg_1", "hook.test", hook.name, '{"hook":"kitchen"}', 1_796_000_000_000))
    finally:
        await delivery.close()


def routes_file(folder: Path, text: str) -> Path:
    tomllib.loads(text)
    path = folder / "routes.toml"
    path.write_text(text)
    return path


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
