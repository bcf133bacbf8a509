"""`POST /token`: a password, a refresh token or the key of a service becomes an access token."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from gateway.auth.services import ServiceGrant
from gateway.auth.sessions import Grant, InvalidScope
from gateway.core.client_info import ClientInfo
from gateway.http.bodies import FORM_BODY
from gateway.http.client_credentials import Client, client_of, invalid_client
from gateway.http.client_info import ClientInfoDep
from gateway.http.documented_errors import BODY, refusals
from gateway.http.forms import FormRoute
from gateway.http.oauth import answer, refusal, wrong_field
from gateway.state import GatewayState, GatewayStateDep
from handlers.errors import AuthenticationFailed
from schemas.token import Token

router = APIRouter(tags=["log in"], route_class=FormRoute)

CLIENT_CREDENTIALS = "client_credentials"
GRANT_TYPES = ("password", "refresh_token", CLIENT_CREDENTIALS)
REQUIRED = "Field required"  # pydantic's text
_EXPECTED_GRANT = "expected `password`, `refresh_token` or `client_credentials`"


@router.post(
    "/token",
    summary="Returns an access token, for a password, a refresh token or a key.",
    response_model=Token,
    response_model_exclude_none=True,
    responses=refusals(*BODY, 401, 429, 503, oauth=True),
    dependencies=[FORM_BODY],
)
async def log_in(
    request: Request,
    state: GatewayStateDep,
    client: ClientInfoDep,
    grant_type: Annotated[str, Form(json_schema_extra={"enum": [*GRANT_TYPES]})] = "password",
    username: Annotated[str | None, Form(max_length=256)] = None,
    password: Annotated[str | None, Form(json_schema_extra={"format": "password"})] = None,
    refresh_token: Annotated[str | None, Form(max_length=1024)] = None,
    scope: Annotated[str, Form(max_length=1024)] = "",
    client_id: Annotated[str | None, Form(max_length=256)] = None,
    client_secret: Annotated[str | None, Form(max_length=256, json_schema_extra={"format": "password"})] = None,
) -> Response:
    """Log in with the OAuth2 password flow (RFC 6749 §4.3), or prolong a session with `grant_type=refresh_token` (§6).

    Without `scope`, the token has all scopes of the user, or of the session. With `scope`, it has those of them that
    the client asks for, and the answer lists them (RFC 6749 §3.3). If none is left, the error is `invalid_scope`.

    A service gets a token with `grant_type=client_credentials` (§4.4), its name as `client_id` and its key as
    `client_secret`, in the form or as HTTP Basic. It gets no refresh token: it has its key.
    """
    requested = frozenset(scope.split())
    try:
        if grant_type == CLIENT_CREDENTIALS:
            form = None if client_secret is None else Client(client_id or "", client_secret)
            return await _serve(request, state, form, requested, client)
        if grant_type == "refresh_token":
            if refresh_token is None:
                return wrong_field("refresh_token", REQUIRED)
            grant = await state.login_sessions.refresh(refresh_token, requested, client)
        elif grant_type != "password":
            return wrong_field("grant_type", _EXPECTED_GRANT, "unsupported_grant_type")
        elif username is None or password is None:
            return wrong_field("username" if username is None else "password", REQUIRED)
        else:
            grant = await _log_in(state, username, password, requested, client)
    except AuthenticationFailed as error:
        return refusal(error, "invalid_grant")
    except InvalidScope as error:
        return refusal(error, "invalid_scope")
    return _answer(grant, grant.refresh_token)


async def _log_in(
    state: GatewayState, name: str, password: str, requested: frozenset[str], client: ClientInfo
) -> Grant:
    user = await state.password_login.authenticate(name, password, client)
    return await state.login_sessions.create(user, requested, client)


async def _serve(
    request: Request, state: GatewayState, form: Client | None, requested: frozenset[str], client: ClientInfo
) -> Response:
    try:
        name, key = client_of(request, form)
        return _answer(await state.services.grant(name, key, requested, client))
    except AuthenticationFailed as error:
        return invalid_client(error)


def _answer(grant: Grant | ServiceGrant, refresh_token: str | None = None) -> Response:
    return answer(
        Token(
            access_token=grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=refresh_token,
            scope=" ".join(sorted(grant.scopes)),
        )
    )
