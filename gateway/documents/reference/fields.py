"""The fields of an object, with their types and limits, as the page lists them."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from gateway.documents.catalog import Schema
from gateway.documents.components import REF
from gateway.documents.markdown import inline_html, to_html
from gateway.documents.plain import plain, plain_json
from gateway.documents.reference.anchors import link_to
from gateway.documents.reference.html import Content, Html, joined, tag
from gateway.documents.reference.rules import rules_of
from gateway.documents.sound import sound

MOST_FIELDS = 150
"""In one list, with the fields of the objects inside. Beyond it, an object is only linked."""
MOST_LEVELS = 3
MOST_CHOICES = 12
NO_BOUND = 2**53 - 1
"""A bound that only says how far numbers of JavaScript are exact."""
LONGEST_VALUE = 80

_CHOICES = ("anyOf", "oneOf")
_NOTES = {"description", "title", "examples"}
"""Words of a schema that allow anything."""


class Fields:
    """Lists of the fields of schemas."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = {name: sound(schema) for name, schema in schemas.items()}

    def of(self, schema: Any) -> Content:
        """Return the list of a schema's fields, or words about data that is no object."""
        return _List(self._schemas).of(sound(schema), frozenset())

    def own(self, name: str) -> Content:
        """Return the list of a named schema."""
        return _List(self._schemas).of(self._schemas[name], frozenset({name}))

    def about(self, schema: Any) -> str:
        """Return the description of a schema, or of the one that it refers to."""
        found = _resolved(self._schemas, sound(schema))
        return str(plain(found.get("description") or "")) if isinstance(found, dict) else ""

    def names(self, schema: Any) -> list[str]:
        """Return the names of a schema's fields, for the search."""
        found = _resolved(self._schemas, sound(schema))
        return [str(name) for name in _properties(found)]


