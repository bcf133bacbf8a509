"""The last answer to a newcomer that the node has no time for: it accepts the WebSocket, and closes it with a `bye`.

A browser, Postman and a phone cannot read the body of a refused upgrade. This costs a small part of a handshake in the
application, so the node can send away many more clients than it can take.
"""

import math

from websockets.frames import Close as WireClose
from websockets.frames import Frame, Opcode

from gateway.transport import frames
from gateway.transport.subprotocols import subprotocol_of_refusal
from gateway.transport.uvicorn.handover import Handshake
from schemas.codes import Close, Status
from schemas.errors import ErrorBody


def farewell(handshake: Handshake, close: Close, after_ms: int) -> bytes:
    """Return the whole answer to a plain handshake."""
    subprotocol = subprotocol_of_refusal(handshake.subprotocols)
    headers = [] if subprotocol is None else [(b"Sec-WebSocket-Protocol", subprotocol.encode())]
    last = Frame(Opcode.CLOSE, WireClose(close.code, close.reason).serialize()).serialize(mask=False)
    return b"".join((handshake.answer(headers), frames.bye(close, after_ms).wire, last))


def unavailable(after_ms: int) -> bytes:
    """Return an HTTP answer that refuses a handshake for a while, in the form of the HTTP API's errors."""
    status = Status.UNAVAILABLE
    message = "the gateway has no time for one more connection"
    body = ErrorBody(status=status, name=status.name.lower(), message=message, retryable=True, retry_after_ms=after_ms)
    content = frames.json(body)
    return _UNAVAILABLE % (math.ceil(after_ms / 1000), len(content), content)


_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: %d\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
