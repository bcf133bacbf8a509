"""uvicorn's WebSocket protocol, with a direct way in and out for those who know of it.

Under `gateway serve`, a frame is written to the socket's transport as ready bytes, and a message is taken from a queue
without an ASGI event around it. The scope's `extensions` offer both as `gateway.raw_transport`, a `RawTransport`. Every
other ASGI application, and ours under every other server, goes the usual way, with the same behaviour.

What is left to uvicorn and `websockets`: judging and answering the handshake, control frames, fragments, compression,
closing, and every message that does not come as one whole unfragmented frame while the parser is idle. `supported`
holds what this takes for granted against the installed versions; where it is false, `gateway serve` uses uvicorn's own
protocol.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

from gateway.transport.frames import Frame
from gateway.transport.readers import DISCONNECT, Event
from gateway.transport.uvicorn.bounds import BoundedProtocol
from gateway.transport.uvicorn.handover import plain_request, skip_request
from gateway.transport.uvicorn.lost_transport import LOST
from gateway.transport.writers import nothing

logger = logging.getLogger(__name__)

RAW_TRANSPORT = "gateway.raw_transport"

MAX_QUEUED = 64
MAX_QUEUED_CHARACTERS = 262_144
"""What may wait to be handled before the socket is not read any more; the kernel then slows the client down."""

_WHOLE_TEXT = 0x81  # FIN and opcode 1, RFC 6455 §5.2
_MASKED = 0x80
_MAX_SHORT_LENGTH = 125
_MEDIUM_LENGTH = 126


class Inbox:
    """What has come from the client: texts, and ASGI events for all else. Stands in for uvicorn's `asyncio.Queue`.

    One reader at a time waits on one future, which is all that a connection needs.
    """

    __slots__ = ("_items", "_loop", "_unbroken", "_waiter", "characters", "resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[str | Event] = deque()
        self._waiter: asyncio.Future[str | Event] | None = None
        self._unbroken = 0
        self.characters = 0
        """What waits: characters of texts, and bytes of all else."""
        self.resume: Callable[[], None] | None = None
        """Called once when there is room again, after too much has come."""

    def put_nowait(self, item: str | Event) -> None:
        """Add something, or give it to whoever waits."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():  # cancelled
                waiter.set_result(item)
                return
        self._items.append(item)
        self.characters += len(item) if type(item) is str else _bytes_of(item)

    def get_nowait(self) -> str | Event | None:
        """Take the next thing without waiting; None if there is nothing, or others must have a turn first."""
        # Where nothing is ever waited for, nobody else has a turn.
        if not self._items or self._unbroken == MAX_QUEUED:
            return None
        self._unbroken += 1
        item = self._items.popleft()
        self.characters -= len(item) if type(item) is str else _bytes_of(item)
        if self.resume is not None and len(self._items) < MAX_QUEUED // 2:
            resume, self.resume = self.resume, None
            resume()
        return item

    def get(self) -> Awaitable[str | Event]:
        """Wait for the next thing, after `get_nowait` has given none."""
        self._unbroken = 0
        if self._items:
            return self._after_a_turn()
        self._waiter = self._loop.create_future()
        return self._waiter

    async def _after_a_turn(self) -> str | Event:
        await asyncio.sleep(0)
        item = self.get_nowait()
        assert item is not None  # noqa: S101 - nobody else takes
        return item

    async def get_event(self) -> Event:
        """Take the next thing as an ASGI event."""
        item = self.get_nowait()
        if item is None:
            item = await self.get()
        return {"type": "websocket.receive", "text": item} if isinstance(item, str) else item

    def empty(self) -> bool:
        """Tell whether there is nothing."""
        return not self._items

    @property
    def is_full(self) -> bool:
        """Whether too much waits to be handled."""
        return len(self._items) >= MAX_QUEUED or self.characters >= MAX_QUEUED_CHARACTERS

    def __len__(self) -> int:
        return len(self._items)


def _bytes_of(event: Any) -> int:
    return len(event.get("bytes") or b"")


class RawTransport:
    """The direct way in and out of one connection: its `Reader` and its `Writer`."""

    __slots__ = ("_connection", "_inbox", "_max_size", "_transport", "closed", "get", "get_nowait", "on_ready", "ready")

    def __init__(self) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = nothing
        self.closed = False
        """Whether a close frame has been sent, after which nothing may be (RFC 6455 §5.5.1)."""

    def attach(self, transport: asyncio.Transport, inbox: Inbox, connection: ServerProtocol) -> None:
        """Write to that transport, and read from that inbox."""
        self._transport = transport
        self._inbox = inbox
        self._connection = connection
        self._max_size = connection.max_message_size
        self.get_nowait = inbox.get_nowait
        self.get = inbox.get

    def detach(self) -> None:
        """Drop what is written from now on, let the outbox know, and let go of it and of the socket."""
        self.closed = self.ready = True
        self._transport = LOST
        self.on_ready()
        self.on_ready = nothing

    def write(self, frame: Frame) -> None:
        """Take frames, as ready bytes."""
        if not self.closed:
            self._transport.write(frame.wire)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def limit_message_size(self, size: int | None) -> None:
        """Take no message of more than `size` bytes; with None, of no more than the server allows."""
        self._connection.max_message_size = size or self._max_size

    def wake(self) -> None:
        """Have `arrival` end, with a disconnect."""
        self._inbox.put_nowait(DISCONNECT)


