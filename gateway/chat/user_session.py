"""What a session is with and without a connection: a user, its verbs, and the gateway behind it."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.auth.authorizers import AuthResult
from gateway.bus.base import ToAll
from gateway.chat.verbs.messages import SessionMessages
from gateway.core import costs
from gateway.core.clock import milliseconds
from gateway.core.logs import request_id
from gateway.core.rate_limits import Allowance
from gateway.state import GatewayState
from gateway.store.prepared import Rows, Statement
from gateway.transport import frames
from gateway.transport.frames import Frame
from handlers.errors import InternalError, MessageError
from schemas.base import Event, timestamp

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class UserSession(ABC):
    """The session of a user. A subclass says how a message is answered and charged."""

    def __init__(self, auth: AuthResult, state: GatewayState) -> None:
        self.gateway = state
        self.connection = request_id.get()
        """The id of the connection, or of the request."""
        self.user = auth.user
        self.user_id = auth.user_id
        self.scopes = auth.scopes
        self.service = auth.service
        self.room_rights = auth.room_rights
        self.claims = auth.claims
        self.joins = Allowance()
        self.writes = Allowance()

    @property
    def state(self) -> Any:
        """Return the value that the application's lifespan has yielded."""
        return self.gateway.app_state

    @property
    def max_answer_bytes(self) -> int:
        """Return the most bytes of one frame to the client."""
        return self.gateway.settings.max_frame_bytes

    @property
    def messages(self) -> SessionMessages:
        """Return the verbs for messages."""
        return SessionMessages(self)

    def now(self) -> str:
        """Return the gateway's time in the protocol's form."""
        return timestamp(milliseconds(self.gateway.clock))

    @abstractmethod
    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Answer a message with an error."""

    def fail(self, id: int | str | None) -> None:
        """Log the current exception, and answer with a reference to it."""
        logger.exception("a handler failed")
        self.refuse(id, InternalError(self.connection))

    @abstractmethod
    def charge(self, cost: float) -> None:
        """Charge the user's rate with the extra cost of a message, in messages."""

    @abstractmethod
    def take_signal(self) -> None:
        """Count a signal of this connection, or raise `RateLimited`."""

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one short statement that reads the store, and charge it."""
        self.charge(costs.READ)
        return await self.gateway.database.fetch(statement, **values)

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run a transaction that writes to the store, and charge it."""
        self.charge(costs.WRITE)
        return await self.gateway.database.transact(work)

    async def publish_to_all(self, event: Event) -> int:
        """Send an event to every connection on all nodes, and return their number."""
        here = await self.gateway.bus.publish(ToAll(self._encode(event)))
        return here + await self.gateway.connections.remote_count()

    def _encode(self, event: Event) -> Frame:
        return frames.bounded(frames.event(event), self.gateway.settings.max_frame_bytes)
