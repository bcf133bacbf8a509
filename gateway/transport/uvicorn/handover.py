"""The step from HTTP to WebSocket, with the request as it has been parsed.

uvicorn writes a handshake out again, to have `websockets` parse it a second time. That takes a quarter of what the two
need for a handshake, and what the second parse has found stays in memory for as long as the connection. Here a plain
handshake is handed over as it is. One with anything to refuse goes uvicorn's way, and is refused there.
"""

from collections.abc import Sequence

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

MAX_PLAIN_BYTES = 4096
MAX_PLAIN_HEADERS = 64
"""What is longer or more is not plain. `websockets` takes lines of twice that, and twice as many."""

_OF_BODIES = (b"content-length", b"transfer-encoding")


def plain_request(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Request | None:
    """Give a GET request as `websockets` would have parsed it, or None if it may have something to refuse."""
    if len(url) > MAX_PLAIN_BYTES or len(headers) > MAX_PLAIN_HEADERS:
        return None
    taken = Headers()
    try:
        for name, value in headers:
            if name in _OF_BODIES or len(name) + len(value) > MAX_PLAIN_BYTES:
                return None
            # Of the white space around a value, the parser has left what comes after it (RFC 9110 §5.5).
            taken[name.decode("ascii")] = value.strip(b" \t").decode("ascii")
        return Request(url.decode("ascii"), taken)
    except (UnicodeDecodeError, InvalidHandshake):
        return None


def skip_request(connection: ServerProtocol) -> None:
    """Have a connection that has read nothing yet go on with what comes after its request."""
    connection.parser = Protocol.parse(connection)
    next(connection.parser)
