"""The parsers of streams: every form that a service may write, cut anywhere, and the lies that it may tell."""

import json
import random
from typing import Any

import pytest

from gateway.upstream.streams import JSON_LINES, LastPart, StreamParser, parser_of
from handlers.errors import UpstreamFailed

pytestmark = pytest.mark.unit

MAX_BYTES = 1000
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
ANSWER = b'{"data": {"done": true}}'
LAST_EVENT = b"event: reply\ndata: " + ANSWER + b"\n\n"
LAST = LastPart(ANSWER)


def parser(content_type: str) -> StreamParser:
    found = parser_of(content_type, MAX_BYTES, 4)
    assert found is not None
    return found


def parts(content_type: str, text: bytes, cuts: list[int] | None = None) -> list[Any]:
    """Return all parts of a stream that comes in several pieces."""
    reading, found, begin = parser(content_type), [], 0
    for end in [*(cuts or ()), len(text)]:
        found += reading.feed(text[begin:end])
        begin = end
    return found + reading.end()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_read_however_they_are_written_and_cut(end: bytes) -> None:
    lines = [
        b"\xef\xbb\xbf: a comment first",
        b'data: "one"',
        b"id: 7",
        b"retry: 10",
        b"unknown: x",
        b"",
        b":",
        b"",
        b"data:[1,",
        b"data: 2]",
        b"",
        b"event: message",
        b'data: {"text": "\xc3\xbcber"}',
        b"",
        b"event: lost",
        b"",
        b"data: 0",
        b"",
        b"event: reply",
        b"data: " + ANSWER,
        b"",
        b": the end",
    ]
    text = end.join(lines)
    expected = ["one", [1, 2], {"text": "über"}, 0, LAST]
    assert parts(EVENTS, text) == expected
    assert parts(EVENTS, text, list(range(1, len(text)))) == expected
    chance = random.Random(7)
    for _ in range(50):
        assert parts(EVENTS, text, sorted(chance.sample(range(1, len(text)), 6))) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n \r\n"], ids=["LF", "CRLF", "empty lines"])
@pytest.mark.parametrize("last_end", [b"", b"\n"])
def test_lines_are_read_however_they_are_written_and_cut(end: bytes, last_end: bytes) -> None:
    text = end.join([b'{"chunk": "one"}', b'{"chunk":[1,2]}', b'{"chunk": false}', ANSWER]) + last_end
    expected = ["one", [1, 2], False, LAST]
    for cuts in ([], list(range(1, len(text)))):
        found = parts(LINES, text, cuts)
        assert found[:-1] == expected[:-1]
        assert json.loads(found[-1].body) == json.loads(ANSWER)


@pytest.mark.parametrize(
    ("content_type", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=UTF-8", True),
        ('text/event-stream;charset="utf-8"; boundary=x', True),
        *((each, True) for each in sorted(JSON_LINES)),
        ("application/json", False),
        ("", False),
        ("text/event-stream, application/json", False),
    ],
)
def test_the_type_says_whether_it_is_a_stream(content_type: str, is_stream: bool) -> None:
    assert (parser_of(content_type, MAX_BYTES, 4) is not None) == is_stream


def test_a_stream_in_another_charset_is_refused() -> None:
    with pytest.raises(UpstreamFailed) as failed:
        parser_of("text/event-stream; charset=latin-1", MAX_BYTES, 4)
    assert failed.value.reason == "expected a stream in UTF-8, got another charset"


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def line(data: bytes) -> bytes:
    return b'{"chunk": ' + data + b"}\n"


LONG = b'"' + b"x" * MAX_BYTES + b'"'
NO_ANSWER = "expected the answer at the end of the stream, got none"
MORE = "expected nothing after the answer, got more"
TOO_LONG = f"expected parts of a stream of at most {MAX_BYTES} bytes, got more"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (event(b"null"), "expected a chunk that is not null"),
        (event(b"NaN"), "expected JSON in each part of the stream, but this is not JSON"),
        (event(b""), "expected JSON in each part of the stream, but this is not JSON"),
        (event(b"Hello"), "expected JSON in each part of the stream, but this is not JSON"),
        (event(b'"\\u0000"'), "U+0000 is not allowed"),
        (event(b'{"a":1,"a":2}'), "the same key twice"),
        (event(b'"\xff"'), "expected UTF-8 in each part of the stream, got other bytes"),
        (event(b"[[[[[1]]]]]"), "nested more than 4 levels deep"),
        (event(LONG), TOO_LONG),
        (b"data: " + LONG, TOO_LONG),
        (b"data: 1\n" * 600, TOO_LONG),
        (b": still here\n" * 200, TOO_LONG),
        (b"event: error\n" + event(b"1"), "got another name"),
        (b"", NO_ANSWER),
        (event(b"1"), NO_ANSWER),
        (event(b"1") + LAST_EVENT[:-1], NO_ANSWER),
        (ANSWER, NO_ANSWER),
        (LAST_EVENT * 2, MORE),
        (LAST_EVENT + event(b"1"), MORE),
        (LAST_EVENT + b"data: 1", MORE),
        (LAST_EVENT + b"data: 1\n", MORE),
    ],
)
@pytest.mark.parametrize("piecewise", [False, True])
def test_a_stream_of_events_that_lies_is_refused(text: bytes, reason: str, piecewise: bool) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        parts(EVENTS, text, list(range(1, len(text))) if piecewise else [])
    assert reason in failed.value.reason
    assert "Hello" not in failed.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (line(b"null"), "expected a chunk that is not null"),
        (line(b"NaN"), "expected JSON in each part of the stream, but this is not JSON"),
        (line(b'"\xff"'), "expected UTF-8 in each part of the stream, got other bytes"),
        (line(b"[[[[[1]]]]]"), "nested more than 5 levels deep"),
        (line(LONG), TOO_LONG),
        (LONG, TOO_LONG),
        (b"\n" * 3 * MAX_BYTES, TOO_LONG),
        (event(b"1"), "expected JSON in each part of the stream, but this is not JSON"),
        (b"", NO_ANSWER),
        (line(b"1"), NO_ANSWER),
        (line(b"1") + ANSWER[:-1], "expected JSON in each part of the stream, but this is not JSON"),
        (ANSWER + b"\n" + ANSWER, MORE),
        (ANSWER + b"\n" + line(b"1"), MORE),
        (ANSWER + b"\nx", "expected JSON in each part of the stream, but this is not JSON"),
    ],
)
@pytest.mark.parametrize("piecewise", [False, True])
def test_a_stream_of_lines_that_lies_is_refused(text: bytes, reason: str, piecewise: bool) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        parts(LINES, text, list(range(1, len(text))) if piecewise else [])
    assert reason in failed.value.reason


@pytest.mark.parametrize(("content_type", "sign"), [(EVENTS, b":\n"), (EVENTS, event(b"1")), (LINES, b"\n")])
def test_chunks_and_what_stands_for_one_are_signs_of_life(content_type: str, sign: bytes) -> None:
    reading = parser(content_type)
    for number in range(1, 4):
        reading.feed(sign)
        assert reading.signs == number
    reading.feed(b"d")
    assert reading.signs == 3


def test_many_pieces_of_one_chunk_take_linear_time() -> None:
    reading = parser_of(LINES, 2_000_000, 4)
    assert reading is not None
    for _ in range(100_000):
        assert not reading.feed(b"x")
