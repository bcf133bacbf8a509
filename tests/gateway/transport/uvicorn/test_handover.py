"""A plain handshake is one that `websockets` accepts, and the answer is the same."""

import random
from typing import Any

import pytest
from websockets.exceptions import InvalidHeaderValue
from websockets.server import ServerProtocol

from gateway.transport.uvicorn.handover import Handshake, Header, plain_handshake

HEADERS: list[Header] = [
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def theirs(url: bytes, headers: list[Header]) -> tuple[int, bytes]:
    """Return the status and the answer of `websockets`, without its date."""
    connection = ServerProtocol()
    connection.receive_data(b"GET %b HTTP/1.1\r\n" % url)
    connection.receive_data(b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n")
    events: list[Any] = connection.events_received()
    request = events[0] if events else None
    if request is None:
        return 400, b""
    response = connection.accept(request)
    del response.headers["Date"]
    connection.send_response(response)
    return response.status_code, b"".join(connection.data_to_send())


def plain(headers: list[Header], url: bytes = b"/ws/chat?token=x", *, compresses: bool = False) -> Handshake | None:
    return plain_handshake(url, headers, compresses=compresses)


PLAIN: dict[str, Header] = {
    "as Firefox writes it": (b"connection", b"keep-alive, Upgrade"),
    "in capitals": (b"upgrade", b"WebSocket"),
    "a key with trailing bits": (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZR=="),
    "white space behind a value": (b"sec-websocket-version", b"13 \t"),
    "a subprotocol": (b"sec-websocket-protocol", b"gateway.v1"),
    "subprotocols": (b"sec-websocket-protocol", b"gateway.v1, bearer.eyJ-_.x.y,z"),
    "an extension that the server does not offer": (b"sec-websocket-extensions", b"permessage-deflate"),
    "an origin": (b"origin", b"https://example.com"),
    "an empty header": (b"x-empty", b""),
}


@pytest.mark.parametrize("header", PLAIN.values(), ids=PLAIN)
def test_a_usual_handshake_is_plain_and_its_answer_is_that_of_the_library(header: Header) -> None:
    headers = [*(each for each in HEADERS if each[0] != header[0]), header]
    found = plain(headers)
    assert found is not None
    assert theirs(b"/ws/chat", headers) == (101, found.answer(()))


UNUSUAL: dict[str, Header] = {
    "another version": (b"sec-websocket-version", b"12"),
    "a short key": (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25j"),
    "a key that is no base64": (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25j!Q=="),
    "no upgrade": (b"connection", b"keep-alive"),
    "two upgrades": (b"upgrade", b"websocket, h2c"),
    "an odd list": (b"connection", b"upgrade,, close"),
    "quoted subprotocols": (b"sec-websocket-protocol", b'"a"'),
    "an empty subprotocol": (b"sec-websocket-protocol", b""),
    "a list with an empty item": (b"sec-websocket-protocol", b"a,,b"),
    "a body": (b"content-length", b"0"),
    "chunks": (b"transfer-encoding", b"chunked"),
    "a control character": (b"x-a", b"a\x00b"),
    "what is not ASCII": (b"x-a", "ë".encode()),
    "a long value": (b"x-a", b"a" * 8000),
}


@pytest.mark.parametrize("header", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_handshake_is_left_to_the_library(header: Header) -> None:
    assert plain([*(each for each in HEADERS if each[0] != header[0]), header]) is None


@pytest.mark.parametrize("missing", [name for name, _ in HEADERS if name != b"host"])
def test_a_handshake_without_a_part_is_left_to_the_library(missing: bytes) -> None:
    assert plain([each for each in HEADERS if each[0] != missing]) is None


def test_a_header_twice_too_many_headers_odd_addresses_and_compression_are_left_to_the_library() -> None:
    assert plain([*HEADERS, (b"x-a", b"1"), (b"x-a", b"1")]) is None
    assert plain([*HEADERS, *((b"x-%d" % number, b"1") for number in range(60))]) is None
    for url in (b"http://localhost/ws/chat", b"*", b"", b"/ws/\xc3\xab", b"/ws chat", b"/" + b"a" * 8000):
        assert plain(HEADERS, url) is None
    extension = (b"sec-websocket-extensions", b"permessage-deflate")
    assert plain([*HEADERS, extension], compresses=True) is None
    assert plain(HEADERS, compresses=True) is not None


def test_whatever_is_plain_is_accepted_by_the_library() -> None:
    chance = random.Random(14)
    pieces = [
        b"upgrade",
        b"Upgrade",
        b"websocket",
        b"13",
        b"keep-alive",
        b",",
        b" ",
        b"\t",
        b'"',
        b";",
        b"=",
        b"a",
        b"",
    ]
    pieces += [value for _, value in HEADERS]
    names = [name for name, _ in HEADERS] + [b"sec-websocket-protocol", b"sec-websocket-extensions", b"origin"]
    count = 0
    for _ in range(10_000):
        headers = dict(HEADERS)
        for _ in range(chance.randint(0, 2)):
            headers[chance.choice(names)] = b"".join(chance.choices(pieces, k=chance.randint(0, 3))).lstrip(b" \t")
        if (found := plain(list(headers.items()))) is not None:
            count += 1
            assert theirs(b"/ws/chat", list(headers.items())) == (101, found.answer(()))
    assert count > 5_000  # of the others, `websockets` accepts some as well


@pytest.mark.parametrize("header", [(b"x-a", b"b\r\nx-c: d"), (b"x-a\r\nx-b", b"c"), (b"x-a", b"b\n"), (b"", b"b")])
def test_a_header_of_the_application_cannot_break_the_answer(header: Header) -> None:
    found = plain(HEADERS)
    assert found is not None
    assert found.answer([(b"x-a", b"b")]).endswith(b"=\r\nx-a: b\r\n\r\n")
    with pytest.raises(InvalidHeaderValue):
        found.answer([header])
