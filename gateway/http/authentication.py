"""FastAPI dependencies that authenticate an HTTP request."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Query
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security import OAuth2PasswordBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from gateway.auth.authorizers import AuthResult, authorize
from gateway.auth.services import ServiceAuth
from gateway.config.external_services import LOCAL
from gateway.core.client_info import address_of, client_info_of
from gateway.http import credentials
from gateway.http.client_credentials import basic_client, check_query
from gateway.http.request_rate import note_service
from gateway.state import state_of
from handlers.errors import AuthenticationFailed

# `auto_error` off: the gateway writes the refusal, the same for a missing and a wrong token.
password_flow = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


class BearerAuthentication(SecurityBase):
    """A dependency that checks a user's credential, and is the password flow in the API's description.

    One dependency does both: FastAPI takes as long for each as all of the check.
    """

    def __init__(self, check: Callable[[HTTPConnection], Awaitable[AuthResult]]) -> None:
        self.model = password_flow.model
        self.scheme_name = password_flow.scheme_name
        self._check = check

    async def __call__(self, connection: HTTPConnection) -> AuthResult:
        """Return the user of the request, or raise `AuthenticationFailed` or a subclass."""
        return await self._check(connection)


async def authenticate_user(connection: HTTPConnection) -> AuthResult:
    """Check the credential of a user, and charge the request like a message. Only the `Authorization` header counts."""
    auth = await authorize(state_of(connection).authorizers, LOCAL, bearer_of(connection))
    state_of(connection).connections.charge_request(auth.user_id)
    return auth


async def ticket_authentication(
    connection: HTTPConnection,
    _: Annotated[str | None, Depends(password_flow)],
    service: Annotated[str, Query()] = LOCAL,
) -> AuthResult:
    """Check the credential for a ticket like `authenticate_user`, with the named service.

    It counts like a connection, since an external service may have to answer.
    """
    state = state_of(connection)
    state.connections.check_connection_rate(address_of(connection))
    auth = await authorize(state.authorizers, service, bearer_of(connection))
    state.connections.charge_request(auth.user_id)
    return auth


async def authenticate_service(connection: HTTPConnection) -> ServiceAuth:
    """Return the service of a request, or raise `AuthenticationFailed`, a subclass, or `Forbidden` for a user."""
    key = service_credential(connection)
    if key is None:
        raise AuthenticationFailed("no credential; send the header Authorization: Bearer with the key of a service")
    auth = await state_of(connection).services.authenticate(key, client_info_of(connection))
    note_service(connection)
    return auth


async def authenticate_client(connection: HTTPConnection) -> ServiceAuth:
    """Return the service of a request like `authenticate_service`, also by HTTP Basic, and count the request."""
    check_query(connection)
    client = basic_client(connection)
    state = state_of(connection)
    if client is None:
        auth = await authenticate_service(connection)
    else:
        auth = await state.services.authenticate_client(*client, client_info_of(connection))
        note_service(connection)
    state.connections.charge_service(auth.user_id)
    return auth


def service_credential(connection: HTTPConnection) -> str | None:
    """Return the key or token of a service's request: only the `Authorization` header counts.

    Raises `AuthenticationFailed` for a key in the query.
    """
    check_query(connection)
    return credentials.bearer(connection)


def bearer_of(connection: HTTPConnection) -> str:
    """Return the token of the `Authorization` header, or raise `AuthenticationFailed`."""
    token = credentials.bearer(connection)
    if token is None:
        raise AuthenticationFailed("no credential; send the header Authorization: Bearer with a token of POST /token")
    return token


class ServiceAuthentication(SecurityBase):
    """A dependency that checks the key or token of a service, and describes it in the API's description."""

    def __init__(self, check: Callable[[HTTPConnection], Awaitable[ServiceAuth]] = authenticate_service) -> None:
        self._check = check
        self.model = HTTPBearerModel(
            description="The key of a service (`gwk_…`), or its token of `grant_type=client_credentials`."
        )
        self.scheme_name = "service_key"

    async def __call__(self, connection: HTTPConnection) -> ServiceAuth:
        """Return the service of the request, or raise `AuthenticationFailed` or a subclass, or `Forbidden`."""
        return await self._check(connection)


CurrentUser = Annotated[AuthResult, Depends(BearerAuthentication(authenticate_user))]
CurrentClient = Annotated[ServiceAuth, Depends(ServiceAuthentication(authenticate_client))]
CurrentService = Annotated[ServiceAuth, Depends(ServiceAuthentication())]
TicketRequester = Annotated[AuthResult, Depends(ticket_authentication)]
