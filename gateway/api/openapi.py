"""The messages and events in the API's description: a path for each message, a webhook for each event.

So `/docs` tries every message, and generators of clients type them. OpenAPI 3.1 has no word for a WebSocket. A webhook
is what comes next: a request that its receiver did not cause. Its body is the frame of the event.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any
from urllib.parse import quote

from gateway.api.components import REF, Schema, Use, add_schemas
from gateway.config.external_services import LOCAL
from gateway.http.authentication import password_flow
from gateway.http.documented_errors import words_of
from gateway.http.examples import example_of
from handlers.base import MsgHandler
from handlers.registry import Registry
from handlers.reply_types import reply_type
from schemas.base import Event
from schemas.codes import Status

Handler = type[MsgHandler[Any, Any]]

_STATUSES = sorted({status.http for status in Status if status is not Status.OK} | {HTTPStatus.UNSUPPORTED_MEDIA_TYPE})
_WORDS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON that the gateway takes.",
    HTTPStatus.FORBIDDEN: "Not for this user, not with this token, or one more than a quota allows.",
    HTTPStatus.NOT_FOUND: "No such room, message or user, or one that is hidden from this user.",
    HTTPStatus.CONFLICT: "It exists already, or has changed meanwhile.",
    HTTPStatus.GONE: "A position beyond the end of the room's log.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body has over `GATEWAY_MAX_MESSAGE_BYTES`.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed. The message has the request's id, for the operator.",
    HTTPStatus.BAD_GATEWAY: "The service behind this message failed.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service behind this message did not answer in time.",
}


def describe(document: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """Add a registry's messages and events to the description of the routes, and return it."""
    handlers = {kind: each for kind, each in registry.handlers.items() if not each.needs_connection}
    components = document.setdefault("components", {})
    inputs = {kind: Use(kind, "validation", handler.schema) for kind, handler in handlers.items()}
    replies = {kind: Use(kind, "serialization", _reply_type(handler)) for kind, handler in handlers.items()}
    events = {event.type: Use(event.type, "serialization", event) for event in registry.events}
    schemas: dict[Use, Schema] = {}
    for uses in (inputs, replies, events):  # one after another, so that the first has the short name
        schemas |= add_schemas(components.setdefault("schemas", {}), list(uses.values()))
    _add_scopes(components, handlers)
    refusals = _refusals(registry)
    components.setdefault("responses", {}).update(refusals)
    components.setdefault("parameters", {})["Service"] = _SERVICE
    names = _Names(document)
    for kind, handler in handlers.items():
        operation = _operation(kind, handler, names, schemas[inputs[kind]], schemas[replies[kind]], refusals)
        document["paths"].setdefault(f"/call/{quote(kind, safe='')}", {})["post"] = operation
    webhooks = document.setdefault("webhooks", {})
    for event in registry.events:
        webhooks.setdefault(event.type, {})["post"] = _webhook(event, names, schemas[events[event.type]])
    return document


_SERVICE = {
    "name": "service",
    "in": "query",
    "description": "The service that checks the token, as for a connection.",
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


def _operation(
    kind: str, handler: Handler, names: _Names, data: Schema, reply: Schema, refusals: Iterable[str]
) -> dict[str, Any]:
    summary, about = _documented(handler.__doc__ or handler.schema.__doc__)
    scope = f"The token needs the scope `{handler.scope}`." if handler.scope else ""
    examples = _examples(handler)
    return {
        "tags": ["messages"],
        "summary": summary or kind,
        "description": "\n\n".join(filter(None, (about, scope))),
        "operationId": names.take("call", kind),
        "security": [{password_flow.scheme_name: [handler.scope] if handler.scope else []}],
        "parameters": [{"$ref": "#/components/parameters/Service"}],
        "requestBody": {
            "content": {"application/json": {"schema": data, "examples": _named(examples)}},
            "required": not _takes_nothing(handler),
        },
        "responses": {
            "200": {
                "description": "The `data` of the reply.",
                "content": {"application/json": {"schema": reply}},
            },
            **{name.removeprefix("Refused"): {"$ref": f"#/components/responses/{name}"} for name in refusals},
        },
    }


def _webhook(event: type[Event], names: _Names, data: Schema) -> dict[str, Any]:
    summary, about = _documented(event.__doc__)
    frame = {
        "type": "object",
        "properties": {"type": {"const": event.type}, "data": data},
        "required": ["type", "data"],
    }
    examples = [{"type": event.type, "data": each} for each in _examples(event)]
    return {
        "tags": ["events"],
        "summary": summary or event.type,
        "description": "\n\n".join(filter(None, (about, "It comes over the WebSocket `/ws/chat`, as this frame."))),
        "operationId": names.take("event", event.type),
        "requestBody": {
            "content": {"application/json": {"schema": frame, "examples": _named(examples)}},
            "required": True,
        },
        "responses": {"200": {"description": "A client answers no event."}},
    }


def _reply_type(handler: Handler) -> Any:
    """Return the type of the reply, which is any JSON if the class does not say it."""
    found = reply_type(handler)
    return Any if found is None else found


def _documented(docstring: str | None) -> tuple[str, str]:
    """Return the first line and the rest of a docstring."""
    summary, _, about = cleandoc(docstring or "").partition("\n")
    return summary, about.strip()


def _examples(owner: Handler | type[Event]) -> Sequence[Any]:
    """Return its own examples, or those of its schema, or else one made from the schema."""
    if owner.examples:
        return owner.examples
    schema = owner if issubclass(owner, Event) else owner.schema
    extra = schema.model_config.get("json_schema_extra")
    given = extra.get("examples") if isinstance(extra, dict) else None
    return given if isinstance(given, list) and given else [example_of(schema)]


def _named(examples: Sequence[Any]) -> dict[str, Any]:
    return {
        f"example {number}" if number > 1 else "example": {"value": each} for number, each in enumerate(examples, 1)
    }


def _takes_nothing(handler: Handler) -> bool:
    """Return whether a body may be left out, which stands for `{}`."""
    try:
        handler.schema.model_validate({})
    except Exception:  # an application's schema may raise anything
        return False
    return True


def _add_scopes(components: Schema, handlers: dict[str, Handler]) -> None:
    """Name the scopes in the description of the log-in."""
    flows = components.get("securitySchemes", {}).get(password_flow.scheme_name, {}).get("flows", {})
    for flow in flows.values():
        for scope in sorted({handler.scope for handler in handlers.values() if handler.scope}):
            needing = [kind for kind, handler in handlers.items() if handler.scope == scope]
            flow.setdefault("scopes", {})[scope] = "for " + ", ".join(f"`{kind}`" for kind in needing)


def _refusals(registry: Registry) -> dict[str, Any]:
    """Return the answers with an error, by their names as components."""
    words = {status: [_WORDS.get(HTTPStatus(status)) or words_of(status)] for status in _STATUSES}
    for error in registry.errors:
        words.setdefault(error.http_status, []).append(f"{error.status} {error.name}: {_documented(error.__doc__)[0]}")
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
