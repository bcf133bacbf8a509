"""A real PgBouncer before a real PostgreSQL. Like PostgreSQL it refuses to be root, so it becomes nobody."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.lacking import lacking
from tests.postgres import AS_ROOT, WAIT_SECONDS, as_nobody
from tests.valkey import free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = {mode}
default_pool_size = {size}
server_login_retry = 0.1
auth_type = {auth}
auth_file = {folder}/users
"""


class PgBouncer:
    """A pooler of our own, on a free port of this machine."""

    def __init__(self, folder: Path, server: int, mode: str, size: int, auth: str) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "users").write_text('"postgres" "a password"\n')
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(server=server, port=self.port, mode=mode, size=size, auth=auth, folder=folder)
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        # Debian has it where only root looks.
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            lacking("needs PgBouncer: apt-get install pgbouncer")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, self._folder / "pgbouncer.ini"], stdout=log, stderr=log, **as_nobody()
            )
        until = time.monotonic() + WAIT_SECONDS
        while not self._takes_connections():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"PgBouncer did not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it on the spot."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait(WAIT_SECONDS)

    def _takes_connections(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_pgbouncer(server: int, mode: str, *, size: int = 20, auth: str = "trust") -> Iterator[PgBouncer]:
    """Start a pooler with so many connections to the server at this port; skips the test where there is none."""
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        if AS_ROOT:
            shutil.chown(name, "nobody")
        pooler = PgBouncer(Path(name), server, mode, size, auth)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()
