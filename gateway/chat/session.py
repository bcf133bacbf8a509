"""One connection of one user: the implementation of `handlers.base.Session`."""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from pydantic import BaseModel

from gateway.auth.authorizers import AuthResult
from gateway.auth.room_rights import Right, RoomRights, both
from gateway.chat.admission import admitted
from gateway.chat.own_rooms import own_rooms
from gateway.chat.traced_messages import note_end, note_refusal
from gateway.chat.unordered import Bounds, End, UnorderedMessage, UnorderedMessages
from gateway.chat.user_session import UserSession
from gateway.chat.verbs.credential import SessionCredential
from gateway.chat.verbs.presence import SessionPresence
from gateway.chat.verbs.rooms import SessionRooms
from gateway.chat.verbs.upstream import SessionUpstream
from gateway.chat.websocket import GatewayWebSocket
from gateway.core import costs
from gateway.core.client_info import address_of
from gateway.core.faults import contained
from gateway.core.rate_limits import TokenBucket
from gateway.core.timers import Timer
from gateway.state import GatewayState, state_of
from gateway.transport import frames
from gateway.transport.chunks import Chunks
from handlers.base import MsgHandler
from handlers.errors import Conflict, MessageError, NotFound, RateLimited, Unavailable
from handlers.rooms import JoinRoomHandler
from handlers.streaming import Unwanted
from schemas.base import Event, timestamp
from schemas.codes import Close
from schemas.events.rooms import Resync
from schemas.events.system import TokenExpiring, Welcome
from schemas.messages.rooms import RoomsReply

logger = logging.getLogger(__name__)

EXPIRY_WARNING_SECONDS = 60
EXPIRY_GRACE_SECONDS = 25
ROOMS = "rooms"
"""The parameter of the query that asks for the user's rooms in the welcome, with the value 1."""


