"""One connection of a service: the frames to it, and its end."""

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.auth.room_rights import RoomRights
from gateway.auth.services import ServiceAuth
from gateway.chat.admission import admitted
from gateway.chat.websocket import GatewayWebSocket
from gateway.core.client_info import address_of
from gateway.core.clock import milliseconds
from gateway.core.logs import request_id
from gateway.core.rate_limits import Allowance
from gateway.core.timers import Timer
from gateway.routes.model import Route
from gateway.state import GatewayState, state_of
from gateway.transport import frames
from gateway.transport.frames import Frame
from gateway.upstream.calls import max_part_bytes
from schemas.base import timestamp
from schemas.codes import Close
from schemas.events.services import ServiceWelcome

logger = logging.getLogger(__name__)


class ServiceSession:
    """A connection of a service, as the registry of connections and the workers see it."""

    def __init__(self, ws: GatewayWebSocket, auth: ServiceAuth, state: GatewayState) -> None:
        self.ws = ws
        self.gateway = state
        self.connection = request_id.get()
        self.service = auth.name
        self.user = auth.sender
        self.user_id = auth.user_id
        self.sid: str | None = auth.key_id
        self.address = address_of(ws)
        self.joined: dict[str, int] = {}
        self.on_message: Callable[[], None] | None = None
        self.worker = state.workers.connect(auth.name, _Peer(ws))
        self.scopes = auth.scopes
        self.expires_at = math.inf if auth.expires_at is None else auth.expires_at
        self._expiry: Timer | None = None
        self._leaving: tuple[Close, int | None] | None = None

    @property
    def opened_at(self) -> float:
        """Return when the connection was opened, on the steady clock."""
        return self.ws.opened_at

    @property
    def last_message_at(self) -> float:
        """Return when the last message came, on the steady clock."""
        return self.ws.last_message_at

    def deliver(self, frame: Frame) -> None:
        """Ignore an event for all connections: it is for users."""

    @property
    def max_chunk_bytes(self) -> int:
        """Return the most bytes of a chunk."""
        return max_part_bytes(self.gateway.settings)

    def now(self) -> str:
        """Return the gateway's time in the protocol's form."""
        return timestamp(milliseconds(self.gateway.clock))

    def routes(self) -> dict[str, Route]:
        """Return the routes that this service may serve, by their patterns."""
        return {
            route.pattern: route
            for route in self.gateway.routes.current.routes
            if route.is_for_workers and route.service in (None, self.service)
        }

    async def begin(self) -> None:
        """Send the welcome, and watch the end of the key."""
        limits, none = self.gateway.connections.share_limits, Allowance()
        # Answers are as many as the gateway asks for. So only the connection's own rate counts what else comes.
        limits(self, none, none, none, self.ws.frames_allowed)
        self.ws.outbox.deliver(frames.event(self._welcome()))
        if self.expires_at < math.inf:
            self.ws.valid_until = self.expires_at
            left = self.expires_at - self.gateway.clock.wall()
            self._expiry = self.gateway.timers.call_later(left, lambda: self.close(Close.TOKEN_EXPIRED))

    def _welcome(self) -> ServiceWelcome:
        return ServiceWelcome(
            connection=self.connection,
            service=self.service,
            server_time=self.now(),
            heartbeat_seconds=self.gateway.settings.heartbeat_seconds,
            max_message_bytes=self.ws.max_message_bytes,
        )

    def close(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close. All open messages fail."""
        self.ws.close_with(close, after_ms)

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        """Let the worker answer what it has, send it nothing more, and then close."""
        if self._leaving is None:
            self._leaving = close, after_ms
            self.gateway.workers.withdraw(self.worker)
            self.worker.on_idle = self._close_if_idle
        self._close_if_idle()

    @property
    def is_leaving(self) -> bool:
        """Return whether the connection is to end."""
        return self._leaving is not None

    def _close_if_idle(self) -> None:
        if self._leaving is not None and not self.worker.busy:
            self.close(*self._leaving)

    def abort(self) -> None:
        """End at once, without a wait."""
        self.ws.abort()

    def limit_rooms(self, rights: RoomRights) -> None:
        """Do nothing: a service is in no group, and hears no room."""

    def disconnect(self) -> None:
        """End: all open messages fail."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.gateway.workers.disconnect(self.worker)


class _Peer:
    """The socket of a worker."""

    def __init__(self, ws: GatewayWebSocket) -> None:
        self._ws = ws
        self.deliver = ws.outbox.deliver

    @property
    def backlog(self) -> float:
        """Return the part of the outbox that is full."""
        return self._ws.outbox.backlog

    def close_slow(self) -> None:
        """Close the connection, since the worker does not read."""
        self._ws.close_slow_consumer()


@asynccontextmanager
async def open_session(ws: GatewayWebSocket, auth: ServiceAuth) -> AsyncIterator[ServiceSession]:
    """Accept and count the connection. At the end, let its open messages fail, and wait for its last frames."""
    state = state_of(ws)
    await state.turns.take()
    await ws.open()
    ws.user_name = auth.sender
    ws.accept_messages_of(ws.max_frame_bytes)  # as long as an answer over HTTP
    async with admitted(ws, ServiceSession(ws, auth, state)) as session:
        yield session
