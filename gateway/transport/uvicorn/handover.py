"""Passes a connection from HTTP to WebSocket, with the handshake that is already parsed.

uvicorn writes the handshake out again, `websockets` parses it a second time, and both keep the result in objects of
their own. That is a third of what a connection costs. This module judges a plain handshake by itself: one that
`websockets` would certainly accept, without anything to negotiate. Every other one goes through uvicorn, and is
accepted or refused there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from websockets.exceptions import InvalidHeaderValue
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.utils import accept_key

MAX_PLAIN_BYTES = 8000
MAX_PLAIN_HEADERS = 64
"""A larger request is not plain. `websockets` accepts as many bytes in each line, and twice as many headers."""

Header = tuple[bytes, bytes]

_PLAIN_URL = re.compile(rb"/[!-~]*")
_PLAIN_VALUES = re.compile(rb"[\t -~]*")
_PLAIN_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_TOKENS = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:, ?[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")  # RFC 6455 §4.1, point 10
_UPGRADES = frozenset({b"upgrade", b"keep-alive, upgrade"})  # as browsers and libraries write it

_NEVER_PLAIN = (b"content-length", b"transfer-encoding")

_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n"
)
_SAFE_LINE = re.compile(rb"[!-9;-~]+: [\t -~\x80-\xff]*\r\n")


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake that may be accepted (RFC 6455 §4.2.1)."""

    path: bytes
    query: bytes
    headers: list[Header]
    subprotocols: list[str]
    accept: bytes
    """The value of `Sec-WebSocket-Accept`."""

    def answer(self, headers: Iterable[Header]) -> bytes:
        """Return the answer that accepts it, or raise `InvalidHeaderValue` for a header that would break it."""
        lines = [_ACCEPTED % self.accept]
        for name, value in headers:
            line = b"%b: %b\r\n" % (name, value)
            if _SAFE_LINE.fullmatch(line) is None:
                raise InvalidHeaderValue(name.decode("latin-1"), value.decode("latin-1"))
            lines.append(line)
        lines.append(b"\r\n")
        return b"".join(lines)


def plain_handshake(url: bytes, headers: Sequence[Header], *, compresses: bool) -> Handshake | None:
    """Return a handshake that `websockets` would accept, or None if it might refuse or change anything.

    `compresses` says whether the server offers an extension. The caller has read the method and the version.
    """
    # The parser has removed the white space before a value, but not after it (RFC 9110 §5.5).
    stripped = [(name, value.strip(b" \t")) for name, value in headers]
    found = dict(stripped)
    values = b"".join(found.values())
    if len(headers) > MAX_PLAIN_HEADERS or len(found) < len(headers) or len(url) + len(values) > MAX_PLAIN_BYTES:
        return None
    if _PLAIN_URL.fullmatch(url) is None or _PLAIN_VALUES.fullmatch(values) is None or not _is_acceptable(found):
        return None
    if compresses and b"sec-websocket-extensions" in found:
        return None
    subprotocols = found.get(b"sec-websocket-protocol")
    if subprotocols is not None and _TOKENS.fullmatch(subprotocols) is None:
        return None
    path, _, query = url.partition(b"?")
    return Handshake(
        path,
        query,
        stripped,
        [] if subprotocols is None else [each.strip() for each in subprotocols.decode().split(",")],
        accept_key(found[b"sec-websocket-key"].decode()).encode(),
    )


def _is_acceptable(headers: dict[bytes, bytes]) -> bool:
    return (
        headers.get(b"connection", b"").lower() in _UPGRADES
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"sec-websocket-version") == b"13"
        and _PLAIN_KEY.fullmatch(headers.get(b"sec-websocket-key", b"")) is not None
        and not any(name in headers for name in _NEVER_PLAIN)
    )


def skip_request(connection: ServerProtocol) -> None:
    """Skip the request on a new connection, so that the parser expects the bytes after it."""
    connection.parser = Protocol.parse(connection)
    next(connection.parser)