class ChatSession(UserSession):
    """A connection, as handlers, the hub and the counters see it."""

    def __init__(self, ws: GatewayWebSocket, auth: AuthResult, state: GatewayState) -> None:
        super().__init__(auth, state)
        self.ws = ws
        self.deliver = ws.outbox.deliver
        """Takes an event. It never waits and never raises."""
        self.sid = auth.sid
        self.expires_at = auth.expires_at
        self.address = address_of(ws)
        rate = state.settings.join_rate
        self.joins.add(TokenBucket(rate, max(1.0, rate), state.clock.steady()), "on this connection")
        self.joined: dict[str, int] = {}
        self._expiry: Timer | None = None
        self._signals: TokenBucket | None = None  # likewise
        self._unordered: UnorderedMessages | None = None  # most connections have none
        self._end: End | None = None
        self.chunks: Chunks | None = None
        """The chunks so far of the answer to an ordered message."""

    @property
    def rooms(self) -> SessionRooms:
        """Return the verbs for rooms."""
        return SessionRooms(self)

    @property
    def presence(self) -> SessionPresence:
        """Return the verbs for presence."""
        return SessionPresence(self)

    @property
    def credential(self) -> SessionCredential:
        """Return the verbs for the credential."""
        return SessionCredential(self)

    @property
    def opened_at(self) -> float:
        """Return when the connection was opened, on the steady clock."""
        return self.ws.opened_at

    @property
    def upstream(self) -> SessionUpstream:
        """Return the verbs for the services behind routes."""
        return SessionUpstream(self, lambda: self.close(Close.DISCONNECTED))

    @property
    def last_message_at(self) -> float:
        """Return when the last message came, on the steady clock."""
        return self.ws.last_message_at

    @property
    def on_message(self) -> Callable[[], None] | None:
        """Return the function to call at the next message, if there is one."""
        return self.ws.on_message

    @on_message.setter
    def on_message(self, call: Callable[[], None] | None) -> None:
        self.ws.on_message = call

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Send the reply to a message."""
        message = self._current_unordered()
        if message is not None and message.is_answered:
            return
        frame = frames.bounded(frames.reply(id, data), self.ws.max_frame_bytes)
        if len(frame.wire) > costs.MESSAGE_BYTES:
            self.charge(costs.of_answer(len(frame.wire)))
        self._set_answered(message)
        self.ws.outbox.reply(frame, at_once=message is not None)

    async def send_chunk(self, id: int | str, data: object) -> None:
        """Send a chunk of the answer to a message. Events that the message caused still wait for its end."""
        if not self.gateway.chunk_portions.begin():
            await self.gateway.chunk_portions.wait()
        self.gateway.counters.chunks += 1
        outbox = self.ws.outbox
        message = self._current_unordered()
        if outbox.is_closed or (message is not None and message.is_answered):
            raise Unwanted
        answer = self if message is None else message
        if (chunks := answer.chunks) is None:
            chunks = answer.chunks = Chunks(id, self.ws.max_frame_bytes)
        encoded = frames.json(data)
        if len(encoded) > costs.MESSAGE_BYTES:
            self.charge(costs.of_answer(len(encoded)))
        while not outbox.takes_chunk(chunks, encoded, is_text=isinstance(data, str)):
            await outbox.wait_for_room()

    async def run_unordered(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer a message in a task, or refuse it if too many wait."""
        try:
            self._messages_in_tasks().start(handler, answer)
        except (RateLimited, Conflict) as error:
            handler.answer_status = error.status
            self.refuse(handler.id, error)

    async def answer_later(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer a message that was taken in its order, in a task. If many wait, let later messages wait for it."""
        if not self._messages_in_tasks().start_taken(handler, answer):
            await answer()

    def _messages_in_tasks(self) -> UnorderedMessages:
        if self._unordered is None:
            settings = self.gateway.settings
            bounds = Bounds(settings.max_calls_per_connection, settings.max_call_seconds, self.gateway.timers)
            self._unordered = UnorderedMessages(bounds, self._refuse_at_once, self._after_unordered)
        return self._unordered

    def cancel(self, id: int | str) -> None:
        """Cancel an unordered message in progress, and answer it. Raise `NotFound` if none has this id."""
        if self._unordered is None:
            raise NotFound("no message is in progress on this connection")
        self._unordered.cancel(id)

    async def cancel_unordered(self) -> None:
        """End the unordered messages without an answer."""
        if self._unordered is not None:
            await self._unordered.cancel_all()

    def charge(self, cost: float) -> None:
        """Charge the user's rate with the extra cost of a message, in messages."""
        message = self._current_unordered()
        if message is None:
            self.ws.charge(cost)
        elif unpaid := message.unpaid(cost):
            self.ws.messages_allowed.spend(self.gateway.clock.steady(), unpaid)

    def take_signal(self) -> None:
        """Count a signal of this connection, or raise `RateLimited`."""
        rate, now = self.gateway.settings.signal_rate, self.gateway.clock.steady()
        if self._signals is None:
            self._signals = TokenBucket(rate, max(1.0, rate), now)
        if wait := self._signals.take(now):
            raise RateLimited("signals on this connection", int(wait * 1000) + 1)

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Send an error as the answer to a message."""
        message = self._current_unordered()
        if message is None or not message.is_answered:
            note_refusal(error)
            self.ws.refuse(id, error, at_once=message is not None)
            self._set_answered(message)

    @property
    def cancelled_with(self) -> MessageError | None:
        """Return what has answered the current message in its handler's place, if anything has."""
        message = self._current_unordered()
        return None if message is None else message.error

    def send_event(self, event: Event) -> None:
        """Send an event to this connection alone."""
        self.deliver(self._encode(event))

    def flush(self) -> None:
        """Send at once the events that wait for the reply to this message."""
        if self._current_unordered() is not None:  # none waits for it
            return
        self.ws.outbox.release()
        self.ws.outbox.hold()

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close, after the answers to the current message and to the unordered ones that wait."""
        if not isinstance(close, Close):  # a handler's mistake, which would otherwise show only after the handler
            raise TypeError(f"expected one of `schemas.codes.Close`, got {close!r}")
        if (message := self._current_unordered()) is not None:
            message.end = (close, after_ms)
        elif self._unordered is not None and self._unordered.has_unanswered:
            self._end = (close, after_ms)
            self.ws.ignore_messages()
        else:
            self.ws.close_after_reply(close, after_ms)

    def abort(self) -> None:
        """End at once, without a wait."""
        self.ws.abort()

    def close(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close, after the frames that already wait."""
        self.ws.close_with(close, after_ms)

    async def begin(self) -> None:
        """Send the client its welcome, with its rooms if it has asked for them, and watch the end of its token."""
        connections = self.gateway.connections
        connections.share_limits(self, self.ws.messages_allowed, self.joins, self.writes, self.ws.frames_allowed)
        self.gateway.presence.connect(self)
        if self.ws.query_params.get(ROOMS) == "1":
            # Events come after the welcome, which may wait for the store.
            self.ws.outbox.hold()
            page = await self._own_rooms()
            self.ws.outbox.reply(self._encode(self._welcome(page)))
            self.ws.send_held_events()
        else:
            self.send_event(self._welcome())
        self._watch_expiry()

    def _welcome(self, page: RoomsReply | None = None) -> Welcome:
        settings = self.gateway.settings
        return Welcome(
            connection=self.connection,
            user=self.user,
            scopes=tuple(sorted(self.scopes)),
            server_time=self.now(),
            token_expires_at=timestamp(int(self.expires_at * 1000)),
            heartbeat_seconds=settings.heartbeat_seconds,
            max_message_bytes=settings.max_message_bytes,
            rooms=None if page is None else page.rooms,
            next_cursor=None if page is None else page.next_cursor,
        )

    async def _own_rooms(self) -> RoomsReply | None:
        """Return the user's rooms for the welcome, or None if the token, the rates or the store do not allow it."""
        if JoinRoomHandler.scope not in self.scopes or self.ws.messages_allowed.take(self.gateway.clock.steady()):
            return None
        try:
            return await own_rooms(self)
        except Unavailable:
            return None  # the client asks for them later

    def renew(self, auth: AuthResult) -> None:
        """Take over another credential of the same user."""
        self.scopes = auth.scopes
        self.sid = auth.sid
        self.expires_at = auth.expires_at
        self.room_rights = auth.room_rights
        self.claims = auth.claims
        self.leave_forbidden_rooms()
        if self._expiry is not None:
            self._expiry.cancel()
        self._watch_expiry()

    def limit_rooms(self, rights: RoomRights) -> None:
        """Allow no more in rooms than these rights, and stop hearing the rooms that they do not allow."""
        self.room_rights = both(self.room_rights, rights)
        self.leave_forbidden_rooms()

    def disconnect(self) -> None:
        """End: leave all rooms and the presence."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._leave_rooms()
        with contained("presence"):
            self.gateway.presence.disconnect(self)

    def _current_unordered(self) -> UnorderedMessage | None:
        """Return the unordered message that the current task answers, or None."""
        return None if self._unordered is None else self._unordered.current()

    def _set_answered(self, message: UnorderedMessage | None) -> None:
        """Count the current message as answered."""
        if message is None:
            self.chunks = None
        elif self._unordered is not None:
            self._unordered.set_answered(message)

    def _refuse_at_once(self, id: int | str | None, error: MessageError) -> None:
        """Answer an unordered message in its handler's place."""
        self.ws.refuse(id, error, at_once=True)
        self._close_if_due()

    def _after_unordered(self, message: UnorderedMessage, error: BaseException | None) -> None:
        handler = message.handler
        self.gateway.counters.answered[type(handler)].add_answer(
            perf_counter() - message.began, handler.answer_status if message.status is None else message.status
        )
        note_end(message.error)
        if error is not None:
            logger.error("a connection failed", exc_info=error)
            self.close(Close.INTERNAL_ERROR)
        self._end = message.end or self._end
        self._close_if_due()

    def _close_if_due(self) -> None:
        """Close if that has waited for the answer of an unordered message. It goes on to wait if others are left."""
        if self._end is not None:
            self.close_after_reply(*self._end)

    def _leave_rooms(self) -> None:
        for room in tuple(self.joined):
            with contained("rooms"):  # a fault in one room must not stop the rest
                self.gateway.hub.leave(room, self)

    def leave_forbidden_rooms(self) -> None:
        """Stop hearing the rooms that the token does not allow. The user stays a member of them."""
        if JoinRoomHandler.scope not in self.scopes:
            self._leave_rooms()
        elif self.room_rights is not None:
            for room in [room for room in self.joined if not self.room_rights.allows(Right.JOIN, room)]:
                with contained("rooms"):
                    self._leave_forbidden_room(room)

    def _leave_forbidden_room(self, room: str) -> None:
        """Stop hearing a room, and let the client notice: joining it again, it learns the reason."""
        found = self.gateway.hub.find(room)
        if found is not None and found.epoch is not None and found.position is not None:
            self.send_event(Resync(room=room, epoch=found.epoch, offset=found.position))
        self.gateway.hub.leave(room, self)

    def _watch_expiry(self) -> None:
        self.ws.valid_until = self.expires_at + EXPIRY_GRACE_SECONDS
        left = self.expires_at - self.gateway.clock.wall()
        self._expiry = self.gateway.timers.call_later(left - EXPIRY_WARNING_SECONDS, self._warn_of_expiry)

    def _warn_of_expiry(self) -> None:
        self.send_event(TokenExpiring(token_expires_at=timestamp(int(self.expires_at * 1000))))
        left = self.expires_at - self.gateway.clock.wall()
        self._expiry = self.gateway.timers.call_later(
            left + EXPIRY_GRACE_SECONDS, lambda: self.close(Close.TOKEN_EXPIRED)
        )


@asynccontextmanager
async def open_session(ws: GatewayWebSocket, auth: AuthResult) -> AsyncIterator[ChatSession]:
    """Accept and count the connection. At the end, uncount it and wait for its last frames.

    Over a limit, yield a session that has ended already and reads nothing.
    """
    state = state_of(ws)
    # The credential may have been checked together with many others. Their clients must not go on in the same turn.
    await state.turns.take()
    await ws.open()
    ws.user_name = auth.user
    async with admitted(ws, ChatSession(ws, auth, state)) as session:
        try:
            yield session
        finally:
            await session.cancel_unordered()
