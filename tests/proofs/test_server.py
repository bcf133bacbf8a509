"""A gateway that crashes, or that does not end after SIGTERM, fails a proof."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks import rig
from proofs.server import Server
from tests.support.child import children_of

pytestmark = pytest.mark.server

LISTENS = """
import signal, socket, subprocess, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
{program}
listener.accept()
time.sleep(60)
"""

IN_ORDER = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
WITH_A_FAULT = "signal.signal(signal.SIGTERM, lambda *_: sys.exit('the store is gone'))"
CRASHES = "listener.accept(); sys.exit(3)"
NEVER = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(worker.pid, flush=True)
"""


class Fake(Server):
    def __init__(self, folder: Path, program: str) -> None:
        super().__init__(folder, None)
        self._program = LISTENS.format(program=program)

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", self._program, str(self.port)], **options)


async def test_an_end_in_order_is_no_fault(tmp_path: Path) -> None:
    async with Fake(tmp_path, IN_ORDER).running():
        pass


async def test_a_wrong_exit_status_is_a_fault_with_the_last_lines_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended with 1 after SIGTERM\nthe store is gone"):
        async with Fake(tmp_path, WITH_A_FAULT).running():
            pass


async def test_a_crash_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended by itself, with 3"):
        await _run_until_it_ends(Fake(tmp_path, CRASHES))


async def _run_until_it_ends(server: Server) -> None:
    async with server.running() as pid:
        while pid in children_of(os.getpid()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def test_a_gateway_that_does_not_end_is_killed_with_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig, "STOP_SECONDS", 0.5)
    server = Fake(tmp_path, NEVER)
    with pytest.raises(RuntimeError, match="was killed"):
        async with server.running():
            pass
    worker = Path("/proc") / server.log.read_text().strip() / "stat"
    async with asyncio.timeout(10):
        while _goes_on(worker):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


def _goes_on(stat: Path) -> bool:
    with suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def test_a_benchmark_keeps_its_figures_and_reports_the_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Fake(tmp_path, WITH_A_FAULT)
    server.take_bad_end = lambda fault: rig.Server.take_bad_end(server, fault)  # type: ignore[method-assign]
    async with server.running():
        pass
    assert "the gateway ended with 1 after SIGTERM" in capsys.readouterr().err
