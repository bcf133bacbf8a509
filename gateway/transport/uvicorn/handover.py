"""Passes a connection from HTTP to WebSocket, with the request that is already parsed.

uvicorn writes the handshake out again, and `websockets` parses it a second time. That is a quarter of the work of a
handshake, and the second result stays in memory as long as the connection. This module passes a plain handshake on as
it is. A handshake with anything that might be refused goes through uvicorn, and is refused there.
"""

from collections.abc import Sequence

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

MAX_PLAIN_BYTES = 4096
MAX_PLAIN_HEADERS = 64
"""A longer request, or one with more headers, is not plain. `websockets` accepts twice as much of each."""

_OF_BODIES = (b"content-length", b"transfer-encoding")


def plain_request(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Request | None:
    """Return a GET request as `websockets` would have parsed it, or None if anything in it might be refused."""
    if len(url) > MAX_PLAIN_BYTES or len(headers) > MAX_PLAIN_HEADERS:
        return None
    taken = Headers()
    try:
        for name, value in headers:
            if name in _OF_BODIES or len(name) + len(value) > MAX_PLAIN_BYTES:
                return None
            # The parser has removed the white space before a value, but not after it (RFC 9110 §5.5).
            taken[name.decode("ascii")] = value.strip(b" \t").decode("ascii")
        return Request(url.decode("ascii"), taken)
    except (UnicodeDecodeError, InvalidHandshake):
        return None


def skip_request(connection: ServerProtocol) -> None:
    """Skip the request on a new connection, so that the parser expects the bytes after it."""
    connection.parser = Protocol.parse(connection)
    next(connection.parser)
