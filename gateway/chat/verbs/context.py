"""The session, as its verbs see it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection as StoreConnection

from gateway.auth.authorizers import AuthResult
from gateway.auth.room_rights import RoomRights
from gateway.connections.registry import Connection
from gateway.core.rate_limits import Allowance
from gateway.state import GatewayState
from gateway.store.prepared import Rows, Statement

Result = TypeVar("Result")


class SessionContext(Protocol):
    """A session, as its verbs see it: a user with the gateway behind it. It may be without a connection."""

    gateway: GatewayState
    user_id: str
    user: str
    service: str
    """The service that has checked the token."""
    room_rights: RoomRights | None
    """What the credential allows in which rooms; None stands for no restriction."""
    claims: Mapping[str, Any] | None
    """What the credential says about the user; None if no upstream service is set."""
    joins: Allowance
    """Its allowance of joins."""
    writes: Allowance
    """Its allowance of written bytes."""

    def charge(self, cost: float) -> None:
        """Charge the user's rate with the extra cost of a message, in messages."""

    def take_signal(self) -> None:
        """Count a signal of this connection, or raise `RateLimited`."""

    async def transact(self, work: Callable[[StoreConnection], Result]) -> Result:
        """Run a transaction that writes to the store, and charge it."""

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one short statement that reads the store, and charge it."""


class ConnectionContext(SessionContext, Connection, Protocol):
    """The session of a connection, as the verbs see it that need one."""

    def flush(self) -> None:
        """Send at once the events that wait for the reply to this message."""

    def renew(self, auth: AuthResult) -> None:
        """Take over another credential of the same user."""

    def leave_forbidden_rooms(self) -> None:
        """Stop hearing the rooms that the token does not allow. The user stays a member of them."""
