"""`POST /token`: a user name and a password become an access token."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import JSONResponse

from gateway.http.errors import error_response
from gateway.limits import address_of
from gateway.services import ServicesDep
from handlers.errors import AuthenticationFailed, MessageError
from schemas.codes import Status
from schemas.errors import ErrorBody
from schemas.token import Token, TokenError

router = APIRouter(tags=["log in"])

# RFC 6749 §5.1: nothing on the way may keep the answer.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class InvalidScope(MessageError):
    """None of the scopes that were asked for is allowed (RFC 6749 §5.2, `invalid_scope`)."""

    status = Status.FORBIDDEN

    def __str__(self) -> str:
        return "none of these scopes is allowed to this user; without `scope` the token has all that are"


@router.post("/token", response_model=Token, responses={401: {"model": TokenError}, 429: {"model": ErrorBody}})
async def log_in(
    request: Request,
    services: ServicesDep,
    username: Annotated[str, Form(max_length=256)],
    password: Annotated[str, Form(json_schema_extra={"format": "password"})],
    grant_type: Annotated[Literal["password"], Form()] = "password",
    scope: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Log in with the OAuth2 password flow (RFC 6749 §4.3).

    Without `scope` the token allows all that the user may do, and otherwise what of it was asked for (RFC 6749 §3.3:
    the answer says what was given). If nothing of it is allowed, the error is `invalid_scope`.
    """
    try:
        user = await services.logins.check(username, password, address_of(request))
    except AuthenticationFailed as error:
        return _refused(error, "invalid_grant")
    allowed = frozenset(user.scopes.split())
    scopes = allowed & frozenset(scope.split()) if scope.split() else allowed
    if not scopes:
        refusal = _refused(InvalidScope(), "invalid_scope")
        refusal.status_code = HTTPStatus.BAD_REQUEST  # RFC 6749 §5.2
        return refusal
    token = Token(
        access_token=services.tokens.issue(user.id, scopes),
        expires_in=services.tokens.lifetime_seconds,
        scope=" ".join(sorted(scopes)),
    )
    return JSONResponse(token.model_dump(), headers=NO_STORE)


def _refused(error: MessageError, code: str) -> Response:
    body = error.body()
    response = error_response(
        error,
        TokenError(**body.model_dump(), error=code, error_description=body.message, detail=body.message),
    )
    response.headers.update(NO_STORE)
    return response
