"""SIGHUP: a running gateway reads its routes and keys again, and one in a terminal ends with the terminal."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx2
import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import WAIT_SECONDS, Served, Terminal, serving
from tests.gateway.cli.conftest import RunHere
from tests.gateway.cli.test_workers import workers_of
from tests.support.client import App
from tests.support.upstreams import SECRET, Upstream, answering, good, running_upstream
from tests.support.valkey import running_valkey

pytestmark = pytest.mark.server

ORDERS = '[routes."orders.*"]\nworker = true\n'
STOCK = '[routes."stock.*"]\nworker = true\n'
WRONG = '[routes."chat.*"]\nworker = true\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "routes.toml"
    path.write_text(ORDERS)
    return path


@dataclass(frozen=True)
class Routed:
    """A running gateway with a routes file. Each test writes the file anew."""

    served: Served
    path: Path


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    folder = tmp_path_factory.mktemp("routed")
    path = folder / "routes.toml"
    path.write_text(ORDERS)
    with serving(folder, GATEWAY_ROUTES=str(path)) as served:
        yield Routed(served, path)
        assert served.stop() == 0


def write(path: Path, text: str) -> None:
    path.write_text(text)


def hang_up(served: Served) -> None:
    os.kill(served.process.pid, signal.SIGHUP)


def metric(served: Served, name: str) -> float:
    lines = httpx2.get(f"{served.url}/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def public_keys(served: Served) -> list[str]:
    return [key["kid"] for key in httpx2.get(f"{served.url}/.well-known/jwks.json").json()["keys"]]


def test_the_files_are_read_again_at_once(routed: Routed, run_here: RunHere) -> None:
    served, refused = routed.served, 'gateway_routes_reloads_total{result="refused"}'
    before = metric(served, refused)
    routed.path.write_text(ORDERS + STOCK)
    hang_up(served)
    served.output.expect("SIGHUP: reading the routes and the keys again")
    served.output.expect("read the routes again: 2 routes")
    assert metric(served, "gateway_routes") == 2

    assert run_here(served.folder, "keys", "new").status == 0
    hang_up(served)
    served.output.expect("read the keys again: ")
    assert len(public_keys(served)) == 1

    routed.path.write_text(WRONG)
    hang_up(served)
    served.output.expect("the routes stay as they were: ")
    assert metric(served, "gateway_routes") == 2
    assert metric(served, refused) == before + 1


def test_without_routes_nothing_happens(served: Served) -> None:
    hang_up(served)
    served.output.expect("SIGHUP: reading the routes and the keys again")
    assert metric(served, "gateway_routes") == 0


async def test_messages_go_to_the_new_place_at_once(tmp_path: Path, path: Path) -> None:
    def orders_to(upstream: Upstream) -> str:
        return f'[routes."orders.*"]\nurl = "{upstream.url}"\nsecret = "{SECRET}"\n'

    async with running_upstream(answering({"data": {"at": 1}})) as first, running_upstream(good) as second:
        write(path, orders_to(first))
        with serving(tmp_path, GATEWAY_ROUTES=str(path)) as served:
            async with App(cast(Gateway, served)) as app, app.connect("alice") as client:
                assert await client.ask("orders.create") == {"at": 1}
                write(path, orders_to(second))
                hang_up(served)
                await asyncio.to_thread(served.output.expect, "read the routes again: 1 routes")
                assert (await client.ask("orders.create", sku="a"))["got"] == {"sku": "a"}
                write(path, WRONG)
                hang_up(served)
                await asyncio.to_thread(served.output.expect, "the routes stay as they were: ")
                assert (await client.ask("orders.create", sku="b"))["got"] == {"sku": "b"}
                write(path, "scopes = []\n")
                hang_up(served)
                await asyncio.to_thread(served.output.expect, "read the routes again: 0 routes")
                assert (await client.refused("orders.create"))["status"] == 40002
        assert (len(first.requests), len(second.requests)) == (1, 2)


def test_many_signals_cost_few_readings_and_miss_no_change(routed: Routed) -> None:
    served = routed.served
    last = '[routes."last.*"]\nworker = true\n'
    for number in range(50):
        routed.path.write_text(f'[routes."orders{number}.*"]\nworker = true\n' + (STOCK + last) * (number == 49))
        hang_up(served)
    served.output.expect("read the routes again: 3 routes")
    assert metric(served, "gateway_routes") == 3


def test_nohup_lets_it_outlive_its_terminal(tmp_path: Path, path: Path) -> None:
    # What `nohup` does, with this command in place of another.
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    with Terminal(tmp_path, "serve", "--port", "0", before=(sys.executable, "-c", ignoring)) as terminal:
        terminal.expect("gateway chat ws://")
        url = terminal.text.partition("gateway chat ws://")[2].split()[0]
        terminal.hang_up()
        assert httpx2.get(f"http://{url}/healthz").status_code == 200
        terminal.process.terminate()
        terminal.process.wait(WAIT_SECONDS)


def test_the_parent_of_workers_passes_it_on(tmp_path: Path, path: Path) -> None:
    with running_valkey() as valkey:
        bus = f"redis://127.0.0.1:{valkey.port}"
        with serving(tmp_path, "--workers", "2", GATEWAY_ROUTES=str(path), GATEWAY_BUS_URL=bus) as served:
            assert len(workers_of(served)) == 2
            path.write_text(ORDERS + STOCK)
            hang_up(served)
            deadline = time.monotonic() + WAIT_SECONDS
            while served.output.text.count("read the routes again: 2 routes") < 2:
                assert time.monotonic() < deadline, served.output.text
                time.sleep(0.01)
            assert "ended with" not in served.output.text
            assert served.stop() == 0


def test_a_parent_that_watches_code_lives_on(tmp_path: Path, path: Path) -> None:
    with serving(tmp_path, command="dev", GATEWAY_ROUTES=str(path)) as served:
        served.output.expect("Application startup complete")
        hang_up(served)
        assert metric(served, "gateway_routes") == 1
        assert served.process.poll() is None


def test_a_gateway_in_a_terminal_ends_with_it(tmp_path: Path) -> None:
    with Terminal(tmp_path, "serve", "--port", "0") as terminal:
        terminal.expect("gateway chat ws://")
        os.kill(terminal.process.pid, signal.SIGHUP)
        terminal.expect("SIGHUP: reading")
        assert terminal.process.poll() is None
        terminal.hang_up()
        # 120 is Python's own: it could not write its last lines.
        assert terminal.process.wait(WAIT_SECONDS) in {0, 120}
