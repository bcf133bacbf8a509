"""What a service streams: chunks as they come, and at the end its answer.

A stream is of one of two types:

    text/event-stream       the data of each unnamed event is a chunk, and that of the last one, `reply`, is the answer
    application/x-ndjson    a line is `{"chunk": …}`, and the last one is the answer; also as `application/jsonl`

A chunk is any JSON but null. Comments and empty lines keep a stream alive. All else is a lie, as in
`answers`: also a stream without an answer, and anything after the answer.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.core import strict_json
from handlers.errors import UpstreamFailed

EVENT_STREAM = "text/event-stream"
JSON_LINES = frozenset({"application/x-ndjson", "application/jsonl"})
ACCEPT = "application/json, text/event-stream, application/x-ndjson"
"""The types of an answer, for the header of a request."""

REPLY = b"reply"
"""The name of the event with the answer."""


@dataclass(frozen=True, slots=True)
class LastPart:
    """The end of a stream, or an answer without one: the JSON of the answer."""

    body: bytes


Part: TypeAlias = Any | LastPart
"""The value of a chunk, or the end."""


class StreamParser(ABC):
    """Takes the bytes of one stream. All methods raise `UpstreamFailed` for what must not come."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        """Refuse a chunk, or an answer, of over `max_bytes`, and a chunk of more than `max_depth` levels."""
        self.signs = 0
        """How often something has come that shows that the service is alive: a chunk, or what stands for one."""
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._unused = 0
        self._has_answer = False

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts that are complete now."""
        parts = list(self._parts(data))
        self._unused = 0 if parts else self._unused + len(data)
        if self._unused > 2 * self._max_bytes:  # such as comments without an end
            raise self._too_long()
        return parts

    def end(self) -> list[Part]:
        """Return the parts that the end of the stream completes."""
        parts = list(self._last_parts())
        if not self._has_answer:
            raise UpstreamFailed("expected the answer at the end of the stream, got none")
        return parts

    @abstractmethod
    def _parts(self, data: bytes) -> Iterable[Part]:
        """Yield the parts that are complete with these bytes."""

    @abstractmethod
    def _last_parts(self) -> Iterable[Part]:
        """Yield the parts that the end completes."""

    def _chunk(self, value: Any) -> Any:
        self._check_open()
        if value is None:
            raise UpstreamFailed("expected a chunk that is not null")
        return value

    def _answer(self, body: bytes) -> LastPart:
        self._check_open()
        self._has_answer = True
        return LastPart(body)

    def _check_open(self) -> None:
        self.signs += 1
        if self._has_answer:
            raise UpstreamFailed("expected nothing after the answer, got more")

    def _value(self, text: bytes, more_levels: int = 0) -> Any:
        try:
            return strict_json.loads(text.decode(), max_depth=self._max_depth + more_levels)
        except strict_json.NotStrictJson as error:
            raise UpstreamFailed(f"expected JSON in each part of the stream, but {error}") from None
        except UnicodeDecodeError:
            raise UpstreamFailed("expected UTF-8 in each part of the stream, got other bytes") from None

    def _too_long(self) -> UpstreamFailed:
        return UpstreamFailed(f"expected parts of a stream of at most {self._max_bytes} bytes, got more")


class EventStreamParser(StreamParser):
    """Reads `text/event-stream`, as the HTML standard interprets it (§9.2.6)."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        super().__init__(max_bytes, max_depth)
        self._rest = bytearray()
        self._ended_with_cr = False
        self._is_first = True
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0

    def _parts(self, data: bytes) -> Iterable[Part]:
        start = 1 if self._ended_with_cr and data.startswith(b"\n") else 0
        for end in _LINE_ENDS.finditer(data, start):
            line = bytes(self._rest + data[start : end.start()])
            self._rest.clear()
            start = end.end()
            if line:
                self._take_line(line)
            elif self._data:
                yield self._dispatch()
            else:
                self._event = b""
        self._rest += data[start:]
        self._ended_with_cr = data.endswith(b"\r")
        if len(self._rest) > self._max_bytes:
            raise self._too_long()

    def _last_parts(self) -> Iterable[Part]:
        if self._has_answer and (self._data or (self._rest.strip() and not self._rest.startswith(b":"))):
            self._check_open()
        return ()  # the standard drops an event that is not complete

    def _take_line(self, line: bytes) -> None:
        if self._is_first:
            line, self._is_first = line.removeprefix(_BYTE_ORDER_MARK), False
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > self._max_bytes:
                raise self._too_long()
        elif field == b"event":
            self._event = value
        elif not field:
            self.signs += 1

    def _dispatch(self) -> Part:
        text, event = b"\n".join(self._data), self._event
        self._data, self._size, self._event = [], 0, b""
        if event == REPLY:
            return self._answer(text)
        if event not in (b"", b"message"):
            raise UpstreamFailed("expected events without a name, and `reply` at the end, got another name")
        return self._chunk(self._value(text))


class JsonLinesParser(StreamParser):
    """Reads lines of JSON. The last one may lack its line break."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        super().__init__(max_bytes, max_depth)
        self._rest = bytearray()

    def _parts(self, data: bytes) -> Iterable[Part]:
        first, *others = data.split(b"\n")
        self._rest += first
        for line in others:
            yield from self._take_rest()
            self._rest += line
        if len(self._rest) > self._max_bytes:
            raise self._too_long()

    def _last_parts(self) -> Iterable[Part]:
        return self._take_rest() if self._rest else ()

    def _take_rest(self) -> Iterable[Part]:
        line = bytes(self._rest)
        self._rest.clear()
        if len(line) > self._max_bytes:
            raise self._too_long()
        if not line.strip(b" \t\r"):
            self.signs += 1
            return
        document = self._value(line, more_levels=1)
        if isinstance(document, dict) and document.keys() == {"chunk"}:
            yield self._chunk(document["chunk"])
        else:
            yield self._answer(line)


_LINE_ENDS = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parser_of(content_type: str, max_bytes: int, max_depth: int) -> StreamParser | None:
    """Return what reads a stream of this type, or None if it is no type of a stream.

    Raise `UpstreamFailed` for a stream that is not in UTF-8.
    """
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media_type != EVENT_STREAM and media_type not in JSON_LINES:
        return None
    if any(each.startswith("charset=") and each[8:].strip('"') not in ("utf-8", "utf8") for each in parameters):
        raise UpstreamFailed("expected a stream in UTF-8, got another charset")
    return (EventStreamParser if media_type == EVENT_STREAM else JsonLinesParser)(max_bytes, max_depth)
