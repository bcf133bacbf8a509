"""uvicorn's WebSocket protocol, with a raw transport for applications that know of it.

Under `gateway serve`, the gateway writes a frame to the socket's transport as ready bytes. It reads a message from a
queue, without an ASGI event. The scope's `extensions` offer both as `gateway.raw_transport`, a `RawTransport`. Every
other ASGI application uses ASGI events as usual, and so does the gateway under every other server. Both behave alike.

uvicorn and `websockets` still judge and answer every handshake that is not plain (see `handover`). They handle control
frames, fragments, compression and closing, and every message except a whole unfragmented frame that arrives while the
parser is idle. `supported` checks the installed versions for everything that this module depends on. If it returns
False, `gateway serve` uses uvicorn's own protocol.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from uvicorn.protocols.utils import get_client_addr
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

from gateway.core.logs import redact
from gateway.transport.frames import Frame
from gateway.transport.readers import DISCONNECT, Event
from gateway.transport.uvicorn.bounds import FRAMES_EXTENSION, BoundedProtocol
from gateway.transport.uvicorn.first_write import FirstWrite
from gateway.transport.uvicorn.handover import Handshake, plain_handshake, skip_request
from gateway.transport.uvicorn.lost_transport import LOST
from gateway.transport.uvicorn.writable import Writable
from gateway.transport.writers import nothing

logger = logging.getLogger(__name__)

RAW_TRANSPORT = "gateway.raw_transport"

MAX_QUEUED = 64
MAX_QUEUED_CHARACTERS = 262_144
"""The limits on unhandled input. Beyond them the socket is not read, so that the kernel slows the client down."""

_WHOLE_TEXT = 0x81  # FIN and opcode 1, RFC 6455 §5.2
_MASKED = 0x80
_MAX_SHORT_LENGTH = 125
_MEDIUM_LENGTH = 126


class Inbox:
    """Input from the client: texts, and ASGI events for everything else. Replaces uvicorn's `asyncio.Queue`.

    One reader at a time waits on one future. A connection needs no more. The items are a short list: an empty deque has
    600 bytes.
    """

    __slots__ = ("_items", "_loop", "_unbroken", "_waiter", "characters", "resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: list[str | Event] = []
        self._waiter: asyncio.Future[str | Event] | None = None
        self._unbroken = 0
        self.characters = 0
        """The size of the waiting items: characters of texts, bytes of everything else."""
        self.resume: Callable[[], None] | None = None
        """A function to call once when there is room again, after too much input."""

    def put_nowait(self, item: str | Event) -> None:
        """Append an item, or pass it to the waiting reader."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # not done: it may have been cancelled
                waiter.set_result(item)
                return
        self._items.append(item)
        self.characters += len(item) if type(item) is str else _bytes_of(item)

    def read_nowait(self) -> str | Event | None:
        """Return the next item without waiting, or None if there is none or other tasks must have a turn first."""
        # A task that never waits would leave the other tasks no turn.
        if not self._items or self._unbroken == MAX_QUEUED:
            return None
        self._unbroken += 1
        item = self._items.pop(0)
        self.characters -= len(item) if type(item) is str else _bytes_of(item)
        if self.resume is not None and len(self._items) < MAX_QUEUED // 2:
            resume, self.resume = self.resume, None
            resume()
        return item

    def read(self) -> Awaitable[str | Event]:
        """Wait for the next item, after a read without waiting has found none."""
        self._unbroken = 0
        if self._items:
            return self._after_a_turn()
        self._waiter = self._loop.create_future()
        return self._waiter

    async def _after_a_turn(self) -> str | Event:
        await asyncio.sleep(0)
        item = self.read_nowait()
        assert item is not None  # noqa: S101 - only one task reads
        return item

    async def get(self) -> Event:
        """Wait for the next item, and return it as an ASGI event: this is what uvicorn calls."""
        item = self.read_nowait()
        if item is None:
            item = await self.read()
        return {"type": "websocket.receive", "text": item} if isinstance(item, str) else item

    def empty(self) -> bool:
        """Return whether no item waits."""
        return not self._items

    @property
    def is_full(self) -> bool:
        """Return whether too much unhandled input waits."""
        return len(self._items) >= MAX_QUEUED or self.characters >= MAX_QUEUED_CHARACTERS

    def __len__(self) -> int:
        return len(self._items)


