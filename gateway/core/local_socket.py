"""Questions of other processes of this machine, such as `gateway status`, over a Unix socket in the data folder.

    local_socket.serve("connections", count)                     # in the gateway
    await ask(path, "connections", {}, timeout=5)                # in the command, for a path of `sockets_in`

The right to enter the data folder is the right to ask: there is no token, and no network. A connection has one
question, which is a line of JSON: `{"ask": "connections", "data": {}}`. The answer is a line as well, with `answer` or
`error`. A stream has a line with `part` for each part, and `end` as its last line.
"""

import asyncio
import logging
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from gateway.core import faults, strict_json
from gateway.core.periodic import Periodic
from gateway.core.socket_folder import AGAIN_SECONDS, BACKLOG, address_of, bind_in, sockets_in
from gateway.core.strict_json import NotStrictJson
from gateway.core.tasks import cancel_and_wait

__all__ = [
    "LocalFailed",
    "LocalSocket",
    "LocalTimeout",
    "LocalUnavailable",
    "ask",
    "asking_user",
    "sockets_in",
    "stream",
]

logger = logging.getLogger(__name__)

MAX_QUESTION_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_PART_BYTES = 1024 * 1024
MAX_CONNECTIONS = 64
"""Questions at a time. One more is refused in words."""
QUESTION_SECONDS = 5.0
"""How long a process may take to send its question."""
LOOK_SECONDS = 30.0
"""How often to look whether the socket's file is still there."""
WRITE_SECONDS = 30.0
"""How long a process may take to read its answer. The reader of a stream has any time."""
MAX_DEPTH = 32

Data = dict[str, Any]
Answer = Callable[[Data], Awaitable[Data]]
"""A function that answers a question. It raises `LocalFailed` with words for the person that asks."""
StreamAnswer = Callable[[Data], AsyncGenerator[Data, None]]
"""A function that answers a question in parts. It is closed when the process that asks is gone."""

asking_user: ContextVar[int | None] = ContextVar("asking_user", default=None)
"""The system's id of the user that asks, where the system knows it."""


class LocalUnavailable(Exception):
    """The process has not answered."""


class LocalTimeout(LocalUnavailable):
    """The process has not answered in time."""


class LocalFailed(LocalUnavailable):
    """The process has answered that it cannot do this, and says why."""


