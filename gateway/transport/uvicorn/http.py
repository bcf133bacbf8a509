"""uvicorn's HTTP protocol with deadlines, and with strict rules for where a request ends.

uvicorn waits for ever for a request and for each of its parts, WebSocket handshakes included. It accepts a head of any
size, and any number of requests before it has answered one. Here, a complete request with its body must arrive within
a number of seconds after the connection was made. On a kept-alive connection, they count from the request's first byte.
A late request is answered with `408` (RFC 9110 §15.5.9), or with nothing if nothing came, and the connection closes. A
client that does not read its answer for as long loses its connection.

A request that becomes a WebSocket is passed on as it is parsed, if possible (see `handover`).

Security depends on where a message ends. If the gateway parsed as a request what a proxy takes for a body, later
answers would go to other clients. httptools ends each request with `Connection: Upgrade` at its head instead of after
its body. So this module parses a request again without its offer, if it offers anything but a WebSocket. A server may
ignore an offer (RFC 9110 §7.8). If the end of a request is in doubt, it is refused, and the connection closes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.core.client_info import network_of
from gateway.core.descriptors import MOST, record_refusal
from gateway.core.faults import contained
from gateway.transport.newcomers import NEWCOMERS, Newcomers
from gateway.transport.uvicorn.farewell import farewell, unavailable
from gateway.transport.uvicorn.first_bytes import FirstBytes
from gateway.transport.uvicorn.handover import Handshake, plain_handshake
from gateway.transport.uvicorn.lost_transport import LOST
from gateway.transport.uvicorn.plain_answers import plain_answer
from gateway.transport.uvicorn.websocket import GatewayProtocol
from schemas.codes import Close

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 65536
"""The size of a request line and headers, far beyond normal requests. Chunk sizes and trailers count too."""

SWEEP_SECONDS = 1

FAREWELL_SECONDS = 2
"""Seconds for a client that was sent away to close its connection."""

MAX_PIPELINED = 16
"""Requests of one connection that may wait for an earlier answer. Few clients send any before an answer."""


_TOO_SLOW = plain_answer("408 Request Timeout", "the request did not come in time\n")
_TOO_LONG = plain_answer(
    "431 Request Header Fields Too Large", f"expected a head of at most {MAX_HEAD_BYTES} bytes, got more\n"
)


_UNREADABLE = plain_answer("400 Bad Request", "expected an HTTP/1.1 request (RFC 9112), got something else\n")
_TOO_EARLY = plain_answer(
    "400 Bad Request",
    "expected a WebSocket handshake (RFC 6455 section 4.1), which has no body, and nothing before its answer\n",
)
_NO_TUNNEL = plain_answer("501 Not Implemented", "CONNECT is for proxies, and the gateway is no proxy\n")
_UNKNOWN_CODING = plain_answer("501 Not Implemented", "expected no Transfer-Encoding but chunked\n")
_UNKNOWN_VERSION = plain_answer("505 HTTP Version Not Supported", "expected HTTP/1.1 or HTTP/1.0\n")


_NO_ROOM = plain_answer("503 Service Unavailable", "the gateway has no room for one more connection; try again\n")


class _Refused(Exception):
    """Stops the parser from within one of its callbacks."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Deadlines:
    """Connections with a task that is due, in the order of their deadlines.

    One timer serves all of them. Without any, no timer runs.
    """

    def __init__(self, seconds: float, close: "Callable[[GuardedHttpProtocol], bool]", what: str) -> None:
        """Call `close` for a late connection; it returns whether it closed it. `what` names the task in the log."""
        self._seconds = seconds
        self._close = close
        self._what = what
        # All have equally long deadlines, so their order of arrival is the order of their deadlines.
        self._deadlines: dict[GuardedHttpProtocol, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, protocol: "GuardedHttpProtocol") -> None:
        """Start a connection's deadline, unless it runs already."""
        if protocol in self._deadlines:
            return
        self._deadlines[protocol] = protocol.loop.time() + self._seconds
        if self._timer is None:
            self._timer = protocol.loop.call_later(min(self._seconds, SWEEP_SECONDS), self._sweep, protocol.loop)

    def cancel(self, protocol: "GuardedHttpProtocol") -> None:
        """Cancel a connection's deadline: its task is done, or the connection is gone."""
        self._deadlines.pop(protocol, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        late = []
        for protocol, deadline in self._deadlines.items():
            if deadline > now:
                break
            late.append(protocol)
        closed = 0
        for protocol in late:
            with contained("handshakes"):
                self.cancel(protocol)
                closed += self._close(protocol)
        if closed:
            logger.info("closed %d connections that did not %s in %g s", closed, self._what, self._seconds)
        self._timer = None
        if self._deadlines:
            self._timer = loop.call_later(min(self._seconds, SWEEP_SECONDS), self._sweep, loop)


class HttpConnectionLimits:
    """Limits for the HTTP connections of a server: how many per address, and deadlines to send and to read."""

    def __init__(
        self,
        seconds: float,
        max_per_address: int,
        max_connections: int = MOST,
        *,
        is_proxy: Callable[[str], bool] | None = None,
    ) -> None:
        """Allow `max_per_address` connections for one address, and `max_connections` in all.

        0 means any number for an address. A proxy may have any number in any case.
        """
        self.max_connections = max_connections
        self.requests = Deadlines(seconds, _refuse_slow, "finish a request")
        self.answers = Deadlines(seconds, _cut_off, "read an answer")
        self.first_bytes = FirstBytes()
        self.farewells = Deadlines(FAREWELL_SECONDS, _abort, "close after a refusal")
        self._max_per_address = max_per_address
        self._is_proxy = is_proxy
        self._of_address: Counter[str] = Counter()

    def admit(self, protocol: "GuardedHttpProtocol") -> bool:
        """Count a connection until it is released, and return whether its address may have it."""
        address = protocol.address
        if 0 < self._max_per_address <= self._of_address[address] and not protocol.is_of_proxy:
            return False
        self._of_address[address] += 1
        return True

    def release(self, protocol: "GuardedHttpProtocol") -> None:
        """Stop counting a connection that is gone, or that has become a WebSocket, which other limits count."""
        self.requests.cancel(protocol)
        self.answers.cancel(protocol)
        self.farewells.cancel(protocol)
        self._of_address[protocol.address] -= 1
        if not self._of_address[protocol.address]:
            del self._of_address[protocol.address]

    def is_proxy(self, address: str) -> bool:
        """Return whether this is the address of a trusted proxy."""
        return self._is_proxy is not None and self._is_proxy(address)


def _refuse_slow(protocol: "GuardedHttpProtocol") -> bool:
    protocol.reject(_TOO_SLOW if protocol.has_begun else b"")
    return True


def _abort(protocol: "GuardedHttpProtocol") -> bool:
    protocol.transport.abort()
    return True


def _cut_off(protocol: "GuardedHttpProtocol") -> bool:
    if not protocol.transport.get_write_buffer_size():
        return False  # it has read everything since, which no event shows
    protocol.transport.abort()
    return True


class GuardedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with deadlines and limits."""

    def __init__(self, *args: Any, handshakes: HttpConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._handshakes = handshakes
        self._overhead = 0
        """Bytes of the current request that are not part of its body."""
        self._in_head = True
        self._offers_websocket: bool | None = None
        """Whether the current request does, as soon as that was asked: uvicorn asks several times."""
        self._again = b""
        """The head of a request without its upgrade, for the parser to read again."""
        self._first: bytes | None = None
        """The first bytes of the connection, while they wait to be parsed. None before they come."""
        self._newcomers: Newcomers | None = None
        """The other newcomers, while this one waits among them."""
        self._is_leaving = False
        """Whether the client has its last answer."""
        self._is_last_answer = False
        """Whether the next answer is the last one."""
        self.has_begun = False
        self._answering: RequestResponseCycle | None = None
        self._is_counted = False

    @property
    def address(self) -> str:
        """Return the client's address, as the limits count it."""
        return network_of(self.client[0]) if self.client else "unknown"

    @property
    def is_of_proxy(self) -> bool:
        """Return whether a trusted proxy has opened this connection."""
        return self._handshakes.is_proxy(self.client[0] if self.client else "")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count a new connection, and cut it if there are too many in all or from its address."""
        super().connection_made(transport)
        if len(self.connections) > self._handshakes.max_connections:
            record_refusal()
            self.reject(_NO_ROOM)
            return
        self._is_counted = self._handshakes.admit(self)
        if self._is_counted:
            self._handshakes.requests.start(self)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the answer in progress and the answers that wait for it.

        uvicorn 0.54 knows only the last request, and would write the answer to an earlier one to a closed socket.
        """
        self._release()
        self._first = b""
        if self._newcomers is not None:
            self._newcomers.leave(self)
            self._newcomers = None
        super().connection_lost(exc)
        self.transport = LOST
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
                cycle.transport = LOST
                cycle.message_event.set()
        self.pipeline.clear()
        self._answering = None

    def _release(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._handshakes.release(self)

    def pause_writing(self) -> None:
        """Pause the answer, and start the client's deadline to read on."""
        super().pause_writing()
        self._handshakes.answers.start(self)

    def resume_writing(self) -> None:
        """Continue the answer."""
        super().resume_writing()
        self._handshakes.answers.cancel(self)

    def on_response_complete(self) -> None:
        """Finish an answer. If the client has not read all of it yet, start its deadline."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._handshakes.answers.start(self)
        else:
            self._handshakes.answers.cancel(self)

    def close_after_answer(self) -> None:
        """Say with the next answer that the connection closes, so that a proxy sends nothing more on it."""
        self._is_last_answer = True
        if self._answering is not None:
            self._answering.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if self._is_last_answer:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Parse bytes from the socket now, or soon if many connections have sent their first ones."""
        if self._first is None:
            self._first = data
            newcomers = self._find_newcomers()
            at_once = 0 if newcomers is None else newcomers.at_once
            self._handshakes.first_bytes.parse(self._parse_first, at_once)
            return
        first, self._first = self._first, b""
        self._take(first + data)

    def _parse_first(self) -> None:
        first, self._first = self._first, b""
        if first:
            self._take(first)

    def _take(self, data: bytes) -> None:
        """Parse bytes, and refuse a head that is too long."""
        if self._is_leaving:
            return
        if self._newcomers is not None:
            self.reject(_TOO_EARLY)
            return
        self._unset_keepalive_if_required()
        self._handshakes.requests.start(self)
        self._overhead += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self.reject(cause.answer if isinstance(cause, _Refused) else _UNREADABLE)
        if self._overhead > MAX_HEAD_BYTES:
            self.reject(_TOO_LONG)

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                [end] = upgrade.args
            else:
                return
            if not self._again:
                self._begin_websocket(data[end:])
                return
            data, self._again = self._again + data[end:], b""
            self.parser = httptools.HttpRequestParser(self)  # this parser may regard the request as the last one
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _begin_websocket(self, early: bytes) -> None:
        if early:  # uvicorn would lose these bytes, and parse the next ones as the beginning of a frame
            self.reject(_TOO_EARLY)
            return
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.transport.abort()  # the answer to an earlier request would arrive in the middle of frames
            return
        newcomers = self._find_newcomers()
        if newcomers is None or self.ws_protocol_class is not GatewayProtocol:
            self.handle_websocket_upgrade()
        else:
            self._newcomers = newcomers
            newcomers.arrive(self)

    def _find_newcomers(self) -> Newcomers | None:
        found = self.app_state.get(NEWCOMERS)
        return found if isinstance(found, Newcomers) else None

    def begin_handshake(self) -> None:
        """Pass the connection on, in its turn."""
        newcomers, self._newcomers = self._newcomers, None
        try:
            self.handle_websocket_upgrade()
        finally:
            if newcomers is not None:
                self._finish_with(newcomers)

    def _finish_with(self, newcomers: Newcomers) -> None:
        """Let the handshake's end be counted."""
        protocol = self.transport.get_protocol()
        if isinstance(protocol, GatewayProtocol):
            protocol.on_handshake_end = newcomers.finish
        else:  # it was not passed on
            newcomers.finish()

    def send_away(self, close: Close, after_ms: int) -> None:
        """Refuse the request for a WebSocket in a form that its client can read, and close."""
        newcomers, self._newcomers = self._newcomers, None
        if self.transport.is_closing():
            return
        handshake = self._plain_handshake()
        if handshake is None or newcomers is None or newcomers.answers_http:
            self.reject(unavailable(after_ms))
            return
        # Half a close: after a whole one, a message from the client would destroy an answer that it has not read yet.
        self._is_leaving = True
        self.transport.write(farewell(handshake, close, after_ms))
        self.transport.write_eof()
        self._handshakes.farewells.start(self)

    def _plain_handshake(self) -> Handshake | None:
        if self.ws_protocol_class is not GatewayProtocol or self.scope["method"] != "GET":
            return None
        return plain_handshake(self.url, self.headers, compresses=self.config.ws_per_message_deflate)

    def _should_upgrade(self) -> bool:
        """Return whether the request offers a WebSocket and nothing else. Its head is complete."""
        if self._offers_websocket is None:
            # RFC 9110 §7.8: a server must ignore an offer in HTTP/1.0.
            self._offers_websocket = self.parser.get_http_version() == "1.1" and _upgrades(self.headers) == [
                b"websocket"
            ]
        return self._offers_websocket

    def on_message_begin(self) -> None:
        """Start a request at its first byte. If too many requests wait, cut the connection."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise _Refused(b"")
        self._in_head = True
        self._offers_websocket = None
        self.has_begun = True
        self._handshakes.requests.start(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check a complete head."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise _Refused(_UNKNOWN_VERSION)
        if method == b"CONNECT":
            raise _Refused(_NO_TUNNEL)
        if self.parser.should_upgrade():
            if not self._should_upgrade():
                self._again = _head_without_upgrade(method, self.url, version, self.headers)
                return
        elif _has_unknown_coding(self.headers):
            raise _Refused(_UNKNOWN_CODING)
        super().on_headers_complete()
        self._in_head = False
        if not self.parser.should_upgrade():
            # The fields of a trailer are not headers (RFC 9110 §6.5.1), but uvicorn would add them to these.
            self.headers = []

    def on_body(self, body: bytes) -> None:
        """Handle a part of a body."""
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Finish a request: the client has sent all of it."""
        if self._again:
            return
        self._handshakes.requests.cancel(self)
        self._overhead = 0
        self._in_head = True
        self.has_begun = False
        super().on_message_complete()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not self.parser.should_upgrade():  # type: ignore[redundant-expr]
            # The answer came before all of the request. uvicorn has unset the timer since, and would not set it again.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection on to the WebSocket protocol."""
        handshake = self._plain_handshake()
        if handshake is None:
            super().handle_websocket_upgrade()
        else:
            self._hand_over(handshake)
        self._release()
        # The parser refers to this protocol, and would keep it in memory until a garbage collection.
        self.parser = None  # type: ignore[assignment] # as uvicorn has it after a request

    def _hand_over(self, handshake: Handshake) -> None:
        self.connections.discard(self)
        protocol = GatewayProtocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.connection_made(self.transport)
        protocol.start(handshake)
        self.transport.set_protocol(protocol)

    def reject(self, refusal: bytes) -> None:
        """Answer an incomplete request and close. Omit the answer if it would be taken for another request's."""
        if self.transport.is_closing():
            return
        if self._may_answer():
            self.transport.write(refusal)
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # a client that does not read would keep it open

    def _may_answer(self) -> bool:
        """Return whether the next answer belongs to the request that is being read."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:  # type: ignore[redundant-expr]
            return self._in_head  # otherwise this is the rest of a body that has its answer already
        return not (self._in_head or self.pipeline or cycle.response_started)


def _upgrades(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [value.strip(b" \t").lower() for name, value in headers if name == b"upgrade"]


def _has_unknown_coding(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a body has a coding that the gateway cannot decode, although the parser knows its end."""
    return any(name == b"transfer-encoding" and value.strip(b" \t").lower() != b"chunked" for name, value in headers)


def _head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), b"".join(lines))


def supported() -> bool:
    """Return whether the installed uvicorn has everything that this module depends on."""
    overridden = (
        "connection_made",
        "connection_lost",
        "_start_asgi_task",
        "data_received",
        "on_message_begin",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "handle_websocket_upgrade",
        "_should_upgrade",
        "_unset_keepalive_if_required",
        "timeout_keep_alive_handler",
        "pause_writing",
        "resume_writing",
        "on_response_complete",
    )
    # The code of the constructor names the attributes that it sets.
    used = {"client", "cycle", "loop", "parser", "transport", "scope", "headers", "ws_protocol_class"}
    used |= {"config", "server_state", "app_state", "connections", "pipeline"}
    used |= {"timeout_keep_alive", "timeout_keep_alive_task"}
    return (
        all(hasattr(HttpToolsProtocol, name) for name in overridden)
        and used <= set(HttpToolsProtocol.__init__.__code__.co_names)
        and {"url", "headers"} <= set(HttpToolsProtocol.on_message_begin.__code__.co_names)
    )
