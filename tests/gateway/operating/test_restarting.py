"""`gateway restart`: workers are replaced one after another, and the command waits for it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.local_socket import Data, LocalSocket
from gateway.testing import Gateway
from tests.gateway.cli.command import serving
from tests.gateway.operating.conftest import Operator

pytestmark = pytest.mark.server


async def test_all_workers_are_replaced_and_named(tmp_path: Path, nodes: list[Gateway]) -> None:
    bus = nodes[0].settings.bus_url
    with serving(tmp_path, "--workers", "2", GATEWAY_BUS_URL=bus, GATEWAY_BUS_PREFIX="restarted") as served:
        operator = Operator(tmp_path / "data")
        before = {each["worker"]: each["pid"] for each in await operator.status()}
        assert before.keys() == {0, 1}
        *lines, last = (await operator.succeed("restart")).splitlines()
        assert last == "all workers are new"
        after = {each["worker"]: each["pid"] for each in await operator.status()}
        assert after.keys() == {0, 1}
        assert not set(before.values()) & set(after.values())
        assert {tuple(map(int, re.findall(r"\d+", line))) for line in lines} == {
            (before[worker], after[worker]) for worker in (0, 1)
        }
        assert len(await operator.audited("workers_replaced")) == 1
        assert served.process.poll() is None


class Worker:
    """A worker of a container, with its supervisor's process id of 1, as the socket in the data folder shows it."""

    def __init__(self, host: str, pid: int, on_restart: "Callable[[Worker], None]") -> None:
        self.local_socket = LocalSocket()
        self.local_socket.serve("identity", self._identify)
        self.local_socket.serve("restart", self._restart)
        self.hangs = False
        self.asked = 0
        self._identity: Data = {"node": f"{pid:032}", "pid": pid, "host": host, "supervisor": 1, "worker": 0}
        self._on_restart = on_restart

    def become(self, pid: int) -> None:
        """Answer as the successor, which is another process with the same socket."""
        self._identity |= {"node": f"{pid:032}", "pid": pid}

    async def _identify(self, _: Data) -> Data:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return self._identity

    async def _restart(self, _: Data) -> Data:
        self.asked += 1
        self._on_restart(self)
        return {}


@asynccontextmanager
async def listening(folder: Path, *workers: Worker) -> AsyncIterator[Operator]:
    """Let workers listen in a data folder, and yield its operator."""
    for worker in workers:
        await worker.local_socket.listen(folder)
    try:
        yield Operator(folder)
    finally:
        for worker in workers:
            await worker.local_socket.close()


async def test_a_worker_that_hangs_is_not_taken_for_an_ended_one(tmp_path: Path) -> None:
    async with listening(tmp_path, Worker("one", 7, lambda worker: setattr(worker, "hangs", True))) as operator:
        done = await operator.run("restart", "--wait", "3s")
    assert done.problem == "after 3 seconds, these workers are still the old ones: 7; the log says why"


async def test_a_worker_that_hangs_from_the_start_is_a_problem(tmp_path: Path) -> None:
    well, sick = Worker("one", 7, lambda worker: worker.become(8)), Worker("one", 9, lambda worker: None)
    sick.hangs = True
    async with listening(tmp_path, well, sick) as operator:
        done = await operator.run("restart", "--wait", "20s")
    assert (done.status, done.out) == (1, "worker 7 has ended, and 8 serves in its place\n")
    assert re.fullmatch(r"gateway: process \d+ did not answer within 2 seconds; it may hang\n", done.err)


async def test_containers_with_the_same_process_ids_restart_all(tmp_path: Path) -> None:
    workers = [Worker("one", 7, lambda worker: worker.become(17)), Worker("two", 8, lambda worker: worker.become(18))]
    async with listening(tmp_path, *workers) as operator:
        out = await operator.succeed("restart", "--wait", "5s")
    assert out.splitlines() == [
        "worker 7 has ended, and 17 serves in its place",
        "worker 8 has ended, and 18 serves in its place",
        "all workers are new",
    ]
    assert [worker.asked for worker in workers] == [1, 1]


async def test_a_gateway_without_workers_is_refused_in_words(operator: Operator) -> None:
    assert (await operator.run("restart")).problem.startswith("this gateway has no workers that could take turns")
    assert (await operator.run("restart", "--wait", "soon")).problem.startswith("--wait: expected a duration")
