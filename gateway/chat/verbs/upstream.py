"""The verbs of a session for the services behind routes."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.state import GatewayState
from gateway.upstream.calls import Caller
from gateway.upstream.effects import Cause
from schemas.messages.upstream import UpstreamReply


class Sender(Protocol):
    """The session of a message's sender, with or without a connection."""

    gateway: GatewayState
    connection: str
    user: str
    user_id: str
    scopes: frozenset[str]
    claims: Mapping[str, Any] | None


class SessionUpstream:
    """The verbs of `handlers.base.UpstreamVerbs`, for one session."""

    def __init__(self, session: Sender, disconnect: Callable[[], None]) -> None:
        """`disconnect` closes the session's connection, if it has one."""
        self._session = session
        self._disconnect = disconnect

    async def call(self, type: str, data: dict[str, Any], *, id: int | str | None = None) -> UpstreamReply:
        """Send a message to the service of its route, and return the service's reply."""
        session = self._session
        caller = Caller(session.user, session.user_id, session.scopes, session.claims or {}, session.connection)
        cause = Cause(session.user, session.gateway.app_state, self._disconnect)
        return await session.gateway.upstreams.call(caller, cause, type, id, data)
