"""What documents say about each message: of handlers, and of routes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from gateway.documents.components import REF, Schema, Use, add_document
from gateway.documents.descriptions import MessageDescription
from gateway.documents.examples import example_of, example_of_model, example_of_schema, json_of
from gateway.documents.plain import plain
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.base import MsgHandler
from handlers.reply_types import chunk_type, reply_type
from schemas.base import Empty, Event

Handler = type[MsgHandler[Any, Any]]


@dataclass(frozen=True)
class CallUses:
    """The models of a message type: of its data, of its reply, and of its chunks if it streams."""

    data: Use
    reply: Use
    chunk: Use | None

    @classmethod
    def of(cls, kind: str, handler: Handler) -> "CallUses":
        """Return the texts of a handler."""
        return cls(
            data=Use(kind, "validation", handler.schema),
            reply=Use(kind, "serialization", _reply_type(handler)),
            chunk=Use(kind, "serialization", chunk_type(handler)) if handler.streams else None,
        )

    @property
    def outputs(self) -> list[Use]:
        """Return the models of what the gateway sends."""
        return [self.reply] if self.chunk is None else [self.reply, self.chunk]


def call_of_handler(
    uses: CallUses, handler: Handler, found: Mapping[Use, Schema], schemas: Schema
) -> MessageDescription:
    """Return the description of a handler. `found` has the schema of each of its models."""
    kind, reply = uses.data.type, found[uses.reply]
    chunk = None if uses.chunk is None else found[uses.chunk]
    summary, about = documented(purpose_of(handler))
    return MessageDescription(
        type=kind,
        summary=summary or kind,
        about=about,
        scope=handler.scope,
        data=found[uses.data],
        reply=reply,
        whole=reply if chunk is None else _whole(schemas, reply, chunk),
        chunk=chunk,
        examples=tuple(examples_of(handler)),
        reply_examples=tuple(_examples_of_reply(uses.reply.model)),
        ordered=handler.ordered,
        needs_connection=handler.needs_connection,
        may_be_empty=_takes_nothing(handler),
    )


def calls_of_routes(routes: Iterable[Route], schemas: Schema) -> Iterator[MessageDescription]:
    """Return the messages that services answer, and add their schemas. A prefix has no path: its types are unknown."""
    for route in routes:
        if route.prefix is None:
            kind = route.pattern
            reply = _schema_of(schemas, kind, "Reply", route.reply)
            yield MessageDescription(
                type=kind,
                summary=f"Answered by the service behind `{kind}`.",
                about="",
                scope=route.scope,
                data=_schema_of(schemas, kind, "Data", route.data),
                reply=reply,
                whole=reply,
                chunk={},  # a service may stream, and its chunks have no schema
                examples=(_example_for(route.data),),
                reply_examples=(_example_for(route.reply),),
                ordered=route.ordered,
                may_be_empty=route.data is None or route.data.fits({}),
            )


def examples_of(owner: Handler | type[Event]) -> Sequence[Any]:
    """Return its own examples, or those of its schema, or else one made from the schema."""
    if owner.examples:
        return owner.examples
    schema = owner if issubclass(owner, Event) else owner.schema
    return plain(_given_examples(schema)) or [example_of(schema)]


def _examples_of_reply(model: Any) -> Sequence[Any]:
    """Return the examples of a reply's model, or else one made from its schema."""
    if model is Any:
        return [{}]
    return plain(_given_examples(model)) or [example_of_model(model, "serialization")]


def _given_examples(model: Any) -> Sequence[Any]:
    extra = getattr(model, "model_config", {}).get("json_schema_extra")
    given = extra.get("examples") if isinstance(extra, dict) else None
    return json_of(given)


def purpose_of(handler: Handler) -> str:
    """Return the docstring of a handler, or else that of its data. That of no data says nothing."""
    return handler.__doc__ or ("" if handler.schema is Empty else handler.schema.__doc__) or ""


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