def _bytes_of(event: Any) -> int:
    return len(event.get("bytes") or b"")


class RawTransport:
    """Reads and writes one connection without ASGI events: its `Reader` and its `Writer`."""

    __slots__ = (
        "_connection",
        "_inbox",
        "_max_size",
        "_transport",
        "closed",
        "on_ready",
        "read",
        "read_nowait",
        "ready",
    )

    def __init__(self) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = nothing
        self.closed = False
        """Whether a close frame was sent, or the client is gone. Nothing may follow it (RFC 6455 §5.5.1)."""

    def attach(self, transport: asyncio.Transport, inbox: Inbox, connection: ServerProtocol) -> None:
        """Write to this transport, and read from this inbox."""
        self._transport = transport
        self._inbox = inbox
        self._connection = connection
        self._max_size = connection.max_message_size
        self.read_nowait = inbox.read_nowait
        self.read = inbox.read

    def write_to(self, transport: asyncio.Transport) -> None:
        """Write to this transport from now on."""
        self._transport = transport

    def detach(self) -> None:
        """Drop later writes, notify the outbox, and drop the references to it and to the socket."""
        self.closed = self.ready = True
        self._transport = LOST
        self.on_ready()
        self.on_ready = nothing

    def write(self, frame: Frame) -> None:
        """Write frames as ready bytes."""
        if not self.closed:
            self._transport.write(frame.wire)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def limit_message_size(self, size: int | None) -> None:
        """Refuse messages of more than `size` bytes, or with None of more than the server allows."""
        self._connection.max_message_size = size or self._max_size

    def wake(self) -> None:
        """End the wait of the reader with a disconnect."""
        self._inbox.put_nowait(DISCONNECT)


