"""Taps: what passes through this process, for an operator that watches (`gateway tail`).

Without a tap, each place where something passes costs one look at `is_open`. With one, all that a tap does is bounded:
beyond its lines and bytes in a moment, it only counts what it has lost. It never waits, and never raises.

No line has a credential. Bodies are there only if the operator has asked for them, cut, and without values that look
like credentials.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.core import faults

MOMENT_SECONDS = 0.1
"""How often a tap passes its lines on."""
MAX_LINES = 200
"""The most lines of a moment."""
MAX_BYTES = 128 * 1024
"""The most bytes of a moment's lines: a message between nodes carries them."""
MAX_READ_BYTES = 512 * 1024
"""The most bytes of events that a tap reads in a moment."""
MAX_BODY = 4000
"""The most characters of a body."""
MAX_WORD = 64
"""The most characters of a name that a client has sent."""
MAX_TAPS = 16
LINE_BYTES = 400
"""What a line takes without its body."""

Line = dict[str, Any]


class TooManyTaps(Exception):
    """No further tap can be opened."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_TAPS} tails are open on this node already; end one of them")


@dataclass(frozen=True)
class Wanted:
    """The lines that an operator wants. All that are set must fit."""

    room: str | None = None
    user: str | None = None
    type: str | None = None
    """A type, or the beginning of one with * behind it, or a kind of line, such as `end`."""
    connection: str | None = None
    bodies: bool = False

    def has_kind(self, what: str, type: str) -> bool:
        """Return whether a line of this kind and type is wanted."""
        if self.type is None:
            return True
        if self.type.endswith("*"):
            return type.startswith(self.type[:-1])
        return self.type in (type, what)

    def has(self, what: str, type: str, room: str, user: str, connection: str) -> bool:
        """Return whether a line is wanted."""
        return (
            (self.room is None or self.room == room)
            and (self.user is None or self.user == user)
            and (self.connection is None or self.connection == connection)
            and self.has_kind(what, type)
        )


class Tap:
    """The lines of one operator, up to a bound."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._lines: list[Line] = []
        self._lost = 0
        self._bytes = 0
        self._read_bytes = 0
        self._filled = asyncio.Event()

    def takes(self, size: int) -> bool:
        """Return whether there is time to read so many bytes, and room for a line. Otherwise count it as lost."""
        self._read_bytes += size
        if len(self._lines) < MAX_LINES and self._bytes < MAX_BYTES and self._read_bytes <= MAX_READ_BYTES + size:
            return True
        self._lost += 1
        self._filled.set()
        return False

    def add(self, line: Line, body: Callable[[], bytes] | None) -> None:
        """Add a line, with its body if the operator wants bodies."""
        size = LINE_BYTES
        if self.wanted.bodies and body is not None:
            line = {**line, "body": shown(body())}
            size += 3 * len(line["body"])
        self._bytes += size
        self._lines.append(line)
        self._filled.set()

    async def take(self) -> tuple[list[Line], int]:
        """Wait for lines, gather all lines of a moment, and return them with the number of lost ones."""
        await self._filled.wait()
        await asyncio.sleep(MOMENT_SECONDS)
        found = self._lines, self._lost
        self._lines, self._lost, self._bytes, self._read_bytes = [], 0, 0, 0
        self._filled.clear()
        return found


class Taps:
    """All taps of a process."""

    def __init__(self) -> None:
        self.is_open = False
        """Whether there is a tap. Look at this before any call of the methods below."""
        self._taps: list[Tap] = []

    @property
    def is_full(self) -> bool:
        """Return whether no further tap can be opened."""
        return len(self._taps) >= MAX_TAPS

    def open(self, wanted: Wanted) -> Tap:
        """Open a tap, or raise `TooManyTaps`."""
        if self.is_full:
            raise TooManyTaps
        tap = Tap(wanted)
        self._taps.append(tap)
        self.is_open = True
        return tap

    def close(self, tap: Tap) -> None:
        """Close a tap."""
        self._taps.remove(tap)
        self.is_open = bool(self._taps)

    def note(
        self,
        what: str,
        *,
        body: Callable[[], bytes] | None = None,
        **facts: Any,
    ) -> None:
        """Pass on that something has happened, with its `type`, `room`, `user` and `connection` among the facts.

        They may be a client's words.
        """
        try:
            words = {name: _word(facts.pop(name, "")) for name in ("type", "room", "user", "connection")}
            line: Line | None = None
            for tap in self._taps:
                if tap.wanted.has(what, **words) and tap.takes(LINE_BYTES):
                    line = line or _line(what, words, facts)
                    tap.add(line, body)
        except Exception as fault:  # what is watched must go on
            faults.record("taps", fault)

    def event(self, room: str, text: bytes, reached: int) -> None:
        """Pass on an event that so many connections get, as JSON."""
        try:
            for tap in self._taps:
                self._offer(tap, room, text, reached)
        except Exception as fault:
            faults.record("taps", fault)

    def _offer(self, tap: Tap, room: str, text: bytes, reached: int) -> None:
        wanted = tap.wanted
        if wanted.connection is not None or (wanted.room is not None and wanted.room != room):
            return
        kind = _type_of(text)
        if not wanted.has_kind("out", kind) or not tap.takes(len(text)):
            return
        data = orjson.loads(text).get("data")
        user = _user_in(data)
        if wanted.user is None or wanted.user == user:
            words = {"type": _word(kind), "room": room, "user": user}
            tap.add(_line("out", words, {"reached": reached, "bytes": len(text)}), lambda: orjson.dumps(data))


def shown(body: bytes) -> str:
    """Return a body as an operator may see it: cut, and without what looks like a credential."""
    cut = body[: MAX_BODY + 1].decode(errors="ignore")[:MAX_BODY]
    text = _TOKENS.sub("[redacted]", _SECRETS.sub(r'\1"[redacted]"', cut))
    return text + "…" if len(body) > MAX_BODY else text


# A value ends with its quotation mark, or where the text was cut, and one with parts hides all the rest. The search
# begins at the word, and not at the mark before it: a body of many marks would take milliseconds. JSON within a text
# has backslashes before its marks, and all the rest of the text is hidden.
_SECRETS = re.compile(
    r"((?:token|password|passwd|secret|authorization|credential|api[-_]?key|cookie|ticket)"
    r'[^"\\]{0,64}\\{0,15}"\s*:\s*)'
    r'(?:\\{0,15}"(?:[^"\\]|\\.)*"?|[\[{].*|[^,}\]"\s]+)',
    re.IGNORECASE | re.DOTALL,
)
_TOKENS = re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}|\bgw[rk]_[\w-]+|\bbearer[ .]+[^\s\"\\]+", re.IGNORECASE)


def _line(what: str, words: dict[str, str], facts: dict[str, Any]) -> Line:
    at = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
    found = {"at": at, "what": what} | {name: word for name, word in words.items() if word}
    return found | {name: fact for name, fact in facts.items() if fact is not None}


def _word(text: object) -> str:
    """Return a name that a client has sent, if it may be one. A credential in its place stays out."""
    if not isinstance(text, str) or not text:
        return ""
    return _TOKENS.sub("[redacted]", text[: MAX_WORD + 1])[:MAX_WORD]


def _user_in(data: object) -> str:
    if not isinstance(data, dict):
        return ""
    message = data.get("message")
    return _word(data.get("sender") or data.get("user") or (message.get("sender") if isinstance(message, dict) else ""))


_TYPE = re.compile(rb'\{"type":"([^"]{1,64})"')


def _type_of(text: bytes) -> str:
    found = _TYPE.match(text)
    return found[1].decode(errors="replace") if found else ""
