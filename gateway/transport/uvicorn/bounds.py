"""uvicorn's WebSocket protocol with a limit on the load that one client can cause.

Control frames, fragments and binary messages cost ten times as much as a whole text. uvicorn accepts any number of
them, as fast as they come, so a client that sends only those would delay all others. This module accepts 1,000 a
second, far more than any client needs. It closes the connection of a client that sends more, with `rate_abuse`. The
application may add limits that many connections share: the scope's `extensions` offer the `Allowance` as
`gateway.frames`.

The library's answer to a bad handshake would quote the handshake, tokens included. This module words that answer
without a quote.
"""

from functools import partial
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidMessage, SecurityError
from websockets.frames import Close as WireClose
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.server import ServerProtocol

from gateway.core.rate_limits import Allowance, TokenBucket
from gateway.transport import frames
from gateway.transport.uvicorn.lingering import LingeringTransport
from gateway.transport.uvicorn.plain_answers import plain_answer
from schemas.codes import Close

FRAMES_EXTENSION = "gateway.frames"

FRAMES_PER_SECOND = 1000
"""Pings, pongs, fragments and binary messages that one client may send at once, and per second from then on."""

COME_BACK_MS = 10_000

SLICE_BYTES = 1024
"""Bytes to parse before counting: a millisecond's work if they are the smallest frames."""

NO_CODE = 1005  # RFC 6455 §7.1.5: stands for a close frame without a code, and is never sent


class BoundedProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with a limit on frames that are not a whole text."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._frames_allowed = Allowance()
        self._frames_allowed.add(TokenBucket(FRAMES_PER_SECOND, FRAMES_PER_SECOND, self.loop.time()), "")

    def data_received(self, data: bytes) -> None:
        """Parse the bytes in slices, so that an excess is noticed early."""
        if isinstance(self.transport, LingeringTransport) and self.transport.is_closing():
            self.transport.discard(len(data))
            return
        if self.handshake_initiated and not self.handshake_complete:
            # RFC 6455 §4.1: a client waits for the answer. uvicorn would parse these bytes as frames, and fail.
            self.transport.abort()
            return
        for start in range(0, len(data), SLICE_BYTES):
            super().data_received(data[start : start + SLICE_BYTES])
            if self.transport.is_closing():
                return
        if not self.handshake_initiated and self.conn.handshake_exc is not None and not self.transport.is_closing():
            # uvicorn 0.54 would keep such a socket open for ever, without an answer.
            self.transport.write(_TOO_LONG if _is_too_long(self.conn.handshake_exc) else _UNREADABLE)
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """Answer a handshake."""
        self.conn.reject = partial(_reject, self.conn)  # type: ignore[method-assign]
        try:
            super().handle_connect(event)
        finally:
            del self.conn.reject
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            extensions: dict[str, Any] = self.scope["extensions"]  # for the application, which has not started yet
            extensions[FRAMES_EXTENSION] = self._frames_allowed

    def send_500_response(self) -> None:
        """Answer a handshake with 500 if it has no answer: at a stop, uvicorn 0.54 would fail at a second one."""
        if not self.conn.eof_sent:
            super().send_500_response()

    async def send(self, message: Any) -> None:
        """Send an ASGI event of the application."""
        if self.transport.is_closing() and not self.handshake_complete:
            # uvicorn 0.54 would drop the first event and log an error for the next.
            self.handshake_complete = True
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # uvicorn 0.54 would log an error for each handshake refused like this

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read the answers (RFC 6455 §5.5.3 lets a server skip some)."""
        if not self._allows_one():
            return
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # uvicorn would keep this answer in memory, and all that follow it

    def handle_pong(self, event: Any) -> None:
        """Handle a pong."""
        if self._allows_one():
            super().handle_pong(event)

    def handle_text(self, event: Any) -> None:
        """Handle a text or its first fragment."""
        if (event.fin and not self.close_sent) or self._allows_one():
            super().handle_text(event)

    def handle_bytes(self, event: Any) -> None:
        """Handle a binary message or its first fragment."""
        if self._allows_one():
            super().handle_bytes(event)

    def handle_cont(self, event: Any) -> None:
        """Handle a further fragment."""
        if self._allows_one():
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Close with the library's code. Answer a close frame between two fragments like any other close frame.

        RFC 6455 §5.4 allows control frames there, but `websockets` answers this one with 1002. A message that is too
        large gets the gateway's own reason.
        """
        sent, received = self.conn.close_sent, self.conn.close_rcvd
        if not self.close_sent and received is not None:
            self._answer_with(b"" if received.code == NO_CODE else received.serialize())
        elif not self.close_sent and sent is not None and sent.code == Close.TOO_LARGE.code:
            self._answer_with(WireClose(sent.code, Close.TOO_LARGE.reason).serialize())
        self._close_after_failure()

    def keepalive_timeout(self) -> None:
        """Close a connection that answers no ping, even if its unread bytes would delay the close."""
        if not self.close_sent and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"})
        super().keepalive_timeout()
        self._cut_if_unread()

    def _allows_one(self) -> bool:
        """Count a frame, and return whether to handle it."""
        if self.transport.is_closing():
            return False
        if self._frames_allowed.take(self.loop.time()) is None:
            return True
        self._close_for_abuse()
        return False

    def _close_for_abuse(self) -> None:
        if self.close_sent:
            self.transport.abort()  # it has the close frame, and still sends
            return
        if self.writable.is_set():
            self.transport.write(frames.bye(Close.RATE_ABUSE, COME_BACK_MS).wire)
        self.conn.fail(Close.RATE_ABUSE.code, Close.RATE_ABUSE.reason)
        self._close_after_failure()
        self._cut_if_unread()

    def _close_after_failure(self) -> None:
        """Send the close frame to a client that may still write, and close when it has had time to read it."""
        if not self.transport.is_closing():
            self.transport.write(b"")  # the answer to the handshake may still wait
            self.transport = LingeringTransport(self.transport, self.loop)
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
        super().handle_parser_exception()

    def _answer_with(self, payload: bytes) -> None:
        """Replace the library's close frame by one with this payload."""
        self.conn.data_to_send()
        self.conn.writes = [Frame(Opcode.CLOSE, payload).serialize(mask=False)]

    def _cut_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def _reject(connection: ServerProtocol, status: int, _: str) -> Response:
    """Refuse a handshake without quoting it."""
    header = getattr(connection.handshake_exc, "name", None)  # set if a header is missing or wrong
    what = f"its header {header} is missing or wrong" if header else f"it was refused with {HTTPStatus(status).phrase}"
    return ServerProtocol.reject(connection, status, f"expected a WebSocket handshake (RFC 6455 section 4.1); {what}\n")


def _is_too_long(error: Exception) -> bool:
    # Before version 17, `websockets` reported this as the cause.
    return not isinstance(error, InvalidMessage) or isinstance(error.__cause__, SecurityError)


# RFC 6585 §5
_TOO_LONG = plain_answer(
    "431 Request Header Fields Too Large", "this request has a line of over 8,192 bytes, or more than 128 headers\n"
)
_UNREADABLE = plain_answer(
    "400 Bad Request", "expected a WebSocket handshake (RFC 6455 section 4.1), which has no body\n"
)