class GatewayProtocol(BoundedProtocol):
    """uvicorn's protocol with the direct way."""

    queue: Inbox  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._raw = RawTransport()  # has `close_sent`, which uvicorn sets first of all
        super().__init__(*args, **options)
        self.queue = Inbox(self.loop)
        self._idle = False
        """Whether the parser is between two messages, so that a whole frame may pass it by."""
        self._held = b""
        """What has come and is not looked at yet, since too much waits already."""

    @property
    def close_sent(self) -> bool:
        """Whether a close frame has been sent. It is kept where it is asked about for each frame."""
        return self._raw.closed

    @close_sent.setter
    def close_sent(self, value: bool) -> None:
        self._raw.closed = value

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._raw.attach(transport, self.queue, self.conn)

    def start_from_request(self, request: Request) -> None:
        """Begin with a handshake that has been parsed."""
        skip_request(self.conn)
        self.handle_connect(request)
        self._idle = True

    def handle_connect(self, event: Any) -> None:
        """Offer the direct way to the application, which has not started yet."""
        super().handle_connect(event)
        # With compression negotiated, frames are not just a header and the text.
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not self.conn.extensions:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[RAW_TRANSPORT] = self._raw

    async def send(self, message: Any) -> None:
        """Take an ASGI event from the application."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            # Some 4 KB a connection that nobody reads any more: the application has its own copy of the headers.
            self.request = self.response = None  # type: ignore[assignment]
        elif message["type"] == "websocket.close":
            self._look_for_the_answer()

    def pause_writing(self) -> None:
        """Have frames wait in the outbox."""
        super().pause_writing()
        self._raw.ready = False

    def resume_writing(self) -> None:
        """Let the outbox go on."""
        super().resume_writing()
        self._raw.ready = True
        self._raw.on_ready()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what is still written goes nowhere.

        What each has of the other is let go of, so that nothing has to wait for the garbage collector.
        """
        self.transport = LOST
        held, self._held = self._held, b""
        if held:
            WebSocketsSansIOProtocol.data_received(self, held)  # it came before the end, and is handled before it
        super().connection_lost(exc)
        self._raw.detach()
        self.queue.resume = None
        self.conn.parser.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket: whole texts the short way, everything else the library's."""
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
        """Take whole masked texts from the front of `data`; tells how many bytes those were."""
        start = 0
        size = len(data)
        while size - start >= 6 and data[start] == _WHOLE_TEXT:
            length = data[start + 1] - _MASKED
            mask = start + 2
            if length == _MEDIUM_LENGTH:
                length = int.from_bytes(data[start + 2 : start + 4])
                mask = start + 4
            elif not 0 <= length <= _MAX_SHORT_LENGTH:
                break  # not masked, or a length of eight bytes: for the library to judge
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
        """Read no further while too much waits to be handled."""
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
        """Read on up to the client's close frame; what comes before that is not handled any more."""
        held, self._held = self._held, b""
        if held:
            super().data_received(held)
        self._resume_reading()

    def send_receive_event_to_app(self) -> None:
        """Take a message that came the library's way."""
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
            # RFC 6455 §8.1; uvicorn would write a traceback for each.
            self.conn.fail(1007)
            self.handle_parser_exception()
        else:
            self._put(text)


def _is_idle(connection: Any) -> bool:
    """Tell whether the parser of `websockets` waits for the first byte of a message, by where its generator stands."""
    if connection.current_size is not None or connection.debug or connection.reader.buffer:
        return False
    waits_in = connection.parser
    while (inner := getattr(waits_in, "gi_yieldfrom", None)) is not None:
        waits_in = inner
    return getattr(waits_in, "__name__", "") == "at_eof"


def supported() -> bool:
    """Tell whether the installed uvicorn and `websockets` are as this module takes them to be."""
    overridden = (
        *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing"),
        *("handle_connect", "handle_ping", "handle_pong", "handle_text", "handle_bytes", "handle_cont"),
        *("handle_parser_exception", "keepalive_timeout", "send", "send_receive_event_to_app"),
    )
    if not all(hasattr(WebSocketsSansIOProtocol, name) for name in overridden):
        return False
    # What its constructor sets can be read from its code.
    used = {
        *("conn", "queue", "transport", "frames", "writable", "close_sent", "read_paused"),
        *("handshake_initiated", "handshake_complete"),
    }
    if not used <= set(WebSocketsSansIOProtocol.__init__.__code__.co_names):
        return False
    try:
        return _parser_is_as_expected()
    except Exception:  # whatever it is that has changed
        logger.exception("the WebSocket library is not as expected")
        return False


def _parser_is_as_expected() -> bool:
    parsed, skipped = _connection(), _connection()
    if parsed.max_message_size != _MAX_SIZE:  # what `RawTransport.limit_message_size` changes
        return False
    parsed.receive_data(b"GET /?a=b HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % header for header in _HEADERS) + b"\r\n")
    [request] = parsed.events_received()
    if plain_request(b"/?a=b", _HEADERS) != request:
        return False
    skip_request(skipped)
    return all(_goes_on_as_expected(connection, request) for connection in (parsed, skipped))


def _goes_on_as_expected(connection: ServerProtocol, request: Any) -> bool:
    connection.send_response(connection.accept(request))
    seen = [_is_idle(connection)]
    for part in (b"\x81", b"\x82\0\0", b"\0\0hi", b"\x01\x80\0\0\0\0", b"\x80\x80\0\0\0\0"):
        connection.receive_data(part)
        seen.append(_is_idle(connection))
    # Idle after the handshake; not within a frame; after it; not between fragments; after the last of them.
    return seen == [True, False, False, True, False, True] and connection.state is OPEN


def _connection() -> ServerProtocol:
    # With a logger of its own, for nobody: it is no connection.
    return ServerProtocol(max_size=_MAX_SIZE, logger=logging.Logger("nobody", logging.CRITICAL))


_MAX_SIZE = 1024
_HEADERS = [
    (b"host", b"localhost"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13 "),
]