class LocalSocket:
    """Answers the questions of other processes of this machine."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._streams: dict[str, StreamAnswer] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: Periodic | None = None
        self.path: Path | None = None
        """The socket's place, while it listens."""

    def serve(self, name: str, answer: Answer) -> None:
        """Answer questions with a name. What the function raises is logged, and fails the question."""
        self._check_new(name)
        self._answers[name] = answer

    def serve_stream(self, name: str, answer: StreamAnswer) -> None:
        """Answer questions with a name in parts."""
        self._check_new(name)
        self._streams[name] = answer

    def _check_new(self, name: str) -> None:
        if name in self._answers or name in self._streams:
            raise ValueError(f"expected one answer to {name!r}, got a second one")

    async def listen(self, folder: Path) -> None:
        """Listen in a data folder. A folder where this cannot be is a warning: the gateway serves all the same."""
        if hasattr(socket, "AF_UNIX"):
            await self._open(folder)
            if self.path is not None:
                self._looking = await Periodic("local_socket", LOOK_SECONDS, partial(self._look, folder)).__aenter__()

    async def _look(self, folder: Path) -> None:
        """Make another socket if this one's file is gone: some program may clean such folders up."""
        if self.path is not None and self._server is not None and not self.path.exists():
            logger.warning("the socket %s was removed; making another one", self.path)
            self._server.close()
            await self._open(folder)

    async def _open(self, folder: Path) -> None:
        try:
            sock, self.path = await bind_in(folder)
        except Exception as error:  # each is a reason of the folder, and none is one to stop
            logger.warning(
                "cannot make a socket in %s (%s): `gateway status` and the like cannot ask this process",
                folder,
                getattr(error, "strerror", None) or error,
            )
            return
        # Without this, Python 3.13 looks for the file of an address that is valid only during `bind`.
        options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(
            self._accept, sock=sock, limit=MAX_QUESTION_BYTES, backlog=BACKLOG, **options
        )

    async def close(self) -> None:
        """Remove the socket, and end what is being answered."""
        if self._looking is not None:
            await self._looking.__aexit__()
        if self._server is None or self.path is None:
            return
        with suppress(OSError):
            self.path.unlink()
        self._server.close()
        self._server = self.path = None
        await asyncio.sleep(0)  # connections that the loop has accepted become tasks
        await cancel_and_wait(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            user = _user_of(writer)
            asking_user.set(user)
            if user not in (None, 0, os.geteuid()):
                logger.warning("refused the user %s of this machine at %s", user, self.path)
            elif len(self._tasks) > MAX_CONNECTIONS:
                await _write_line(writer, _error("the process answers too many questions now; try again"))
            else:
                await self._answer(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the other process is gone, or does not read
        except Exception as fault:
            faults.record("local_socket", fault)
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # `close` would wait for a process that does not read
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = await _question(reader)
        except LocalFailed as error:
            await _write_line(writer, _error(str(error)))
            return
        if question is None:
            return
        name, data = question
        if (in_parts := self._streams.get(name)) is not None:
            await _until_gone(reader, _write_parts(writer, in_parts(data)))
        else:
            await _write_line(writer, await self._line(name, data))

    async def _line(self, name: str, data: Data) -> bytes:
        answer = self._answers.get(name)
        if answer is None:
            return _error("the process does not know this question; it may be of another version")
        try:
            return orjson.dumps({"answer": await answer(data)})
        except Exception as error:
            return _failure(error)


async def ask(path: Path, name: str, data: Data, *, timeout: float) -> Data:  # noqa: ASYNC109 - it raises its own error
    """Return the answer of the process with this socket, or raise `LocalUnavailable`."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _asked(path, name, data, MAX_ANSWER_BYTES)
            try:
                return _data(await _next(reader), "answer")
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise LocalTimeout(f"the process did not answer within {timeout:g} seconds") from None


async def stream(path: Path, name: str, data: Data) -> AsyncGenerator[Data, None]:
    """Yield the parts of the answer of the process with this socket, or raise `LocalUnavailable`."""
    reader, writer = await _asked(path, name, data, MAX_PART_BYTES)
    try:
        while "end" not in (found := await _next(reader)):
            yield _data(found, "part")
    finally:
        writer.transport.abort()


async def _question(reader: asyncio.StreamReader) -> tuple[str, Data] | None:
    """Return a question's name and data, or None without one. Raise `LocalFailed` for what is none."""
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            line = await reader.readline()
    except TimeoutError:
        raise LocalFailed(f"expected a question within {QUESTION_SECONDS:g} seconds") from None
    except ValueError:
        raise LocalFailed(f"expected a line of at most {MAX_QUESTION_BYTES} bytes") from None
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise LocalFailed("expected a whole line, got the beginning of one")
    try:
        found = strict_json.loads(line.decode(), max_depth=MAX_DEPTH)
    except (UnicodeDecodeError, NotStrictJson):
        raise LocalFailed("expected a line of JSON") from None
    match found:
        case {"ask": str(name), "data": dict(data), **rest} if not rest:
            return name, data
    raise LocalFailed('expected {"ask": NAME, "data": {…}}')


async def _write_parts(writer: asyncio.StreamWriter, parts: AsyncGenerator[Data, None]) -> None:
    last = orjson.dumps({"end": True})
    try:
        async with aclosing(parts):
            async for part in parts:
                writer.write(orjson.dumps({"part": part}) + b"\n")
                await writer.drain()
    except ConnectionError:
        raise
    except Exception as error:
        last = _failure(error)
    await _write_line(writer, last)


async def _until_gone(reader: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Work until the end, or until the other process is gone."""
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_read_to_end(reader))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        await cancel_and_wait(working, watching)


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(MAX_QUESTION_BYTES):
            pass


def _failure(error: Exception) -> bytes:
    """Return the line for what an answer has raised."""
    if isinstance(error, LocalFailed):
        return _error(str(error))
    faults.record("local_socket", error)
    return _error("the process could not answer; its log says why")


def _error(words: str) -> bytes:
    return orjson.dumps({"error": words})


async def _write_line(writer: asyncio.StreamWriter, line: bytes) -> None:
    # Otherwise, a process that does not read would leave the end of the answer in memory after `drain`.
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(line + b"\n")
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()


def _user_of(writer: asyncio.StreamWriter) -> int | None:
    """Return the user of the other process. The folder's rights have to do where the system does not say it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    form = struct.Struct("3i")
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size)
    _, user, _ = form.unpack(found)
    return int(user)


async def _asked(path: Path, name: str, data: Data, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        sock = await _connect(path)
    except OSError as error:
        raise LocalUnavailable(f"the process does not listen ({error.strerror})") from None
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=limit)
    writer.write(orjson.dumps({"ask": name, "data": data}) + b"\n")
    return reader, writer


async def _connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with address_of(path) as address:
            # Not `sock_connect`: it takes a full queue for success.
            while not _connects(sock, address):  # noqa: ASYNC110 - the system announces no room in it
                await asyncio.sleep(AGAIN_SECONDS)
    except BaseException:
        sock.close()
        raise
    return sock


def _connects(sock: socket.socket, address: str) -> bool:
    try:
        sock.connect(address)
    except BlockingIOError:
        return False
    return True


async def _next(reader: asyncio.StreamReader) -> Data:
    try:
        line = await reader.readline()
        found = orjson.loads(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise LocalUnavailable("the process has ended the connection without an answer")
    return found


def _data(found: Data, key: str) -> Data:
    data = found.get(key)
    if not isinstance(data, dict):
        raise LocalFailed(str(found.get("error", "the process gave an unknown answer")))
    return data
