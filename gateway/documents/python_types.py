"""What a JSON Schema is as a type of Python. What Python cannot say becomes `Any`, and never an error."""

import json
from collections.abc import Callable
from typing import Any

from gateway.documents.components import Schema

PREFIX = "#/components/schemas/"
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_LONGEST_LITERAL = 70
"""The characters of the values of a literal, so that it fits into a line."""


class Types:
    """Finds the type of a schema. `name_of` returns the Python name of a named one."""

    def __init__(self, name_of: Callable[[str], str], inline: Callable[[Schema, str], str]) -> None:
        self._name_of = name_of
        self._inline = inline

    def of(self, schema: Any, place: str, *, opens: bool) -> str:
        """Return the type of a schema. `place` names a class for an object without a name.

        With `opens`, a literal lets other values through: a newer gateway may send them.
        """
        if not isinstance(schema, dict):
            return "Any"
        if isinstance(reference := schema.get("$ref"), str):
            return self._name_of(reference.removeprefix(PREFIX)) if reference.startswith(PREFIX) else "Any"
        if "const" in schema or "enum" in schema:
            return _literal([schema["const"]] if "const" in schema else schema["enum"], opens=opens)
        for word in ("anyOf", "oneOf"):
            if word in schema and "properties" not in schema:
                return union(self.of(each, place, opens=opens) for each in schema[word])
        kinds = schema.get("type", ())
        if isinstance(kinds, list):
            return union(self.of({**schema, "type": kind}, place, opens=opens) for kind in kinds)
        return self._of_kind(str(kinds or ""), schema, place, opens=opens)

    def _of_kind(self, kind: str, schema: Schema, place: str, *, opens: bool) -> str:
        if kind == "array":
            return f"list[{self.of(schema.get('items', True), f'{place}Item', opens=opens)}]"
        if kind == "object" or (not kind and "properties" in schema):
            if schema.get("properties"):
                return self._inline(schema, place)
            return f"dict[str, {self.of(schema.get('additionalProperties', True), f'{place}Value', opens=opens)}]"
        alone = schema.get("allOf")
        if not kind and isinstance(alone, list) and len(alone) == 1:
            return self.of(alone[0], place, opens=opens)
        return _SIMPLE.get(kind, "Any")


def union(types: Any) -> str:
    """Return the union of types. None comes last, and `Any` is all there is."""
    found = list(dict.fromkeys(part for each in types for part in _parts(each)))
    if "Any" in found or not found:
        return "Any"
    return " | ".join(sorted(found, key=lambda each: each == "None"))


def _parts(type: str) -> list[str]:
    """Return the members of a union, but not the ones within brackets."""
    parts, depth = [""], 0
    for character in type:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _literal(values: list[Any], *, opens: bool) -> str:
    if not all(isinstance(value, str | bool | int | None) for value in values):
        return "Any"
    words = ", ".join(literal(value) for value in values)
    texts = any(isinstance(value, str) for value in values)
    if len(words) > _LONGEST_LITERAL or any("|" in value for value in values if isinstance(value, str)):
        return "str" if all(isinstance(value, str) for value in values) else "Any"
    return f"Literal[{words}] | str" if opens and texts else f"Literal[{words}]"


def literal(value: object) -> str:
    """Return a text, a number, a truth value or None as source code."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
