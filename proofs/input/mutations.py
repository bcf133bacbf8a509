"""Makes bad input from good: messages of every type with odd values, texts that are cut and mixed, and broken frames.

All of it comes from one seed. The ids and epochs of real messages, which the gateway chooses, are put in afterwards.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from gateway.documents.catalog import catalog_of
from handlers.registry import BUILT_IN
from proofs.input.json_cases import json_cases
from proofs.input.naughty import naughty_strings
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

Json = Any

ODD_NUMBERS: tuple[Json, ...] = (
    *(0, -1, 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30, -(10**300)),
    *(0.1, -0.0, 1e308, 5e-324, 1e15, 1.5),
)
ODD_VALUES: tuple[Json, ...] = (None, True, False, "", " ", [], {}, [[]], {"": {}}, *ODD_NUMBERS)
ODD_NAMES = ("", "A", "..", "-", "dm-x", "service:orders", "a" * 64, "a" * 65, "ａ", "a b", "a/../b", "%00", "null")
ODD_TOKENS = ("", "a.b.c", "gwk_" + "x" * 40, "." * 2000, "eyJhbGciOiJub25lIn0.e30.")
LONGEST = 20_000
DEEPEST = 60


class Mutations:
    """A source of bad input for one client, among others in the same rooms."""

    def __init__(self, seed: str, rooms: list[str], users: list[str]) -> None:
        self._random = Random(seed)
        self._rooms = rooms
        self._users = users
        self._types = [message for message in catalog_of(BUILT_IN, (), beside={}).messages if message.type != "bye"]
        self._strings = naughty_strings()
        self._texts = [case.raw for case in json_cases() if case.is_text and len(case.raw) < LONGEST]
        self.messages: list[tuple[str, str, str, int]] = []
        """Real messages: their room, id, epoch and offset."""
        self._kinds: list[tuple[Callable[[], bytes], int]] = [
            (self._message, 600),
            (self._changed_message, 250),
            (self._json_case, 40),
            (self._noise, 40),
            (self._control, 40),
            (self._fragments, 20),
            (self._binary, 10),
        ]

    def batch(self, size: int) -> list[bytes]:
        """Return frames that leave the connection open. The last one may be broken, and end it."""
        makers, weights = zip(*self._kinds, strict=True)
        frames = [make() for make in self._random.choices(makers, weights, k=size)]
        if self._random.random() < 0.5:
            frames[-1] = self._broken()
        return frames

    def _message(self) -> bytes:
        return frame(self._written(self._any_message()))

    def _changed_message(self) -> bytes:
        """Return a message whose text is changed. It is UTF-8 still, but seldom JSON."""
        text = self._written(self._any_message())
        for _ in range(self._random.randint(1, 3)):
            text = self._changed(text)
        return frame(text.encode(errors="ignore"))

    def _any_message(self) -> dict[str, Json]:
        kind = self._random.choice(self._types)
        message: dict[str, Json] = {
            "type": kind.type,
            "id": self._random.randint(1, 1000),
            "data": self._filled(json.loads(json.dumps(self._random.choice(kind.examples)))),
        }
        if self._random.random() < 0.6:
            self._spoil(message["data"])
        if self._random.random() < 0.15:
            self._spoil_envelope(message)
        return message

    def _filled(self, value: Json, name: str = "") -> Json:
        """Return an example's data with rooms, users and messages that there are."""
        if isinstance(value, dict):
            return {key: self._filled(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._filled(each, name) for each in value]
        if name in ("room", "rooms"):
            return self._random.choice(self._rooms)
        if name in ("user", "users"):
            return self._random.choice(self._users)
        if self.messages and name in ("message_id", "reply_to", "epoch", "offset"):
            _, message, epoch, offset = self._random.choice(self.messages)
            return {"epoch": epoch, "offset": offset}.get(name, message)
        if name == "text":
            return self._random.choice(self._strings)[:200]
        return value

    def _spoil(self, data: Json) -> None:
        """Change some places of a message's data."""
        places = list(_places(data))
        for holder, key in self._random.sample(places, min(len(places), self._random.randint(1, 2))):
            change = self._random.random()
            if change < 0.1 and isinstance(holder, dict):
                holder.pop(key, None)
            elif change < 0.2 and isinstance(holder, dict):
                holder[self._random.choice(self._strings)] = self._odd()
            elif change < 0.8:
                holder[key] = self._odd()

    def _spoil_envelope(self, message: dict[str, Json]) -> None:
        key = self._random.choice(["type", "id", "data", "stream", "traceparent", "extra"])
        if key in message and self._random.random() < 0.3:
            del message[key]
        else:
            message[key] = self._odd()

    def _odd(self) -> Json:
        makers: tuple[Callable[[], Json], ...] = (
            lambda: self._random.choice(ODD_VALUES),
            lambda: self._random.choice(ODD_NAMES),
            lambda: self._random.choice(ODD_TOKENS),
            lambda: self._random.choice(self._strings),
            lambda: self._random.choice(self._rooms + self._users),
            lambda: "x" * self._random.choice((63, 64, 65, 200, 201, 1025, 4000, 4001, LONGEST)),
            lambda: [self._random.choice(ODD_VALUES) for _ in range(self._random.choice((1, 3, 101, 129, 1001)))],
            lambda: {str(number): number for number in range(self._random.choice((1, 40, 300)))},
            self._deep,
        )
        return self._random.choice(makers)()

    def _deep(self) -> Json:
        value: Json = self._random.choice(ODD_VALUES)
        for _ in range(self._random.randint(20, DEEPEST)):
            value = [value] if self._random.random() < 0.5 else {"a": value}
        return value

    def _written(self, message: dict[str, Json]) -> str:
        """Return a message's JSON, with spaces or without, and with escapes or without."""
        separators = self._random.choice(((",", ":"), (", ", ": "), (" ,\n", "\t:")))
        text = json.dumps(message, ensure_ascii=self._random.random() < 0.3, separators=separators)
        if self._random.random() < 0.03:
            text = text[:-1] + f',"type":"{self._random.choice(self._types).type}"' + "}"
        return text

    def _changed(self, text: str) -> str:
        start = self._random.randrange(len(text) + 1)
        end = min(len(text), start + self._random.choice((0, 1, 1, 2, 10, 100)))
        change = self._random.choice(("cut", "double", "put", "swap", "end"))
        if change == "cut":
            return text[:start] + text[end:]
        if change == "double":
            return text[:end] + text[start:end] * self._random.choice((1, 2, 20)) + text[end:]
        if change == "swap":
            return text[end:] + text[start:end] + text[:start]
        if change == "end":
            return text[:start]
        put = ('"', "\\", "{", "}", "[", "]", ":", ",", "\\u0000", "\\ud800", "\0", "1e999", "-", "NaN", "\u2028", "é")
        return text[:start] + self._random.choice(put) + text[end:]

    def _json_case(self) -> bytes:
        text = self._random.choice(self._texts)
        if self._random.random() < 0.5:
            text = b'{"type":"echo","id":1,"data":' + text + b"}"
        return frame(text)

    def _noise(self) -> bytes:
        """Return any characters, or one of the naughty strings."""
        if self._random.random() < 0.3:
            return frame(self._random.choice(self._strings))
        size = self._random.choice((1, 2, 10, 100, 1000))
        return frame(
            "".join(chr(self._random.choice((self._random.randrange(32, 127), 0x3B1, 0x1F600))) for _ in range(size))
        )

    def _control(self) -> bytes:
        payload = self._random.randbytes(self._random.choice((0, 1, 4, 125)))
        return frame(payload, self._random.choice((PING, PONG)), mask=self._random.randbytes(4))

    def _binary(self) -> bytes:
        return frame(self._random.randbytes(self._random.choice((0, 1, 30, 1000))), BINARY)

    def _fragments(self) -> bytes:
        """Return a message in fragments, which may be empty, with pings between them."""
        text = self._written(self._any_message()).encode()
        cuts = sorted(self._random.randrange(len(text) + 1) for _ in range(self._random.randint(1, 4)))
        borders = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
        parts = []
        for number, (start, end) in enumerate(borders):
            opcode = CONTINUATION if number else TEXT
            parts.append(frame(text[start:end], opcode, fin=number == len(borders) - 1))
            if self._random.random() < 0.3 and number < len(borders) - 1:
                parts.append(frame(b"between", PING))
        return b"".join(parts)

    def _broken(self) -> bytes:
        """Return what ends the connection: no frame, a wrong one, one that is too long, or a part of one."""
        whole = self._message()
        makers: tuple[Callable[[], bytes], ...] = (
            lambda: self._random.randbytes(self._random.choice((1, 2, 10, 200, 2000))),
            lambda: self._flipped(whole),
            lambda: whole[: self._random.randrange(1, len(whole))],
            lambda: frame(whole[6:], self._random.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15))),
            lambda: bytes([whole[0] | self._random.choice((0x10, 0x20, 0x40, 0x70))]) + whole[1:],
            lambda: frame(b"\xff" + self._random.randbytes(30)),
            lambda: frame(self._random.randbytes(self._random.choice((0, 1, 2, 3, 30))), CLOSE),
            lambda: frame("x", CONTINUATION),
            lambda: frame(whole[6:], PING, fin=False),
            lambda: b"\x81\xff" + self._random.randbytes(8) + whole,
            lambda: frame("x" * (5 * 65536)),
            lambda: frame('{"type":"bye"}'),
            lambda: frame("half of it", fin=False),
        )
        return self._random.choice(makers)()

    def _flipped(self, data: bytes) -> bytes:
        """Return a frame with some bits of its first bytes flipped."""
        changed = bytearray(data)
        for _ in range(self._random.randint(1, 4)):
            changed[self._random.randrange(min(len(changed), 16))] ^= 1 << self._random.randrange(8)
        return bytes(changed)


def _places(value: Json) -> list[tuple[Any, Any]]:
    """Return all places in a value, as the list or object that holds each, and its index or key."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        found = [(value, key) for key in value]
    elif isinstance(value, list):
        found = [(value, index) for index in range(len(value))]
    return found + [place for holder, key in found for place in _places(holder[key])]
