"""Public facts about our tokens: the public keys, and the endpoints that issue tokens (RFC 8414)."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from gateway.http.token import GRANT_TYPES
from gateway.state import GatewayStateDep

router = APIRouter(prefix="/.well-known", tags=["log in"])
metadata_router = APIRouter(prefix="/.well-known", tags=["log in"])
"""The routes that do not exist if `GATEWAY_TOKEN_ENDPOINT` is off."""

# A new key signs when it is a minute old, so a client that asks this often never lacks one.
CACHE = {"Cache-Control": "public, max-age=30"}


@router.get("/jwks.json", summary="Returns the public keys of the tokens.")
async def keys(state: GatewayStateDep) -> JSONResponse:
    """Return the public keys of our tokens (RFC 7517 §5). A secret has none."""
    found = state.tokens.keys.verifying_keys(state.clock.wall())
    return JSONResponse({"keys": [jwk for key in found if (jwk := key.public_jwk())]}, headers=CACHE)


@metadata_router.get("/oauth-authorization-server", summary="Returns where tokens are issued and checked.")
async def metadata(request: Request, state: GatewayStateDep) -> JSONResponse:
    """Return the metadata of an authorization server (RFC 8414 §2)."""
    issuer = urlsplit(state.tokens.issuer)
    # RFC 8414 §3.3 wants the issuer to be the requested URL. Ours may be a mere name; then the request has the address.
    named = issuer.scheme in {"https", "http"}
    base = f"{issuer.scheme}://{issuer.netloc}{request.scope.get('root_path', '')}" if named else str(request.base_url)
    document: dict[str, Any] = {
        "issuer": state.tokens.issuer,
        **{name: base.rstrip("/") + path for name, path in _ENDPOINTS.items()},
        "response_types_supported": [],
        "grant_types_supported": GRANT_TYPES,
        **{f"{name}_auth_methods_supported": methods for name, methods in _CLIENT_METHODS.items()},
    }
    return JSONResponse(document, headers=CACHE if named else {"Cache-Control": "no-store"})


# All of them are there where the metadata is: `GATEWAY_TOKEN_ENDPOINT` switches them together. The API's own document
# says it too, but a process in production never makes that, and it takes a tenth of a second.
_ENDPOINTS = {
    "token_endpoint": "/token",
    "revocation_endpoint": "/token/revoke",
    "introspection_endpoint": "/token/introspect",
    "jwks_uri": "/.well-known/jwks.json",
}

# The owner of a token may revoke it. Only a service may ask about one.
_CLIENT_METHODS = {
    "token_endpoint": ["none", "client_secret_basic", "client_secret_post"],
    "revocation_endpoint": ["none"],
    "introspection_endpoint": ["Bearer", "client_secret_basic"],
}
