"""The last place of a credential: the first message of a connection without one.

Until then it is a pending connection. It costs its coroutine and a place on the timer wheel, gets one try, and is
one of few from its address.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocketDisconnect

from gateway.chat.websocket import GatewayWebSocket
from gateway.core.client_info import address_of
from gateway.http.handshake_refusals import close_for, note_refusal
from gateway.state import GatewayState
from gateway.transport import frames
from handlers.errors import AuthenticationFailed, MessageError, RateLimited, ValidationFailed
from handlers.factory import readable_id
from schemas.base import ClientMessage
from schemas.codes import Close
from schemas.messages.auth import Authenticate

logger = logging.getLogger(__name__)

TYPE = "auth"
Auth = TypeVar("Auth")
"""What a check of a credential finds."""
EXAMPLE = '{"type":"auth","data":{"token":"…"}}'


async def first_message(
    ws: GatewayWebSocket,
    state: GatewayState,
    check: Callable[[str], Awaitable[Auth]],
    to_reply: Callable[[Auth], BaseModel],
) -> Auth:
    """Accept a connection, and log it in by its first message, in time: `check` its credential.

    Raises `AuthenticationFailed` or `RateLimited` before the accept, and `WebSocketDisconnect` if the connection ends.
    """
    if not state.settings.auth_timeout_seconds:
        raise AuthenticationFailed("no credential; connect with the header Authorization: Bearer, or with ?token=…")
    address = address_of(ws)
    with state.unauthenticated.acquire(address) as acquired:
        if not acquired:
            raise RateLimited("connections from this address that have not logged in", 1000)
        await ws.open()
        with state.connections.pending(ws, address, ws.frames_allowed):
            return await _log_in(ws, state, check, to_reply)


async def _log_in(
    ws: GatewayWebSocket,
    state: GatewayState,
    check: Callable[[str], Awaitable[Auth]],
    to_reply: Callable[[Auth], BaseModel],
) -> Auth:
    message_id: int | str | None = None
    try:
        request_data = await _first_json(ws, state)
        message_id = readable_id(request_data)
        await state.turns.take()
        auth = await check(_token_of(request_data))
    except MessageError as error:
        logger.info("refused a first message: %s", error)
        note_refusal(ws, error, close_for(error))
        ws.reject(message_id, error, close_for(error))
        await ws.wait_closed()
        raise WebSocketDisconnect from None
    if message_id is not None:
        ws.outbox.reply(frames.reply(message_id, to_reply(auth)))
    return auth


async def _first_json(ws: GatewayWebSocket, state: GatewayState) -> dict[str, object]:
    with _time_limit(ws, state):
        request_data = await ws.first_json()
    if request_data is None:
        await ws.wait_closed()
        raise WebSocketDisconnect
    return request_data


@contextmanager
def _time_limit(ws: GatewayWebSocket, state: GatewayState) -> Iterator[None]:
    seconds = state.settings.auth_timeout_seconds
    late = AuthenticationFailed(f"no credential came within {seconds:g} seconds; send {EXAMPLE} as the first message")
    timer = state.timers.call_later(seconds, lambda: ws.reject(None, late, Close.AUTH_TIMEOUT))
    try:
        yield
    finally:
        timer.cancel()


def _token_of(request_data: dict[str, object]) -> str:
    try:
        message = ClientMessage.model_validate(request_data)
    except ValidationError as error:
        raise ValidationFailed.from_pydantic(error) from None
    if message.type != TYPE:
        raise AuthenticationFailed(f"not logged in: the first message must be {EXAMPLE}")
    try:
        return Authenticate.model_validate({} if message.data is None else message.data).token
    except ValidationError as error:
        raise ValidationFailed.from_pydantic(error, "data") from None
