"""uvicorn's HTTP protocol, with a deadline: no client holds a socket by not finishing what it has begun to say.

uvicorn waits for ever for a request and for each of its parts, WebSocket handshakes included. It takes a head of any
size, and any number of requests before it has answered one. Here a request has to be there, body and all, so many
seconds after the connection was made. On a connection that is kept alive, they count from its first byte. A late one
is answered with `408` (RFC 9110 §15.5.9), or with nothing where nothing came, and the connection ends. A client that
does not read its answer for as long is cut off.

A request that becomes a WebSocket is handed over as it has been parsed, where that can be (`handover`).

Where a message ends is a matter of security: what a proxy takes for a body must never be parsed as a request, or
the answers that follow go to other clients. httptools takes each request with `Connection: Upgrade` to end at its head,
and not after its body. Here a request that offers anything but a WebSocket is parsed again without its offer, which
a server may ignore (RFC 9110 §7.8). What cannot be framed without doubt is refused, and the connection closed.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from websockets.http11 import Request

from gateway.core.client_info import network_of
from gateway.core.descriptors import MOST, record_refusal
from gateway.core.faults import contained
from gateway.transport.uvicorn.handover import plain_request
from gateway.transport.uvicorn.lost_transport import LOST
from gateway.transport.uvicorn.plain_answers import plain_answer
from gateway.transport.uvicorn.websocket import GatewayProtocol

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 65536
"""Room for a request line and headers far beyond what clients and proxies send; chunk sizes and trailers count too."""

SWEEP_SECONDS = 1

MAX_PIPELINED = 16
"""Requests of one connection that may wait for the answer to another. Few clients send any before that has come."""


_TOO_SLOW = plain_answer("408 Request Timeout", "the request did not come in time\n")
_TOO_LONG = plain_answer(
    "431 Request Header Fields Too Large", f"the head of this request is longer than {MAX_HEAD_BYTES} bytes\n"
)


_UNREADABLE = plain_answer("400 Bad Request", "expected a request of HTTP/1.1 (RFC 9112), got something else\n")
_TOO_EARLY = plain_answer(
    "400 Bad Request",
    "expected a WebSocket handshake (RFC 6455 section 4.1), which has no body, and nothing before its answer\n",
)
_NO_TUNNEL = plain_answer("501 Not Implemented", "CONNECT is for proxies, and the gateway is none\n")
_UNKNOWN_CODING = plain_answer("501 Not Implemented", "expected no Transfer-Encoding but chunked\n")
_UNKNOWN_VERSION = plain_answer("505 HTTP Version Not Supported", "expected HTTP/1.1 or HTTP/1.0\n")


_NO_ROOM = plain_answer("503 Service Unavailable", "the gateway has no room for one more connection; try again\n")


class _Refused(Exception):
    """Ends the parser from within one of its callbacks."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Deadlines:
    """Connections of which something is due, in the order in which their time is up.

    One timer for all of them, and none while there are none.
    """

    def __init__(self, seconds: float, close: "Callable[[GuardedHttpProtocol], bool]", what: str) -> None:
        """`close` closes one that is late, and returns whether it had to; `what` words in the log what was not done."""
        self._seconds = seconds
        self._close = close
        self._what = what
        # All have the same time, so the order in which they came is that of their deadlines.
        self._deadlines: dict[GuardedHttpProtocol, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, protocol: "GuardedHttpProtocol") -> None:
        """Start a connection's time, if it does not run already."""
        if protocol in self._deadlines:
            return
        self._deadlines[protocol] = protocol.loop.time() + self._seconds
        if self._timer is None:
            self._timer = protocol.loop.call_later(min(self._seconds, SWEEP_SECONDS), self._sweep, protocol.loop)

    def cancel(self, protocol: "GuardedHttpProtocol") -> None:
        """Note that a connection has done what was due, or is gone."""
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
    """The HTTP connections of a server: how many an address has, what they have not said yet and what not read."""

    def __init__(
        self,
        seconds: float,
        max_per_address: int,
        max_connections: int = MOST,
        *,
        is_proxy: Callable[[str], bool] | None = None,
    ) -> None:
        """`max_per_address` bounds the connections of one address; 0 for any number, as a proxy may have in any case.

        `max_connections` bounds all, for good.
        """
        self.max_connections = max_connections
        self.requests = Deadlines(seconds, _refuse_slow, "finish a request")
        self.answers = Deadlines(seconds, _cut_off, "read an answer")
        self._max_per_address = max_per_address
        self._is_proxy = is_proxy
        self._of_address: Counter[str] = Counter()

    def admit(self, protocol: "GuardedHttpProtocol") -> bool:
        """Count a connection until `release`; returns whether its address may have one more."""
        address = protocol.address
        if 0 < self._max_per_address <= self._of_address[address] and not self._is_of_proxy(protocol):
            return False
        self._of_address[address] += 1
        return True

    def release(self, protocol: "GuardedHttpProtocol") -> None:
        """Count out a connection that is gone, or has become a WebSocket, which is counted elsewhere."""
        self.requests.cancel(protocol)
        self.answers.cancel(protocol)
        self._of_address[protocol.address] -= 1
        if not self._of_address[protocol.address]:
            del self._of_address[protocol.address]

    def _is_of_proxy(self, protocol: "GuardedHttpProtocol") -> bool:
        return self._is_proxy is not None and self._is_proxy(protocol.client[0] if protocol.client else "")


