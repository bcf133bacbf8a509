"""The catalog: everything that documents say of a gateway, read from its registry, its routes and the tables of codes.

It is data alone. Each format turns the same catalog into its own files, so nothing is described twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.documents.components import Schema, Use, add_schemas, moved
from gateway.documents.described_calls import CallUses, call_of_handler, calls_of_routes, documented, examples_of
from gateway.documents.described_errors import errors_of, statuses
from gateway.documents.descriptions import (
    CloseDescription,
    ErrorDescription,
    EventDescription,
    MessageDescription,
)
from gateway.routes.model import Route
from handlers.registry import Registry
from schemas.base import Event
from schemas.codes import Close
from schemas.errors import ErrorBody

__all__ = [
    "Catalog",
    "CloseDescription",
    "ErrorDescription",
    "EventDescription",
    "MessageDescription",
    "Schema",
    "catalog_of",
]


@dataclass(frozen=True)
class Catalog:
    """The messages, events, errors and close codes of a gateway, and the JSON Schemas that they refer to."""

    messages: tuple[MessageDescription, ...]
    events: tuple[EventDescription, ...]
    errors: tuple[ErrorDescription, ...]
    """The errors of the application."""
    statuses: tuple[ErrorDescription, ...]
    """The gateway's own table, with 20000 for a reply."""
    closes: tuple[CloseDescription, ...]
    error: Schema
    """The schema of every error, without the `type` and the `id` of its frame."""
    schemas: Mapping[str, Schema]
    """By name, in draft 2020-12. References begin with `#/components/schemas/`."""

    def schemas_at(self, prefix: str) -> dict[str, Schema]:
        """Return the schemas with references that begin with another prefix, such as `#/$defs/`."""
        return {name: moved(schema, prefix) for name, schema in self.schemas.items()}


def catalog_of(
    registry: Registry, routes: Iterable[Route] = (), *, beside: Mapping[str, Schema] | None = None
) -> Catalog:
    """Return the catalog of a registry and of routes.

    `beside` has the schemas that a document has already. The catalog's get other names than these, and have them too.
    """
    schemas: dict[str, Any] = dict(beside or {})
    calls = {kind: CallUses.of(kind, handler) for kind, handler in registry.handlers.items()}
    events = {event: Use(event.type, "serialization", event) for event in registry.events}
    error = Use("error", "serialization", ErrorBody)
    replies = [use for call in calls.values() for use in call.outputs]
    # One after the other, so that what a client sends has the shortest names.
    found = add_schemas(schemas, [call.data for call in calls.values()])
    found |= add_schemas(schemas, [*replies, *events.values(), error])
    own = [call_of_handler(uses, registry.handlers[kind], found, schemas) for kind, uses in calls.items()]
    return Catalog(
        messages=(*own, *calls_of_routes(routes, schemas)),
        events=tuple(_described(event, found[use]) for event, use in events.items()),
        errors=tuple(errors_of(registry.errors)),
        statuses=tuple(statuses()),
        closes=tuple(CloseDescription(each.code, each.reason, each.reconnect.value, each.meaning) for each in Close),
        error=found[error],
        schemas=schemas,
    )


def _described(event: type[Event], data: Schema) -> EventDescription:
    summary, about = documented(event.__doc__)
    return EventDescription(
        type=event.type, summary=summary or event.type, about=about, data=data, examples=tuple(examples_of(event))
    )
