"""Schemas of a catalog in the older form that AsyncAPI 3.0 has: JSON Schema draft-07.

What draft-07 has no word for is left out, so that everything that fitted still fits. A schema that cannot be written in
draft-07 at all becomes one of any JSON: an application's own schema never breaks the document.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from gateway.documents.markdown import safe_markdown

Schema = dict[str, Any]

ANY_JSON: Schema = {"description": "Any JSON: draft-07 of JSON Schema cannot express more."}

_MAPS = {
    "$defs": "definitions",
    "definitions": "definitions",
    "patternProperties": "patternProperties",
    "properties": "properties",
}
_LISTS = {"allOf", "anyOf", "oneOf"}
_SINGLE = {"additionalProperties", "contains", "else", "if", "not", "propertyNames", "then"}
_PLAIN = {
    "contentEncoding",
    "contentMediaType",
    "deprecated",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
}
_FLAGS = {"additionalItems", "additionalProperties"}
"""The only words that may have true or false: not every reader takes them elsewhere."""
_BOUNDS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
_DATA = {"const", "default", "enum", "examples"}
_FIELDS = ("properties", "patternProperties")
_NAMED = {*_MAPS.values(), "dependencies"}
_ELSEWHERE = {"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"}
"""Words for places that no pointer of the document leads to."""


class _NotInDraft07(ValueError):
    """A schema that draft-07 cannot express, or that refers to another document."""


def draft07(schemas: Mapping[str, Schema], prefix: str) -> dict[str, Schema]:
    """Return named schemas in draft-07. Their references begin with the prefix."""
    written = {name: _written_or_any(schema, prefix + name) for name, schema in schemas.items()}
    return {name: _checked(schema, written, prefix) for name, schema in written.items()}


def draft07_of(schema: Schema, known: Mapping[str, Schema], prefix: str) -> Schema:
    """Return one schema in draft-07, which may refer to known ones."""
    return _checked(_written_or_any(schema, prefix), known, prefix)


def _written_or_any(schema: Any, place: str) -> Schema:
    identity = schema.get("$id", "") if isinstance(schema, dict) else ""
    try:
        found: Schema = _Writer(place, str(identity)).write(schema)
    except (_NotInDraft07, RecursionError):
        return ANY_JSON
    return found


def _stays(key: str, value: Any) -> bool:
    """Return whether a word of a schema is the same in draft-07, with the same value."""
    if key in _DATA:
        return not has_reference(value)
    return key in _PLAIN and not (key in _BOUNDS and isinstance(value, bool))


def _as_object(schema: Any) -> Schema:
    if isinstance(schema, dict):
        return schema
    return {"not": {}} if schema is False else {}


class _Writer:
    """Writes one document. References to its own `$id` become references to its place."""

    def __init__(self, place: str, identity: str) -> None:
        self._place = place
        self._identity = identity.partition("#")[0]

    def write(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return _as_object(schema)
        if _ELSEWHERE & schema.keys() or schema.get("$id", self._identity).partition("#")[0] != self._identity:
            raise _NotInDraft07
        return self._with_reference(schema.get("$ref"), dict(self._keywords(schema)))

    def _keywords(self, schema: Schema) -> Iterator[tuple[str, Any]]:
        for key, value in schema.items():
            if key == "description":
                yield key, safe_markdown(str(value))
            elif _stays(key, value):
                yield key, value
            elif key in _SINGLE:
                yield key, value if key in _FLAGS and isinstance(value, bool) else self.write(value)
            elif key in _LISTS and isinstance(value, list):
                yield key, [self.write(each) for each in value]
            elif key in _MAPS and isinstance(value, dict) and key not in _FIELDS:
                yield _MAPS[key], {name: self.write(each) for name, each in value.items()}
        yield from self._fields(schema)
        yield from self._array(schema)
        yield from self._bounds(schema)
        if found := dict(self._dependencies(schema)):
            yield "dependencies", found

    def _fields(self, schema: Schema) -> Iterator[tuple[str, Any]]:
        """Return the properties. Readers would take one with the name `$ref` for a reference, so a pattern has it."""
        named, patterns = (dict(schema[key]) if isinstance(schema.get(key), dict) else {} for key in _FIELDS)
        if "$ref" in named:
            patterns["^[$]ref$"] = named.pop("$ref")
        for key, found in zip(_FIELDS, (named, patterns), strict=True):
            if found or key in schema:
                yield key, {name: self.write(each) for name, each in found.items()}

    def _array(self, schema: Schema) -> Iterator[tuple[str, Any]]:
        """Return the items: the first places had a word of their own only later."""
        items = schema.get("items")
        first = items if isinstance(items, list) else schema.get("prefixItems")
        rest = schema.get("additionalItems") if first is items else items
        if isinstance(first, list) and first:
            yield "items", [self.write(each) for each in first]
            if rest is not None:
                yield "additionalItems", rest if isinstance(rest, bool) else self.write(rest)
        elif items is not None and not isinstance(items, list):
            yield "items", self.write(items)

    def _bounds(self, schema: Schema) -> Iterator[tuple[str, Any]]:
        """Return the bounds that draft-04 excludes with a flag."""
        for exclusive, bound in _BOUNDS.items():
            if schema.get(exclusive) is True and bound in schema:
                yield exclusive, schema[bound]

    def _dependencies(self, schema: Schema) -> Iterator[tuple[str, Any]]:
        for key in ("dependencies", "dependentSchemas", "dependentRequired"):
            found = schema.get(key)
            for name, each in found.items() if isinstance(found, dict) else ():
                yield name, each if isinstance(each, list) else self.write(each)

    def _with_reference(self, reference: Any, written: Schema) -> Schema:
        if reference is None:
            return written
        target = {"$ref": self._moved(str(reference))}
        if not written:
            return target
        # Draft-07 ignores what stands beside a reference.
        return {**written, "allOf": [*written.get("allOf", ()), target]}

    def _moved(self, reference: str) -> str:
        document, mark, pointer = reference.partition("#")
        own = f"#{pointer}"
        if self._identity and document in {"", self._identity} and not own.startswith(self._place):
            own = self._place + pointer
        elif document or not mark:
            raise _NotInDraft07
        return own.replace("/$defs/", "/definitions/")


def _checked(schema: Schema, known: Mapping[str, Schema], prefix: str) -> Schema:
    """Return a schema, or that of any JSON if draft-07 does not take it."""
    from jsonschema_rs import meta

    try:
        fits = meta.is_valid({"$schema": "http://json-schema.org/draft-07/schema#", **schema})
        return schema if fits and all(_leads(each, known, prefix) for each in _references(schema)) else ANY_JSON
    except (RecursionError, ValueError):  # too deep, or a number that JSON does not have
        return ANY_JSON


def has_reference(data: Any) -> bool:
    """Return whether data of an example would be taken for a reference: readers look for `$ref` everywhere."""
    if isinstance(data, Mapping):
        return "$ref" in data or any(map(has_reference, data.values()))
    return isinstance(data, list | tuple) and any(map(has_reference, data))


def _references(schema: Any) -> Iterator[str]:
    """Return the references of a schema in draft-07, and not what examples have under such a key."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for key, value in schema.items():
            if key in _DATA:
                continue
            for each in value.values() if key in _NAMED and isinstance(value, dict) else (value,):
                yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _leads(reference: str, known: Mapping[str, Schema], prefix: str) -> bool:
    """Return whether a reference leads to a known schema, or to a part of one (RFC 6901)."""
    if not reference.startswith(prefix):
        return False
    found: Any = known
    for part in unquote(reference.removeprefix(prefix)).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict | Mapping) else None
    return found is not None
