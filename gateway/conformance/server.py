"""A server in front of the gateway. It passes every message, except where a story makes it misbehave."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.conformance.journal import Journal

MAX_BYTES = 16 * 1024 * 1024
PASSED_HEADERS = ("Authorization", "Cookie")
TEXT_HEAD = 0x81
ANSWERS = ("reply", "error", "chunk")

Frame = dict[str, Any]


@dataclass
class Fault:
    """What the server does to the next messages or events of a type, or to their answers."""

    type: str
    do: str
    times: int = 1
    ms: float = 0
    frame: Frame = field(default_factory=dict)

    def takes(self, type_: object) -> bool:
        """Return whether this is for a frame of such a type, and count it."""
        if self.times <= 0 or self.type not in (type_, "*"):
            return False
        self.times -= 1
        return True


@dataclass
class Refusal:
    """What the server answers to the next upgrades."""

    status: int | None
    times: int
    body: str = ""
    frames: list[Frame] = field(default_factory=list)
    code: int = 1008
    reason: str = ""


class Link(ServerConnection):
    """A client's connection. While it is mute, the client gets nothing at all, not even a pong."""

    mute = False
    number = 0
    upstream: ClientConnection | None = None
    refusal: Refusal | None = None
    closed_by = "client"

    def send_data(self) -> None:
        """Send what waits, or drop it."""
        if not self.mute:
            super().send_data()
            return
        for _ in self.protocol.data_to_send():
            pass

    def garble(self) -> None:
        """Send a text frame of bytes that are no UTF-8."""
        self.transport.write(_head(2) + b"\xff\xfe")

    def end(self) -> None:
        """End the connection at once, with the story."""
        if hasattr(self, "transport"):
            self.transport.abort()

    def cut(self, text: str | None = None) -> None:
        """End the connection without a close frame. With a text, half of it comes before."""
        self.closed_by = "server"
        if text is None:
            self.transport.abort()
            return
        payload = text.encode()
        self.transport.write(_head(len(payload)) + payload[: len(payload) // 2])
        self.transport.close()


class UnreliableServer:
    """Serves WebSockets on a free port of this machine, each with a connection of its own to the gateway."""

    def __init__(self, gateway_url: Callable[[], str], journal: Journal) -> None:
        self._gateway_url = gateway_url
        self._journal = journal
        self._links: list[Link] = []
        self._made: list[Link] = []
        """All connections, also without a request yet, and after the server has let go."""
        self._numbers = 0
        self._last_end = time.monotonic()
        self._answers: dict[tuple[int, str], Fault] = {}
        self._held: list[str] = []
        self._ended = asyncio.Event()
        self.faults: list[Fault] = []
        self.refusals: list[Refusal] = []
        self.idle_seconds: float | None = None
        """After how long a silence of the client the server ends the connection, as some proxies do."""
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the end."""
        async with serve(
            self._handle,
            "127.0.0.1",
            0,
            create_connection=self._make_link,  # type: ignore[arg-type] # it is called, and nothing else
            process_request=self._process_request,
            select_subprotocol=_selected,
            compression=None,
            ping_interval=None,
            max_size=MAX_BYTES,
            close_timeout=1,
        ) as server:
            host, port = next(iter(server.sockets)).getsockname()
            self.url = f"ws://{host}:{port}"
            try:
                yield
            finally:
                self._ended.set()
                server.close(close_connections=False)
                for link in self._made:
                    link.end()
                await asyncio.sleep(0)  # the transports close in the next turn of the loop

    @property
    def link(self) -> Link:
        """Return the newest connection."""
        return self._links[-1]

    async def send(self, text: str | bytes) -> None:
        """Send the client a frame that is not the gateway's."""
        await self._send(self.link, text)

    async def close(self, code: int, reason: str, bye: Frame | None = None) -> None:
        """Close the newest connection, with `bye` before if it is there."""
        link = self.link
        if bye is not None:
            await self._send(link, json.dumps({"type": "bye", "data": bye}))
        link.closed_by = "server"
        await link.close(code, reason)

    def _make_link(self, *parts: Any, **options: Any) -> Link:
        self._made.append(Link(*parts, **options))
        return self._made[-1]

    async def _process_request(self, link: Any, request: Request) -> Response | None:
        self._numbers += 1
        link.number = self._numbers
        self._note_connection(link, request)
        refusal = self._refusal()
        if refusal is not None and refusal.status is not None:
            return _response(link, refusal)
        if refusal is not None and not refusal.frames and not refusal.reason:
            link.mute = True
            await self._ended.wait()
            return link.respond(503, "")  # type: ignore[no-any-return]
        if refusal is not None:
            link.refusal = refusal
            return None
        return await self._connect(link, request)

    def _refusal(self) -> Refusal | None:
        for refusal in self.refusals:
            if refusal.times > 0:
                refusal.times -= 1
                return refusal
        return None

    async def _connect(self, link: Link, request: Request) -> Response | None:
        """Connect to the gateway with the same request, or return its refusal."""
        subprotocols = [Subprotocol(each) for each in _subprotocols(request)]
        headers = {name: request.headers[name] for name in PASSED_HEADERS if name in request.headers}
        try:
            link.upstream = await connect(
                self._gateway_url() + request.path,
                subprotocols=subprotocols or None,
                additional_headers=headers,
                compression=None,
                proxy=None,
                ping_interval=None,
                max_size=MAX_BYTES,
            )
        except InvalidStatus as refused:
            return link.respond(refused.response.status_code, (refused.response.body or b"").decode())
        except (OSError, InvalidHandshake):
            return link.respond(502, "the gateway is away")
        return None

    async def _handle(self, link: Any) -> None:
        self._links.append(link)
        try:
            if link.refusal is not None:
                await self._refuse(link, link.refusal)
            else:
                await self._relay(link, link.upstream)
        finally:
            self._last_end = time.monotonic()
            code, reason = link.close_code, link.close_reason
            self._journal.add("closed", n=link.number, code=code, reason=reason, by=link.closed_by)

    async def _refuse(self, link: Link, refusal: Refusal) -> None:
        with suppress(ConnectionClosed):
            for frame in refusal.frames:
                await link.send(json.dumps(frame))
        link.closed_by = "server"
        await link.close(refusal.code, refusal.reason)

    async def _relay(self, link: Link, upstream: ClientConnection) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                down = group.create_task(self._from_gateway(link, upstream))
                await self._from_client(link, upstream)
                down.cancel()
        finally:
            if not link.mute and link.closed_by == "client":
                await upstream.close(*_sendable(link.close_code, link.close_reason))
            upstream.transport.abort()

    async def _from_client(self, link: Link, upstream: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                try:
                    async with asyncio.timeout(self.idle_seconds):
                        received = await link.recv()
                except TimeoutError:
                    link.cut()
                    return
                text = received if isinstance(received, str) else received.decode(errors="replace")
                frame = _frame(text)
                self._journal.add("frame", n=link.number, text=text, **frame)
                self._note_login(link, frame)
                if not link.mute:
                    await self._pass_up(link, upstream, text, frame)

    async def _pass_up(self, link: Link, upstream: ClientConnection, text: str, frame: Frame) -> None:
        fault = self._fault(frame.get("type"))
        if fault is None:
            await upstream.send(text)
        elif fault.do == "drop":
            link.cut()
        elif fault.do == "answer":
            await self._send(link, json.dumps({"id": frame.get("id")} | fault.frame))
        elif fault.do != "ignore":
            self._answers[link.number, json.dumps(frame.get("id"))] = fault
            await upstream.send(text)

    def _fault(self, type_: object) -> Fault | None:
        return next((fault for fault in self.faults if fault.takes(type_)), None)

    async def _from_gateway(self, link: Link, upstream: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self._pass_down(link, await upstream.recv(decode=True))
        if link.mute:
            return
        link.closed_by = "gateway"
        code, reason = _sendable(upstream.close_code, upstream.close_reason)
        await link.close(code, reason)

    async def _pass_down(self, link: Link, text: str) -> None:
        frame = _frame(text)
        if frame.get("type") in ANSWERS:
            fault = self._answers.pop((link.number, json.dumps(frame.get("id"))), None)
        else:
            fault = self._fault(frame.get("type"))
        await FAULTS[fault.do if fault else "pass"](self, link, text, fault or Fault("", "pass"))

    async def _send(self, link: Link, text: str | bytes) -> None:
        with suppress(ConnectionClosed):
            if not link.mute:
                await link.send(text)

    async def _pass(self, link: Link, text: str, _: Fault) -> None:
        await self._send(link, text)
        while self._held:
            await self._send(link, self._held.pop())

    async def _ignore(self, link: Link, text: str, _: Fault) -> None:
        """Keep it from the client."""

    async def _twice(self, link: Link, text: str, _: Fault) -> None:
        await self._send(link, text)
        await self._send(link, text)

    async def _delay(self, link: Link, text: str, fault: Fault) -> None:
        asyncio.get_running_loop().call_later(fault.ms / 1000, lambda: asyncio.ensure_future(self._send(link, text)))

    async def _hold(self, _link: Link, text: str, _: Fault) -> None:
        """Keep it until the next frame has passed."""
        self._held.append(text)

    async def _drop(self, link: Link, _text: str, _: Fault) -> None:
        link.cut()

    async def _cut(self, link: Link, text: str, _: Fault) -> None:
        link.cut(text)

    async def _patch(self, link: Link, text: str, fault: Fault) -> None:
        await self._send(link, json.dumps(merged(json.loads(text), fault.frame)))

    def _note_connection(self, link: Link, request: Request) -> None:
        after_ms = round((time.monotonic() - self._last_end) * 1000)
        path, token = urlsplit(request.path).path, _token(request)
        self._journal.add("connection", n=link.number, path=path, after_ms=after_ms)
        if token is not None:
            self._journal.add("login", n=link.number, token=token)

    def _note_login(self, link: Link, frame: Frame) -> None:
        token = (frame.get("data") or {}).get("token") if frame.get("type") == "auth" else None
        if token is not None:
            self._journal.add("login", n=link.number, token=token)


FAULTS: Mapping[str, Callable[[UnreliableServer, Link, str, Fault], Any]] = {
    "pass": UnreliableServer._pass,
    "ignore": UnreliableServer._ignore,
    "no_answer": UnreliableServer._ignore,
    "twice": UnreliableServer._twice,
    "delay": UnreliableServer._delay,
    "hold": UnreliableServer._hold,
    "drop_answer": UnreliableServer._drop,
    "cut_answer": UnreliableServer._cut,
    "patch": UnreliableServer._patch,
}
"""What happens to a frame of the gateway on its way to the client."""


def merged(frame: Any, patch: Any) -> Any:
    """Return a frame with some keys changed, as RFC 7396 merges them."""
    if not isinstance(patch, dict):
        return patch
    found = dict(frame) if isinstance(frame, dict) else {}
    for key, part in patch.items():
        if part is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), part)
    return found


def _frame(text: str) -> Frame:
    """Return the keys of a frame that stories look at, or none for a text that is no frame."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    names = ("type", "id", "data", "stream")
    return {name: found[name] for name in names if name in found} if isinstance(found, dict) else {}


def _head(length: int) -> bytes:
    if length < 126:
        return bytes([TEXT_HEAD, length])
    if length < 65536:
        return bytes([TEXT_HEAD, 126]) + length.to_bytes(2)
    return bytes([TEXT_HEAD, 127]) + length.to_bytes(8)


def _subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    return [part.strip() for value in values for part in value.split(",")]


def _selected(link: Any, offered: Any) -> Subprotocol | None:
    """Choose what the gateway has chosen, or what it would choose."""
    if link.upstream is not None:
        return link.upstream.subprotocol  # type: ignore[no-any-return]
    return Subprotocol("gateway.v1") if "gateway.v1" in offered else None


def _token(request: Request) -> str | None:
    """Return the token of a request in any place but the first message."""
    places = [part.removeprefix("bearer.") for part in _subprotocols(request) if part.startswith("bearer.")]
    places += parse_qs(urlsplit(request.path).query).get("token", [])
    bearer = request.headers.get("Authorization", "")
    if bearer.lower().startswith("bearer "):
        places.append(bearer[len("bearer ") :])
    return places[0] if places else None


def _response(link: Link, refusal: Refusal) -> Response:
    return link.respond(refusal.status or 502, refusal.body)


def _sendable(code: int | None, reason: str | None) -> tuple[int, str]:
    """Return a code and a reason that a close frame may have."""
    return (1000 if code is None or code in (1005, 1006, 1015) else code), reason or ""
