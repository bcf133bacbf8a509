"""A connection of the load, on a compiled client."""

import asyncio
import socket
from collections.abc import Callable

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows.url import WSParsedURL

from benchmarks.rig import ANSWER_SECONDS


class Client(WSListener):
    """A connection: first it waits for the welcome, if there is one, and joins the room; then `take` gets each text."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._heed: Callable[[bytes], None] = self._begin
        self._begins_with = b""

    async def connect(self, url: str) -> None:
        """Connect, or raise `OSError`."""
        opened = await ws_connect(
            lambda: self, url, socket_factory=self.make_socket, websocket_handshake_timeout=ANSWER_SECONDS
        )
        if opened[1] is not self:
            # picows 2.3 raises nothing for a connection that is lost before it is one.
            raise ConnectionError("a connection was lost")

    def make_socket(self, url: WSParsedURL) -> socket.socket | None:
        """Return the socket to use, or None for an ordinary one."""
        return None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle a frame."""
        if frame.msg_type is WSMsgType.TEXT:
            text = frame.get_payload_as_bytes()
            if text == b"2":  # Engine.IO's ping; no other server sends so short a text
                self.send(b"3")
                return
            if text.startswith(b"{}") or b"\n{}" in text:  # Centrifugo's ping, also beside other messages
                self.send(b"{}")
            if text != b"{}":
                self._heed(text)
        elif frame.msg_type is WSMsgType.CLOSE:
            self.closed(int.from_bytes(frame.get_payload_as_bytes()[:2]))  # RFC 6455 §5.5.1
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("a connection was lost"))

    def hang_up(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.disconnect()

    def closed(self, code: int) -> None:
        """Take the code of the server's close frame."""

    def send(self, text: bytes) -> None:
        """Send a text."""
        assert self._transport is not None  # noqa: S101 - connected
        self._transport.send(WSMsgType.TEXT, text)

    async def wait_for(self, beginning: bytes) -> None:
        """Wait for a text with this beginning."""
        self._begins_with = beginning
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def listen(self) -> None:
        """Pass each text to `take` from now on."""
        self._heed = self.take

    def take(self, text: bytes) -> None:
        """Take a text."""

    def _begin(self, text: bytes) -> None:
        if self._waiting is not None and not self._waiting.done() and text.startswith(self._begins_with):
            self._waiting.set_result(None)
