"""JSON Schemas of messages, replies and events, by name, as the components of an OpenAPI document are.

FastAPI describes the models of routes in the same form, so a model that both use is there once. Of two models with the
same name, each stays: the second one's name begins with the type that uses it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from gateway.documents.names import Names, pascal_case
from gateway.documents.newest_draft import in_newest_draft
from gateway.documents.schema_words import with_each
from gateway.documents.sound import sound
from gateway.documents.wire_schema import WireSchema, class_name
from schemas.json_schema import without_titles

Schema = dict[str, Any]

REF = "#/components/schemas/"


@dataclass(frozen=True)
class Use:
    """A model that a message or an event uses: as its data or as its reply."""

    type: str
    mode: Literal["validation", "serialization"]
    model: Any


def add_schemas(schemas: Schema, uses: Sequence[Use]) -> dict[Use, Schema]:
    """Add the schemas of models to components, and return a reference to each.

    A model without a JSON Schema, which an application may have, becomes the schema of any JSON.
    """
    adapters = {use: adapter for use in uses if (adapter := _adapter_of(use)) is not None}
    try:
        references, found = _generated(adapters)
    except Exception:  # a JSON Schema cannot express every model of an application
        adapters = {use: adapter for use, adapter in adapters.items() if _can_generate(use, adapter)}
        references, found = _generated(adapters)
    definitions: dict[str, Schema] = {name: sound(each) for name, each in found.get("$defs", {}).items()}
    for name, schema in definitions.items():
        without_titles(schema, class_name(name))  # of an enumeration
    roots = {use: sound(references[use, use.mode]) for use in adapters}
    names = _names(schemas, definitions, roots)
    for name, schema in definitions.items():
        schemas.setdefault(names[name], _renamed(schema, names))
    return {use: _renamed(roots[use], names) if use in roots else {} for use in uses}


def add_document(schemas: Schema, type: str, what: str, document: Schema) -> str:
    """Add a JSON Schema that stands alone, and return its name: that of a type, and what it describes."""
    name = Names(schemas).take(pascal_case(type) + what)
    document = in_newest_draft(document)
    # An `$id` would be the base of its references; otherwise they begin at the root, which is another document now.
    schemas[name] = document if "$id" in document else _rooted(document, REF + name)
    return name


def moved(schema: Any, prefix: str) -> Any:
    """Return a schema in which references to components begin with another prefix."""
    return _with_references(schema, lambda name: prefix + name)


def _rooted(schema: Any, root: str) -> Any:
    if isinstance(schema, dict):
        found = with_each(schema, lambda inner: _rooted(inner, root))
        reference = schema.get("$ref")
        if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
            found["$ref"] = root + reference.removeprefix("#")
        return found
    return [_rooted(item, root) for item in schema] if isinstance(schema, list) else schema


def _adapter_of(use: Use) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(use.model)
    except Exception:  # pydantic takes not every annotation
        return None


def _can_generate(use: Use, adapter: TypeAdapter[Any]) -> bool:
    try:
        _generated({use: adapter})
    except Exception:
        return False
    return True


def _generated(adapters: Mapping[Use, TypeAdapter[Any]]) -> tuple[dict[Any, Schema], Schema]:
    return TypeAdapter.json_schemas(
        [(use, use.mode, adapter) for use, adapter in adapters.items()],
        ref_template=REF + "{model}",
        schema_generator=WireSchema,
    )


def _without_nulls(schema: Any) -> Any:
    """Return a schema as FastAPI writes it, to compare two of them."""
    if isinstance(schema, dict):
        return {key: _without_nulls(value) for key, value in schema.items() if value is not None}
    return [_without_nulls(item) for item in schema] if isinstance(schema, list) else schema


def _same(known: Schema, schema: Schema, names: Mapping[str, str]) -> bool:
    return any(_without_nulls(known) == _without_nulls(each) for each in (schema, _renamed(schema, names)))


def _names(schemas: Schema, definitions: Mapping[str, Schema], roots: Mapping[Use, Schema]) -> dict[str, str]:
    """Return the name of each definition in the components: its own, unless another schema has that."""
    good = {name: pascal_case(class_name(name)) for name in definitions}
    clashing = _clashing(schemas, definitions, good)
    names = {name: good[name] for name in definitions if name not in clashing}
    for use, root in roots.items():
        for name in reached(root, definitions):
            if name not in names:
                taken = [*schemas, *names.values()]
                is_first = Names(taken).take(good[name]) == good[name]
                names[name] = good[name] if is_first else Names(taken).take(pascal_case(use.type) + good[name])
    return names


def _clashing(schemas: Schema, definitions: Mapping[str, Schema], good: Mapping[str, str]) -> set[str]:
    """Return the definitions that cannot have their own names."""
    taken = {name.lower(): schema for name, schema in schemas.items()}
    uses = Counter(name.lower() for name in good.values())
    found = {
        name
        for name, schema in definitions.items()
        if uses[good[name].lower()] > 1 or not _same(taken.get(good[name].lower(), schema), schema, good)
    }
    while more := {
        name
        for name in definitions
        if name not in found and good[name] in schemas and found.intersection(_references(definitions[name]))
    }:
        found |= more
    return found


def reached(schema: Any, definitions: Mapping[str, Schema]) -> Iterable[str]:
    """Return the definitions that a schema needs, the nearest first."""
    found: dict[str, None] = {}
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop(0).partition("/")[0]
        if name in definitions and name not in found:
            found[name] = None
            waiting += _references(definitions[name])
    return found


def _references(schema: Any) -> Iterable[str]:
    # Not only in `$ref`: a discriminator has a mapping to names.
    if isinstance(schema, str):
        if schema.startswith(REF):
            yield schema.removeprefix(REF)
    elif isinstance(schema, dict | list):
        for value in schema.values() if isinstance(schema, dict) else schema:
            yield from _references(value)


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema in which references have the names of the components."""
    return _with_references(schema, lambda name: REF + names.get(name, name))


def _with_references(schema: Any, written: Callable[[str], str]) -> Any:
    match schema:
        case dict():
            return {key: _with_references(value, written) for key, value in schema.items()}
        case list():
            return [_with_references(item, written) for item in schema]
        case str() if schema.startswith(REF):
            return written(schema.removeprefix(REF))
    return schema
