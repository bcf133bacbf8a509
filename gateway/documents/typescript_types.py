"""JSON Schemas as types of TypeScript.

A schema with a name becomes an interface, or a type if it is no plain object. What TypeScript cannot say, such as the
longest text, is left out. What this module does not understand becomes `unknown`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from gateway.documents.components import REF, Schema
from gateway.documents.either_or import Variant, is_rule, variants_of
from gateway.documents.names import Names, pascal_case
from gateway.documents.plain import plain

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_PLAIN = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_OF_OBJECTS = ("properties", "required", "additionalProperties", "patternProperties", "propertyNames")
_OF_ARRAYS = ("items", "prefixItems", "minItems", "maxItems", "uniqueItems")
_LONG = 100
_ANYTHING = "unknown"
_NOT_NULL = "{}"
"""How TypeScript writes any value but null and undefined."""


class TypeScript:
    """The types of schemas with names."""

    def __init__(self, schemas: Mapping[str, Schema], reserved: Iterable[str] = ()) -> None:
        self._schemas = schemas
        taken = Names([*schemas, *reserved])
        self._names = taken
        self._known = {REF + name: name if name not in reserved else taken.take(name) for name in schemas}

    def declarations(self) -> list[str]:
        """Return the declaration of each type, also of a type that a reference inside another schema leads to."""
        declared: dict[str, str] = {}
        while missing := [reference for reference in self._known if reference not in declared]:
            for reference in missing:
                declared[reference] = self._declaration(self._known[reference], self._target(reference), reference)
        return list(declared.values())

    def text_of(self, schema: Any) -> str:
        """Return the type of a schema."""
        return _union(self._choices(schema))

    def _declaration(self, name: str, schema: Any, reference: str) -> str:
        about = comment(schema.get("description", "")) if isinstance(schema, dict) else []
        if self._is_circular(reference):
            return "\n".join([*about, f"export type {name} = {_ANYTHING};"])
        if _is_plain_object(schema):
            return "\n".join([*about, f"export interface {name} {{", *indented(self._lines(schema)), "}"])
        if isinstance(schema, dict) and variants_of(schema):
            return "\n".join([*about, f"export type {name} = {self._object_with_rules(schema)};"])
        return "\n".join([*about, f"export type {name} = {self.text_of(schema)};"])

    def _lines(self, schema: Schema) -> Iterator[str]:
        """Return the fields of an object, one after the other, with their comments."""
        for name, field in schema.get("properties", {}).items():
            yield from comment(_about_field(field))
            yield self._field(name, self.text_of(field), is_required=name in schema.get("required", ()))
        if rest := self._rest(schema):
            yield rest

    def _field(self, name: str, text: str, *, is_required: bool) -> str:
        return f"{_key(name)}{'' if is_required else '?'}: {text};"

    def _rest(self, schema: Schema) -> str:
        """Return the line for the keys without a name of their own, if there may be any that matter."""
        more, patterns = schema.get("additionalProperties"), schema.get("patternProperties", {})
        if schema.get("properties"):
            # Such a line is about the named keys, too.
            return f"[key: string]: {_ANYTHING};" if more or patterns else ""
        others = [] if more is False or (more is None and patterns) else [True if more is None else more]
        texts = [text for each in (*patterns.values(), *others) for text in self._choices(each)]
        return f"[key: string]: {_union(texts) if texts else 'never'};"

    def _choices(self, schema: Any) -> list[str]:
        """Return the types of which a value has one."""
        if not isinstance(schema, dict):
            return ["never"] if schema is False else [_ANYTHING]
        if "const" in schema:
            return [self._literal(schema["const"])]
        if "enum" in schema:
            return [self._literal(value) for value in schema["enum"]] or ["never"]
        parts = [found for found in self._parts(schema) if _union(found) != _ANYTHING]
        if not parts:
            return [_ANYTHING]
        return parts[0] if len(parts) == 1 else [" & ".join(_grouped(_union(part)) for part in parts)]

    def _parts(self, schema: Schema) -> Iterator[list[str]]:
        """Return the types that a value has all of, each as its choices."""
        if "$ref" in schema:
            yield [self._reference(schema["$ref"])]
        yield self._by_type(schema)
        for word in ("anyOf", "oneOf"):
            if word in schema and not is_rule({word: schema[word]}):
                yield [text for choice in schema[word] for text in self._choices(choice)]
        for part in schema.get("allOf", ()):
            if not is_rule(part):
                yield self._choices(part)

    def _by_type(self, schema: Schema) -> list[str]:
        types = schema.get("type")
        if types is None:
            types = _implied_types(schema)
        return [self._of_type(each, schema) for each in (types if isinstance(types, list) else [types])]

    def _of_type(self, kind: Any, schema: Schema) -> str:
        if kind == "object":
            return self._object_with_rules(schema) if variants_of(schema) else self._object(schema)
        if kind == "array":
            return self._array(schema)
        return _PLAIN.get(kind, _ANYTHING)

    def _object(self, schema: Schema) -> str:
        if (keys := self._known_keys(schema)) and "properties" not in schema:
            return f"{{ [key in {_union(keys)}]?: {self.text_of(schema.get('additionalProperties', True))} }}"
        required = schema.get("required", ())
        fields = [
            self._field(name, self.text_of(field), is_required=name in required)
            for name, field in schema.get("properties", {}).items()
        ]
        return f"{{ {' '.join([*fields, self._rest(schema)]).strip().removesuffix(';')} }}"

    def _known_keys(self, schema: Schema) -> list[str]:
        """Return the keys that an object may have, if it may have these alone."""
        names = schema.get("propertyNames")
        target = self._target(names["$ref"]) if isinstance(names, dict) and names.keys() == {"$ref"} else names
        values = target.get("enum") if isinstance(target, dict) else None
        return self._choices(names) if values and all(isinstance(value, str) for value in values) else []

    def _object_with_rules(self, schema: Schema) -> str:
        variants = variants_of(schema)
        touched = {name for variant in variants for name in variant.fields}
        common = {name: field for name, field in schema.get("properties", {}).items() if name not in touched}
        shown = [self._variant(schema, variant, sorted(touched, key=_order_in(schema))) for variant in variants]
        union = _union(shown)
        if not common and not schema.get("additionalProperties"):
            return union
        lines = indented(self._lines({**schema, "properties": common}))
        if len(union) <= _LONG:
            return "\n".join(["{", *lines, f"}} & ({union})"])
        return "\n".join(["{", *lines, "} & (", *indented(f"| {each}" for each in dict.fromkeys(shown)), ")"])

    def _variant(self, schema: Schema, variant: Variant, names: Sequence[str]) -> str:
        fields = []
        for name in names:
            field = schema.get("properties", {}).get(name, True)
            is_required = name in schema.get("required", ()) or name in variant.required
            fields.append(self._field(name, self._narrowed(field, name, variant), is_required=is_required))
        return f"{{ {' '.join(fields).removesuffix(';')} }}"

    def _narrowed(self, field: Any, name: str, variant: Variant) -> str:
        choices = self._choices(field)
        if name in variant.absent:
            return "null" if "null" in choices or choices == [_ANYTHING] else "never"
        narrower = variant.narrower.get(name)
        if narrower is not None and (narrowed := self._choices(narrower)) != [_ANYTHING]:
            choices = narrowed
        if name in variant.not_null:
            choices = [_NOT_NULL if each == _ANYTHING else each for each in choices if each != "null"]
        return _union(choices)

    def _array(self, schema: Schema) -> str:
        first = schema.get("prefixItems", [])
        if not first:
            return f"{_grouped(self.text_of(schema.get('items', True)))}[]"
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        elements = [_grouped(self.text_of(each)) + ("" if number < least else "?") for number, each in enumerate(first)]
        if schema.get("items") is not False and (most is None or most > len(first)):
            elements.append(f"...{_grouped(self.text_of(schema.get('items', True)))}[]")
        return f"[{', '.join(elements)}]"

    def _literal(self, value: Any) -> str:
        if isinstance(value, dict):
            fields = "; ".join(f"{_key(key)}: {self._literal(item)}" for key, item in value.items())
            return f"{{ {fields} }}" if fields else "{ [key: string]: never }"
        if isinstance(value, list):
            return f"[{', '.join(self._literal(item) for item in value)}]"
        return text_literal(value) if isinstance(value, str) else json.dumps(plain(value))

    def _reference(self, reference: Any) -> str:
        if not isinstance(reference, str) or reference not in self._known:
            if self._target(reference) is None:
                return _ANYTHING
            path = _path(reference)
            self._known[reference] = self._names.take(pascal_case(f"{path[0]} {path[-1]}"))
        return self._known[reference]

    def _target(self, reference: Any) -> Any:
        """Return what a reference by JSON Pointer leads to (RFC 6901), or None."""
        if not isinstance(reference, str) or not reference.startswith(REF):
            return None
        found: Any = self._schemas
        for key in _path(reference):
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def _is_circular(self, reference: str) -> bool:
        """Return whether a type would be defined by itself alone, which TypeScript refuses."""
        seen: set[str] = set()
        waiting = [reference]
        while waiting:
            for found in _direct_references(self._target(waiting.pop())):
                if found == reference:
                    return True
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return False


def _path(reference: str) -> list[str]:
    parts = unquote(reference.removeprefix(REF)).split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def comment(text: str) -> list[str]:
    """Return the lines of a comment, or none without a text."""
    lines = [line.rstrip() for line in text.replace("*/", "*\\/").splitlines()]
    if not any(lines):
        return []
    if len(lines) == 1:
        return [f"/** {lines[0]} */"]
    return ["/**", *(f" * {line}".rstrip() for line in lines), " */"]


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines that stand one level deeper."""
    return [f"  {line}" for each in lines for line in each.splitlines()]


