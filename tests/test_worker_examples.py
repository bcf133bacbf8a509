"""The workers of docs/examples serve a route, come back after a restart, and stop without a key."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gateway.testing import Gateway
from schemas.codes import Close
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.node import node
from tests.support.services import add_service
from tests.support.streams import answer_of, start
from tests.support.waiting import until
from tests.support.workers import ORDERS, call, use_routes

EXAMPLES = Path(__file__).parents[1] / "docs/examples"
MAX_LINES = 56
"""About fifty, without empty ones: the examples are to be read in one go."""

RunExample = Callable[..., subprocess.Popen[str]]


def in_python() -> list[str]:
    """What runs the worker in Python."""
    return [sys.executable, str(EXAMPLES / "worker.py")]


def in_node() -> list[str]:
    """What runs the worker in Node."""
    return [node(), str(EXAMPLES / "worker.mjs")]


@contextmanager
def running(command: list[str], gateway: Gateway, key: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker, and stop it at the end."""
    variables = os.environ | {"GATEWAY_URL": f"{gateway.ws_url}/ws/service", "GATEWAY_KEY": key}
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture(params=[in_python, in_node], ids=["python", "node"])
def run_example(request: pytest.FixtureRequest) -> Iterator[RunExample]:
    """Run the worker in one language."""
    with ExitStack() as stack:
        yield lambda gateway, key: stack.enter_context(running(request.param(), gateway, key))


def is_served(gateway: Gateway) -> bool:
    return gateway.state.workers.figures.connections == 1


async def test_an_example_serves_and_comes_back(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, run_example: RunExample
) -> None:
    async with routing(own_gateway, tmp_path, table("orders.*", None)) as app, app.connect(alice) as client:
        gateway = app.gateway
        run_example(gateway, await add_service(gateway, "orders", "api:serve"))
        await until(lambda: is_served(gateway))
        assert await client.ask("orders.create", sku="tea") == {"sku": "tea", "ordered_by": alice}
        assert (await client.refused("orders.create"))["name"] == "no_sku"
        assert (await client.refused("orders.unknown"))["status"] == 50200
        chunks, reply = await answer_of(client, await start(client, 50, "orders.watch", sku="tea"))
        assert (chunks, reply["data"]) == (["picked", "packed", "sent"], {"sku": "tea"})
        many = [call(gateway, type="orders.create", user=alice, data={"sku": f"{number}"}) for number in range(50)]
        answers = await asyncio.gather(*many)
        assert [answer["data"]["sku"] for answer in answers] == [f"{number}" for number in range(50)]
        (connection,) = (each for each in gateway.state.connections.all() if each.user == "service:orders")
        gateway.loop.call_soon_threadsafe(connection.close, Close.DRAINING, 10)
        await until(lambda: not is_served(gateway))
        await until(lambda: is_served(gateway))
        assert (await client.ask("orders.create", sku="tea"))["sku"] == "tea"


async def test_an_example_stops_without_a_good_key(own_gateway: OwnGateway, run_example: RunExample) -> None:
    gateway = own_gateway()
    use_routes(gateway, ORDERS)
    process = run_example(gateway, "gwk_nothing_nothing")
    _, complaint = await asyncio.to_thread(process.communicate, None, 20)
    assert process.returncode == 1
    assert "the gateway does not want this worker: authentication_failed" in complaint


@pytest.mark.parametrize("name", ["worker.py", "worker.mjs"])
def test_an_example_is_short(name: str) -> None:
    lines = [line for line in (EXAMPLES / name).read_text().splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES
