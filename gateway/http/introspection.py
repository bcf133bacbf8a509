"""`POST /token/introspect`: a service asks about a token (RFC 7662)."""

from fastapi import APIRouter, Response

from gateway.auth import refresh_tokens
from gateway.auth.authorizers import current_authorization_of
from gateway.http.authentication import CurrentClient
from gateway.http.bodies import FORM_BODY
from gateway.http.documented_errors import BODY, refusals
from gateway.http.forms import FormRoute
from gateway.http.oauth import HintField, TokenField, answer
from gateway.state import GatewayState, GatewayStateDep
from handlers.errors import AuthenticationFailed
from schemas.services import SERVER, is_service
from schemas.token import Introspection

router = APIRouter(tags=["log in"], route_class=FormRoute)


@router.post(
    "/token/introspect",
    summary="Returns the user and the rights of a token.",
    response_model=Introspection,
    responses=refusals(*BODY, 401, 403, 503, oauth=True),
    dependencies=[FORM_BODY],
)
async def introspect(
    service: CurrentClient,
    state: GatewayStateDep,
    token: TokenField,
    token_type_hint: HintField = "",
) -> Response:
    """Return the user and rights of a token, without spending it.

    Only a service with the scope `server` may ask. It sends its key, or its token, as a bearer, or its name and its key
    as HTTP Basic.
    """
    service.check_scope(SERVER)
    if refresh_tokens.parse(token) is not None:
        return answer(await _refresh_token(state, token))
    return answer(await _access_token(state, token))


async def _refresh_token(state: GatewayState, token: str) -> Introspection:
    found = await state.login_sessions.find_by_refresh_token(token)
    if found is None:
        return Introspection(active=False)
    row, user = found
    return Introspection(
        active=True,
        token_type="refresh_token",  # noqa: S106 - a type of token, not a secret
        scope=row.scopes,
        sub=user.id,
        username=user.name,
        sid=row.id,
        exp=row.expires_at // 1000,
        iat=row.last_used_at // 1000,
        iss=state.settings.token_issuer,
    )


async def _access_token(state: GatewayState, token: str) -> Introspection:
    try:
        claims = state.tokens.verify(token)
        auth = await current_authorization_of(state.user_rights, claims)
        if is_service(auth.user):
            await state.services.check_token(claims)
    except AuthenticationFailed:
        return Introspection(active=False)
    return Introspection(
        active=True,
        token_type="bearer",  # noqa: S106 - a type of token, not a secret
        scope=" ".join(sorted(auth.scopes)),
        username=auth.user,
        rooms=None if auth.room_rights is None else auth.room_rights.claim,
        **claims.model_dump(include={"sub", "sid", "exp", "iat", "nbf", "iss", "aud", "jti"}),
    )
