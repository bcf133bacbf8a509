"""Turns an error into an answer of the HTTP API: a JSON body in the protocol's form."""

import logging
import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.utils import is_body_allowed_for_status_code
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from gateway.core.logs import request_id
from handlers.errors import (
    AuthenticationFailed,
    InternalError,
    MessageError,
    NotFound,
    ValidationFailed,
    field_path,
    finding,
)
from schemas.base import FieldError
from schemas.codes import Status
from schemas.errors import ErrorBody

logger = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the HTTP API and of the handshake in the protocol's form."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


def error_response(error: MessageError, body: ErrorBody | None = None) -> JSONResponse:
    """Return an HTTP answer with an error."""
    headers = {}
    if isinstance(error, AuthenticationFailed):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1000))
    content = (body or error.body()).model_dump(exclude_none=True)
    return JSONResponse(content, status_code=error.http_status, headers=headers)


async def _message_error(_: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, MessageError)  # noqa: S101 - as registered
    return error_response(error)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    details = []
    for item in error.errors()[:20]:
        # The first part is the place, such as `body`; the fields of a form and of a JSON body follow it.
        location = item["loc"][1:] if len(item["loc"]) > 1 else item["loc"]
        details.append(FieldError(field=field_path(tuple(location)), message=finding(item)))
    return error_response(ValidationFailed(tuple(details)))


async def http_exception(connection: HTTPConnection, error: Exception) -> Response:
    """Answer in the protocol's form, with the `detail` and the headers of an application's own route."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    if not is_body_allowed_for_status_code(error.status_code):
        return Response(status_code=error.status_code, headers=error.headers)
    phrase = _phrase(error.status_code)
    detail: Any = error.detail  # FastAPI lets an application put any JSON there
    has_words = detail not in (phrase, "", None)
    if error.status_code == HTTPStatus.NOT_FOUND and not has_words:
        return error_response(NotFound("there is nothing at this path"))
    status = error.status_code * 100
    known = Status(status) if status in set(Status) else None
    name = phrase.replace(" ", "_").lower() if known is None else known.name.lower()
    message = detail if has_words and isinstance(detail, str) else phrase
    body = ErrorBody(status=status, name=name, message=message, retryable=known is not None and known.retryable)
    content: dict[str, Any] = body.model_dump(exclude_none=True)
    if has_words:
        content["detail"] = jsonable_encoder(detail)  # FastAPI's clients read it there
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and isinstance(connection, Request):
        headers["Allow"] = ", ".join(_methods_of(connection)) or headers.get("Allow", "")
    return JSONResponse(content, status_code=error.status_code, headers=headers)


def _methods_of(request: Request) -> list[str]:
    """Return the methods of all routes of a path (RFC 9110 §10.2.1); Starlette has those of one route."""
    scope = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    routes: list[BaseRoute] = request.app.routes
    return [
        method
        for method in _METHODS
        if any(route.matches(scope | {"method": method})[0] is Match.FULL for route in routes)
    ]


_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


def _phrase(status_code: int) -> str:
    try:
        return HTTPStatus(status_code).phrase
    except ValueError:
        return f"HTTP {status_code}"


async def _unexpected(_: HTTPConnection, error: Exception) -> Response:
    # Starlette raises the error again after this answer, and the server logs it with its traceback.
    response = error_response(InternalError(request_id.get()))
    response.headers["X-Request-ID"] = request_id.get()  # this answer bypasses our middleware
    return response


async def _gone(_: HTTPConnection, __: Exception) -> Response:
    """Return no answer: the client went away before its body had come, and the gateway made no mistake."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


# Typed loosely, since Starlette's type expects a handler of every kind of exception.
_HANDLERS: dict[type[Exception], Any] = {
    MessageError: _message_error,
    RequestValidationError: _validation_error,
    HTTPException: http_exception,
    ClientDisconnect: _gone,
    Exception: _unexpected,
}
