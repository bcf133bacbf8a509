"""`gateway serve --workers` and `gateway dev`: several processes that behave as one gateway."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest
from websockets.exceptions import ConnectionClosed

from tests.client import App, ChatClient
from tests.gateway.cli.command import WAIT_SECONDS, Served, command, run_all, serving
from tests.server import Gateway
from tests.valkey import running_valkey

WORKERS = 2
MOST_CLIENTS = 60


@pytest.fixture
def bus() -> Iterator[str]:
    with running_valkey() as valkey:
        yield valkey.url


@pytest.fixture
def served(tmp_path: Path, bus: str) -> Iterator[Served]:
    """A gateway of two workers."""
    with serving(tmp_path, "--workers", str(WORKERS), GATEWAY_BUS_URL=bus) as served:
        yield served
        served.stop()


def workers_of(served: Served) -> list[int]:
    """The pids of the children that serve: the helpers of `multiprocessing` have no socket but pipes."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def sockets_of(pid: int) -> int:
    return sum(os.readlink(fd).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())


def lives(pid: int) -> bool:
    """Whether a process does anything yet: one that has ended and that nobody waits for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def fill(app: App, served: Served, stack: AsyncExitStack) -> list[ChatClient]:
    """Connect people to a room until each worker has some."""
    before = {pid: sockets_of(pid) for pid in workers_of(served)}
    clients: list[ChatClient] = []
    # One for the HTTP connection that logs them in, and one for its own sockets that come and go.
    while any(sockets_of(pid) < count + 3 for pid, count in before.items()):
        assert len(clients) < MOST_CLIENTS, "all connections went to one worker"
        clients.append(await stack.enter_async_context(app.in_room(f"user-{len(clients)}", "lobby")))
    return clients


def test_several_workers_without_a_bus_are_refused_with_the_line_to_add(tmp_path: Path) -> None:
    alone, reloading = run_all(
        command(tmp_path, "serve", "--port", "0", "--workers", "2"),
        command(tmp_path, "serve", "--port", "0", "--workers", "2", "--reload"),
    )
    assert "GATEWAY_BUS_URL=redis://" in alone.problem
    assert "gateway dev --workers 2" in alone.problem
    assert "--reload" in reloading.problem


async def test_what_is_said_at_one_worker_is_heard_at_all_and_all_are_told_good_bye(served: Served) -> None:
    async with App(cast(Gateway, served)) as app, AsyncExitStack() as stack:
        clients = await fill(app, served, stack)
        for client in clients:
            client.ignored |= {"room.joined"}
        for speaker in (clients[0], clients[-1]):
            id = await speaker.start("chat.send", room="lobby", text="to everybody")
            await speaker.until(id=id, status=20000)
            for client in clients:
                if client is not speaker:
                    await client.expect("chat.message", text="to everybody")
        served.process.send_signal(signal.SIGTERM)
        for client in clients:
            await client.until(type="bye")
        assert await asyncio.to_thread(served.process.wait, WAIT_SECONDS) == 0
    assert served.output.text.count("The gateway runs") == 1
    assert "Traceback" not in served.output.text


async def test_a_worker_that_is_killed_is_replaced_and_its_people_come_back(served: Served) -> None:
    first, second = workers_of(served)
    async with App(cast(Gateway, served)) as app, AsyncExitStack() as stack:
        clients = await fill(app, served, stack)
        os.kill(first, signal.SIGKILL)
        served.output.expect(f"worker {first} has ended with signal 9")
        cut = []
        for client in clients:
            try:
                await client.heard()
            except ConnectionClosed:
                cut.append(client)
        assert 0 < len(cut) < len(clients)
        async with asyncio.timeout(WAIT_SECONDS):
            while len(workers_of(served)) < WORKERS:  # noqa: ASYNC110 - it is another process that does it
                await asyncio.sleep(0.05)
        assert second in workers_of(served)
        async with app.in_room("somebody-new", "lobby") as client:
            await client.expect_nothing()


async def test_workers_do_not_outlive_their_parent(served: Served) -> None:
    workers = workers_of(served)
    served.process.kill()
    served.process.wait(WAIT_SECONDS)
    async with asyncio.timeout(WAIT_SECONDS):
        while any(map(lives, workers)):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.05)


async def test_gateway_dev_brings_a_bus_for_its_workers_and_takes_it_away_again(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", verb="dev") as served:
        port = int(served.output.expect("a Valkey of their own").split()[-1])
        async with App(cast(Gateway, served)) as app, app.in_room("alice", "lobby") as client:
            await client.expect_nothing()
            served.process.send_signal(signal.SIGINT)
            await client.until(type="bye")
        assert await asyncio.to_thread(served.process.wait, WAIT_SECONDS) == 0
        served.output.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
