"""One connection of one user: what `handlers.base.Session` promises, in the flesh."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth.authorizers import AuthResult
from gateway.bus.base import BusEvent
from gateway.chat.verbs.credential import SessionCredential
from gateway.chat.verbs.messages import SessionMessages
from gateway.chat.verbs.presence import SessionPresence
from gateway.chat.verbs.rooms import SessionRooms
from gateway.chat.websocket import GatewayWebSocket
from gateway.core import costs
from gateway.core.client_info import address_of
from gateway.core.clock import milliseconds
from gateway.core.faults import contained
from gateway.core.logs import request_id
from gateway.core.rate_limits import Allowance, TokenBucket
from gateway.core.timers import Timer
from gateway.state import Services, services_of
from gateway.transport import frames
from gateway.transport.frames import Frame
from handlers.errors import InternalError, MessageError
from handlers.rooms import JoinRoomHandler
from schemas.base import Event, timestamp
from schemas.codes import Close
from schemas.events.system import TokenExpiring, Welcome

logger = logging.getLogger(__name__)

EXPIRY_WARNING_SECONDS = 60
EXPIRY_GRACE_SECONDS = 25


class ChatSession:
    """The connection as handlers, the hub and the counters see it."""

    def __init__(self, ws: GatewayWebSocket, auth: AuthResult, services: Services) -> None:
        self.ws = ws
        self.deliver = ws.outbox.deliver
        """Takes an event; never waits and never raises."""
        self.services = services
        self.connection = request_id.get()
        self.user = auth.user
        self.user_id = auth.user_id
        self.scopes = auth.scopes
        self.sid = auth.sid
        self.service = auth.service
        self.expires_at = auth.expires_at
        self.address = address_of(ws)
        self.joins = Allowance()
        rate = services.settings.join_rate
        self.joins.limit(TokenBucket(rate, max(1.0, rate), services.clock.steady()), "on this connection")
        self.writes = Allowance()
        self.joined: dict[str, int] = {}
        self._expiry: Timer | None = None

    @property
    def state(self) -> Any:
        """What the application's lifespan has yielded."""
        return self.services.app_state

    @property
    def rooms(self) -> SessionRooms:
        """Verbs for rooms."""
        return SessionRooms(self)

    @property
    def messages(self) -> SessionMessages:
        """Verbs for messages."""
        return SessionMessages(self)

    @property
    def presence(self) -> SessionPresence:
        """Verbs for presence."""
        return SessionPresence(self)

    @property
    def credential(self) -> SessionCredential:
        """Verbs for the credential."""
        return SessionCredential(self)

    @property
    def last_message_at(self) -> float:
        """When the last message came, on the steady clock."""
        return self.ws.last_message_at

    @property
    def on_message(self) -> Callable[[], None] | None:
        """Called when the next message comes, if set."""
        return self.ws.on_message

    @on_message.setter
    def on_message(self, call: Callable[[], None] | None) -> None:
        self.ws.on_message = call

    def now(self) -> str:
        """Give the gateway's time, as the protocol writes it."""
        return timestamp(milliseconds(self.services.clock))

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Answer a message."""
        frame = frames.bounded(frames.reply(id, data), self.ws.max_frame_bytes)
        if len(frame.wire) > costs.MESSAGE_BYTES:
            self.charge(costs.of_answer(len(frame.wire)))
        self.ws.outbox.answer(frame)

    def charge(self, cost: float) -> None:
        """Take what a message costs beyond being one, in messages, from what the user may do in a second."""
        self.ws.charge(cost)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction that reads the store, and charge it."""
        self.charge(costs.READ)
        return self.services.database.read()

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction that writes to the store, and charge it."""
        self.charge(costs.WRITE)
        return self.services.database.write()

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Answer a message with an error."""
        self.ws.refuse(id, error)

    def fail(self, id: int | str | None) -> None:
        """Log the exception that is being handled, and answer with a reference to it."""
        logger.exception("a handler failed")
        self.refuse(id, InternalError(self.connection))

    def tell(self, event: Event) -> None:
        """Send an event to this connection alone."""
        self.deliver(self._encode(event))

    def tell_held(self) -> None:
        """Send the events that wait for the reply to this message, ahead of it."""
        self.ws.outbox.release()
        self.ws.outbox.hold()

    async def tell_everyone(self, event: Event) -> int:
        """Send an event to every connection, on all nodes; returns how many that were."""
        here = await self.services.bus.publish(BusEvent(self._encode(event)))
        return here + await self.services.connections.count_elsewhere()

    def hang_up(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close, once the message that is being handled has been answered."""
        if not isinstance(close, Close):  # a handler's mistake, which would be met after the handler
            raise TypeError(f"expected one of `schemas.codes.Close`, got {close!r}")
        self.ws.hang_up(close, after_ms)

    def cut_off(self) -> None:
        """End without waiting for anything."""
        self.ws.cut_off()

    def end(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close now, after what is owed already."""
        self.ws.end(close, after_ms)

    def welcome(self) -> None:
        """Begin: tell the client who it is, and watch the end of its token."""
        settings = self.services.settings
        self.tell(
            Welcome(
                connection=self.connection,
                user=self.user,
                scopes=tuple(sorted(self.scopes)),
                server_time=self.now(),
                token_expires_at=timestamp(int(self.expires_at * 1000)),
                heartbeat_seconds=settings.heartbeat_seconds,
                max_message_bytes=settings.max_message_bytes,
            )
        )
        self._watch_expiry()

    def renew(self, auth: AuthResult) -> None:
        """Go on with another credential of the same user."""
        self.scopes = auth.scopes
        self.sid = auth.sid
        self.expires_at = auth.expires_at
        if JoinRoomHandler.scope not in self.scopes:
            self._hear_no_room()
        if self._expiry is not None:
            self._expiry.cancel()
        self._watch_expiry()

    def leave(self) -> None:
        """End: hear no room any more, and be there no more."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._hear_no_room()
        with contained("presence"):
            self.services.presence.depart(self)

    def _encode(self, event: Event) -> Frame:
        return frames.bounded(frames.event(event), self.ws.max_frame_bytes)

    def _hear_no_room(self) -> None:
        for room in tuple(self.joined):
            with contained("rooms"):  # it must leave all others, and be gone
                self.services.hub.leave(room, self)

    def _watch_expiry(self) -> None:
        self.ws.valid_until = self.expires_at + EXPIRY_GRACE_SECONDS
        left = self.expires_at - self.services.clock.wall()
        self._expiry = self.services.wheel.after(left - EXPIRY_WARNING_SECONDS, self._warn_of_expiry)

    def _warn_of_expiry(self) -> None:
        self.tell(TokenExpiring(token_expires_at=timestamp(int(self.expires_at * 1000))))
        left = self.expires_at - self.services.clock.wall()
        self._expiry = self.services.wheel.after(left + EXPIRY_GRACE_SECONDS, lambda: self.end(Close.TOKEN_EXPIRED))


@asynccontextmanager
async def open_session(ws: GatewayWebSocket, auth: AuthResult) -> AsyncIterator[ChatSession]:
    """Accept the connection and count it in; at the end, count it out and see its last frames off.

    Over a limit, the session that is given has ended already: it reads nothing.
    """
    services = services_of(ws)
    await ws.open()
    ws.user_name = auth.user
    session = ChatSession(ws, auth, services)
    if (refusal := await services.connections.admit(session)) is not None:
        session.end(*refusal)
        services.counts.ended[ws.ended] += 1
        yield session
        await ws.finish()
        return
    services.connections.share_limits(session, ws.allowance, session.joins, session.writes, ws.frames_allowed)
    services.presence.arrive(session)
    try:
        session.welcome()
        yield session
    except Exception:
        logger.exception("a connection failed")
        session.end(Close.INTERNAL_ERROR)
    finally:
        services.connections.remove(session)
        if ws.ended is Close.RATE_ABUSE:
            services.connections.note_abuse(session)
        services.counts.ended[ws.ended] += 1
        session.leave()
        await ws.finish()