class GatewayProtocol(BoundedProtocol):
    """uvicorn's protocol with the raw transport.

    Also uvicorn's attributes have slots: a dictionary of more than 30 names has 1.5 KB for each connection.
    """

    __slots__ = (
        *("_frames_allowed", "_handshake", "_held", "_idle", "_raw", "on_handshake_end"),
        *("app", "app_state", "asgi_version", "client", "close_timeout", "close_timer", "config", "conn"),
        *("connections", "curr_msg_data_type", "default_headers", "disconnected", "frames", "handshake_complete"),
        *("handshake_initiated", "initial_response", "last_ping_rtt", "logger", "loop", "pending_ping_payload"),
        *("ping_interval", "ping_sent_at", "ping_timeout", "ping_timer", "pong_timer", "queue", "read_paused"),
        *("root_path", "scheme", "scope", "server", "tasks", "transport", "writable"),
    )

    queue: Inbox  # type: ignore[assignment]
    writable: Writable  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._raw = RawTransport()  # has `close_sent`, which uvicorn sets first
        super().__init__(*args, **options)
        self.queue = Inbox(self.loop)
        self.writable = Writable()
        self._idle = False
        """Whether the parser is between two messages, so that a whole frame may bypass it."""
        self._handshake: Handshake | None = None
        """The plain handshake that has no answer yet."""
        self._held = b""
        """Bytes that have arrived and wait, because too much unhandled input waits already."""
        self.on_handshake_end = nothing
        """A function to call once, when the handshake has its answer, or the connection is gone."""

    @property
    def close_sent(self) -> bool:
        """Return whether a close frame was sent. The raw transport keeps the flag, since it needs it for each frame."""
        return self._raw.closed

    @close_sent.setter
    def close_sent(self, value: bool) -> None:
        self._raw.closed = value

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Attach the raw transport to the new connection."""
        super().connection_made(transport)
        self._raw.attach(transport, self.queue, self.conn)

    def start(self, handshake: Handshake) -> None:
        """Start with a plain handshake, as uvicorn does with any other."""
        skip_request(self.conn)
        self.conn.accept_called = True  # `websockets` words its log by this
        self._handshake = handshake
        self.handshake_initiated = True
        path = handshake.path.decode()
        scope: Any = {  # untyped: uvicorn's type has no extensions but its own
            "type": "websocket",
            "asgi": {"version": self.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": self.scheme,
            "server": self.server,
            "client": self.client,
            "root_path": self.root_path,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode() + handshake.path,
            "query_string": handshake.query,
            "headers": handshake.headers,
            "subprotocols": handshake.subprotocols,
            "state": self.app_state.copy(),
            "extensions": {
                "websocket.http.response": {},
                FRAMES_EXTENSION: self._frames_allowed,
                RAW_TRANSPORT: self._raw,
            },
        }
        self.scope = scope
        self.queue.put_nowait({"type": "websocket.connect"})
        task = self.loop.create_task(self.run_asgi())
        task.add_done_callback(self.on_task_complete)
        self.tasks.add(task)
        self._idle = True

    def handle_connect(self, event: Any) -> None:
        """Offer the raw transport to the application, which has not started yet."""
        super().handle_connect(event)
        # With compression negotiated, a frame is more than a header and the text.
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not self.conn.extensions:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[RAW_TRANSPORT] = self._raw

    async def send(self, message: Any) -> None:
        """Send an ASGI event of the application."""
        handshake, self._handshake = self._handshake, None
        if handshake is not None and message["type"] == "websocket.accept" and self._may_accept():
            self._accept(handshake, message)
            return
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._end_handshake()
            # Frees about 4 KB per connection: the application has its own copy of the headers.
            self.request = self.response = None  # type: ignore[assignment]
        elif message["type"] == "websocket.close":
            self._look_for_the_answer()

    def _may_accept(self) -> bool:
        return not (self.disconnected or self.transport.is_closing())

    def _accept(self, handshake: Handshake, message: Any) -> None:
        """Answer a plain handshake, as uvicorn answers any other."""
        if logger.isEnabledFor(logging.INFO):
            # Without the query, which may hold a token. To redact uvicorn's line takes half as long as a connection.
            path = redact(quote(self.scope["path"]))
            logger.info('%s - "WebSocket %s" [accepted]', get_client_addr(self.scope), path)
        headers = [*self.default_headers, *((name.lower(), value) for name, value in message.get("headers", ()))]
        if (subprotocol := message.get("subprotocol")) is not None:
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
        answer = handshake.answer(headers)
        self.handshake_complete = True
        self.conn.state = OPEN
        first: Any = FirstWrite(self.transport, answer, partial(self._write_to, self.transport))
        self._write_to(first)
        self.loop.call_soon(first.flush)
        self.start_keepalive()
        self._end_handshake()

    def _write_to(self, transport: asyncio.Transport) -> asyncio.Transport:
        if self.transport is not LOST:
            self.transport = transport
            self._raw.write_to(transport)
        return self.transport

    def _end_handshake(self) -> None:
        end, self.on_handshake_end = self.on_handshake_end, nothing
        end()

    def pause_writing(self) -> None:
        """Make frames wait in the outbox."""
        super().pause_writing()
        self._raw.ready = False

    def resume_writing(self) -> None:
        """Let the outbox continue."""
        super().resume_writing()
        self._raw.ready = True
        self._raw.on_ready()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection, and drop what is written from now on.

        Its parts release each other, so that no memory waits for the garbage collector.
        """
        self.transport = LOST
        self._end_handshake()
        held, self._held = self._held, b""
        if held:
            WebSocketsSansIOProtocol.data_received(self, held)  # it arrived before the end, and is handled before it
        super().connection_lost(exc)
        self._raw.detach()
        self.queue.resume = None
        self.conn.parser.close()

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the socket: whole texts here, everything else in the library."""
        if self._held:
            self._held += data
            return
        if self._idle and self.conn.state is OPEN:
            start = self._take_texts(data)
            if start == len(data):
                return
            if start:
                data = data[start:]
            if self.queue.is_full:
                self._held = data
                return
        super().data_received(data)
        self._idle = _is_idle(self.conn)

    def _take_texts(self, data: bytes) -> int:
        """Queue whole masked texts from the front of `data`, and return the number of their bytes."""
        start = 0
        size = len(data)
        while size - start >= 6 and data[start] == _WHOLE_TEXT:
            length = data[start + 1] - _MASKED
            mask = start + 2
            if length == _MEDIUM_LENGTH:
                length = int.from_bytes(data[start + 2 : start + 4])
                mask = start + 4
            elif not 0 <= length <= _MAX_SHORT_LENGTH:
                break  # unmasked, or a length of eight bytes: the library decides
            end = mask + 4 + length
            if end > size:
                break
            try:
                text = apply_mask(data[mask + 4 : end], data[mask : mask + 4]).decode()
            except UnicodeDecodeError:
                break
            self.queue.put_nowait(text)
            start = end
            if self.queue.is_full:
                self._limit_queue()
                break
        return start

    def _put(self, item: str | Event) -> None:
        self.queue.put_nowait(item)
        self._limit_queue()

    def _limit_queue(self) -> None:
        """Pause reading while too much unhandled input waits."""
        if self.queue.is_full and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
            self.queue.resume = self._resume_reading

    def _resume_reading(self) -> None:
        if not self.read_paused:
            return
        held, self._held = self._held, b""
        if held:
            self.data_received(held)
        if self.queue.is_full and not self.close_sent:
            self.queue.resume = self._resume_reading
        elif not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def _look_for_the_answer(self) -> None:
        """Read on up to the client's close frame. Messages before it are no longer handled."""
        held, self._held = self._held, b""
        if held:
            super().data_received(held)
        self._resume_reading()

    def send_receive_event_to_app(self) -> None:
        """Queue a message that the library has parsed."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type != "text":
            self._put({"type": "websocket.receive", "bytes": bytes(data)})
            return
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError:
            # RFC 6455 §8.1. uvicorn would log a traceback for each.
            self.conn.fail(1007)
            self.handle_parser_exception()
        else:
            self._put(text)


def _is_idle(connection: Any) -> bool:
    """Return whether the parser of `websockets` waits for a message's first byte: its generator shows where it is."""
    if connection.current_size is not None or connection.debug or connection.reader.buffer:
        return False
    waits_in = connection.parser
    while (inner := getattr(waits_in, "gi_yieldfrom", None)) is not None:
        waits_in = inner
    return getattr(waits_in, "__name__", "") == "at_eof"


