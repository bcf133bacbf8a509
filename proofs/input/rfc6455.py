"""The cases of Autobahn's fuzzing client, by its numbers: what a client writes, and what the gateway must answer.

Autobahn expects an echo of every message. Here a message that is to be echoed is an `echo` of the protocol, exactly as
long as Autobahn's. The other answers are the protocol's own: an empty frame is a keep-alive and gets none, a binary
message gets 40000, one over `GATEWAY_MAX_MESSAGE_BYTES` gets 41300, and four times as much ends with 1009.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

MAX_MESSAGE_BYTES = 65536
MAX_FRAME_BYTES = 4 * MAX_MESSAGE_BYTES
FRAMES_PER_SECOND = 1000

NORMAL, PROTOCOL_ERROR, NO_CODE, INVALID, TOO_LARGE, RATE_ABUSE = 1000, 1002, 1005, 1007, 1009, 4429


@dataclass(frozen=True)
class Write:
    """Bytes to write, at once or in pieces."""

    data: bytes
    piece: int | None = None


@dataclass(frozen=True)
class Answer:
    """A frame that must come next."""

    opcode: int
    payload: bytes = b""
    parts: tuple[tuple[str, Any], ...] = ()
    """What the JSON of a text must have, in place of a payload."""
    may_lack: bool = False
    """Whether the end may come without it, since both have one cause: that is allowed, and not strict."""


@dataclass(frozen=True)
class End:
    """The gateway closes with one of these codes, and nothing follows."""

    codes: frozenset[int]
    early: bool = False
    """Whether the end should come here already, and may come later: that is allowed, and not strict."""


Step = Write | Answer | End


@dataclass(frozen=True)
class Case:
    """One case."""

    number: str
    steps: tuple[Step, ...]
    informational: bool = False
    """Whether RFC 6455 leaves the answer open, so that Autobahn does not judge it."""


def message(size: int) -> bytes:
    """Return an `echo` of so many bytes. Fewer bytes hold only a message without an id, and none a keep-alive."""
    empty = _echo(b"")
    if size < len(empty):
        return b'{"type":"ping"}'.ljust(size) if size else b""
    return _echo(b"*" * (size - len(empty)))


def _echo(data: bytes) -> bytes:
    return b'{"type":"echo","id":1,"data":"%b"}' % data


HELLO = _echo(b"Hello, world!")
ECHOED = Answer(TEXT, parts=(("type", "reply"), ("id", 1)))
GREETED = Answer(TEXT, parts=(*ECHOED.parts, ("data", "Hello, world!")))
NO_TEXT = Answer(TEXT, parts=(("type", "error"), ("status", 40000)))
TOO_LONG = Answer(TEXT, parts=(("type", "error"), ("status", 41300)))

GOODBYE = (Write(frame(NORMAL.to_bytes(2), CLOSE)), End(frozenset({NORMAL})))


def _end(*codes: int) -> End:
    return End(frozenset(codes))


FAILED = _end(PROTOCOL_ERROR)


def _fine(number: str, *steps: Step) -> Case:
    """Return a case after which the connection still lives, and the client closes it."""
    return Case(number, (*steps, *GOODBYE))


def _wrong(number: str, *writes: bytes, piece: int | None = None, greeted: bool = False) -> Case:
    """Return a case that ends with 1002, after the answer to a first message if there is one."""
    first = (replace(GREETED, may_lack=True),) if greeted else ()
    return Case(number, (*(Write(each, piece) for each in writes), *first, FAILED))


def reserved(raw: bytes, bits: int) -> bytes:
    """Return a frame with these reserved bits."""
    return bytes([raw[0] | bits << 4]) + raw[1:]


def fragments(payload: bytes, size: int, opcode: int = TEXT) -> Iterator[bytes]:
    """Yield a message in fragments of so many bytes."""
    for start in range(0, len(payload), size):
        part = payload[start : start + size]
        yield frame(part, CONTINUATION if start else opcode, fin=start + size >= len(payload))


SIZES = (0, 125, 126, 127, 128, 65535, 65536)


def _framing() -> Iterator[Case]:
    for minor, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate(SIZES, 1):
            yield _fine(f"1.{minor}.{number}", Write(_of(opcode, size)), *_answer_to(opcode, size))
        yield _fine(f"1.{minor}.8", Write(_of(opcode, 65536), 997), *_answer_to(opcode, 65536))


def _of(opcode: int, size: int) -> bytes:
    return frame(message(size) if opcode == TEXT else b"\xfe" * size, opcode)


def _answer_to(opcode: int, size: int) -> tuple[Step, ...]:
    """Return the steps with the answer to a message. If there is none, the next message shows that nothing came."""
    if opcode == BINARY and size:
        return (NO_TEXT,)
    return (ECHOED,) if size >= len(_echo(b"")) else (Write(frame(HELLO)), GREETED)


def _pings() -> Iterator[Case]:
    payloads = {1: b"", 2: b"Hello, world!", 3: b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 4: b"\xfe" * 125}
    for number, payload in payloads.items():
        yield _fine(f"2.{number}", Write(frame(payload, PING)), Answer(PONG, payload))
    yield _wrong("2.5", frame(b"\xfe" * 126, PING))
    yield _fine("2.6", Write(frame(b"\xfe" * 125, PING), 1), Answer(PONG, b"\xfe" * 125))
    yield _fine("2.7", Write(frame(b"", PONG)))
    yield _fine("2.8", Write(frame("unsolicited pong payload", PONG)))
    pong, ping = frame("unsolicited pong payload", PONG), frame("ping payload", PING)
    yield _fine("2.9", Write(pong), Write(ping), Answer(PONG, b"ping payload"))
    ten = [f"payload-{number}".encode() for number in range(10)]
    for number, piece in ((10, None), (11, 1)):
        writes = (Write(frame(each, PING), piece) for each in ten)
        yield _fine(f"2.{number}", *writes, *(Answer(PONG, each) for each in ten))


def _reserved_bits() -> Iterator[Case]:
    hello, ping = frame(HELLO), frame("", PING)
    yield _wrong("3.1", reserved(hello, 1))
    yield _wrong("3.2", hello + reserved(hello, 2) + ping, greeted=True)
    yield _wrong("3.3", hello, reserved(hello, 3), ping, greeted=True)
    yield _wrong("3.4", hello, reserved(hello, 4), ping, piece=1, greeted=True)
    yield _wrong("3.5", reserved(frame(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", BINARY), 5))
    yield _wrong("3.6", reserved(frame("Hello, world!", PING), 6))
    yield _wrong("3.7", reserved(frame("", CLOSE), 7))


def _opcodes() -> Iterator[Case]:
    hello, ping = frame(HELLO), frame("", PING)
    for minor, first in ((1, 3), (2, 11)):
        yield _wrong(f"4.{minor}.1", frame("", first))
        yield _wrong(f"4.{minor}.2", frame("reserved opcode payload", first + 1))
        yield _wrong(f"4.{minor}.3", hello + frame("", first + 2) + ping, greeted=True)
        yield _wrong(f"4.{minor}.4", hello + frame(HELLO, first + 3) + ping, greeted=True)
        yield _wrong(f"4.{minor}.5", hello, frame(HELLO, first + 4), ping, piece=1, greeted=True)


def _fragmentation() -> Iterator[Case]:
    begin, middle, end = HELLO[:9], HELLO[9:20], HELLO[20:]
    first, last = frame(begin, fin=False), frame(middle + end, CONTINUATION)
    ping, pong = frame("ping payload", PING), Answer(PONG, b"ping payload")
    stray, open_stray, hello = frame("x", CONTINUATION), frame("x", CONTINUATION, fin=False), frame(HELLO)
    yield _wrong("5.1", frame("fragment1", PING, fin=False) + frame("fragment2", CONTINUATION))
    yield _wrong("5.2", frame("fragment1", PONG, fin=False) + frame("fragment2", CONTINUATION))
    yield _fine("5.3", Write(first + last), GREETED)
    yield _fine("5.4", Write(first), Write(last), GREETED)
    yield _fine("5.5", Write(first + last, 1), GREETED)
    yield _fine("5.6", Write(first + ping + last), pong, GREETED)
    yield _fine("5.7", Write(first), Write(ping), Write(last), pong, GREETED)
    yield _fine("5.8", Write(first + ping + last, 1), pong, GREETED)
    for number, wrong in ((9, stray), (12, open_stray)):
        yield _wrong(f"5.{number}", wrong + hello)
        yield _wrong(f"5.{number + 1}", wrong, hello)
        yield _wrong(f"5.{number + 2}", wrong, hello, piece=1)
    yield _wrong("5.15", first + last + open_stray + hello, greeted=True)
    yield _wrong("5.16", (open_stray + first + last) * 2)
    yield _wrong("5.17", (stray + first + last) * 2)
    yield _wrong("5.18", first + frame(end))
    more, final = frame(middle, CONTINUATION, fin=False), frame(end, CONTINUATION)
    early, late = frame("pongme 1!", PING), frame("pongme 2!", PING)
    pongs = Answer(PONG, b"pongme 1!"), Answer(PONG, b"pongme 2!")
    yield _fine("5.19", Write(first + early), pongs[0], Write(more + late + final), pongs[1], GREETED)
    parts = (Write(first), Write(early), pongs[0], Write(more), Write(late), Write(final), pongs[1], GREETED)
    yield _fine("5.20", *parts)


KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
HELLO_IN_MANY_LETTERS = "Hello-µ@ßöäüàá-UTF-8!!".encode()
SURROGATE, BEYOND_UNICODE = b"\xed\xa0\x80", b"\xf4\x90\x80\x80"


def _utf8() -> Iterator[Case]:
    empty = frame("", CONTINUATION)
    silence = (Write(frame(HELLO)), GREETED)
    yield _fine("6.1.1", Write(frame("")), *silence)
    yield _fine("6.1.2", Write(frame("", fin=False) + frame("", CONTINUATION, fin=False) + empty), *silence)
    yield _fine("6.1.3", Write(frame("", fin=False) + frame(HELLO, CONTINUATION, fin=False) + empty), GREETED)
    letters = _echo(HELLO_IN_MANY_LETTERS)
    middle = letters.index("ü".encode())
    yield _fine("6.2.1", Write(frame(letters)), _echoes(HELLO_IN_MANY_LETTERS))
    parts = frame(letters[:middle], fin=False) + frame(letters[middle:], CONTINUATION)
    yield _fine("6.2.2", Write(parts), _echoes(HELLO_IN_MANY_LETTERS))
    yield _fine("6.2.3", Write(b"".join(fragments(letters, 1))), _echoes(HELLO_IN_MANY_LETTERS))
    yield _fine("6.2.4", Write(b"".join(fragments(_echo(KOSME), 1))), _echoes(KOSME))
    wrong = KOSME + SURROGATE + b"edited"
    yield _invalid("6.3.1", Write(frame(wrong)))
    yield _invalid("6.3.2", Write(b"".join(fragments(wrong, 1))))
    wrong, cuts = KOSME + BEYOND_UNICODE + b"edited", ((11, 15), (12, 13))
    for number, (start, end) in enumerate(cuts, 1):
        yield _invalid(
            f"6.4.{number}",
            Write(frame(wrong[:start], fin=False)),
            Write(frame(wrong[start:end], CONTINUATION, fin=False)),
            replace(_end(INVALID), early=True),
            Write(frame(wrong[end:], CONTINUATION)),
        )
    whole = frame(wrong)
    head = len(whole) - len(wrong)
    for number, (start, end) in enumerate(cuts, 3):
        writes = Write(whole[: head + start]), Write(whole[head + start : head + end])
        last = Write(whole[head + end :])
        yield _invalid(f"6.4.{number}", *writes, replace(_end(INVALID), early=True), last)
    for group, sequences in enumerate(SEQUENCES, 5):
        for number, sequence in enumerate(sequences, 1):
            yield _sequence(f"6.{group}.{number}", sequence)


def _echoes(data: bytes) -> Answer:
    return Answer(TEXT, parts=(("type", "reply"), ("data", data.decode())))


def _invalid(number: str, *steps: Step) -> Case:
    return Case(number, (*steps, _end(INVALID)))


def _sequence(number: str, sequence: bytes) -> Case:
    try:
        text = sequence.decode()
    except UnicodeDecodeError:
        return _invalid(number, Write(frame(sequence)))
    # JSON allows a control character as an escape only.
    answer = NO_TEXT if any(letter < " " for letter in text) else _echoes(sequence)
    return _fine(number, Write(frame(_echo(sequence))), answer)


_CUT = (
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"),
    *(b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"),
)
_LEADS = ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
_HIGH, _LOW = (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"), (b"\xed\xb0\x80", b"\xed\xbf\xbf")


def _non_characters() -> Iterator[bytes]:
    yield from (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
    for plane in range(1, 17):
        for last in (0xFFFE, 0xFFFF):
            yield chr(plane << 16 | last).encode()


SEQUENCES: tuple[Sequence[bytes], ...] = (
    # 6.5, valid
    (b"hello\x24world", b"hello\xc2\xa2world", b"hello\xe2\x82\xacworld", b"hello\xf0\xa4\xad\xa2world", KOSME),
    # 6.6, all beginnings of a valid text
    [KOSME[:end] for end in range(1, len(KOSME) + 1)],
    # 6.7 and 6.8, the first of each length
    (b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"),
    (b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    # 6.9 and 6.10, the last of each length
    (b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"),
    (b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    # 6.11, other borders
    (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", BEYOND_UNICODE),
    # 6.12, continuations without a start
    (b"\x80", b"\xbf", *((b"\x80\xbf" * 4)[:length] for length in range(2, 7)), bytes(range(0x80, 0xBF))),
    # 6.13, starts without a continuation
    [b"".join(bytes([byte, 0x20]) for byte in range(*lead)) for lead in _LEADS],
    # 6.14 and 6.15, the last byte is missing
    _CUT,
    (b"".join(_CUT),),
    # 6.16, bytes that never occur
    (b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
    # 6.17 to 6.19, longer forms than necessary
    (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"),
    (b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    (b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
    # 6.20 and 6.21, surrogates alone and in pairs
    (*_HIGH, b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf"),
    [high + low for high in _HIGH for low in _LOW],
    # 6.22 and 6.23, code points that stand for no character, and special ones
    list(_non_characters()),
    [chr(0xFFF9 + number).encode() for number in range(7)],
)


def _closing() -> Iterator[Case]:
    hello, close, ping = frame(HELLO), frame(NORMAL.to_bytes(2), CLOSE), frame("", PING)
    normal = _end(NORMAL)
    yield _fine("7.1.1", Write(hello), GREETED)
    yield Case("7.1.2", (Write(close + frame("", CLOSE)), normal))
    yield Case("7.1.3", (Write(close + ping), normal))
    yield Case("7.1.4", (Write(close + hello), normal))
    half, rest = frame(HELLO[:9], fin=False), frame(HELLO[9:], CONTINUATION)
    yield Case("7.1.5", (Write(half + close + rest), normal))
    answers = (replace(TOO_LONG, may_lack=True), replace(GREETED, may_lack=True))
    long = frame((b"BAsd7&jh23" * 26215)[: 256 * 1024])
    yield Case("7.1.6", (Write(long + hello + close + ping), *answers, normal), informational=True)
    yield _closed("7.3.1", b"", NO_CODE, NORMAL)
    yield _closed("7.3.2", b"a", PROTOCOL_ERROR)
    yield _closed("7.3.3", _code(NORMAL), NORMAL)
    yield _closed("7.3.4", _code(NORMAL) + b"Hello World!", NORMAL)
    yield _closed("7.3.5", _code(NORMAL) + b"*" * 123, NORMAL)
    yield _closed("7.3.6", _code(NORMAL) + b"*" * 124, PROTOCOL_ERROR)
    yield _closed("7.5.1", _code(NORMAL) + KOSME + SURROGATE + b"edited", PROTOCOL_ERROR, INVALID)
    for number, code in enumerate(VALID_CODES, 1):
        yield _closed(f"7.7.{number}", _code(code), NORMAL, code)
    for number, code in enumerate(INVALID_CODES, 1):
        yield _closed(f"7.9.{number}", _code(code), PROTOCOL_ERROR)
    for number, code in enumerate((5000, 65535), 1):
        yield replace(_closed(f"7.13.{number}", _code(code), NORMAL, PROTOCOL_ERROR, code), informational=True)


VALID_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
INVALID_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)


def _code(number: int) -> bytes:
    return number.to_bytes(2)


def _closed(number: str, payload: bytes, *codes: int) -> Case:
    return Case(number, (Write(frame(payload, CLOSE)), _end(*codes)))


KIB, MIB = 1024, 1024 * 1024
WHOLE = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)
FRAGMENTS = (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
CHOPS = (64, 128, 256, 512, KIB, 2 * KIB)
ROUND_TRIPS = (0, 16, 64, 256, KIB, 4 * KIB)


def _limits() -> Iterator[Case]:
    for minor, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate(WHOLE, 1):
            yield Case(f"9.{minor}.{number}", (Write(_of(opcode, size)), *_end_of(opcode, size)))
    for minor, opcode in ((3, TEXT), (4, BINARY)):
        for number, size in enumerate(FRAGMENTS, 1):
            too_many = {RATE_ABUSE} if MAX_FRAME_BYTES // size >= FRAMES_PER_SECOND else set()
            data = b"".join(fragments(b"*" * (4 * MIB), size, opcode))
            yield Case(f"9.{minor}.{number}", (Write(data, 64 * KIB), _end(TOO_LARGE, *too_many)))
    for minor, opcode in ((5, TEXT), (6, BINARY)):
        for number, piece in enumerate(CHOPS, 1):
            yield Case(f"9.{minor}.{number}", (Write(_of(opcode, MIB), piece), _end(TOO_LARGE)))
    for minor, opcode in ((7, TEXT), (8, BINARY)):
        for number, size in enumerate(ROUND_TRIPS, 1):
            steps = (Write(_of(opcode, size)), *_answer_to(opcode, size)) * FRAMES_PER_SECOND
            yield _fine(f"9.{minor}.{number}", *steps)


def _end_of(opcode: int, size: int) -> tuple[Step, ...]:
    """Return the steps after a long message."""
    if size > MAX_FRAME_BYTES:
        return (_end(TOO_LARGE),)
    if opcode == TEXT and size > MAX_MESSAGE_BYTES:
        return (TOO_LONG, *GOODBYE)
    return (*_answer_to(opcode, size), *GOODBYE)


def all_cases() -> Iterator[Case]:
    """Yield all cases but those of 12.* and 13.*: the gateway offers no compression unless `GATEWAY_DEFLATE` is set."""
    for part in (_framing, _pings, _reserved_bits, _opcodes, _fragmentation, _utf8, _closing, _limits):
        yield from part()
    yield _fine("10.1.1", Write(b"".join(fragments(message(65536), 1300))), ECHOED)
