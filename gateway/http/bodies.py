"""Dependencies that require a form or JSON as a body. FastAPI takes any other kind for an empty body."""

from collections import Counter
from http import HTTPStatus

from fastapi import Depends, Request
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from gateway.http.forms import URLENCODED
from gateway.http.oauth import InvalidRequest, wrong_field, wrong_media_type

_FORMS = frozenset({URLENCODED, "multipart/form-data"})
MAX_MEDIA_TYPE = 100


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
