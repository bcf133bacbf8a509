"""JSON Schemas of messages, replies and events, by name, as the components of an OpenAPI document are.

FastAPI describes the models of routes in the same form, so a model that both use is there once. Of two models with the
same name, each stays: the second one's name begins with the type that uses it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Schema = dict[str, Any]

REF = "#/components/schemas/"
_WORD = re.compile(r"[A-Za-z0-9]+")


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
    definitions: dict[str, Schema] = _without_nulls(found.get("$defs", {}))
    roots = {use: references[use, use.mode] for use in adapters}
    names = _names(schemas, definitions, roots)
    for name, schema in definitions.items():
        schemas.setdefault(names[name], _renamed(schema, names))
    return {use: _renamed(roots[use], names) if use in roots else {} for use in uses}


def add_document(schemas: Schema, type: str, what: str, document: Schema) -> str:
    """Add a JSON Schema that stands alone, and return its name: that of a type, and what it describes."""
    name = _free(_camel_case(type) + what, set(schemas))
    # An `$id` would be the base of its references; otherwise they begin at the root, which is another document now.
    schemas[name] = document if "$id" in document else _rooted(document, REF + name)
    return name


def moved(schema: Any, prefix: str) -> Any:
    """Return a schema whose references to components begin with another prefix."""
    match schema:
        case dict():
            return {key: moved(value, prefix) for key, value in schema.items()}
        case list():
            return [moved(item, prefix) for item in schema]
        case str() if schema.startswith(REF):
            return prefix + schema.removeprefix(REF)
    return schema


def _rooted(schema: Any, root: str) -> Any:
    if isinstance(schema, dict):
        found = {key: _rooted(value, root) for key, value in schema.items()}
        if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
            found["$ref"] = root + reference.removeprefix("#")
        return found
    return [_rooted(item, root) for item in schema] if isinstance(schema, list) else schema


def _camel_case(type: str) -> str:
    """Return a type as the beginning of a name, such as `ChatSend`."""
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(type))


class _SchemaOfFrames(GenerateJsonSchema):
    """Schemas of what goes over the wire, where a key with the value null is left out."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        """Return whether the key is always there."""
        may_be_none = field["schema"]["type"] == "nullable"
        return super().field_is_required(field, total) and not (may_be_none and self.mode == "serialization")


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
        schema_generator=_SchemaOfFrames,
    )


def _without_nulls(schema: Any) -> Any:
    """Return a schema as FastAPI writes it, without the default null: a generator would take the field for required."""
    if isinstance(schema, dict):
        return {key: _without_nulls(value) for key, value in schema.items() if value is not None}
    return [_without_nulls(item) for item in schema] if isinstance(schema, list) else schema


def _names(schemas: Schema, definitions: Mapping[str, Schema], roots: Mapping[Use, Schema]) -> dict[str, str]:
    """Return the name of each definition in the components: its own, unless another schema has that."""
    # pydantic writes out the modules of two classes with the same name.
    clashing = {name for name, schema in definitions.items() if "__" in name or schemas.get(name, schema) != schema}
    while more := {
        name
        for name in definitions.keys() & schemas.keys() - clashing
        if clashing.intersection(_references(definitions[name]))
    }:
        clashing |= more
    names = {name: name for name in definitions if name not in clashing}
    for use, root in roots.items():
        for name in _reached(root, definitions):
            if name not in names:
                wanted = _camel_case(use.type) + name.rpartition("__")[2]
                names[name] = _free(wanted, {*schemas, *definitions, *names.values()})
    return names


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}{number}"
    return name


def _reached(schema: Schema, definitions: Mapping[str, Schema]) -> Iterable[str]:
    """Return the definitions that a schema needs, the nearest first."""
    found: dict[str, None] = {}
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _references(definitions.get(name))
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
    """Return a schema whose references have the names of the components."""
    match schema:
        case dict():
            return {key: _renamed(value, names) for key, value in schema.items()}
        case list():
            return [_renamed(item, names) for item in schema]
        case str() if schema.startswith(REF):
            return REF + names.get(schema.removeprefix(REF), schema.removeprefix(REF))
    return schema
