"""Forms as the URL standard has them: UTF-8, percent-encoded or not (https://url.spec.whatwg.org/#urlencoded-parsing).

Starlette reads raw bytes as Latin-1, and replaces percent-encoded Latin-1 by U+FFFD. A password of `curl -d` comes in
raw UTF-8, and one of an old client in Latin-1. So this module decodes each value separately, as a whole.
"""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

URLENCODED = "application/x-www-form-urlencoded"


class FormRequest(Request):
    """A request with a urlencoded form in UTF-8; its `charset` does not count (URL standard)."""

    async def form(self, **limits: Any) -> FormData:  # type: ignore[override]  # FastAPI only awaits it
        """Return the form. Raises `HTTPException` for a form that is no text, or has too many fields."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != URLENCODED:
            return await super().form(**limits)
        pairs = [pair for pair in (await self.body()).split(b"&") if pair]
        if len(pairs) > limits.get("max_fields", 1000):
            raise HTTPException(400, f"expected at most {limits['max_fields']} fields, got {len(pairs)}")
        return FormData([_field(pair) for pair in pairs])


class FormRoute(APIRoute):
    """A route that takes a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that serves a request."""
        serve = super().get_route_handler()

        async def serve_form(request: Request) -> Response:
            return await serve(FormRequest(request.scope, request.receive))

        return serve_form


def _field(pair: bytes) -> tuple[str, str]:
    name, _, value = pair.partition(b"=")
    return _text(name), _text(value)


def _text(encoded: bytes) -> str:
    raw = unquote_to_bytes(encoded.replace(b"+", b" "))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _latin_1(raw)


def _latin_1(raw: bytes) -> str:
    # On the web, Latin-1 means Windows-1252, which has the euro sign (Encoding standard).
    try:
        return raw.decode("windows-1252")
    except UnicodeDecodeError:
        raise HTTPException(400, "expected a form in UTF-8") from None
