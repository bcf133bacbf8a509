"""Dependencies that require a form or JSON as a body, and JSON as strict as on the socket.

FastAPI takes any other kind for an empty body. Its JSON has NaN, and of a key that comes twice the last one.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from gateway.core import strict_json
from gateway.core.strict_json import NotStrictJson
from gateway.http.forms import URLENCODED
from gateway.http.oauth import InvalidRequest, wrong_field, wrong_media_type
from gateway.state import state_of

_FORMS = frozenset({URLENCODED, "multipart/form-data"})
MAX_MEDIA_TYPE = 100


class StrictRequest(Request):
    """A request with a body of strict JSON."""

    async def json(self) -> Any:
        """Return the value of the body. Raise `HTTPException` for a body that is no strict JSON."""
        try:
            text = (await self.body()).decode()
        except UnicodeDecodeError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "expected JSON in UTF-8") from None
        try:
            return strict_json.loads(text, max_depth=state_of(self).settings.max_json_depth)
        except NotStrictJson as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None


class StrictRoute(APIRoute):
    """A route with a body of strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that serves a request."""
        serve = super().get_route_handler()

        async def serve_strictly(request: Request) -> Response:
            return await serve(StrictRequest(request.scope, request.receive))

        return serve_strictly


async def _form(request: Request) -> None:
    """Raise `InvalidRequest` for a body that is no form, and for a repeated field (RFC 6749 §3.2)."""
    got = media_type(request)
    if got not in _FORMS and (got or await request.body()):
        raise InvalidRequest(wrong_media_type(_expected(f"a form ({URLENCODED})", got)))
    fields = Counter(name for name, _ in (await request.form()).multi_items())
    for name, times in fields.items():
        if times > 1 and name:
            raise InvalidRequest(wrong_field(name[:64], f"expected once, got {times} times"))


async def _json(request: Request) -> None:
    """Raise an `HTTPException` for a body that is no JSON."""
    if await request.body():
        check_json(request)


def has_body(request: HTTPConnection) -> bool:
    """Return whether a request has a body, as its head says (RFC 9112 §6.3)."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def check_json(request: HTTPConnection) -> None:
    """Raise an `HTTPException` for the `Content-Type` of a body that is no JSON."""
    got = media_type(request)
    main, _, kind = got.partition("/")
    if main != "application" or (kind != "json" and not kind.endswith("+json")):
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _expected("JSON (application/json)", got))


def media_type(request: HTTPConnection) -> str:
    """Return the media type of a body in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _expected(what: str, got: str) -> str:
    # The client's own text: keep the length of a media type, and nothing that a terminal obeys.
    shown = "".join(filter(str.isprintable, got[:MAX_MEDIA_TYPE]))
    return f"expected {what}, got {shown or 'no Content-Type'}"


FORM_BODY = Depends(_form)
JSON_BODY = Depends(_json)
