"""Requests to services whose addresses the operator has set: limited in time and size.

A client follows no redirect and keeps no cookie, so one user's answer has no effect on the next user's request. It
takes no proxy from the environment, which would see what is sent. It unpacks nothing, so no answer can grow.

It parses with h11. A connection is used again only if nothing came after an answer (RFC 9112 §9.2): what a confused
service has sent too much would otherwise answer the next user's request.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Self, cast
from urllib.parse import quote, urlsplit

import h11

KEEP_ALIVE_SECONDS = 2
"""Seconds that an idle connection stays open: fewer than at servers, so that no request meets a closing connection."""

MAX_HEAD_BYTES = 16 * 1024
"""The longest head of an answer."""

_ALLOWED = "/?%:@!$&'()*+,;=~"
"""What RFC 3986 allows in a path or a query, besides letters, digits and `-._`."""


class RequestFailed(Exception):
    """A service gave no answer, or a wrong one. The text says which, for the log."""


class NotConnected(RequestFailed):
    """A service could not be reached, so it has got nothing of the request."""


class RequestTimedOut(RequestFailed):
    """A service gave no complete answer in time."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    body: bytes


@dataclass(frozen=True)
class _Target:
    """Where requests go: an address to connect to, and the request's own words for it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    authority: bytes
    path: bytes

    @property
    def is_address(self) -> bool:
        """Return whether the host is an address, which needs no look-up."""
        try:
            ip_address(self.host)
        except ValueError:
            return False
        return True

    @classmethod
    def of(cls, url: str) -> Self:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port or (443 if secure else 80)
        literal = f"[{host}]" if ":" in host else host
        authority = literal if parts.port is None else f"{literal}:{port}"
        query = f"?{parts.query}" if parts.query else ""
        path = quote((parts.path or "/") + query, safe=_ALLOWED)
        return cls(host, port, _authorities() if secure else None, authority.encode(), path.encode())


class HttpClient:
    """Sends requests to one URL."""

    def __init__(self, url: str, *, max_connections: int) -> None:
        """More requests than `max_connections` at once wait for each other, within their time."""
        self._target = _Target.of(url)
        self._lookup: asyncio.Task[tuple[str, ...]] | None = None
        self._places = asyncio.Semaphore(max_connections)
        self._idle: list[_Connection] = []
        self._headers = [
            (b"host", self._target.authority),
            (b"user-agent", b"json-gateway"),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"identity"),
        ]

    async def request(
        self, method: str, *, headers: Mapping[str, str], body: bytes = b"", seconds: float, max_bytes: int
    ) -> Answer:
        """Return the answer of any status.

        Raise `RequestTimedOut` if it is not complete in time, `NotConnected` without a connection, and `RequestFailed`
        for no answer or one of over `max_bytes`.
        """
        head = h11.Request(
            method=method,
            target=self._target.path,
            headers=[*self._headers, *_encoded(headers), (b"content-length", b"%d" % len(body))],
        )
        try:
            async with asyncio.timeout(seconds), self._places:
                return await self._exchange(head, body, max_bytes)
        except TimeoutError:
            raise RequestTimedOut(f"no answer within {seconds:g} seconds") from None
        except (h11.ProtocolError, OSError) as error:
            raise RequestFailed(f"no answer: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the idle connections."""
        for connection in tuple(self._idle):
            connection.abort()

    async def _exchange(self, head: h11.Request, body: bytes, max_bytes: int) -> Answer:
        connection = self._pop_idle() or await self._connect()
        try:
            answer = await connection.exchange(head, body, max_bytes)
        except BaseException:
            connection.abort()
            raise
        if connection.finish():
            self._idle.append(connection)
        return answer

    def _pop_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "_Connection":
        """Connect to the first address of the host that answers."""
        try:
            *others, last = await self._addresses()
            for address in others:
                with suppress(OSError):
                    return await self._connect_to(address)
            return await self._connect_to(last)
        except OSError as error:
            raise NotConnected(f"no answer: {type(error).__name__}") from None

    async def _connect_to(self, address: str) -> "_Connection":
        target = self._target
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle),
            address,
            target.port,
            ssl=target.tls,
            server_hostname=target.host if target.tls else None,
        )
        return connection

    async def _addresses(self) -> tuple[str, ...]:
        """Return the addresses of the host. Requests at the same time share one look-up.

        A look-up keeps one of the process's few threads for it until the name server answers, even if its request has
        ended. So without this, one host whose name server hangs would stop the look-ups of all others.
        """
        if self._target.is_address:
            return (self._target.host,)
        if self._lookup is None:
            self._lookup = asyncio.create_task(self._look_up())
            self._lookup.add_done_callback(self._end_lookup)
        return await asyncio.shield(self._lookup)

    async def _look_up(self) -> tuple[str, ...]:
        found = await asyncio.get_running_loop().getaddrinfo(
            self._target.host, self._target.port, type=socket.SOCK_STREAM
        )
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))

    def _end_lookup(self, lookup: "asyncio.Task[tuple[str, ...]]") -> None:
        self._lookup = None
        if not lookup.cancelled():
            lookup.exception()  # so that asyncio does not report one that no request waits for


class _Connection(asyncio.Protocol):
    """One connection: one exchange at a time."""

    def __init__(self, idle: "list[_Connection]") -> None:
        self._idle = idle
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._status = 0
        self._body = bytearray()
        self._max_bytes = self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    async def exchange(self, head: h11.Request, body: bytes, max_bytes: int) -> Answer:
        """Send a request and return the answer. After an exception, the connection is of no use."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._answer = asyncio.get_running_loop().create_future()
        self._body, self._max_bytes, self._received = bytearray(), max_bytes, 0
        parts = (head, h11.Data(data=body), h11.EndOfMessage())
        assert self._transport is not None  # noqa: S101 - it is connected
        self._transport.write(b"".join([self._parser.send(part) or b"" for part in parts]))
        return await self._answer

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
        self._answer = None
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
        if self._answer is None or self._answer.done():
            self.abort()
            return
        self._received += len(data)
        self._read(data)

    def eof_received(self) -> None:
        """End an answer whose length is the end of the connection; any other one is incomplete."""
        self._read(b"")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail an exchange that has no whole answer."""
        self._fail(error or ConnectionResetError("the service has closed the connection"))
        self.abort()

    def _read(self, data: bytes) -> None:
        try:
            self._parser.receive_data(data)
            if self._received > 2 * self._max_bytes + MAX_HEAD_BYTES:
                raise self._too_long()  # also of one with many small chunks, or without an end of its head
            while (event := self._parser.next_event()) is not h11.NEED_DATA and self._take(event):
                pass
        except (RequestFailed, h11.ProtocolError) as error:
            self._fail(error)

    def _take(self, event: object) -> bool:
        """Take a part of the answer, and return whether another one may follow."""
        if isinstance(event, h11.Response):
            self._status = event.status_code
            if dict(event.headers).get(b"content-encoding", b"identity") != b"identity":
                raise RequestFailed("expected a plain body, got a compressed one")
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._max_bytes:
                raise self._too_long()
        elif isinstance(event, h11.EndOfMessage):
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(Answer(self._status, bytes(self._body)))
            return False
        return isinstance(event, h11.Response | h11.InformationalResponse | h11.Data)

    def _too_long(self) -> RequestFailed:
        return RequestFailed(f"expected at most {self._max_bytes} bytes, got more")

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@cache
def _authorities() -> ssl.SSLContext:
    """Return the context with the certificates of the machine, or of `SSL_CERT_FILE`. They take 50 ms to read."""
    import httpx2  # it knows where each system keeps them

    return httpx2.create_ssl_context()
