"""Requests to services whose addresses the operator has set: limited in time and size.

A client follows no redirect and keeps no cookie, so one user's answer has no effect on the next user's request. It
takes no proxy from the environment, which would see what is sent. It unpacks nothing, so no answer can grow.

`request` returns a whole answer. `stream` yields one as soon as its head is there, and its body can be read while it
comes. `http_connection` has what one connection does.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import h11

from gateway.core.http_connection import HttpConnection
from gateway.core.http_connection import RequestFailed as RequestFailed

T = TypeVar("T")

_ALLOWED = "/?%:@!$&'()*+,;=~"
"""What RFC 3986 allows in a path or a query, besides letters, digits and `-._`."""


class NotConnected(RequestFailed):
    """A service could not be reached, so it has got nothing of the request."""


class RequestTimedOut(RequestFailed):
    """A service gave no complete answer in time."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    body: bytes


class AnswerStream:
    """An answer with a head that is there, and a body that may still come."""

    def __init__(self, connection: HttpConnection, head: h11.Response, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self.status = head.status_code
        self.content_type = ", ".join(
            value.decode("latin-1") for name, value in head.headers if name == b"content-type"
        )

    async def read(self, seconds: float) -> bytes:
        """Return the bytes of the body that have come since the last call; none at its end.

        Raise `RequestTimedOut` if none come in time, and `RequestFailed` for a broken answer.
        """
        return await _within(asyncio.get_running_loop().time() + seconds, seconds, self._connection.read())

    async def read_all(self, deadline: float, max_bytes: int) -> bytes:
        """Return the rest of the body, or raise as `read` does, also for a body of over `max_bytes`."""
        if self._connection.has_ended:  # as most answers, which come in one piece
            return await self._connection.read_all(max_bytes)
        return await _within(deadline, self._seconds, self._connection.read_all(max_bytes))


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

    def __init__(self, url: str, *, max_connections: int, accept: str = "application/json") -> None:
        """More requests than `max_connections` at once wait for each other, within their time."""
        self._target = _Target.of(url)
        self._lookup: asyncio.Task[tuple[str, ...]] | None = None
        self._places = asyncio.Semaphore(max_connections)
        self._idle: list[HttpConnection] = []
        self._headers = [
            (b"host", self._target.authority),
            (b"user-agent", b"json-gateway"),
            (b"accept", accept.encode()),
            (b"accept-encoding", b"identity"),
        ]

    async def request(
        self, method: str, *, headers: Mapping[str, str], body: bytes = b"", seconds: float, max_bytes: int
    ) -> Answer:
        """Return the answer of any status.

        Raise `RequestTimedOut` if it is not complete in time, `NotConnected` without a connection, and `RequestFailed`
        for no answer or one of over `max_bytes`.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        return await _within(deadline, seconds, self._exchange(self._head(method, headers, body), body, max_bytes))

    @asynccontextmanager
    async def stream(
        self, method: str, *, headers: Mapping[str, str], body: bytes = b"", seconds: float
    ) -> AsyncIterator["AnswerStream"]:
        """Yield the answer of any status as soon as its head is there. At the end, cut one that was not read whole.

        Raise as `request` does; `seconds` is the time for the head.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        head = self._head(method, headers, body)
        connection, start = await _within(deadline, seconds, self._begin(head, body))
        with self._ending(connection):
            yield AnswerStream(connection, start, seconds)

    async def close(self) -> None:
        """Close the idle connections."""
        for connection in tuple(self._idle):
            connection.abort()

    def _head(self, method: str, headers: Mapping[str, str], body: bytes) -> h11.Request:
        return h11.Request(
            method=method,
            target=self._target.path,
            headers=[*self._headers, *_encoded(headers), (b"content-length", b"%d" % len(body))],
        )

    async def _exchange(self, head: h11.Request, body: bytes, max_bytes: int) -> Answer:
        connection, start = await self._begin(head, body)
        with self._ending(connection):
            return Answer(start.status_code, await connection.read_all(max_bytes))

    @contextmanager
    def _ending(self, connection: HttpConnection) -> Iterator[None]:
        """Keep the connection for another exchange if this one ends well, and free its place."""
        try:
            yield
        except BaseException:
            connection.abort()
            raise
        else:
            if connection.finish():
                self._idle.append(connection)
        finally:
            self._places.release()

    async def _begin(self, head: h11.Request, body: bytes) -> tuple[HttpConnection, h11.Response]:
        """Take a place, send a request, and return the head of its answer."""
        await self._places.acquire()
        connection = None
        try:
            connection = self._pop_idle() or await self._connect()
            connection.send(head, body)
            return connection, await connection.head()
        except BaseException:
            if connection is not None:
                connection.abort()
            self._places.release()
            raise

    def _pop_idle(self) -> "HttpConnection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    async def _connect(self) -> "HttpConnection":
        """Connect to the first address of the host that answers."""
        try:
            *others, last = await self._addresses()
            for address in others:
                with suppress(OSError):
                    return await self._connect_to(address)
            return await self._connect_to(last)
        except socket.gaierror:
            raise NotConnected(f"no address for the host {self._target.host}") from None
        except OSError as error:
            raise NotConnected(f"no answer: {type(error).__name__}") from None

    async def _connect_to(self, address: str) -> "HttpConnection":
        target = self._target
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: HttpConnection(self._idle),
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


async def _within(deadline: float, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what a part of an exchange returns, or raise `RequestFailed`, and after the deadline `RequestTimedOut`."""
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        raise RequestTimedOut(f"no answer within {seconds:g} seconds") from None
    except (h11.ProtocolError, OSError) as error:
        raise RequestFailed(f"no answer: {type(error).__name__}") from None


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@cache
def _authorities() -> ssl.SSLContext:
    """Return the context with the certificates of the machine, or of `SSL_CERT_FILE`. They take 50 ms to read."""
    import httpx2  # it knows where each system keeps them

    return httpx2.create_ssl_context()
