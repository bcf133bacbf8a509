"""Shows connections and their messages to an operator that watches with `gateway tail`."""

from typing import Any

import orjson

from gateway.chat.user_session import UserSession
from gateway.chat.websocket import MAX_REASON, GatewayWebSocket
from gateway.connections.registry import Connection
from gateway.core.taps import Taps
from handlers.errors import MessageError

CREDENTIALS = frozenset({"auth", "auth.refresh"})
"""The types of messages whose body is a credential."""


def note_message(taps: Taps, session: UserSession, message: dict[str, Any], *, over: str | None = None) -> None:
    """Show a message of a client."""
    data = message.get("data")
    room = data.get("room") if isinstance(data, dict) else None
    kind = message.get("type")
    is_secret = not isinstance(kind, str) or kind in CREDENTIALS
    taps.note(
        "in",
        type=kind,
        room=room,
        user=session.user,
        connection=session.connection,
        over=over,
        body=None if is_secret else lambda: orjson.dumps(data),
    )


def note_refused_call(taps: Taps, session: UserSession, kind: str, error: MessageError) -> None:
    """Show the refusal of a message that came over HTTP."""
    taps.note(
        "refused",
        type=kind,
        user=session.user,
        connection=session.connection,
        status=int(error.status),
        reason=str(error)[:MAX_REASON],
    )


def note_begin(taps: Taps, session: Connection) -> None:
    """Show a connection that has logged in."""
    if taps.is_open:
        taps.note("open", user=session.user, connection=session.connection, address=session.address)


def note_end(taps: Taps, session: Connection, ws: GatewayWebSocket) -> None:
    """Show the end of a connection."""
    if taps.is_open:
        close = ws.close_reason
        taps.note(
            "end",
            user=session.user,
            connection=session.connection,
            address=session.address,
            code=None if close is None else close.code,
            reason="gone" if close is None else close.reason,
            seconds=round(ws.clock.steady() - ws.opened_at, 1),
        )