class _List:
    """One list, which ends somewhere even if its schema does not."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas
        self._left = MOST_FIELDS

    def of(self, schema: Any, above: frozenset[str]) -> Content:
        name = _name_of(schema)
        found = _resolved(self._schemas, schema)
        properties = _properties(found)
        if not properties:
            return tag("p", self._without_fields(found), class_="none")
        inside = above | {name} if name else above
        required = found.get("required")
        needed = set(map(str, required)) if isinstance(required, list) else set()
        ordered = sorted(properties.items(), key=lambda each: each[0] not in needed)
        rows = [self._row(key, each, key in needed, inside) for key, each in ordered]
        return joined(tag("ul", rows, class_="fields"), _rules(found))

    def _row(self, name: str, schema: Any, is_required: bool, above: frozenset[str]) -> Html:
        self._left -= 1
        need = tag("span", "required", class_="required") if is_required else tag("span", "optional", class_="optional")
        limits = [tag("span", limit, class_="limit") for limit in self._limits(schema)]
        head = tag("div", tag("code", name), " ", tag("span", self.type_of(schema), class_="type"), " ", need, *limits)
        return tag("li", head, _about(schema), self._inside(schema, above))

    def _inside(self, schema: Any, above: frozenset[str]) -> Content:
        """Return the fields of the object that a field has, or that the items of its array are."""
        target = _object_in(schema)
        name = _name_of(target)
        found = _resolved(self._schemas, target)
        size = len(_properties(found))
        if not size or name in above or len(above) >= MOST_LEVELS or self._left < size:
            return None
        words = joined("Fields of ", tag("code", name)) if name else "Its fields"
        about = tag("div", Html(to_html(str(plain(found.get("description") or "")))), class_="prose") if name else None
        return tag("details", tag("summary", words), about, self.of(target, above | {name or f"#{len(above)}"}))

    def _without_fields(self, schema: Any) -> Content:
        if not isinstance(schema, dict) or not schema.keys() - _NOTES:
            return "Any JSON."
        if schema.get("type") == "object" and not schema.get("additionalProperties"):
            return "No fields."
        limits = [tag("span", limit, class_="limit") for limit in self._limits(schema)]
        return [tag("span", self.type_of(schema), class_="type"), " ", *_between(" ", limits)]

    def type_of(self, schema: Any, levels: int = 4) -> Content:
        """Return the words for a type."""
        if not isinstance(schema, dict):
            return "any JSON" if schema is not False else "nothing"
        if name := _name_of(schema):
            return self._named(name, levels)
        if not levels:
            return "JSON"
        if isinstance(schema.get("enum"), list):
            return _one_of(schema["enum"])
        if "const" in schema:
            return tag("code", _short(schema["const"]))
        for word in _CHOICES:
            if isinstance(schema.get(word), list) and not _properties(schema):
                return self._choice(schema[word], levels)
        if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1 and "type" not in schema:
            return self.type_of(schema["allOf"][0], levels - 1)
        return self._plain_type(schema, levels)

    def _named(self, name: str, levels: int) -> Content:
        found = _named(self._schemas, name)
        if not _properties(found):
            return self.type_of(found, levels - 1) if levels else "JSON"
        # What is inside the schema of a route has no entry of its own.
        return tag("a", name, href=link_to("object", name)) if name in self._schemas else "object"

    def _choice(self, choices: list[Any], levels: int) -> Content:
        words = [self.type_of(each, levels - 1) for each in choices[:MOST_CHOICES]]
        different = {str(joined(each)): each for each in words}
        more = [" or ", "…"] if len(choices) > MOST_CHOICES else []
        return [*_between(" or ", list(different.values())), *more]

    def _plain_type(self, schema: Schema, levels: int) -> Content:
        kind = schema.get("type")
        if isinstance(kind, list):
            return " or ".join(map(str, kind))
        if kind == "array" or "prefixItems" in schema:
            first = schema.get("prefixItems")
            if isinstance(first, list) and first:
                return ["array of ", *_between(", ", [self.type_of(each, levels - 1) for each in first[:MOST_CHOICES]])]
            return ["array of ", self._part(schema["items"], levels - 1)] if "items" in schema else "array"
        values = schema.get("additionalProperties")
        if kind == "object" and not _properties(schema):
            return ["object of ", self._part(values, levels - 1)] if isinstance(values, dict) and values else "object"
        return str(kind) if kind else ("object" if _properties(schema) else "any JSON")

    def _part(self, schema: Any, levels: int) -> Content:
        """Return the words for the type of items: in brackets if there are several, as other types may follow."""
        words = self.type_of(schema, levels)
        return ["(", words, ")"] if isinstance(words, list) and " or " in words else words

    def _limits(self, schema: Any) -> Iterator[Content]:
        """Return the limits of a value, also of the one type that may be null besides."""
        for each in (schema, *(_other_than_null(schema))):
            found = _resolved(self._schemas, each) if _name_of(each) else each
            if isinstance(found, dict) and not _properties(found):
                yield from _limits_of(found)
        if isinstance(schema, dict) and schema.get("default") is not None:
            yield ["default ", tag("code", _short(schema["default"]))]


def _rules(schema: Schema) -> Content:
    rules = [tag("li", Html(inline_html(str(plain(words))))) for words in rules_of(schema)]
    return tag("ul", rules, class_="rules") if rules else None


def _about(schema: Any) -> Content:
    text = schema.get("description") if isinstance(schema, dict) else None
    return tag("div", Html(inline_html(str(plain(text)))), class_="about") if text else None


def _limits_of(schema: Schema) -> Iterator[Content]:
    for least, most, unit in (
        ("minLength", "maxLength", "characters"),
        ("minItems", "maxItems", "items"),
        ("minProperties", "maxProperties", "keys"),
        ("minimum", "maximum", ""),
    ):
        if words := _range(schema.get(least), schema.get(most)):
            yield f"{words} {unit}".strip()
    for word, words in (("exclusiveMinimum", "more than"), ("exclusiveMaximum", "less than")):
        if word in schema and not isinstance(schema[word], bool):  # in draft-04 it is a flag
            yield f"{words} {schema[word]}"
    if schema.get("format"):
        yield str(schema["format"])
    if schema.get("pattern"):
        yield ["like ", tag("code", _cut(str(schema["pattern"])))]


def _range(least: Any, most: Any) -> str:
    if isinstance(most, int) and most >= NO_BOUND:
        most = None
    if least is None and most is None:
        return ""
    if most is None:
        return "" if least is None else f"{least} or more"
    return f"up to {most}" if least is None else str(least) if least == most else f"{least}–{most}"


def _one_of(values: list[Any]) -> Content:
    shown: list[Content] = [tag("code", _short(value)) for value in values[:MOST_CHOICES]]
    return [*_between(" or ", shown), " or …" if len(values) > MOST_CHOICES else ""]


def _between(mark: str, parts: list[Any]) -> list[Content]:
    found: list[Content] = []
    for part in parts:
        found += [mark, part] if found else [part]
    return found


def _short(value: Any) -> str:
    return _cut(plain_json(value).replace("\n", " "))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _name_of(schema: Any) -> str:
    """Return the name of the schema that a schema refers to, or an empty text."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    return reference.removeprefix(REF) if isinstance(reference, str) and reference.startswith(REF) else ""


def _resolved(schemas: Mapping[str, Schema], schema: Any) -> Any:
    for _ in range(MOST_LEVELS):
        if not (name := _name_of(schema)):
            break
        schema = _named(schemas, name)
    return schema


def _named(schemas: Mapping[str, Schema], name: str) -> Any:
    """Return a schema by its name, or by the name of the one that it is in and the way there (RFC 6901)."""
    found: Any = schemas
    for part in unquote(name).split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found


def linked(schema: Any) -> set[str]:
    """Return the names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        own = {name} if (name := _name_of(schema)) else set()
        return own.union(*map(linked, schema.values()))
    return set[str]().union(*map(linked, schema)) if isinstance(schema, list) else set()


def _properties(schema: Any) -> dict[str, Any]:
    found = schema.get("properties") if isinstance(schema, dict) else None
    return found if isinstance(found, dict) else {}


def _other_than_null(schema: Any) -> list[Any]:
    """Return the one choice beside null, if there is one."""
    for word in _CHOICES:
        choices = schema.get(word) if isinstance(schema, dict) else None
        if isinstance(choices, list):
            others = [each for each in choices if each != {"type": "null"}]
            return others if len(others) == 1 else []
    return []


def _object_in(schema: Any) -> Any:
    """Return the object in a field: itself, its items, its values or its one choice."""
    for _ in range(MOST_LEVELS):
        if not isinstance(schema, dict) or _name_of(schema) or _properties(schema):
            break
        inner = schema.get("items", schema.get("additionalProperties"))
        schema = next(iter(_other_than_null(schema)), inner)
    return schema
