"""A terminal with a line to type on, which stays whole while messages arrive."""

import asyncio
import codecs
import os
import re
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable
from typing import Any, Self

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gateway.cli.chat.commands import line_of_input
from gateway.cli.chat.growing import GrowingText
from gateway.cli.chat.screen import Line
from gateway.cli.chat.wording import clean

PROMPT = "> "
CLEAR_LINE = "\r\x1b[K"
CLEAR_LINE_ABOVE = "\x1b[A\x1b[K"
MAX_GROWING = 3
"""Texts that are shown while they grow. When one more begins, the oldest is printed as far as it has come."""
MAX_ROWS = 6
"""The newest rows of each of them."""
MAX_WAITING = 1000
"""Lines that wait to be sent. Beyond it, the terminal is not read until some have been sent."""


class Terminal:
    """A person's terminal. `next_line` returns what was typed. Everything else is printed above that line."""

    live = True

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._editor = Editor()
        self._growing: dict[str, GrowingText] = {}
        self._rows = 0
        """Rows between the printed lines and the one to type on: the ends of the texts that grow."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue()
        self._count = 0
        self._ended = False
        self._input = sys.stdin.fileno()
        self._modes: list[Any] = []
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(self._input)
        self._take_terminal()
        self._loop.add_reader(self._input, self._typed)
        # After Ctrl-Z: the shell has set the terminal to its own mode meanwhile.
        self._loop.add_signal_handler(signal.SIGCONT, self._take_terminal)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_signal_handler(signal.SIGCONT)
        self._loop.remove_reader(self._input)
        for key in tuple(self._growing):
            self.settle(key)
        self._write(CLEAR_LINE)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._modes)

    async def next_line(self) -> Line | None:
        """Return the next typed line, or None once the user has left."""
        if self._ended and self._lines.empty():
            return None
        line = await self._lines.get()
        if not self._ended:
            self._loop.add_reader(self._input, self._typed)
        return line

    def show(self, line: Text) -> None:
        """Show a line above the line that is being typed, and above the texts that grow."""
        self._print(line)

    def grow(self, key: str, label: Text, piece: str) -> None:
        """Print the lines that are complete, and show the end of the text below them."""
        while key not in self._growing and len(self._growing) >= MAX_GROWING:
            self.settle(next(iter(self._growing)))
        growing = self._growing.setdefault(key, GrowingText(label))
        self._print(*growing.add(piece))

    def settle(self, key: str) -> None:
        """Print the end of a text."""
        if (growing := self._growing.pop(key, None)) is not None:
            self._print(*growing.end())

    def notify(self, notice: str) -> None:
        """Print a notice."""
        self.show(Text(f"— {notice}", style="dim"))

    def report(self, line: Line, problem: str) -> None:
        """Print why a line was not sent."""
        words = line.text if len(line.text) <= 60 else f"{line.text[:59]}…"
        self.show(Text(f"not sent: {clean(words)} ({problem})", style="red"))

    def _take_terminal(self) -> None:
        # Key by key and without echo. Ctrl-C and Ctrl-Z stay signals.
        tty.setcbreak(self._input)
        self._draw()

    def _typed(self) -> None:
        try:
            raw = os.read(self._input, 4096)
        except OSError:
            raw = b""  # the terminal was closed
        for line in self._editor.feed(self._decoder.decode(raw)):
            self._enter(line)
        if not raw or self._editor.ended:
            self._leave()
        if self._lines.qsize() >= MAX_WAITING:
            self._loop.remove_reader(self._input)
        self._draw()

    def _enter(self, line: str) -> None:
        if line.strip() == "/quit":
            self._leave()
        elif line.strip() and not self._ended:
            self._count += 1
            read = line_of_input(self._count, line)
            if read.problem:
                self.report(read, read.problem)
            else:
                self._lines.put_nowait(read)

    def _leave(self) -> None:
        if not self._ended:
            self._ended = True
            self._loop.remove_reader(self._input)
            self._lines.put_nowait(None)

    def _print(self, *lines: Text) -> None:
        """Print lines, and draw again what is below them."""
        self._write(CLEAR_LINE + CLEAR_LINE_ABOVE * self._rows)
        for line in lines:
            self._console.print(line)
        width = max(shutil.get_terminal_size().columns - 1, 4)
        rows = [
            row for text in self._growing.values() for row in text.unfinished.wrap(self._console, width)[-MAX_ROWS:]
        ]
        for row in rows:
            self._console.print(row)
        self._rows = len(rows)
        self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - cell_len(PROMPT) - 1
        before, after = self._editor.window(max(width, 4))
        back = f"\x1b[{cell_len(after)}D" if after else ""
        self._write(CLEAR_LINE + PROMPT + before + after + back)

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()


_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b[^\[O]|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b([\[O][0-9;]*)?")


class Editor:
    """One line that is being typed, with the usual keys of a shell. It needs no terminal."""

    def __init__(self) -> None:
        self.ended = False
        self._before = ""
        self._after = ""
        self._unfinished = ""
        self._history: list[str] = []
        self._recalled = 0

    def feed(self, typed: str) -> list[str]:
        """Handle keys, and return the lines that they completed. Ctrl-D on an empty line sets `ended`."""
        typed = self._unfinished + typed
        self._unfinished = ""
        lines: list[str] = []
        for match in _KEY.finditer(typed):
            if _UNFINISHED.fullmatch(typed, match.start()):
                self._unfinished = typed[match.start() :]
                break
            self._press(match.group(), lines)
        return lines

    def window(self, width: int) -> tuple[str, str]:
        """Return the parts before and after the cursor that fit into `width` cells."""
        before, after = clean(self._before), clean(self._after)
        while cell_len(before) > width:
            before = before[1:]
        while after and cell_len(before + after) > width:
            after = after[:-1]
        return before, after

    def _press(self, key: str, lines: list[str]) -> None:
        if key in "\r\n":
            lines.append(self._enter())
        elif key == "\x04":
            self.ended = self.ended or not self._before + self._after
        elif edit := _EDITS.get(key):
            self._before, self._after = edit(self._before, self._after)
        elif key in _RECALLS:
            self._recall(_RECALLS[key])
        elif key.isprintable() or key == "\t":
            self._before += key

    def _enter(self) -> str:
        line = self._before + self._after
        self._before = self._after = ""
        if line and line not in self._history[-1:]:
            self._history = [*self._history[-99:], line]
        self._recalled = len(self._history)
        return line

    def _recall(self, step: int) -> None:
        self._recalled = min(max(self._recalled + step, 0), len(self._history))
        self._before = "".join(self._history[self._recalled : self._recalled + 1])
        self._after = ""


_RECALLS = {"\x1b[A": -1, "\x1bOA": -1, "\x10": -1, "\x1b[B": 1, "\x1bOB": 1, "\x0e": 1}


Edit = Callable[[str, str], tuple[str, str]]


def _keys(edit: Edit, *keys: str) -> dict[str, Edit]:
    return dict.fromkeys(keys, edit)


# The effect of each key on the text before and after the cursor.
_EDITS: dict[str, Edit] = {
    **_keys(lambda before, after: (before[:-1], after), "\x7f", "\b"),
    **_keys(lambda before, after: (before, after[1:]), "\x1b[3~"),
    **_keys(lambda before, after: (re.sub(r"\S*\s*$", "", before), after), "\x17"),
    **_keys(lambda _, after: ("", after), "\x15"),
    **_keys(lambda before, _: (before, ""), "\x0b"),
    **_keys(lambda before, after: (before[:-1], before[-1:] + after), "\x1b[D", "\x1bOD", "\x02"),
    **_keys(lambda before, after: (before + after[:1], after[1:]), "\x1b[C", "\x1bOC", "\x06"),
    **_keys(lambda before, after: ("", before + after), "\x1b[H", "\x1bOH", "\x1b[1~", "\x01"),
    **_keys(lambda before, after: (before + after, ""), "\x1b[F", "\x1bOF", "\x1b[4~", "\x05"),
}
