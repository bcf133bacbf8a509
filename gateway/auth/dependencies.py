"""FastAPI dependencies: who is asking."""

from typing import Annotated

from fastapi import Depends, Query
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from gateway.auth import carriers
from gateway.auth.authorizers import AuthResult, authorize
from gateway.auth.origins import check_origin
from gateway.chat.first_message import first_message
from gateway.chat.websocket import GatewayWebSocket
from gateway.config.external_services import OWN
from gateway.core.client_info import address_of
from gateway.state import ServicesDep, services_of
from handlers.errors import AuthenticationFailed

# `auto_error` off: a refusal is ours to word, and the same for a missing and a wrong token.
password_flow = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


# Of the query, FastAPI is told of the token alone: three parameters take it half as long again as one.
async def websocket_authentication(ws: GatewayWebSocket, token: Annotated[str | None, Query()] = None) -> AuthResult:
    """Check the origin and the credential of a WebSocket.

    Of several credentials the first counts, good or bad: the header `Authorization`, a subprotocol, the query
    parameters `ticket` and `token`, the cookie. A connection without any of them is accepted, and its first message
    must have one. `service` picks the authorizer of tokens.

    Raises `ForbiddenOrigin` for a page that is not allowed, unless the header has the credential; `RateLimited` if too
    many come from its address; `AuthenticationFailed` or one of its kind, which becomes the refusal of the handshake;
    and `WebSocketDisconnect` if the connection has ended without a credential.
    """
    services = services_of(ws)
    services.connections.count_attempt(address_of(ws))
    found = carriers.bearer(ws)
    if found is None:
        # No page can set that header on a WebSocket, so the origin matters with every other carrier alone.
        check_origin(ws, services.origins, services.client_log)
        found = carriers.bearer_subprotocol(ws)
    if found is None and (ticket := carriers.ticket(ws)) is not None:
        return await services.tickets.redeem(ticket)
    if found is None:
        found = token
    if found is None:
        found = carriers.cookie(ws, services.settings.session_cookie)
    service = ws.query_params.get("service", OWN)
    if found is None and (elsewhere := carriers.misplaced(ws)) is not None:
        raise AuthenticationFailed(f"a credential came in {elsewhere}")
    if found is None:
        return await first_message(ws, services, service)
    return await authorize(services.authorizers, service, found)


async def http_authentication(
    connection: HTTPConnection, services: ServicesDep, _: Annotated[str | None, Depends(password_flow)]
) -> AuthResult:
    """Check the credential of an HTTP request, which is an `Authorization` header and nothing else."""
    return await authorize(services.authorizers, OWN, _bearer(connection))


async def user_authentication(
    services: ServicesDep, auth: Annotated[AuthResult, Depends(http_authentication)]
) -> AuthResult:
    """Check the credential of a user, whose requests cost what messages do."""
    services.connections.charge_request(auth.user_id)
    return auth


async def buyer_authentication(
    connection: HTTPConnection,
    services: ServicesDep,
    _: Annotated[str | None, Depends(password_flow)],
    service: Annotated[str, Query()] = OWN,
) -> AuthResult:
    """Check the credential of one who wants a ticket, as `http_authentication` does, with the service named.

    It counts as a connection does: an outside service may have to be asked.
    """
    services.connections.count_attempt(address_of(connection))
    auth = await authorize(services.authorizers, service, _bearer(connection))
    services.connections.charge_request(auth.user_id)
    return auth


def _bearer(connection: HTTPConnection) -> str:
    token = carriers.bearer(connection)
    if token is None:
        raise AuthenticationFailed("no credential; send the header Authorization: Bearer with a token of POST /token")
    return token


CurrentUser = Annotated[AuthResult, Depends(user_authentication)]
Service = Annotated[AuthResult, Depends(http_authentication)]
Buyer = Annotated[AuthResult, Depends(buyer_authentication)]
