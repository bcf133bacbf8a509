"""What the description of the API says about each message over HTTP: those of handlers, and those of routes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from gateway.api.components import REF, Schema, Use, add_document, add_schemas
from gateway.http.examples import example_of, example_of_schema
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.base import MsgHandler
from handlers.reply_types import chunk_type, reply_type
from schemas.base import Event

Handler = type[MsgHandler[Any, Any]]


@dataclass(frozen=True)
class DescribedCall:
    """A message type: its purpose, its scope, and the schemas of its data and its reply."""

    type: str
    summary: str
    about: str
    scope: str | None
    data: Schema
    reply: Schema
    """Of the whole as one reply, if the answer comes in chunks otherwise."""
    examples: Sequence[Any]
    may_be_empty: bool
    """Whether the request needs no body."""
    chunk: Schema | None = None
    """The schema of each chunk, if the answer comes in chunks for a client that asks for them."""
    closing: Schema | None = None
    """That of the reply after them."""


def calls_of_handlers(handlers: Mapping[str, Handler], schemas: Schema) -> Iterator[DescribedCall]:
    """Return the messages of handlers, and add what they use to the components."""
    inputs = {kind: Use(kind, "validation", handler.schema) for kind, handler in handlers.items()}
    replies = {kind: Use(kind, "serialization", _reply_type(handler)) for kind, handler in handlers.items()}
    chunks = {kind: Use(kind, "serialization", chunk_type(each)) for kind, each in handlers.items() if each.streams}
    # One after another, so that what a client sends has the shortest names.
    found = add_schemas(schemas, list(inputs.values())) | add_schemas(schemas, list(replies.values()))
    found |= add_schemas(schemas, list(chunks.values()))
    for kind, handler in handlers.items():
        reply, chunk = found[replies[kind]], found[chunks[kind]] if handler.streams else None
        summary, about = documented(handler.__doc__ or handler.schema.__doc__)
        yield DescribedCall(
            type=kind,
            summary=summary or kind,
            about=about,
            scope=handler.scope,
            data=found[inputs[kind]],
            reply=reply if chunk is None else _whole(schemas, reply, chunk),
            examples=examples_of(handler),
            may_be_empty=_takes_nothing(handler),
            chunk=chunk,
            closing=None if chunk is None else reply,
        )


def calls_of_routes(routes: Iterable[Route], schemas: Schema) -> Iterator[DescribedCall]:
    """Return the messages that services answer, and add their schemas. A prefix has no path: its types are unknown."""
    for route in routes:
        if route.prefix is None:
            kind = route.pattern
            reply = _schema_of(schemas, kind, "Reply", route.reply)
            yield DescribedCall(
                type=kind,
                summary=f"Answered by the service behind `{kind}`.",
                about="",
                scope=route.scope,
                data=_schema_of(schemas, kind, "Data", route.data),
                reply=reply,
                examples=[_example_for(route.data)],
                may_be_empty=route.data is None or route.data.fits({}),
                chunk={},  # a service may stream, and its chunks have no schema
                closing=reply,
            )


def examples_of(owner: Handler | type[Event]) -> Sequence[Any]:
    """Return its own examples, or those of its schema, or else one made from the schema."""
    if owner.examples:
        return owner.examples
    schema = owner if issubclass(owner, Event) else owner.schema
    extra = schema.model_config.get("json_schema_extra")
    given = extra.get("examples") if isinstance(extra, dict) else None
    return given if isinstance(given, list) and given else [example_of(schema)]


def documented(docstring: str | None) -> tuple[str, str]:
    """Return the first line and the rest of a docstring."""
    summary, _, about = cleandoc(docstring or "").partition("\n")
    return summary, about.strip()


def _reply_type(handler: Handler) -> Any:
    """Return the type of the reply, which is any JSON if the class does not say it."""
    found = reply_type(handler)
    return Any if found is None else found


def _whole(schemas: Schema, closing: Schema, chunk: Schema) -> Schema:
    """Return the schema of an answer in one piece: its chunks beside what the closing reply has."""
    own = schemas.get(closing.get("$ref", "").removeprefix(REF), closing)
    chunks = {"text": {"type": "string"}, "items": {"type": "array", "items": chunk}}
    whole = {"type": "object", "properties": chunks | own.get("properties", {})}
    return whole | ({"required": own["required"]} if own.get("required") else {})


def _takes_nothing(handler: Handler) -> bool:
    """Return whether a body may be left out, which stands for `{}`."""
    try:
        handler.schema.model_validate({})
    except Exception:  # an application's schema may raise anything
        return False
    return True


def _example_for(schema: JsonSchema | None) -> Any:
    if schema is None or not isinstance(schema.document, dict):
        return {}
    made = example_of_schema(schema.document)
    return made if schema.fits(made) else {}


def _schema_of(schemas: Schema, kind: str, what: str, schema: JsonSchema | None) -> Schema:
    if schema is None or not isinstance(schema.document, dict):
        return {"type": "object"}
    return {"$ref": REF + add_document(schemas, kind, what, schema.document)}
