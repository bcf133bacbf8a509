"""The messages and events in the API's description: a path for each message, a webhook for each event.

So `/docs` tries every message, and generators of clients type them. OpenAPI 3.1 has no word for a WebSocket. A webhook
is what comes next: a request that its receiver did not cause. Its body is the frame of the event.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from gateway.config.external_services import LOCAL
from gateway.documents.catalog import ErrorDescription, EventDescription, MessageDescription, catalog_of
from gateway.documents.components import REF, Schema, reached
from gateway.http.authentication import password_flow
from gateway.http.documented_errors import words_of
from gateway.routes.model import Route
from handlers.registry import Registry
from schemas.codes import Status
from schemas.json_schema import without_titles

_ON_SOCKETS = {Status.OK, Status.CANCELLED}
"""No error of a request: only a message on the same connection cancels another."""
_STATUSES = sorted({status.http for status in set(Status) - _ON_SOCKETS} | {HTTPStatus.UNSUPPORTED_MEDIA_TYPE})
_WORDS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON that the gateway takes.",
    HTTPStatus.FORBIDDEN: "Not for this user, not with this token, or one more than a quota allows.",
    HTTPStatus.NOT_FOUND: "No such room, message or user, or one that is hidden from this user.",
    HTTPStatus.CONFLICT: "It exists already, or has changed meanwhile.",
    HTTPStatus.GONE: "A position beyond the end of the room's log.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body has over `GATEWAY_MAX_MESSAGE_BYTES`.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed. The message has the request's id, for the operator.",
    HTTPStatus.BAD_GATEWAY: "The service behind this message failed.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service or the handler behind this message took too long.",
}

TAGS = {
    "log in": "A password, a refresh token or a key becomes an access token. **Authorize** at `/docs` does this.",
    "users": "Registration, and the account of the user of the token.",
    "messages": "What a client sends over the WebSocket `/ws/chat`, each as one request. It needs the token of a user.",
    "server API": "For backend services. It needs a key, which `gateway services add` prints.",
    "incoming webhooks": "URLs that speak in one room, for scripts and monitors: see `gateway services hook add`.",
    "health": "For load balancers and monitors.",
    "events": "What comes over the WebSocket `/ws/chat`. No HTTP request brings it.",
}
"""The sections of the page, in the order of a newcomer, with what each is for."""


def describe(document: dict[str, Any], registry: Registry, routes: Iterable[Route] = ()) -> dict[str, Any]:
    """Add the messages and events of a registry, and the messages of routes, to a description. Return it."""
    document.setdefault("tags", [{"name": name, "description": about} for name, about in TAGS.items()])
    components = document.setdefault("components", {})
    of_routes = components.get("schemas", {})
    for name, schema in of_routes.items():
        without_titles(schema, name)
    catalog = catalog_of(registry, routes, beside=of_routes)
    calls = [message for message in catalog.messages if not message.needs_connection]
    refusals = _refusals(catalog.errors)
    components.setdefault("responses", {}).update(refusals)
    components.setdefault("parameters", {})["Service"] = _SERVICE
    _add_scopes(components, calls)
    names = _Names(document)
    for call in calls:
        path = document["paths"].setdefault(f"/call/{quote(call.type, safe='')}", {})
        path["post"] = _operation(call, names.take("call", call.type), refusals)
    webhooks = document.setdefault("webhooks", {})
    for event in catalog.events:
        webhooks.setdefault(event.type, {})["post"] = _webhook(event, names.take("event", event.type))
    components["schemas"] = {}
    used = {*of_routes, *reached(document, catalog.schemas)}
    components["schemas"] = {name: schema for name, schema in catalog.schemas.items() if name in used}
    _say_what_is_open(document)
    return document


def _say_what_is_open(document: Schema) -> None:
    """Say of each operation without a credential that it needs none: otherwise it could have been forgotten."""
    for paths in (document["paths"], document["webhooks"]):
        for path in paths.values():
            for operation in path.values():
                if isinstance(operation, dict):
                    operation.setdefault("security", [])


_SERVICE = {
    "name": "service",
    "in": "query",
    "description": f"What checks the token: `{LOCAL}` for tokens of `POST /token`, or the name of an external service.",
    "schema": {"type": "string", "default": LOCAL},
}


class _Names:
    """Names of operations: each once, and good as a name in any language."""

    def __init__(self, document: Schema) -> None:
        operations = [operation for path in document["paths"].values() for operation in path.values()]
        self._taken = {each.get("operationId") for each in operations if isinstance(each, dict)}

    def take(self, verb: str, type: str) -> str:
        name = wanted = f"{verb}_" + "".join(
            letter if letter.isascii() and letter.isalnum() else "_" for letter in type
        )
        number = 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _operation(call: MessageDescription, name: str, refusals: Iterable[str]) -> dict[str, Any]:
    scope = f"The token needs the scope `{call.scope}`." if call.scope else ""
    return {
        "tags": ["messages"],
        "summary": call.summary,
        "description": "\n\n".join(filter(None, (call.about, scope))),
        "operationId": name,
        "security": [{password_flow.scheme_name: [call.scope] if call.scope else []}],
        "parameters": [{"$ref": "#/components/parameters/Service"}],
        "requestBody": {
            "content": {"application/json": {"schema": call.data, "examples": _named(call.examples)}},
            "required": not call.may_be_empty,
        },
        "responses": {
            "200": {
                "description": "The `data` of the reply." if call.chunk is None else _STREAMED,
                "content": {"application/json": {"schema": call.whole}} | _stream_of(call),
            },
            **{name.removeprefix("Refused"): {"$ref": f"#/components/responses/{name}"} for name in refusals},
        },
    }


_STREAMED = (
    "The chunks joined, with the `data` of the reply. With `Accept: text/event-stream`, each chunk is an event at once;"
    " the last event is named `reply` or `error`."
)


def _stream_of(call: MessageDescription) -> dict[str, Any]:
    """Return the answer as a stream: a list of events, as OpenAPI 3.2 says in 4.14.4, but without the words of 3.2."""
    if call.chunk is None:
        return {}
    data = {"anyOf": [call.chunk, call.reply, {"$ref": REF + "HttpErrorBody"}]} if call.chunk else {}
    event = {
        "event": {"type": "string", "enum": ["reply", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
    }
    item = {"type": "object", "properties": event, "required": ["data"]}
    return {"text/event-stream": {"schema": {"type": "array", "items": item}}}


def _webhook(event: EventDescription, name: str) -> dict[str, Any]:
    frame = {
        "type": "object",
        "properties": {"type": {"const": event.type}, "data": event.data},
        "required": ["type", "data"],
    }
    examples = [{"type": event.type, "data": each} for each in event.examples]
    how = "It comes over the WebSocket `/ws/chat`, as this frame."
    return {
        "tags": ["events"],
        "summary": event.summary,
        "description": "\n\n".join(filter(None, (event.about, how))),
        "operationId": name,
        "requestBody": {
            "content": {"application/json": {"schema": frame, "examples": _named(examples)}},
            "required": True,
        },
        "responses": {"200": {"description": "A client answers no event."}},
    }


def _named(examples: Sequence[Any]) -> dict[str, Any]:
    return {
        f"example {number}" if number > 1 else "example": {"value": each} for number, each in enumerate(examples, 1)
    }


def _add_scopes(components: Schema, calls: Sequence[MessageDescription]) -> None:
    """Name the scopes in the description of the log-in."""
    flows = components.get("securitySchemes", {}).get(password_flow.scheme_name, {}).get("flows", {})
    for flow in flows.values():
        for scope in sorted({call.scope for call in calls if call.scope}):
            needing = [call.type for call in calls if call.scope == scope]
            flow.setdefault("scopes", {})[scope] = "for " + ", ".join(f"`{kind}`" for kind in needing)


def _refusals(errors: Iterable[ErrorDescription]) -> dict[str, Any]:
    """Return the answers with an error, by their names as components."""
    words = {status: [_WORDS.get(HTTPStatus(status)) or words_of(status)] for status in _STATUSES}
    for error in errors:
        words.setdefault(error.http_status, []).append(f"{error.status} {error.name}: {error.summary}")
    return {f"Refused{status}": _refusal(status, lines) for status, lines in sorted(words.items())}


def _refusal(status: int, lines: Iterable[str]) -> dict[str, Any]:
    refusal: dict[str, Any] = {
        "description": "\n\n".join(lines),
        "content": {"application/json": {"schema": {"$ref": REF + "HttpErrorBody"}}},
    }
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        seconds = {"description": "Seconds to wait, where time helps.", "schema": {"type": "integer"}}
        refusal["headers"] = {"Retry-After": seconds}
    return refusal
