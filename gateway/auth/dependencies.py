"""FastAPI dependencies: who is asking."""

from typing import Annotated

from fastapi import Depends, Query
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from gateway.auth.authorizers import OWN, AuthResult, authorize
from gateway.auth.carriers import bearer
from gateway.limits import address_of
from gateway.services import ServicesDep

# `auto_error` off: a refusal is ours to word, and the same for a missing and a wrong token.
password_flow = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


async def websocket_authentication(
    ws: WebSocket,
    services: ServicesDep,
    token: Annotated[str | None, Query()] = None,
    service: Annotated[str, Query()] = OWN,
) -> AuthResult:
    """Check the credential of a WebSocket: an `Authorization` header, or else the query parameter `token`.

    `service` picks the authorizer. Raises `AuthenticationFailed` or one of its kind, or `RateLimited` if too many
    come from its address, which becomes the refusal of the handshake.
    """
    services.connections.count_attempt(address_of(ws))
    return await authorize(services.authorizers, service, bearer(ws) or token or None)


async def http_authentication(
    connection: HTTPConnection, services: ServicesDep, _: Annotated[str | None, Depends(password_flow)]
) -> AuthResult:
    """Check the credential of an HTTP request, which is an `Authorization` header and nothing else."""
    return await authorize(services.authorizers, OWN, bearer(connection))


CurrentUser = Annotated[AuthResult, Depends(http_authentication)]
