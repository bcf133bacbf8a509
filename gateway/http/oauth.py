"""Shared parts of the OAuth 2.0 endpoints: answers that no cache keeps, and errors in the form of RFC 6749 §5.2."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Form
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from gateway.http.errors import error_response
from handlers.errors import MessageError, ValidationFailed
from schemas.base import FieldError, Wire
from schemas.messages.auth import MAX_TOKEN_LENGTH
from schemas.token import TokenError

# RFC 6749 §5.1: no cache may keep the answer.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

# RFC 7009 §2.1 and RFC 7662 §2.1 take the same two.
TokenField = Annotated[str, Form(min_length=1, max_length=MAX_TOKEN_LENGTH)]
HintField = Annotated[str, Form(max_length=64)]

Code = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unsupported_grant_type",
    "unsupported_token_type",
]


class InvalidRequest(Exception):
    """The refusal of a form before its endpoint sees it, with the whole answer."""

    def __init__(self, response: JSONResponse) -> None:
        self.response = response


async def invalid_request(_: HTTPConnection, error: Exception) -> JSONResponse:
    """Return the answer of an `InvalidRequest`."""
    assert isinstance(error, InvalidRequest)  # noqa: S101 - as registered
    return error.response


def answer(body: Wire) -> JSONResponse:
    """Return an answer that contains a token."""
    return JSONResponse(body.model_dump(exclude_none=True), headers=NO_STORE)


def refusal(error: MessageError, code: Code) -> JSONResponse:
    """Return an error in the gateway's form and in that of OAuth."""
    body = error.body()
    response = error_response(
        error,
        TokenError(**body.model_dump(), error=code, error_description=body.message, detail=body.message),
    )
    response.headers.update(NO_STORE)
    if code in {"invalid_scope", "unsupported_token_type"}:
        response.status_code = HTTPStatus.BAD_REQUEST  # RFC 6749 §5.2, RFC 7009 §2.2.1
    return response


def wrong_media_type(expected: str) -> JSONResponse:
    """Return the refusal of a body that is no form (RFC 9110 §15.5.16)."""
    http = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    error = TokenError(
        status=http * 100,
        name="unsupported_media_type",
        message=expected,
        error="invalid_request",
        error_description=expected,
        detail=expected,
    )
    return JSONResponse(error.model_dump(exclude_none=True), status_code=http, headers=NO_STORE)


def wrong_field(field: str, expected: str, code: Code = "invalid_request") -> JSONResponse:
    """Return the refusal of a form for one of its fields."""
    return refusal(ValidationFailed((FieldError(field=field, message=expected),)), code)
