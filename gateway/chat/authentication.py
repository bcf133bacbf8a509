"""The FastAPI dependency that authenticates a WebSocket."""

from functools import partial
from typing import Annotated

from fastapi import Query, WebSocket

from gateway.auth.authorizers import AuthResult, authorize
from gateway.chat.first_message import first_message
from gateway.chat.websocket import GatewayWebSocket
from gateway.config.external_services import LOCAL
from gateway.core.client_info import address_of
from gateway.http import credentials
from gateway.http.origins import check_origin
from gateway.state import state_of
from handlers.errors import AuthenticationFailed


# FastAPI reads only the token of the query: three parameters take half as long again as one.
async def websocket_authentication(connection: WebSocket, token: Annotated[str | None, Query()] = None) -> AuthResult:
    """Check the origin and the credential of a WebSocket.

    Of several credentials the first counts, good or bad: the header `Authorization`, a subprotocol, the query
    parameters `ticket` and `token`, the cookie. A connection without any of them is accepted, and its first message
    must have one. `service` picks the authorizer of tokens.

    Raises `ForbiddenOrigin` for a page that is not allowed, unless the header has the credential. Raises `RateLimited`
    if too many connections come from its address. Raises `AuthenticationFailed` or a subclass, which becomes the
    refusal of the handshake, and `WebSocketDisconnect` if the connection has ended without a credential.
    """
    ws = GatewayWebSocket.of(connection)
    state = state_of(ws)
    state.connections.check_connection_rate(address_of(ws))
    found = credentials.bearer(ws)
    if found is None:
        # No page can set that header on a WebSocket, so the origin matters only for the other places.
        check_origin(ws, state.origins, state.client_log)
        found = credentials.bearer_subprotocol(ws)
    if found is None and (ticket := credentials.ticket(ws)) is not None:
        return await state.tickets.redeem(ticket)
    if found is None:
        found = token
    if found is None:
        found = credentials.cookie(ws, state.settings.session_cookie)
    service = ws.query_params.get("service", LOCAL)
    if found is None and (elsewhere := credentials.misplaced(ws)) is not None:
        raise AuthenticationFailed(f"a credential came in {elsewhere}")
    if found is None:
        check = partial(authorize, state.authorizers, service)
        return await first_message(ws, state, check, AuthResult.to_reply)
    return await authorize(state.authorizers, service, found)
