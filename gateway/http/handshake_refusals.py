"""Refuses a WebSocket: the client gets the error and the close."""

import logging
from contextlib import suppress
from http import HTTPStatus

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.core.client_info import address_of
from gateway.http.errors import error_response
from gateway.http.origins import ForbiddenOrigin
from gateway.state import state_of
from gateway.transport import frames
from gateway.transport.subprotocols import subprotocol_of_refusal
from handlers.errors import MessageError, NotFound, RateLimited, TokenExpired, TokenRevoked
from schemas.codes import Close

logger = logging.getLogger(__name__)

MAX_REASON = 200
"""The most characters of a reason for an operator."""


def close_for(error: MessageError) -> Close:
    """Return the close for the error of a handshake."""
    if isinstance(error, TokenExpired):
        return Close.REFUSED_EXPIRED
    if isinstance(error, TokenRevoked):
        return Close.REFUSED_REVOKED
    if isinstance(error, ForbiddenOrigin):
        return Close.FORBIDDEN_ORIGIN
    if isinstance(error, NotFound):
        return Close.NOT_FOUND
    if error.retryable:
        return Close.OVERLOADED
    return Close.AUTHENTICATION_FAILED if error.http_status < HTTPStatus.INTERNAL_SERVER_ERROR else Close.INTERNAL_ERROR


async def refuse_handshake(ws: WebSocket, error: MessageError) -> None:
    """Refuse a WebSocket, and send its client the reason.

    A browser, Postman and a phone cannot read the body of a refused upgrade. So the gateway accepts the WebSocket,
    sends the error and closes it.
    """
    close = close_for(error)
    state_of(ws).counters.handshakes_refused[error.status] += 1
    note_refusal(ws, error, close)
    logger.info("refused a WebSocket with %d, %s: %s", close.code, close.reason, error)
    with suppress(WebSocketDisconnect, OSError):  # the client may be gone
        await _refuse_handshake(ws, error, close)


def note_refusal(ws: WebSocket, error: MessageError, close: Close) -> None:
    """Show the refusal of a client without a log-in to an operator that watches."""
    taps = state_of(ws).taps
    if taps.is_open:
        taps.note(
            "refused", address=address_of(ws), code=close.code, status=int(error.status), reason=str(error)[:MAX_REASON]
        )


async def _refuse_handshake(ws: WebSocket, error: MessageError, close: Close) -> None:
    if isinstance(error, RateLimited):
        await state_of(ws).connections.delay_refusal(address_of(ws))
    is_connecting = ws.application_state is WebSocketState.CONNECTING
    if is_connecting and state_of(ws).settings.handshake_rejection == "http":
        await ws.send_denial_response(error_response(error))
        return
    if is_connecting:
        await ws.accept(subprotocol_of_refusal(ws.scope["subprotocols"]))
    await ws.send_text(frames.error(None, error.body()).text)
    await ws.send_text(frames.bye(close).text)
    await ws.close(close.code, close.reason)
