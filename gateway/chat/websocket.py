"""The gateway's WebSocket: strict frames in, an outbox out, and an orderly end."""

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Self

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.config.settings import Settings
from gateway.core import costs, strict_json
from gateway.core.client_info import address_of
from gateway.core.clock import Clock
from gateway.core.logs import request_id
from gateway.core.rate_limits import Allowance, TokenBucket
from gateway.core.taps import Taps
from gateway.transport import frames
from gateway.transport.outbox import Outbox
from gateway.transport.readers import AsgiReader, Reader
from gateway.transport.subprotocols import chosen_subprotocol
from gateway.transport.uvicorn.bounds import FRAMES_EXTENSION
from gateway.transport.uvicorn.websocket import RAW_TRANSPORT, RawTransport
from gateway.transport.writers import AsgiWriter, Writer
from handlers.errors import BadFrame, MessageError, RateLimited, TooLarge
from handlers.factory import readable_id
from schemas.codes import Close

logger = logging.getLogger(__name__)

PROTOCOL_ERROR_SECONDS = 10
RATE_ABUSE_SECONDS = 10
RATE_ABUSE_REFUSALS = 1000
"""Rate tokens of refused messages, without a second's pause, that end a connection early."""
PEEK_REFUSALS = 100
"""Rate tokens of refused messages after which the gateway reads no id from those longer than `MAX_PEEK`."""
MAX_PEEK = 4096
MAX_REASON = 200
"""The most characters of a refusal's reason for `gateway tail`."""
MAX_FIRST_BYTES = 8192
"""The most bytes of a message before the log-in: the longest token, and as much again."""
MAX_FIRST_EMPTY = 16
"""The most empty frames before it: some clients send them to keep a connection alive."""
CLOSE_SECONDS = 1
"""Seconds in which a client that does not read may take its close frame."""
SCOPE_KEY = "gateway.websocket"
"""The key of the gateway's WebSocket in the scope that FastAPI gets: FastAPI makes a plain one of its own."""


