"""One connection to a service: one exchange of HTTP/1.1 at a time, parsed with h11.

A connection is used again only if nothing came after an answer (RFC 9112 §9.2): what a confused service has sent too
much would otherwise answer the next user's request.

A body that is read more slowly than it comes waits at the service: no more than `MAX_UNREAD_BYTES` and one read of the
socket wait here.
"""

import asyncio
import select
from typing import cast

import h11

KEEP_ALIVE_SECONDS = 2
"""Seconds that an idle connection stays open: fewer than at servers, so that no request meets a closing connection."""

MAX_HEAD_BYTES = 16 * 1024
"""The longest head of an answer."""

MAX_UNREAD_BYTES = 64 * 1024
"""The bytes of a body that may wait to be read, before the connection reads no more."""


class RequestFailed(Exception):
    """A service gave no answer, or a wrong one. The text says which, for the log."""


class HttpConnection(asyncio.Protocol):
    """A connection. After an exception, it is of no use."""

    def __init__(self, idle: "list[HttpConnection]") -> None:
        """`idle` has the connections of the same client that have no exchange."""
        self._idle = idle
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._is_busy = False
        self._head: h11.Response | None = None
        self._body = bytearray()
        self.has_ended = False
        """Whether all of the answer has come."""
        self._is_paused = False
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None
        """What waits for more of the answer."""
        self._max_bytes: int | None = None
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, head: h11.Request, body: bytes) -> None:
        """Begin an exchange: send a request."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._is_busy = True
        self._head, self._body, self.has_ended = None, bytearray(), False
        self._max_bytes, self._received = None, 0
        parts = (head, h11.Data(data=body), h11.EndOfMessage())
        assert self._transport is not None  # noqa: S101 - it is connected
        self._transport.write(b"".join([self._parser.send(part) or b"" for part in parts]))

    async def head(self) -> h11.Response:
        """Return the head of the answer, or raise `RequestFailed`, `h11.ProtocolError` or `OSError`."""
        while self._head is None:
            await self._more()
        return self._head

    async def read(self) -> bytes:
        """Return the bytes of the body that have come, at least one; none at its end. Raise as `head` does."""
        while not self._body and not self.has_ended:
            await self._more()
        data, self._body = bytes(self._body), bytearray()
        if self._is_paused and self._transport is not None and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def read_all(self, max_bytes: int) -> bytes:
        """Return the rest of the body. Raise as `head` does, and `RequestFailed` for one of over `max_bytes`."""
        self._max_bytes = max_bytes
        self._check_size()
        whole = bytearray()
        while data := await self.read():
            whole += data
            if len(whole) > max_bytes:
                raise too_long(max_bytes)
        return bytes(whole)

    def is_quiet(self) -> bool:
        """Return whether nothing has come since the last answer.

        Some services close a connection right after it, which the event loop may not have seen yet.
        """
        assert self._transport is not None  # noqa: S101 - it is connected
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._transport.is_closing() and not poll.poll(0)

    def finish(self) -> bool:
        """Return whether the connection is good for another exchange, or else close it."""
        transport, parser = self._transport, self._parser
        self._is_busy = False
        states = parser.our_state, parser.their_state
        # Bytes that wait in either direction belong to no other exchange.
        unread, unsent = parser.trailing_data[0], transport is not None and transport.get_write_buffer_size()
        if transport is None or transport.is_closing() or states != (h11.DONE, h11.DONE) or unread or unsent:
            self.abort()
            return False
        parser.start_next_cycle()
        self._expiry = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, self.abort)
        return True

    def abort(self) -> None:
        """Cut the connection, and forget it if it is idle."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self in self._idle:
            self._idle.remove(self)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read the answer. Nothing may come without a request."""
        if not self._is_busy or self.has_ended or self._error is not None:
            self.abort()
            return
        self._received += len(data)
        self._read(data)

    def eof_received(self) -> None:
        """End an answer that has the connection's end as its length; any other one is incomplete."""
        self._read(b"")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail an exchange that has no whole answer."""
        self._fail(error or ConnectionResetError("the service has closed the connection"))
        self.abort()

    def _read(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
            while (event := self._parser.next_event()) is not h11.NEED_DATA and self._take(event):
                pass
            self._check_size()
        except (RequestFailed, h11.ProtocolError) as error:
            self._fail(error)
        if len(self._body) > MAX_UNREAD_BYTES and not self.has_ended and not self._is_paused:
            assert self._transport is not None  # noqa: S101 - it is connected
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def _take(self, event: object) -> bool:
        """Take a part of the answer, and return whether another one may follow."""
        if isinstance(event, h11.Response):
            self._head = event
            if dict(event.headers).get(b"content-encoding", b"identity") != b"identity":
                raise RequestFailed("expected a plain body, got a compressed one")
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self.has_ended = True
            return False
        return isinstance(event, h11.Response | h11.InformationalResponse | h11.Data)

    def _check_size(self) -> None:
        """Raise for an endless head, and for more bytes than a body of this length can take, as with tiny chunks."""
        if self._head is None and self._received > MAX_HEAD_BYTES:
            raise too_long(MAX_HEAD_BYTES)
        if self._max_bytes is not None and self._received > 2 * self._max_bytes + MAX_HEAD_BYTES:
            raise too_long(self._max_bytes)

    async def _more(self) -> None:
        """Wait until more of the answer has come, or raise the reason why none will."""
        if self._error is not None:
            raise self._error
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.has_ended and self._error is None:
            self._error = error
            self._wake()


def too_long(max_bytes: int) -> RequestFailed:
    """Return the failure of an answer that is longer than this."""
    return RequestFailed(f"expected at most {max_bytes} bytes, got more")
