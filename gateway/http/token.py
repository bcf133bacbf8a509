"""`POST /token`: a password, or a refresh token, becomes an access token."""

from typing import Annotated

from fastapi import APIRouter, Form, Response

from gateway.auth.sessions import Grant, InvalidScope
from gateway.core.client_info import ClientInfo
from gateway.http.bodies import FORM_BODY
from gateway.http.client_info import ClientInfoDep
from gateway.http.documented_errors import BODY, refusals
from gateway.http.forms import FormRoute
from gateway.http.oauth import answer, refusal, wrong_field
from gateway.state import GatewayState, GatewayStateDep
from handlers.errors import AuthenticationFailed
from schemas.token import Token

router = APIRouter(tags=["log in"], route_class=FormRoute)

REQUIRED = "Field required"  # pydantic's text


@router.post(
    "/token",
    response_model=Token,
    responses=refusals(*BODY, 401, 429, 503, oauth=True),
    dependencies=[FORM_BODY],
)
async def log_in(
    state: GatewayStateDep,
    client: ClientInfoDep,
    grant_type: Annotated[str, Form(json_schema_extra={"enum": ["password", "refresh_token"]})] = "password",
    username: Annotated[str | None, Form(max_length=256)] = None,
    password: Annotated[str | None, Form(json_schema_extra={"format": "password"})] = None,
    refresh_token: Annotated[str | None, Form(max_length=1024)] = None,
    scope: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Log in with the OAuth2 password flow (RFC 6749 §4.3), or prolong a session with `grant_type=refresh_token` (§6).

    Without `scope`, the token has all scopes of the user, or of the session. With `scope`, it has those of them that
    the client asks for, and the answer lists them (RFC 6749 §3.3). If none is left, the error is `invalid_scope`.
    """
    requested = frozenset(scope.split())
    try:
        if grant_type == "refresh_token":
            if refresh_token is None:
                return wrong_field("refresh_token", REQUIRED)
            grant = await state.login_sessions.refresh(refresh_token, requested, client)
        elif grant_type != "password":
            return wrong_field("grant_type", "expected `password` or `refresh_token`", "unsupported_grant_type")
        elif username is None or password is None:
            return wrong_field("username" if username is None else "password", REQUIRED)
        else:
            grant = await _log_in(state, username, password, requested, client)
    except AuthenticationFailed as error:
        return refusal(error, "invalid_grant")
    except InvalidScope as error:
        return refusal(error, "invalid_scope")
    return answer(
        Token(
            access_token=grant.access_token,
            expires_in=grant.expires_in,
            refresh_token=grant.refresh_token,
            scope=" ".join(sorted(grant.scopes)),
        )
    )


async def _log_in(
    state: GatewayState, name: str, password: str, requested: frozenset[str], client: ClientInfo
) -> Grant:
    user = await state.password_login.authenticate(name, password, client)
    return await state.login_sessions.create(user, requested, client)
