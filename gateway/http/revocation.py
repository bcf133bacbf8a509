"""`POST /token/revoke`: a client that logs out (RFC 7009)."""

from fastapi import APIRouter, Response

from gateway.auth.service_keys import looks_like_key
from gateway.http.bodies import FORM_BODY
from gateway.http.client_info import ClientInfoDep
from gateway.http.documented_errors import BODY, refusals
from gateway.http.forms import FormRoute
from gateway.http.oauth import NO_STORE, Code, HintField, TokenField, refusal
from gateway.state import GatewayStateDep
from handlers.errors import MessageError
from schemas.codes import Status

UNSUPPORTED: Code = "unsupported_token_type"


class UnsupportedTokenType(MessageError):
    """A token that only ends with another one."""

    status = Status.VALIDATION_FAILED


router = APIRouter(tags=["log in"], route_class=FormRoute)


@router.post(
    "/token/revoke",
    summary="Logs out: ends the session of a token.",
    status_code=200,
    response_class=Response,
    responses=refusals(*BODY, 503, oauth=True),
    dependencies=[FORM_BODY],
)
async def revoke(
    state: GatewayStateDep,
    client: ClientInfoDep,
    token: TokenField,
    token_type_hint: HintField = "",
) -> Response:
    """End the session of a refresh token or an access token, with all of its tokens and connections.

    An unknown or ended token gets 200 as well, since there is nothing left to do (RFC 7009 §2.2). The hint is not
    needed. A service may revoke its key. Its token ends within 15 minutes, or with its key, and not before.
    """
    if looks_like_key(token):
        await state.services.revoke_key(token, client)
    elif await state.services.is_token(token):
        return refusal(UnsupportedTokenType("the token of a service ends with its key: revoke that"), UNSUPPORTED)
    else:
        await state.login_sessions.log_out(token, client)
    return Response(headers=NO_STORE)
