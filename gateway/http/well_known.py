"""What others may know of our tokens: the public keys, and where tokens are to be had (RFC 8414)."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match

from gateway.services import ServicesDep

router = APIRouter(prefix="/.well-known", tags=["log in"])
metadata_router = APIRouter(prefix="/.well-known", tags=["log in"])
"""Not there where `GATEWAY_TOKEN_ENDPOINT` is off."""

# A new key signs when it is a minute old, so nobody who asks this often ever lacks one.
CACHE = {"Cache-Control": "public, max-age=30"}


@router.get("/jwks.json")
async def keys(services: ServicesDep) -> JSONResponse:
    """Give the public keys of our tokens (RFC 7517 §5); none where a secret signs, which is nobody's to know."""
    found = services.tokens.keys.verifying(services.clock.wall())
    return JSONResponse({"keys": [jwk for key in found if (jwk := key.public_jwk())]}, headers=CACHE)


@metadata_router.get("/oauth-authorization-server")
async def metadata(request: Request, services: ServicesDep) -> JSONResponse:
    """Describe what is here of an authorization server (RFC 8414 §2), as the routes that there are have it."""
    issuer = services.tokens.issuer
    # RFC 8414 §3.3 wants an issuer that is the URL asked. Ours may be a mere name; then the request has the address.
    base = issuer if issuer.startswith(("https://", "http://")) else str(request.base_url)
    document: dict[str, Any] = {"issuer": issuer, "response_types_supported": []}
    for name, method, path in _ENDPOINTS:
        if _find(request.app.routes, method, path) is not None:
            document[name] = base.rstrip("/") + path
    token = _find(request.app.routes, "POST", "/token")
    assert token is not None  # noqa: S101 - this router comes with it
    document["grant_types_supported"] = grant_types(token)
    document["token_endpoint_auth_methods_supported"] = ["none"]
    if "revocation_endpoint" in document:
        document["revocation_endpoint_auth_methods_supported"] = ["none"]
    if "introspection_endpoint" in document:
        document["introspection_endpoint_auth_methods_supported"] = ["Bearer"]
    return JSONResponse(document, headers=CACHE if base == issuer else {"Cache-Control": "no-store"})


_ENDPOINTS = (
    ("token_endpoint", "POST", "/token"),
    ("revocation_endpoint", "POST", "/token/revoke"),
    ("introspection_endpoint", "POST", "/token/introspect"),
    ("jwks_uri", "GET", "/.well-known/jwks.json"),
)


def grant_types(route: APIRoute) -> list[str]:
    """List the values that the form of a token endpoint takes for `grant_type`: a `Literal` in its signature."""
    annotated = get_type_hints(route.endpoint, include_extras=True)["grant_type"]
    literal = get_args(annotated)[0]
    assert get_origin(literal) is Literal  # noqa: S101 - a form that takes any text would say nothing here
    return list(get_args(literal))


def _find(routes: list[BaseRoute], method: str, path: str) -> APIRoute | None:
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    return next((r for r in routes if isinstance(r, APIRoute) and r.matches(scope)[0] is Match.FULL), None)
