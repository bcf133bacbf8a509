"""Input and output of `gateway chat` in a script: standard input and standard output."""

import asyncio
import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Self

from rich.text import Text

from gateway.cli.chat.commands import line_of_input
from gateway.cli.chat.growing import BAR
from gateway.cli.chat.screen import Line
from gateway.cli.chat.wording import clean

MAX_LINE_BYTES = 1 << 20
"""A longer line is not read as a whole. The gateway's own limit is far lower."""


class Pipe:
    """A screen for scripts: notices and problems go to standard error.

    With `commands`, a line that begins with a slash is one, as on a terminal.
    """

    live = False

    def __init__(self, *, commands: bool = False) -> None:
        self._commands = commands
        self._open: str | None = None
        """The key of the text that the last line of the output belongs to, if that line is not complete."""
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue()
        # A thread reads, since a file does not signal that it can be read. It reads only the lines that are requested.
        self._wanted = threading.Semaphore(0)
        self._ended = False

    def __enter__(self) -> Self:
        # A character that the output's encoding lacks must not end the conversation.
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        # A thread that waits for input cannot be woken. As a daemon it need not be.
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="input", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True

    async def next_line(self) -> Line | None:
        """Return the next line that is not empty, or None at the end."""
        if self._ended:
            return None
        if self._lines.empty():
            self._wanted.release()
        line = await self._lines.get()
        self._ended = line is None
        return line

    def show(self, line: Text) -> None:
        """Print a line."""
        self._end_line()
        self._print(line.plain + "\n")

    def grow(self, key: str, label: Text, piece: str) -> None:
        """Print the next piece of a text, behind the earlier ones if no other line came between."""
        if self._open != key:
            self._end_line()
            self._print(label.plain)
        self._open = key
        self._print(f"\n{BAR}".join(clean(part) for part in piece.split("\n")))

    def settle(self, key: str) -> None:
        """End the line of a text."""
        if self._open == key:
            self._end_line()

    def notify(self, notice: str) -> None:
        """Print a notice to standard error."""
        print(f"gateway: {notice}", file=sys.stderr, flush=True)  # noqa: T201 - likewise

    def report(self, line: Line, problem: str) -> None:
        """Print to standard error which line was not sent, and why."""
        self.notify(f"line {line.number} was not sent: {problem}")

    def _end_line(self) -> None:
        if self._open is not None:
            self._open = None
            self._print("\n")

    def _print(self, text: str) -> None:
        print(text, end="", flush=True)  # noqa: T201 - this is the command's output

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        # Its own reader: the interpreter, when it ends, waits for the lock of `sys.stdin`.
        with open(0, "rb", closefd=False) as file, suppress(RuntimeError):  # the loop has ended
            lines = _lines(file, commands=self._commands)
            line: Line | None = Line(0, "")
            while line is not None:
                self._wanted.acquire()
                line = next(lines, None)
                loop.call_soon_threadsafe(self._lines.put_nowait, line)


def _lines(file: BinaryIO, *, commands: bool) -> Iterator[Line]:
    numbers = itertools.count(1)
    while raw := _raw_line(file):
        line = _line(next(numbers), raw)
        if commands and not line.problem:
            line = line_of_input(line.number, line.text)
        if line.problem or line.text.strip():
            yield line


def _raw_line(file: BinaryIO) -> bytes:
    raw = file.readline(MAX_LINE_BYTES)
    rest = raw
    while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
        rest = file.readline(MAX_LINE_BYTES)
    return raw


def _line(number: int, raw: bytes) -> Line:
    if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
        return Line(number, "", f"it has over {MAX_LINE_BYTES} bytes")
    try:
        return Line(number, raw.decode().rstrip("\r\n"))
    except UnicodeDecodeError:
        return Line(number, "", "it is not UTF-8")
