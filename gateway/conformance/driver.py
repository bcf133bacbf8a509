"""The driver: a process that has the client, and speaks JSON lines over its standard input and output."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from gateway.core.start_error import StartError

MAX_LINE_BYTES = 16 * 1024 * 1024
START_SECONDS = 20
CLOSE_SECONDS = 3
VERSION = 1
ANSWERS = ("reply", "error")

Answer = dict[str, Any]


class BrokenDriver(Exception):
    """The driver has ended, or does not speak its protocol."""


@dataclass(frozen=True)
class Introduction:
    """What a driver says of its client."""

    client: str
    capabilities: frozenset[str]


class Driver:
    """A running driver. It plays one story after the other."""

    def __init__(self, process: Process, commands: asyncio.StreamWriter, lines: asyncio.StreamReader) -> None:
        self._process = process
        self._commands = commands
        self._lines = lines
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._notice: Callable[[str, dict[str, Any]], None] = _ignore
        self._reading = asyncio.create_task(self._read())
        self.problem: str | None = None
        """Why it cannot go on."""

    @classmethod
    async def start(cls, command: Sequence[str]) -> "Driver":
        """Start a driver. Its standard error is that of this command."""
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=MAX_LINE_BYTES)
        except OSError as error:
            raise StartError(f"COMMAND: cannot start {command[0]} ({error.strerror})") from None
        if process.stdin is None or process.stdout is None:
            raise AssertionError("asyncio has made no pipes")
        return cls(process, process.stdin, process.stdout)

    async def introduce(self) -> Introduction:
        """Ask the driver for its client's name and for what that client can do."""
        try:
            async with asyncio.timeout(START_SECONDS):
                answer = await self.do("hello", {"version": VERSION})
        except TimeoutError:
            raise BrokenDriver(f"no answer to `hello` came within {START_SECONDS} s") from None
        found = answer.get("data") or {}
        client, capabilities = found.get("client"), found.get("capabilities")
        if not isinstance(client, str) or not isinstance(capabilities, list):
            raise BrokenDriver(f"`hello`: expected `client` and `capabilities` in the reply's data, got {answer}")
        return Introduction(client, frozenset(map(str, capabilities)))

    def listen(self, notice: Callable[[str, dict[str, Any]], None] | None) -> None:
        """Pass notices to a function, or to none."""
        self._notice = notice or _ignore

    def begin(self, do: str, data: dict[str, Any]) -> tuple[int, asyncio.Future[Answer]]:
        """Send a command. Return its id and its future answer."""
        number = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self.problem is not None:
            raise BrokenDriver(self.problem)
        self._waiting[number] = answer
        self.write({"type": do, "id": number, "data": data})
        return number, answer

    async def do(self, do: str, data: dict[str, Any]) -> Answer:
        """Send a command and wait for its answer."""
        return await self.begin(do, data)[1]

    def write(self, line: dict[str, Any]) -> None:
        """Send a line."""
        if self.problem is None:
            self._commands.write(json.dumps(line).encode() + b"\n")

    async def close_client(self) -> bool:
        """Close the client of a story, and return whether this driver can play another one."""
        self.listen(None)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                return bool((await self.do("close", {}))["type"] == "reply")
        except (TimeoutError, BrokenDriver):
            return False

    async def stop(self) -> None:
        """End the process."""
        self._commands.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        try:
            async for line in self._lines:
                self._receive(line)
            self._fail(f"the driver has ended with status {await self._process.wait()}")
        except ValueError as error:
            self._fail(str(error))
            self._process.kill()

    def _receive(self, line: bytes) -> None:
        """Take a line, or raise `ValueError` for one that is not of the protocol."""
        try:
            message = json.loads(line)
            kind, data = message["type"], dict(message.get("data") or {}) if message["type"] not in ANSWERS else {}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"expected a line with one JSON object that has a `type`, got {_shown(line)}") from None
        if kind not in ANSWERS:
            self._notice(str(kind), data)
        elif (answer := self._waiting.pop(message.get("id"), None)) is None:
            raise ValueError(f"expected one answer for each command, got {_shown(line)}")
        elif not answer.done():
            answer.set_result(message)

    def _fail(self, problem: str) -> None:
        self.problem = problem
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BrokenDriver(problem))
                answer.exception()  # a story that no longer waits for it is no fault


def _ignore(_kind: str, _data: dict[str, Any]) -> None:
    """Take no notice."""


def _shown(line: bytes) -> str:
    return repr(line.decode(errors="replace").rstrip()[:200])
