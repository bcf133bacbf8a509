"""How a client opens the WebSocket, in AsyncAPI's words: the server, the channel, and each place of a credential."""

from typing import Any
from urllib.parse import urlsplit

from gateway.config.external_services import LOCAL
from gateway.documents.names import Names, pascal_case
from gateway.documents.place import Place

PATH = "/ws/chat"

_QUERY = {
    "token": {"type": "string", "description": "An access token of `POST /token`."},
    "ticket": {"type": "string", "description": "A ticket of `POST /ws/ticket`: for one connection, within 30 s."},
    "service": {
        "type": "string",
        "default": LOCAL,
        "description": f"What checks the token: `{LOCAL}` itself, or the name of an external service.",
    },
    "rooms": {"type": "string", "enum": ["1"], "description": "With `1`, `welcome` has the user's rooms."},
}
_HEADERS = {
    "Authorization": {"type": "string", "pattern": "^Bearer .+", "description": "`Bearer` and an access token."},
    "Sec-WebSocket-Protocol": {
        "type": "string",
        "description": "`gateway.v1, bearer.` and an access token: for pages, which can set no other header.",
        "examples": ["gateway.v1, bearer.eyJhbGciOi"],
    },
}

_SCHEMES: dict[str, dict[str, Any]] = {
    "bearerHeader": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The header `Authorization: Bearer` with an access token. It comes before all other places.",
    },
    "bearerSubprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": "The subprotocols `gateway.v1` and `bearer.` with an access token behind. The gateway answers"
        " with `gateway.v1`.",
    },
    "ticketQuery": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": "A ticket of `POST /ws/ticket`, good for one connection within 30 s. No token is in the URL.",
    },
    "tokenQuery": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "An access token in the URL: the simplest place, for Postman and scripts.",
    },
    "sessionCookie": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": "session",
        "description": "An access token in a cookie, for pages of an allowed origin.",
    },
}
"""In the order in which the gateway looks for a credential."""

_FLOW = "password"


def server(place: Place) -> dict[str, Any]:
    """Return the server, with every way to log in."""
    url = urlsplit(place.ws_url)
    schemes = [*_SCHEMES, _FLOW]
    return {
        "host": url.netloc,
        **({"pathname": url.path} if url.path.strip("/") else {}),
        "protocol": url.scheme,
        "description": "The gateway. A connection without a credential may send the message `auth` first.",
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in schemes],
    }


def channel() -> dict[str, Any]:
    """Return the channel, without its messages."""
    return {
        "address": PATH,
        "title": "The WebSocket",
        "summary": "One connection of one user.",
        "description": "The first frame of the gateway is `welcome`; the last one before a close is `bye`.",
        "servers": [{"$ref": "#/servers/gateway"}],
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": _QUERY},
                "headers": {"type": "object", "properties": _HEADERS},
                "bindingVersion": "0.1.0",
            }
        },
    }


class Scopes:
    """The scopes that messages need. Each is a security scheme, because AsyncAPI names scopes only there."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._free = Names((*_SCHEMES, _FLOW))

    def reference(self, scope: str) -> dict[str, str]:
        """Return a reference to the scheme of a scope."""
        if scope not in self.names:
            self.names[scope] = self._free.take("scope" + pascal_case(scope, ""))
        return {"$ref": f"#/components/securitySchemes/{self.names[scope]}"}


def security_schemes(place: Place, scopes: Scopes) -> dict[str, Any]:
    """Return every scheme: the places of a credential, the log-in, and the log-in with each scope."""
    available = {scope: f"Messages that need the scope `{scope}`." for scope in scopes.names}
    flow = {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": f"{place.http_url}/token", "availableScopes": available}},
        "description": "The log-in with a user's name and password, which answers with an access token.",
    }
    of_scopes = {
        name: flow | {"scopes": [scope], "description": f"A token with the scope `{scope}`."}
        for scope, name in scopes.names.items()
    }
    return _SCHEMES | {_FLOW: flow} | of_scopes