def _refuse_slow(protocol: "GuardedHttpProtocol") -> bool:
    protocol.reject(_TOO_SLOW if protocol.has_begun else b"")
    return True


def _cut_off(protocol: "GuardedHttpProtocol") -> bool:
    if not protocol.transport.get_write_buffer_size():
        return False  # it has read all meanwhile, which no event shows
    protocol.transport.abort()
    return True


class GuardedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the deadline."""

    def __init__(self, *args: Any, handshakes: HttpConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._handshakes = handshakes
        self._overhead = 0
        """How many bytes have come for the request that are not of its body."""
        self._in_head = True
        self._again = b""
        """The head of a request that the parser is to read again, without the upgrade that it ended at."""
        self.has_begun = False
        self._answering: RequestResponseCycle | None = None
        self._is_counted = False

    @property
    def address(self) -> str:
        """Whose connection it is, as limits count it."""
        return network_of(self.client[0]) if self.client else "unknown"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one too many of its address is cut off."""
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
        """End. The answer that is under way is dropped, and so are the ones that wait for it.

        uvicorn 0.54 only knows of the last request, and would write the answer to one before it into a dead socket.
        """
        self._release()
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
        """Have the answer wait for the client, which has its time to read on."""
        super().pause_writing()
        self._handshakes.answers.start(self)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._handshakes.answers.cancel(self)

    def on_response_complete(self) -> None:
        """Take the end of an answer; where the kernel has no room for it, the client has its time to read it."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._handshakes.answers.start(self)
        else:
            self._handshakes.answers.cancel(self)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket, as long as the head they belong to is not too long."""
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
            self.parser = httptools.HttpRequestParser(self)  # this one may have taken the request for the last
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _begin_websocket(self, early: bytes) -> None:
        if early:  # uvicorn would lose it, and take what comes next for the beginning of a frame
            self.reject(_TOO_EARLY)
        else:
            self.handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        """Return whether a request that offers an upgrade offers a WebSocket, and nothing else."""
        # An offer in HTTP/1.0 is to be ignored (RFC 9110 §7.8).
        return self.parser.get_http_version() == "1.1" and _upgrades(self.headers) == [b"websocket"]

    def on_message_begin(self) -> None:
        """Take the first byte of a request; one too many of those that wait cuts the connection off."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise _Refused(b"")
        self._in_head = True
        self.has_begun = True
        self._handshakes.requests.start(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the end of a head."""
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
            # The fields of a trailer are no headers (RFC 9110 §6.5.1), and uvicorn would add them to these.
            self.headers = []

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request: what happens from here on is up to us."""
        if self._again:
            return
        self._handshakes.requests.cancel(self)
        self._overhead = 0
        self._in_head = True
        self.has_begun = False
        super().on_message_complete()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not self.parser.should_upgrade():  # type: ignore[redundant-expr]
            # It was answered before all of it had come. uvicorn has unset the timer since, and would leave it so.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to the WebSocket protocol."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.transport.abort()  # the answer to the request before this one would come in the middle of frames
            return
        request = None
        if self.ws_protocol_class is GatewayProtocol and self.scope["method"] == "GET":
            request = plain_request(self.url, self.headers)
        if request is None:
            super().handle_websocket_upgrade()
        else:
            self._hand_over(request)
        self._release()
        # The parser has this protocol, and would keep it until the garbage collector comes.
        self.parser = None  # type: ignore[assignment] # as uvicorn has it after a request

    def _hand_over(self, request: Request) -> None:
        self.connections.discard(self)
        protocol = GatewayProtocol(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.connection_made(self.transport)
        protocol.start_from_request(request)
        self.transport.set_protocol(protocol)

    def reject(self, refusal: bytes) -> None:
        """Answer a request that will never be, unless that would be taken for another one's answer, and close."""
        if self.transport.is_closing():
            return
        if self._may_answer():
            self.transport.write(refusal)
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # who does not read would keep it open

    def _may_answer(self) -> bool:
        """Return whether the next answer is due to the request that is being read."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:  # type: ignore[redundant-expr]
            return self._in_head  # or this is the rest of a body, whose request has been answered
        return not (self._in_head or self.pipeline or cycle.response_started)


def _upgrades(headers: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    return [value.strip(b" \t").lower() for name, value in headers if name == b"upgrade"]


def _has_unknown_coding(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return whether a body is in a coding that we cannot undo, although the parser knows where it ends."""
    return any(name == b"transfer-encoding" and value.strip(b" \t").lower() != b"chunked" for name, value in headers)


def _head_without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), b"".join(lines))


def supported() -> bool:
    """Tell whether the installed uvicorn is as this module takes it to be."""
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
    # What its constructor sets can be read from its code.
    used = {"client", "cycle", "loop", "parser", "transport", "scope", "headers", "ws_protocol_class"}
    used |= {"config", "server_state", "app_state", "connections", "pipeline"}
    used |= {"timeout_keep_alive", "timeout_keep_alive_task"}
    return (
        all(hasattr(HttpToolsProtocol, name) for name in overridden)
        and used <= set(HttpToolsProtocol.__init__.__code__.co_names)
        and {"url", "headers"} <= set(HttpToolsProtocol.on_message_begin.__code__.co_names)
    )
