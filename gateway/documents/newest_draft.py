"""Schemas of a routes file in draft 2020-12. The file may have older drafts, which write some words otherwise."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.documents.schema_words import with_each

Schema = dict[str, Any]

MAX_LEVELS = 64
"""The most levels of a schema in a document. A deeper one becomes any JSON: most readers fail on it."""


def in_newest_draft(document: Schema) -> Schema:
    """Return a schema with the words of draft 2020-12. Its meaning stays the same."""
    if _levels(document) > MAX_LEVELS:
        return {}
    found: Schema = _changed(document)
    found.pop("$schema", None)
    return found


def _levels(document: Any) -> int:
    levels, nodes = 0, [document]
    while nodes:
        levels += 1
        nodes = [child for node in nodes for child in _children(node)]
    return levels


def _children(node: Any) -> list[Any]:
    found = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in found if isinstance(child, dict | list)]


def _changed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_changed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = with_each(schema, _changed)
    for change in _CHANGES:
        change(found)
    return found


def _bounds(schema: Schema) -> None:
    """In draft 4, `exclusiveMinimum` is true or false, and beside `minimum`."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), bool):
            excludes = schema.pop(exclusive)
            if excludes and bound in schema:
                schema[exclusive] = schema.pop(bound)


def _tuples(schema: Schema) -> None:
    """Up to draft 2019-09, `items` may be a list, and `additionalItems` is what follows."""
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if "additionalItems" in schema:
            schema["items"] = schema["additionalItems"]
    schema.pop("additionalItems", None)


def _dependencies(schema: Schema) -> None:
    """Up to draft 7, `dependencies` has names of fields or schemas."""
    dependencies = schema.pop("dependencies", None)
    for name, needed in dependencies.items() if isinstance(dependencies, Mapping) else ():
        word = "dependentRequired" if isinstance(needed, list) else "dependentSchemas"
        schema.setdefault(word, {})[name] = needed


_CHANGES: tuple[Callable[[Schema], None], ...] = (_bounds, _tuples, _dependencies)
