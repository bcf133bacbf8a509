"""FastAPI dependencies that authenticate an HTTP request."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from gateway.auth.authorizers import AuthResult, authorize
from gateway.config.external_services import LOCAL
from gateway.core.client_info import address_of
from gateway.http import credentials
from gateway.state import state_of
from handlers.errors import AuthenticationFailed

# `auto_error` off: the gateway writes the refusal, the same for a missing and a wrong token.
password_flow = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


class BearerAuthentication(SecurityBase):
    """A dependency that checks a credential, and is the password flow in the API's description.

    One dependency does both: FastAPI takes as long for each as all of the check.
    """

    def __init__(self, check: Callable[[HTTPConnection], Awaitable[AuthResult]]) -> None:
        self.model = password_flow.model
        self.scheme_name = password_flow.scheme_name
        self._check = check

    async def __call__(self, connection: HTTPConnection) -> AuthResult:
        """Return the user of the request, or raise `AuthenticationFailed` or a subclass."""
        return await self._check(connection)


async def authenticate(connection: HTTPConnection) -> AuthResult:
    """Check the credential of an HTTP request. Only the `Authorization` header counts."""
    return await authorize(state_of(connection).authorizers, LOCAL, _bearer(connection))


async def authenticate_user(connection: HTTPConnection) -> AuthResult:
    """Check the credential of a user, and charge the request like a message."""
    auth = await authenticate(connection)
    state_of(connection).connections.charge_request(auth.user_id)
    return auth


async def ticket_authentication(
    connection: HTTPConnection,
    _: Annotated[str | None, Depends(password_flow)],
    service: Annotated[str, Query()] = LOCAL,
) -> AuthResult:
    """Check the credential for a ticket like `authenticate`, with the named service.

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


CurrentUser = Annotated[AuthResult, Depends(BearerAuthentication(authenticate_user))]
CurrentClient = Annotated[AuthResult, Depends(BearerAuthentication(authenticate))]
TicketRequester = Annotated[AuthResult, Depends(ticket_authentication)]
