"""The frame of a conversation: it is admitted, counted, and ends in order."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from gateway.chat.tapping import note_begin, note_end
from gateway.chat.websocket import GatewayWebSocket
from gateway.connections.registry import Connection
from gateway.state import state_of
from schemas.codes import Close

logger = logging.getLogger(__name__)


class Conversation(Connection, Protocol):
    """A connection with a beginning and an end of its own."""

    async def begin(self) -> None:
        """Take up its limits, and send its welcome."""

    def disconnect(self) -> None:
        """Release all that the connection holds. It is not counted any more."""


Admitted = TypeVar("Admitted", bound=Conversation)


@asynccontextmanager
async def admitted(ws: GatewayWebSocket, session: Admitted) -> AsyncIterator[Admitted]:
    """Count the connection. At the end, uncount it and wait for its last frames.

    Over a limit, yield a session that has ended already and reads nothing.
    """
    state = state_of(ws)
    if (refusal := await state.connections.admit(session)) is not None:
        session.close(*refusal)
        state.counters.ended[ws.close_reason] += 1
        note_end(state.taps, session, ws)
        yield session
        await ws.wait_closed()
        return
    state.counters.opened += 1
    try:
        await session.begin()
        note_begin(state.taps, session)
        yield session
        await state.turns.take()  # thousands may vanish at once
    except Exception:
        logger.exception("a connection failed")
        session.close(Close.INTERNAL_ERROR)
    finally:
        state.connections.remove(session)
        if ws.close_reason is Close.RATE_ABUSE:
            state.connections.record_abuse(session)
        state.counters.ended[ws.close_reason] += 1
        note_end(state.taps, session, ws)
        session.disconnect()
        await ws.wait_closed()
