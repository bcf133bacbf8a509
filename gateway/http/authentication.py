"""FastAPI dependencies that authenticate an HTTP request."""

from typing import Annotated

from fastapi import Depends, Query
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from gateway.auth.authorizers import AuthResult, authorize
from gateway.config.external_services import LOCAL
from gateway.core.client_info import address_of
from gateway.http import credentials
from gateway.state import state_of
from handlers.errors import AuthenticationFailed

# `auto_error` off: the gateway writes the refusal, the same for a missing and a wrong token.
password_flow = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


# Each takes the connection and asks it for the state: FastAPI takes as long for a dependency as all of the check.
async def http_authentication(
    connection: HTTPConnection, _: Annotated[str | None, Depends(password_flow)]
) -> AuthResult:
    """Check the credential of an HTTP request. Only the `Authorization` header counts."""
    return await authorize(state_of(connection).authorizers, LOCAL, _bearer(connection))


async def user_authentication(
    connection: HTTPConnection, auth: Annotated[AuthResult, Depends(http_authentication)]
) -> AuthResult:
    """Check the credential of a user, and charge the request like a message."""
    state_of(connection).connections.charge_request(auth.user_id)
    return auth


async def ticket_authentication(
    connection: HTTPConnection,
    _: Annotated[str | None, Depends(password_flow)],
    service: Annotated[str, Query()] = LOCAL,
) -> AuthResult:
    """Check the credential for a ticket like `http_authentication`, with the named service.

    It counts like a connection, since an external service may have to answer.
    """
    state = state_of(connection)
    state.connections.check_connection_rate(address_of(connection))
    auth = await authorize(state.authorizers, service, _bearer(connection))
    state.connections.charge_request(auth.user_id)
    return auth


def _bearer(connection: HTTPConnection) -> str:
    token = credentials.bearer(connection)
    if token is None:
        raise AuthenticationFailed("no credential; send the header Authorization: Bearer with a token of POST /token")
    return token


CurrentUser = Annotated[AuthResult, Depends(user_authentication)]
CurrentClient = Annotated[AuthResult, Depends(http_authentication)]
TicketRequester = Annotated[AuthResult, Depends(ticket_authentication)]
