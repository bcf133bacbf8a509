"""The verbs of a session for the services behind routes."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from pydantic import BaseModel

from gateway.state import GatewayState
from gateway.upstream.calls import Caller
from gateway.upstream.effects import Cause
from handlers.errors import UpstreamFailed
from handlers.streaming import Chunk, Reply, Whole
from schemas.messages.upstream import UpstreamReply


class Sender(Protocol):
    """The session of a message's sender, with or without a connection."""

    gateway: GatewayState
    connection: str
    user: str
    user_id: str
    scopes: frozenset[str]
    claims: Mapping[str, Any] | None

    @property
    def max_answer_bytes(self) -> int:
        """Return the most bytes of an answer."""


class SessionUpstream:
    """The verbs of `handlers.base.UpstreamVerbs`, for one session."""

    def __init__(self, session: Sender, disconnect: Callable[[], None]) -> None:
        """`disconnect` closes the session's connection, if it has one."""
        self._session = session
        self._disconnect = disconnect

    async def call(self, type: str, data: dict[str, Any], *, id: int | str | None = None) -> UpstreamReply:
        """Send a message to the service of its route, and return the service's reply."""
        whole = Whole(self._session.max_answer_bytes)
        closing: BaseModel = UpstreamReply({})
        async with aclosing(self.stream(type, data, id=id, asks_for_stream=False)) as parts:
            async for part in parts:
                if isinstance(part, Reply):
                    closing = part.data
                else:
                    _add(whole, part)
        reply = whole.reply(closing)
        return reply if isinstance(reply, UpstreamReply) else UpstreamReply.model_validate(reply.model_dump())

    def stream(
        self, type: str, data: dict[str, Any], *, id: int | str | None = None, asks_for_stream: bool = True
    ) -> AsyncGenerator[Chunk, None]:
        """Send a message to the service of its route, and yield the parts of its answer."""
        session = self._session
        caller = Caller(session.user, session.user_id, session.scopes, session.claims or {}, session.connection)
        cause = Cause(session.user, session.gateway.app_state, self._disconnect)
        return session.gateway.upstreams.stream(caller, cause, type, id, data, asks_for_stream=asks_for_stream)


def _add(whole: Whole, chunk: Chunk) -> None:
    try:
        whole.add(chunk)
    except ValueError as error:
        raise UpstreamFailed(str(error)) from None
