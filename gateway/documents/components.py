"""JSON Schemas of messages, replies and events, by name, as the components of an OpenAPI document are.

FastAPI describes the models of routes in the same form, so a model that both use is there once. Of two models with the
same name, each stays: the second one's name begins with the type that uses it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gateway.documents.newest_draft import in_newest_draft
from gateway.documents.schema_words import with_each
from schemas.base import Wire
from schemas.json_schema import as_sent, left_out_by_condition, without_titles

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
    definitions: dict[str, Schema] = found.get("$defs", {})
    for name, schema in definitions.items():
        without_titles(schema, name.rpartition("__")[2])  # of an enumeration
    roots = {use: references[use, use.mode] for use in adapters}
    names = _names(schemas, definitions, roots)
    for name, schema in definitions.items():
        schemas.setdefault(names[name], _renamed(schema, names))
    return {use: _renamed(roots[use], names) if use in roots else {} for use in uses}


def add_document(schemas: Schema, type: str, what: str, document: Schema) -> str:
    """Add a JSON Schema that stands alone, and return its name: that of a type, and what it describes."""
    name = free_name(type_name(type) + what, schemas)
    document = in_newest_draft(document)
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
        found = with_each(schema, lambda inner: _rooted(inner, root))
        reference = schema.get("$ref")
        if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
            found["$ref"] = root + reference.removeprefix("#")
        return found
    return [_rooted(item, root) for item in schema] if isinstance(schema, list) else schema


_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d"})
"""Letters that Unicode does not take apart into ASCII and accents."""


def type_name(text: str) -> str:
    """Return a text as the name of a type, such as `ChatSend` for `chat.send`, in ASCII and with a letter first."""
    name = "".join(word[0].upper() + word[1:] for word in _WORD.findall(in_ascii(text)))
    return name if name[:1].isalpha() else f"Type{name}"


def in_ascii(text: str) -> str:
    """Return a text without accents, and with the number of each letter that is far from ASCII."""
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(_letter(character) for character in apart if not unicodedata.combining(character))


def _letter(character: str) -> str:
    return f" U{ord(character):04X} " if character.isalnum() and not character.isascii() else character


class WireSchema(GenerateJsonSchema):
    """Schemas of what goes over the wire, also for models that are no `Wire`. What JSON cannot express is any JSON."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: a title is a name that a developer has chosen."""
        return False

    def model_schema(self, schema: Any) -> Schema:
        """Return the schema of a model."""
        return self._tidy(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Schema:
        """Return the schema of a dataclass."""
        return self._tidy(super().dataclass_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: Any) -> Schema:
        """Return the schema of a dictionary with known keys, some of which may be missing."""
        return self._tidy(super().typed_dict_schema(schema), schema.get("cls"), has_all=False)

    def default_schema(self, schema: Any) -> Schema:
        """Return the schema of a value with a default, unless that is null: a generator would take it for required."""
        found = super().default_schema(schema)
        return {key: value for key, value in found.items() if key != "default" or value is not None}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        """Return the schema of any JSON."""
        return {}

    def normalize_name(self, name: str) -> str:
        """Return the name of a class as that of a definition."""
        return super().normalize_name(in_ascii(name).replace(" ", ""))

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Do nothing: a default without a JSON form is left out."""

    def _tidy(self, found: Schema, owner: Any, has_all: bool = True) -> Schema:
        if isinstance(owner, type) and issubclass(owner, Wire):
            return found  # it does this itself, so that FastAPI's documents have it too
        without_titles(found, getattr(owner, "__name__", ""))
        if self.mode == "serialization":
            as_sent(found, self.resolve_ref_schema, has_all=has_all, sometimes=left_out_by_condition(owner))
        return found


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
    good = {name: type_name(name.rpartition("__")[2]) for name in definitions}
    clashing = _clashing(schemas, definitions, good)
    names = {name: good[name] for name in definitions if name not in clashing}
    for use, root in roots.items():
        for name in reached(root, definitions):
            if name not in names:
                taken = [*schemas, *names.values()]
                is_first = free_name(good[name], taken) == good[name]
                names[name] = good[name] if is_first else free_name(type_name(use.type) + good[name], taken)
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


def free_name(wanted: str, names: Iterable[str]) -> str:
    """Return a name that no other has, also where capitals count for nothing, as in names of files."""
    taken = {name.lower() for name in names}
    name, number = wanted, 1
    while name.lower() in taken:
        number += 1
        name = f"{wanted}{number}"
    return name


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
    """Return a schema whose references have the names of the components."""
    match schema:
        case dict():
            return {key: _renamed(value, names) for key, value in schema.items()}
        case list():
            return [_renamed(item, names) for item in schema]
        case str() if schema.startswith(REF):
            return REF + names.get(schema.removeprefix(REF), schema.removeprefix(REF))
    return schema