def supported() -> bool:
    """Return whether the installed uvicorn and `websockets` have everything that this module depends on."""
    overridden = (
        *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"),
        *("handle_connect", "handle_ping", "handle_pong", "handle_text", "handle_bytes", "handle_cont"),
        *("handle_parser_exception", "keepalive_timeout", "send", "send_500_response", "send_receive_event_to_app"),
        *("run_asgi", "on_task_complete", "start_keepalive"),
    )
    if not all(hasattr(WebSocketsSansIOProtocol, name) for name in overridden):
        return False
    # The code of the constructor names the attributes that it sets.
    used = {
        *("conn", "queue", "transport", "frames", "writable", "close_sent", "read_paused"),
        *("handshake_initiated", "handshake_complete", "initial_response", "disconnected"),
        *("logger", "loop", "tasks", "default_headers", "root_path", "asgi_version", "app_state"),
        *("server", "client", "scheme"),
    }
    if not used <= set(WebSocketsSansIOProtocol.__init__.__code__.co_names):
        return False
    try:
        return _parser_is_as_expected()
    except Exception:  # an unknown version may raise anything
        logger.exception("the WebSocket library differs from what the raw transport expects")
        return False


def _parser_is_as_expected() -> bool:
    parsed, skipped = _connection(), _connection()
    if parsed.max_message_size != _MAX_SIZE:  # the attribute that limits a message's size
        return False
    parsed.receive_data(b"GET /?a=b HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % header for header in _HEADERS) + b"\r\n")
    request: Any
    [request] = parsed.events_received()
    response = parsed.accept(request)
    del response.headers["Date"]
    parsed.send_response(response)
    plain = plain_handshake(b"/?a=b", _HEADERS, compresses=False)
    if plain is None or plain.answer(()) != b"".join(parsed.data_to_send()):
        return False
    skip_request(skipped)
    skipped.state = OPEN
    return all(_goes_on_as_expected(connection) for connection in (parsed, skipped))


def _goes_on_as_expected(connection: ServerProtocol) -> bool:
    seen = [_is_idle(connection)]
    for part in (b"\x81", b"\x82\0\0", b"\0\0hi", b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0"):
        connection.receive_data(part)
        seen.append(_is_idle(connection))
    # Idle after the handshake, not within a frame, idle after it, not between fragments, idle after the last one.
    return seen == [True, False, False, True, False, True] and connection.state is OPEN


def _connection() -> ServerProtocol:
    # With its own logger, which discards all lines: this is no real connection.
    return ServerProtocol(max_size=_MAX_SIZE, logger=logging.Logger("nobody", logging.CRITICAL))


_MAX_SIZE = 1024
_HEADERS = [
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13 "),
]
