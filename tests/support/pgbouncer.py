"""A real PgBouncer in front of a real PostgreSQL. Like PostgreSQL it refuses to run as root, so it runs as `nobody`."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.child import Child
from tests.support.lacking import lacking
from tests.support.postgres import AS_ROOT, as_nobody

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


class PgBouncer(Child):
    """A pooler for a test."""

    def __init__(self, folder: Path, server: int, mode: str, size: int, auth: str) -> None:
        self._folder = folder
        super().__init__(folder / "log")
        (folder / "users").write_text('"postgres" "a password"\n')
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(server=server, port=self.port, mode=mode, size=size, auth=auth, folder=folder)
        )

    def _command(self) -> list[str | Path]:
        # Debian installs it where only root looks.
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            lacking("needs PgBouncer: apt-get install pgbouncer")
        return [program, self._folder / "pgbouncer.ini"]

    def _options(self) -> dict[str, Any]:
        return as_nobody()

    def _answers(self) -> bool:
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
