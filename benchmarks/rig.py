"""The benchmarks' foundation: a gateway in its own process, users in its store, and fast connections."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Self

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from sqlalchemy import Connection, insert

from gateway.auth.keys.key_files import SECRET_KID
from gateway.auth.keys.key_ring import KeyRing
from gateway.auth.keys.signatures import Key
from gateway.auth.passwords import Passwords
from gateway.auth.tokens import Tokens
from gateway.config.settings import PREFIX, Settings
from gateway.core.clock import SystemClock, milliseconds
from gateway.core.logs import guard_logs
from gateway.store.engine import Database
from gateway.store.tables import login_sessions, memberships, rooms, users
from schemas.names import DEFAULT_SCOPES
from tests.support.child import children_of
from tests.support.network import HERE, Machine

START_SECONDS = 60
STOP_SECONDS = 20
ANSWER_SECONDS = 120

TRY_SECONDS = 1
"""How long one try to connect to a server that starts may take: a later one may find it."""

RESTING_SHARE = 0.02
"""The share of a core below which a server rests; its timers go on."""

KEY = secrets.token_urlsafe(48)
"""The key of this run's tokens, so that no user needs to log in."""

Frame = dict[str, Any]


class StoreKind(StrEnum):
    """The kind of store that holds the messages."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


def settings_for(folder: Path, database_url: str | None) -> dict[str, str]:
    """Return settings as variables: cheap hashes, and no limit that a load would reach."""
    values = {
        "data_dir": str(folder),
        "secret_key": KEY,
        "password_rounds": "4",
        "login_rate_per_user": "0",
        "login_rate_per_address": "0",
        "request_rate": "0",
        "service_rate": "0",
        "refresh_rate_per_session": "0",
        "registration_rate_per_address": "0",
        "max_rooms_joined": "0",
        "max_rooms_owned": "0",
        "max_stored_bytes_per_user": "0",
        "max_stored_bytes_per_room": "0",
        "login_backoff_seconds": "0",
        "message_rate": "0",
        "message_rate_per_user": "0",
        "message_rate_per_address": "0",
        "write_bytes_per_user": "0",
        "join_rate": "0",
        "join_rate_per_user": "0",
        "connection_rate": "0",
        "connection_rate_per_user": "0",
        "max_connections_per_user": "0",
        "max_connections_per_address": "0",
    }
    if database_url is not None:
        values["database_url"] = database_url
    return {f"{PREFIX}{name.upper()}": value for name, value in values.items()}


def window_of(changes: int | None) -> dict[str, str]:
    """Return the setting of how many changes of a room a node remembers. None means the default."""
    return {} if changes is None else {f"{PREFIX}ROOM_WINDOW_MESSAGES": str(changes)}


def started(*arguments: str, machine: Machine = HERE, **options: Any) -> subprocess.Popen[bytes]:
    """Start `gateway …` on a machine, with the options of `Popen`."""
    command = [*machine.enter, sys.executable, "-m", "gateway", *arguments]
    return subprocess.Popen(command, **options)  # noqa: S603 - our own program


class Server:
    """`gateway serve` on a machine of a network, by default on this one. Its folder has no `.env`."""

    end_status = 0
    """How it ends after SIGTERM, if it ends in order."""

    def __init__(
        self,
        folder: Path,
        database_url: str | None,
        machine: Machine = HERE,
        /,
        *,
        log_level: str = "warning",
        **settings: str,
    ) -> None:
        """Take more variables as `settings`; they override those of `settings_for`."""
        self.port = free_port()
        self.machine = machine
        self.folder = folder
        others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        self.environment = others | settings_for(folder, database_url) | settings
        place = ["--host", machine.address, "--port", str(self.port)]
        self.arguments = ["serve", *place, "--log-level", log_level]
        self.log = folder / "gateway.log"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Start the server, yield its pid, and stop it at the end."""
        with self.log.open("ab") as log:
            process = self._start(
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            await self.answers(lambda: process.poll() is None)
            yield process.pid
        finally:
            fault = await asyncio.to_thread(_stop, process, self.end_status)
        if fault is not None:  # a fault of the body says more
            self.take_bad_end(fault)

    def take_bad_end(self, fault: str) -> None:
        """Report an end that was not in order. What a benchmark has measured until then still counts."""
        print(f"the gateway {fault}; see {self.log}", file=sys.stderr)

    def _start(self, **options: Any) -> subprocess.Popen[bytes]:
        return started(*self.arguments, machine=self.machine, **options)

    async def answers(self, lives: Callable[[], bool]) -> None:
        """Wait until the server takes connections."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not lives():
                    raise RuntimeError(f"the gateway did not start:\n{self.log.read_text(encoding='utf-8')}")
                try:
                    async with asyncio.timeout(TRY_SECONDS):
                        _, writer = await asyncio.open_connection(self.machine.address, self.port)
                except (ConnectionError, TimeoutError):
                    await asyncio.sleep(0.005)
                else:
                    writer.close()
                    return

    def url(self, token: str) -> str:
        """Return the URL of the chat socket with a token."""
        return f"ws://{self.machine.address}:{self.port}/ws/chat?token={token}"


def _stop(process: subprocess.Popen[bytes], end_status: int) -> str | None:
    """Stop a server with SIGTERM, and return what was wrong with its end. One that is too slow is killed."""
    if (status := process.poll()) is not None:
        return f"ended by itself, with {status}"
    process.terminate()
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        workers = children_of(process.pid)
        process.kill()
        process.wait()
        for worker in workers:  # each has a session of its own, and one that hangs would outlive its supervisor
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return f"did not end within {STOP_SECONDS} s after SIGTERM, and was killed"
    return None if status == end_status else f"ended with {status} after SIGTERM"


class Lives:
    """A server that can be killed and started many times, each life in its own process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._launcher: asyncio.subprocess.Process | None = None
        self.pid = 0
        self._is_alive = False
        """Whether nothing has waited for the end of the process, so that its number is still its own."""

    async def __aenter__(self) -> Self:
        with self._server.log.open("ab") as log:
            self._launcher = await asyncio.create_subprocess_exec(
                *self._server.machine.enter,
                sys.executable,
                "-P",
                str(Path(__file__).with_name("launcher.py")),
                *self._server.arguments,
                cwd=self._server.folder,
                env=self._server.environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        launcher = self._launcher
        if launcher is not None and launcher.stdin is not None:
            launcher.stdin.close()  # which ends the life too
            try:
                await asyncio.wait_for(launcher.wait(), STOP_SECONDS)
            except TimeoutError:
                # It may wait for a life that does not end, and the life would go on without it.
                with suppress(ProcessLookupError):
                    if self._is_alive:
                        os.kill(self.pid, signal.SIGKILL)
                with suppress(ProcessLookupError):
                    launcher.kill()
                await launcher.wait()

    async def start(self) -> None:
        """Begin a life, without a wait until it takes connections."""
        self.pid = int(await self._ask("start"))
        self._is_alive = True

    def goes_on(self) -> bool:
        """Return whether the life still runs."""
        # An ended process is a zombie, in state Z, until its parent waits for it.
        return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"

    async def kill(self) -> None:
        """End the life with SIGKILL, which leaves a process no time to clean up."""
        os.kill(self.pid, signal.SIGKILL)
        status = await self.end()
        if status != -signal.SIGKILL:
            raise RuntimeError(f"the gateway ended by itself, with {status}; see {self._server.log}")

    async def end(self) -> int:
        """Wait for the end of a life, and return its exit status."""
        status = int(await self._ask("wait"))
        self._is_alive = False
        return status

    async def _ask(self, line: str) -> str:
        launcher = self._launcher
        assert launcher is not None  # noqa: S101 - entered
        assert launcher.stdin is not None  # noqa: S101 - both are pipes
        assert launcher.stdout is not None  # noqa: S101
        launcher.stdin.write(f"{line}\n".encode())
        answer = await asyncio.wait_for(launcher.stdout.readline(), START_SECONDS)
        if not answer:
            raise RuntimeError(f"the launcher has ended; see {self._server.log}")
        return answer.decode()


class Late(SystemClock):
    """A clock that is so many seconds late."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def wall(self) -> float:
        """Return the earlier time."""
        return time.time() - self._seconds


class Person:
    """A user of the gateway, with a token for a day."""

    def __init__(self, name: str, password_hash: str = "!", *, age: float = 0) -> None:  # noqa: S107 - no password
        """Take the hash of a password, by default one that no password has. The token is `age` seconds old."""
        self.id = secrets.token_hex(16)
        self.name = name
        self.password_hash = password_hash
        ring = KeyRing(Key.from_secret(SECRET_KID, KEY.encode()))
        tokens = Tokens(ring, "json-gateway", "json-gateway", 24 * 3600, Late(age))
        self.session = secrets.token_urlsafe(16)
        self.token = tokens.issue(self.id, DEFAULT_SCOPES, session_id=self.session)


async def person_with_password(name: str, password: str, rounds: int) -> Person:
    """Return a user that can log in."""
    guard_logs()  # passlib complains about the version of every bcrypt
    passwords = Passwords(rounds)
    try:
        return Person(name, await passwords.hash(password))
    finally:
        passwords.close()


async def populate(database: Database, people: Sequence[Person], membership: Mapping[str, Sequence[Person]]) -> None:
    """Add tables, users, and rooms with their members, as if all had registered and joined."""
    await database.upgrade()
    await database.transact(partial(_populate, people, membership))


def _populate(people: Sequence[Person], membership: Mapping[str, Sequence[Person]], connection: Connection) -> None:
    now = milliseconds(SystemClock())
    connection.execute(insert(users), [_user(person, now) for person in people])
    connection.execute(insert(login_sessions), [_login(person, now) for person in people])
    if not membership:
        return
    connection.execute(
        insert(rooms),
        [_room(number, name, len(members), now) for number, (name, members) in enumerate(membership.items(), 1)],
    )
    connection.execute(
        insert(memberships),
        [
            _membership(number, name, person, now)
            for number, (name, members) in enumerate(membership.items(), 1)
            for person in members
        ],
    )


def _user(person: Person, now: int) -> Frame:
    return {
        "id": person.id,
        "name": person.name,
        "password_hash": person.password_hash,
        "scopes": " ".join(sorted(DEFAULT_SCOPES)),
        "disabled": False,
        "created_at": now,
    }


def _login(person: Person, now: int) -> Frame:
    return {
        "id": person.session,
        "user_id": person.id,
        "scopes": " ".join(sorted(DEFAULT_SCOPES)),
        "created_at": now,
        "last_used_at": now,
        "expires_at": now + 24 * 3600 * 1000,
    }


def _membership(room_id: int, room: str, person: Person, now: int) -> Frame:
    return {
        "room_id": room_id,
        "user_id": person.id,
        "role": "member",
        "joined_at": now,
        "user_name": person.name,
        "room_name": room,
    }


def _room(id: int, name: str, arrivals: int, now: int) -> Frame:
    return {
        "id": id,
        "name": name,
        "private": False,
        "epoch": secrets.token_urlsafe(6),
        "offset": 0,
        "created_at": now,
        "arrivals": arrivals,
    }


class Asker(WSListener):
    """A connection that sends one request or several at a time and awaits the answers; `take` sees every message."""

    patience: float = ANSWER_SECONDS
    use_aiofastnet: bool | None = None
    """Whether picows takes that package's sockets: by default if it is installed, since they are faster."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._last_id = 0
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle an answer or an event, or answer a close frame (RFC 6455 §5.5.1), which picows does not."""
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.msg_type is not WSMsgType.TEXT:
            return
        message = json.loads(frame.get_payload_as_bytes())
        if message["type"] == "welcome":
            self.welcomed.set_result(None)
        self.take(message)
        answer = self._answers.pop(message.get("id"), None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def take(self, message: Frame) -> None:
        """Take any message on its arrival, before the request that awaits it."""

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End all requests that have no answer yet."""
        self.lost.set()
        _break(self.welcomed)
        for answer in self._answers.values():
            _break(answer)
        self._answers.clear()

    async def ask(self, type: str, **data: Any) -> Frame:
        """Send a message and return its reply or error, or raise `ConnectionError`."""
        if self._transport is None or self.lost.is_set():
            raise ConnectionError("the connection was lost")
        self._last_id += 1
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[self._last_id] = answer
        frame = json.dumps({"type": type, "id": self._last_id, "data": data}).encode()
        self._transport.send(WSMsgType.TEXT, frame)
        async with asyncio.timeout(self.patience):
            return await answer

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None and not self.lost.is_set():
            self._transport.disconnect()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.lost.wait()


def _break(waiting: "asyncio.Future[Any]") -> None:
    if not waiting.done():
        waiting.set_exception(ConnectionError("the connection was lost"))
        waiting.exception()  # asyncio complains about an exception that no task retrieves


async def connect(server: Server, person: Person, asker: Asker | None = None) -> Asker:
    """Connect as a user, up to the welcome, or raise `OSError`."""
    asker = asker or Asker()
    url = server.url(person.token)
    opened = await ws_connect(
        lambda: asker, url, websocket_handshake_timeout=asker.patience, use_aiofastnet=asker.use_aiofastnet
    )
    if opened[1] is not asker:
        # picows 2.3 raises nothing for a connection that is lost before it is one.
        raise ConnectionError("the connection was lost")
    async with asyncio.timeout(asker.patience):
        await asker.welcomed
    return asker


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder, and remove it with its content at the end."""
    folder = Path(tempfile.mkdtemp(prefix="json-gateway-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def store_url(kind: StoreKind, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty store, which ends with this context."""
    if kind is StoreKind.SQLITE:
        yield f"sqlite:///{folder / 'gateway.db'}"
        return
    # Imported here, so that SQLite works without PostgreSQL's packages.
    from tests.support.postgres import fresh_database, running_postgres

    with running_postgres(sync=True) as server, fresh_database(server.url("postgres")) as url:
        yield url


def database_for(url: str) -> Database:
    """Open a store from this process, with the gateway's durability."""
    return Database(url, synchronous=Settings.model_fields["sqlite_synchronous"].default)


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, in steps of nanoseconds, of all of its threads. Linux only."""
    # Its CPU clock includes threads that have ended, which its tasks in /proc lack; /proc/PID/stat has steps of 10 ms.
    # The number of another process's clock is what clock_getcpuclockid(3) returns: CPUCLOCK_SCHED is 2.
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


async def wait_for_rest(pid: int, seconds: float) -> float:
    """Wait until a process rests for so many seconds, and return the CPU seconds that it had used before the rest."""
    used = cpu_seconds(pid)
    while True:
        await asyncio.sleep(seconds)
        before, used = used, cpu_seconds(pid)
        if used - before < RESTING_SHARE * seconds:
            return before


def memory_kb(pid: int) -> int:
    """Return the memory of a process, in KB of 1,024 bytes. Linux only."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