def text_literal(text: str) -> str:
    """Return a text as a literal. What an editor cannot show is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _about_field(field: Any) -> str:
    if not isinstance(field, dict):
        return ""
    default = f"@default {json.dumps(plain(field['default']), ensure_ascii=False)}" if "default" in field else ""
    return "\n\n".join(filter(None, (field.get("description", ""), default)))


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else text_literal(name)


def _union(texts: Iterable[str]) -> str:
    found = dict.fromkeys(texts)
    if _ANYTHING in found:
        return _ANYTHING
    if len(found) > 1:
        found.pop("never", None)
    return " | ".join(found) or "never"


def _grouped(text: str) -> str:
    """Return a type that stands beside another word, in brackets where it has several parts."""
    depth = 0
    for place, character in enumerate(_without_texts(text)):
        depth += (character in "([{") - (character in ")]}")
        if not depth and character in "|&" and place:
            return f"({text})"
    return text


def _without_texts(text: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def _order_in(schema: Schema) -> Any:
    names = list(schema.get("properties", {}))
    return lambda name: (names.index(name) if name in names else len(names), name)


def _is_plain_object(schema: Any) -> bool:
    """Return whether an interface can say all of a schema."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object" or not schema.get("properties"):
        return False
    if {"$ref", "const", "enum"} & schema.keys() or variants_of(schema):
        return False
    rules = [{word: schema[word]} for word in ("anyOf", "oneOf") if word in schema]
    return all(is_rule(each) for each in (*rules, *schema.get("allOf", ())))


def _implied_types(schema: Schema) -> list[Any]:
    """Return the type that other words of a schema are about, if it names none."""
    if any(word in schema for word in _OF_OBJECTS[:1] + _OF_OBJECTS[2:]):
        return ["object"]
    return ["array"] if any(word in schema for word in _OF_ARRAYS) else [None]


def _direct_references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict) and not {"const", "enum"} & schema.keys():
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for word in ("anyOf", "oneOf", "allOf"):
            for choice in schema.get(word, ()):
                yield from _direct_references(choice)