class GatewayWebSocket(WebSocket):
    """A WebSocket that answers bad frames instead of raising, and never waits for a slow reader.

    Its attributes have slots: a dictionary of more than 30 names has 1.5 KB for each connection.
    """

    __slots__ = (
        *("_abuse_began", "_close_after_reply", "_cost", "_ignores_messages", "_included", "_last_abuse", "_left"),
        *("_opened_at", "_protocol_errors", "_raw", "_reader", "_refusals", "_taps", "_unread", "_writer"),
        *("clock", "close_reason", "frames_allowed", "last_message_at", "max_frame_bytes", "max_message_bytes"),
        *("messages_allowed", "on_message", "outbox", "settings", "user_name", "valid_until"),
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        settings: Settings,
        clock: Clock,
        unread: Counter[int],
        taps: Taps | None = None,
    ) -> None:
        """Take a counter for the frames that are refused before they have a handler, by status."""
        super().__init__(scope, receive, send)
        self._unread = unread
        self._taps = taps
        self.settings = settings
        self.clock = clock
        self.frames_allowed: Allowance = scope.get("extensions", {}).get(FRAMES_EXTENSION) or Allowance()
        """The allowance of pings, pongs, fragments and binary messages, if the server counts them."""
        self._raw: RawTransport | None = scope.get("extensions", {}).get(RAW_TRANSPORT)
        self._writer: Writer = self._raw or AsgiWriter(self.send_text)
        self._reader: Reader = self._raw or AsgiReader(self.receive, self._writer)
        self.outbox = Outbox(
            self._writer,
            self._close_slow_consumer,
            max_frames=settings.outbox_frames,
            max_bytes=settings.outbox_bytes,
        )
        self.max_frame_bytes = settings.max_frame_bytes
        self.max_message_bytes = settings.max_message_bytes
        self.user_name = "-"
        """The user's name after the log-in."""
        self.close_reason: Close | None = None
        self._opened_at: float | None = None
        self._left = _GONE
        self.valid_until = math.inf
        """The end of the credential, grace included, on the wall clock. The gateway handles no later message."""
        self._ignores_messages = False
        self._close_after_reply: tuple[Close, int | None] | None = None
        self.last_message_at = clock.steady()
        self.on_message: Callable[[], None] | None = None
        self.messages_allowed = Allowance()
        """The allowance of messages and of their cost. Refused messages count too."""
        bucket = TokenBucket(settings.message_rate, settings.message_burst, self.last_message_at)
        self.messages_allowed.add(bucket, "on this connection")
        self._included = 0.0  # the part that the current message has paid for already
        self._cost = 0.0  # what its text has cost
        self._protocol_errors: deque[float] | None = None  # made at the first error: most connections have none
        self._abuse_began: float | None = None
        self._last_abuse = 0.0
        self._refusals = 0.0

    @classmethod
    def of(cls, connection: WebSocket) -> Self:
        """Return the gateway's WebSocket behind the plain one that FastAPI gives to a dependency."""
        ws = connection if isinstance(connection, cls) else connection.scope[SCOPE_KEY]
        assert isinstance(ws, cls)  # noqa: S101 - `fast_route` has put it there
        return ws

    @property
    def opened_at(self) -> float:
        """Return when the handshake was accepted, on the steady clock."""
        return self.last_message_at if self._opened_at is None else self._opened_at

    async def open(self) -> None:
        """Accept the handshake, unless it is accepted already. Raise `WebSocketDisconnect` if the client is gone."""
        if self.application_state is WebSocketState.CONNECTING:
            try:
                await self.accept(chosen_subprotocol(self.scope["subprotocols"]))
            except OSError:  # which Starlette translates for all later events
                raise WebSocketDisconnect(_GONE[0]) from None
            self._opened_at = self.clock.steady()

    def log_end(self) -> None:
        """Log one line about an ended connection. A refused handshake has its own line."""
        if self._opened_at is None:
            return
        code, reason = self._left if self.close_reason is None else (self.close_reason.code, self.close_reason.reason)
        seconds = self.clock.steady() - self._opened_at
        logger.info(
            "a connection ended: user %s, code %d, %s, after %.1f seconds", self.user_name, code, reason, seconds
        )

    async def first_json(self) -> dict[str, Any] | None:
        """Return one message before the log-in, or None if the client is gone, or after `close_with`.

        Raises `BadFrame` or `TooLarge`: an unknown client gets one try, and the memory of one credential.
        """
        if self._raw is not None:
            self._raw.limit_message_size(MAX_FIRST_BYTES)
        text: str | None = ""
        empty = -1
        while text == "" and self.close_reason is None:
            empty += 1
            if empty > MAX_FIRST_EMPTY:
                raise BadFrame("expected a text frame with a JSON object, got empty ones")
            item = self._reader.read_nowait()
            if item is None:
                item = await self._reader.read()
            text = self._text_of(item, strictly=True)
        if self._raw is not None:
            self._raw.limit_message_size(None)
        return self._decode(text, MAX_FIRST_BYTES) if text else None

    async def iter_json(self) -> AsyncIterator[dict[str, Any]]:
        """Yield each message that is a JSON object, and answer every other frame with an error.

        While the caller handles a message, events wait, so that its reply goes out before its consequences. The
        iterator ends when the client is gone, or after `close_with`.
        """
        reader = self._reader
        while self.close_reason is None:
            item = reader.read_nowait()
            if item is None:
                # Wait here and no deeper: each message passes all coroutines around the wait.
                item = await reader.read()
            if (text := self._text_of(item)) is None:
                return
            if not text:
                continue
            now = self.clock.steady()
            # Check the rate before a look inside: a refused message must not cost more than a handled one.
            cost = costs.of_text(text)
            if not self._within_rate(text, now, cost):
                continue
            try:
                message = self._decode(text, self.max_message_bytes)
            except MessageError as error:
                self._refuse_unread(None, error)
                continue
            if self._admits():
                # A ping is a client's heartbeat: it says nothing of its user.
                if message.get("type") != "ping":
                    self._note_activity(now)
                self._included = costs.INCLUDED
                self._cost = cost
                self.outbox.hold()
                yield message
                self.send_held_events()

    def send_held_events(self) -> None:
        """Send the events that have waited for an answer, and close if that has waited too."""
        self.outbox.release()
        if self._close_after_reply is not None:
            self.close_with(*self._close_after_reply)

    def close_with(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close after the waiting frames. Read no later messages."""
        if self.close_reason is None:
            self.close_reason = close
            self.outbox.close(frames.bye(close, after_ms), self._close)
            # Wake the reader of the next message, even if the client takes no `bye`.
            self._reader.wake()

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        """Call `close_with` after the answer to the current message, if there is one."""
        if self.outbox.holding:
            self._close_after_reply = (close, after_ms)
        else:
            self.close_with(close, after_ms)

    def ignore_messages(self) -> None:
        """Handle no further message: the connection closes as soon as the earlier ones are answered."""
        self._ignores_messages = True
        self.valid_until = -math.inf

    def abort(self) -> None:
        """End at once, without a wait."""
        self.outbox.discard()
        self._writer.abort()
        self._reader.wake()  # if a writer cannot cut the connection, the end of the endpoint does

    async def wait_closed(self) -> None:
        """Wait until the end has reached the socket. Without `close_with`, drop the waiting frames of a lost client."""
        if self.close_reason is not None:
            await self._wait_closed()
        self.outbox.detach()

    async def _wait_closed(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self.close_reason is Close.SLOW_CONSUMER:
                    await self._close_unread()
                else:
                    await self.outbox.wait_closed()
        except TimeoutError:
            self._writer.abort()

    def refuse(self, id: int | str | None, error: MessageError, *, at_once: bool = False) -> None:
        """Send an error as the answer to a message, and end the connection after too many bad frames.

        `at_once` is that of `Outbox.reply`.
        """
        came_at = self.clock.steady()  # before the answer, which the client may have by then
        frame = frames.bounded(frames.error(id, error.body()), self.max_frame_bytes)
        self.outbox.reply(frame, at_once=at_once)
        if self._taps is not None and self._taps.is_open:
            self._note_refusal(error)
        if error.status // 100 == 400:
            self._count_protocol_error(came_at)

    def _note_refusal(self, error: MessageError) -> None:
        if self._taps is not None:
            self._taps.note(
                "refused",
                user=self.user_name,
                connection=request_id.get(),
                address=address_of(self),
                status=int(error.status),
                reason=str(error)[:MAX_REASON],
            )

    def _refuse_unread(self, id: int | str | None, error: MessageError) -> None:
        """Refuse a frame that has no handler."""
        self._unread[error.status] += 1
        self.refuse(id, error)

    def charge(self, cost: float) -> None:
        """Charge the extra cost of the current message.

        A cost beyond the allowance becomes a debt: the gateway refuses the next messages until it is paid. Raises what
        `costs.check` raises.
        """
        costs.check(cost)
        self._included -= cost
        if self._included < 0:
            self.messages_allowed.spend(self.clock.steady(), -self._included)
            self._included = 0.0

    def refund(self) -> None:
        """Return the cost of the current message to the rates: the gateway has asked for it."""
        self.messages_allowed.spend(self.clock.steady(), -self._cost)

    def accept_messages_of(self, size: int) -> None:
        """Accept messages of up to so many bytes from now on, instead of `GATEWAY_MAX_MESSAGE_BYTES`."""
        self.max_message_bytes = size
        if self._raw is not None:
            self._raw.limit_message_size(size)

    def reject(self, id: int | str | None, error: MessageError, close: Close) -> None:
        """Send an error as the answer to a message, and call `close_with`."""
        self.outbox.reply(frames.error(id, error.body()))
        self.close_with(close)

    def _text_of(self, item: str | Message, *, strictly: bool = False) -> str | None:
        """Return the text to handle: None at the end, an empty text if there is nothing to do.

        Answer a binary frame with an error, or `strictly` raise `BadFrame`.
        """
        if self.close_reason is not None:
            return None
        if not isinstance(item, str):
            if item["type"] == "websocket.disconnect":
                # Servers pass a reason with the code of a close frame. Do not log it: the client may have written it.
                self._left = (item["code"], "closed") if "reason" in item else _GONE
                return None
            if item.get("bytes"):
                error = BadFrame("expected a text frame with a JSON object, got a binary frame")
                if strictly:
                    raise error
                self._refuse_unread(None, error)
            item = item.get("text") or ""
        if item and not item.isspace():
            return item
        self._within_rate("", self.clock.steady())
        return ""

    def _decode(self, text: str, limit: int) -> dict[str, Any]:
        # A character has at most four bytes, so a short text needs no counting.
        if len(text) * 4 > limit and (size := len(text.encode())) > limit:
            raise TooLarge(size, limit)
        try:
            value = strict_json.loads(text, max_depth=self.settings.max_json_depth)
        except strict_json.NotStrictJson as error:
            raise BadFrame(f"expected a JSON object, but {error}") from None
        if not isinstance(value, dict):
            raise BadFrame(f"expected a JSON object, got {_JSON_NAMES[type(value)]}")
        return value

    def _admits(self) -> bool:
        if self.clock.wall() >= self.valid_until:
            if not self._ignores_messages:
                self.close_with(Close.TOKEN_EXPIRED)
            return False
        return True

    def _note_activity(self, now: float) -> None:
        self.last_message_at = now
        if self.on_message is not None:
            self.on_message()

    def _within_rate(self, text: str, now: float, cost: float = 1) -> bool:
        """Count a message, and refuse it over the rate."""
        refused = self.messages_allowed.take(now, cost)
        if refused is None:
            return True
        wait, whose = refused
        self._refuse_unread(self._id_in(text), RateLimited(f"messages {whose}", int(wait * 1000) + 1))
        if self._abuse_began is None or now - self._last_abuse > 1:
            self._abuse_began = now
            self._refusals = 0.0
        self._last_abuse = now
        self._refusals += cost
        if now - self._abuse_began >= RATE_ABUSE_SECONDS or self._refusals >= RATE_ABUSE_REFUSALS:
            self.close_with(Close.RATE_ABUSE, after_ms=RATE_ABUSE_SECONDS * 1000)
        return False

    def _id_in(self, text: str) -> int | str | None:
        """Return the id of a message that is refused unread. In a flood of long ones, do not look for it."""
        if len(text) > self.max_message_bytes or (len(text) > MAX_PEEK and self._refusals > PEEK_REFUSALS):
            return None
        message = strict_json.peek(text)
        return readable_id(message) if isinstance(message, dict) else None

    def _count_protocol_error(self, now: float) -> None:
        limit = self.settings.max_protocol_errors
        if not limit:
            return
        if self._protocol_errors is None:
            self._protocol_errors = deque(maxlen=limit)
        self._protocol_errors.append(now)
        if len(self._protocol_errors) == limit and now - self._protocol_errors[0] < PROTOCOL_ERROR_SECONDS:
            self.close_with(Close.TOO_MANY_ERRORS)

    def close_slow_consumer(self) -> None:
        """End the connection of a client that does not read."""
        self.outbox.discard()
        self._close_slow_consumer()

    def _close_slow_consumer(self) -> None:
        """End the connection of a slow reader. Its waiting frames are dropped already."""
        if self.close_reason is None:
            self.close_reason = Close.SLOW_CONSUMER
            logger.info("closing a slow consumer")
            self._reader.wake()

    async def _close(self) -> None:
        assert self.close_reason is not None  # noqa: S101 - the outbox closes only after `close_with`
        await self.close(self.close_reason.code, self.close_reason.reason)

    async def _close_unread(self) -> None:
        # Write what the kernel still takes, and cut the connection if that is nothing.
        self._writer.write(frames.bye(Close.SLOW_CONSUMER))
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            await self._close()


_GONE = (1006, "gone")
"""RFC 6455 §7.1.5: without a close frame."""

_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
