"""The FastAPI dependency that authenticates the WebSocket of a service."""

from fastapi import WebSocket
from pydantic import BaseModel

from gateway.auth.services import ServiceAuth
from gateway.chat.first_message import first_message
from gateway.chat.websocket import GatewayWebSocket
from gateway.core.client_info import address_of, client_info_of
from gateway.http import credentials
from gateway.http.authentication import service_credential
from gateway.http.origins import check_origin
from gateway.state import state_of
from handlers.errors import AuthenticationFailed
from schemas.base import timestamp
from schemas.messages.services import ServiceAuthReply
from schemas.services import SERVE


async def worker_authentication(connection: WebSocket) -> ServiceAuth:
    """Return the service of the key in the header `Authorization: Bearer`, or in the first message.

    Raises `RateLimited` if too many connections come from its address, `ForbiddenOrigin` for a page, and
    `AuthenticationFailed` or a subclass for a bad key. Raises `MissingScope` without the scope `api:serve`, and
    `WebSocketDisconnect` if the connection has ended without a key.
    """
    ws = GatewayWebSocket.of(connection)
    state = state_of(ws)
    state.connections.check_connection_rate(address_of(ws))

    async def check(key: str) -> ServiceAuth:
        auth = await state.services.authenticate(key, client_info_of(ws))
        auth.check_scope(SERVE)
        return auth

    key = service_credential(ws)
    if key is not None:
        return await check(key)
    check_origin(ws, state.origins, state.client_log)
    if (elsewhere := credentials.misplaced(ws)) is not None:
        raise AuthenticationFailed(f"a credential came in {elsewhere}")
    return await first_message(ws, state, check, _to_reply)


def _to_reply(auth: ServiceAuth) -> BaseModel:
    ends_at = None if auth.expires_at is None else timestamp(int(auth.expires_at * 1000))
    return ServiceAuthReply(service=auth.name, scopes=tuple(sorted(auth.scopes)), key_expires_at=ends_at)
