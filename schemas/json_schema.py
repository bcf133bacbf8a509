"""The JSON Schema of a model as its data goes over the wire. pydantic knows the model, but not how it is sent.

What a client gets is encoded without its nulls, so a field without a value is left out. All other fields are there,
also fields that have their default. A client ignores keys that it does not know, so an object from the gateway may have
more of them.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal

from pydantic.json_schema import JsonSchemaValue

Mode = Literal["validation", "serialization"]

_NULL: JsonSchemaValue = {"type": "null"}
_CHOICES = ("anyOf", "oneOf")


def without_titles(schema: JsonSchemaValue, class_name: str) -> None:
    """Remove the titles that pydantic makes of names, which a generator of code would take for names of types."""
    if schema.get("title") == class_name:
        del schema["title"]
    for name, field in schema.get("properties", {}).items():
        if isinstance(field, dict) and field.get("title") == name.title().replace("_", " ").strip():
            del field["title"]


def as_sent(
    schema: JsonSchemaValue,
    resolve: Callable[[JsonSchemaValue], JsonSchemaValue],
    *,
    has_all: bool = True,
    sometimes: Collection[str] = (),
) -> None:
    """Change the schema of an object into that of its JSON, without nulls. `resolve` follows a reference.

    `has_all` says that the object has all other fields, and `sometimes` names the fields that it may leave out even so.
    """
    properties = schema.get("properties")
    if not properties:
        return
    given = properties if has_all else schema.get("required", ())
    required = [name for name in given if name not in sometimes and not may_be_null(properties[name], resolve)]
    schema.pop("required", None)
    if required:
        schema["required"] = required
    for name, field in properties.items():
        if isinstance(field, dict):
            field.pop("default", None)
            properties[name] = _without_null(field)
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]


def may_be_null(schema: JsonSchemaValue | bool, resolve: Callable[[JsonSchemaValue], JsonSchemaValue]) -> bool:
    """Return whether null fits a schema that pydantic has made."""
    if not isinstance(schema, dict):  # true is any JSON, and a field that is false is never there
        return True
    if "$ref" in schema:
        try:
            return may_be_null(resolve(schema), resolve)
        except (LookupError, RuntimeError):  # the model itself, which is being described
            return False
    if "const" in schema:
        return schema["const"] is None
    if "enum" in schema:
        return None in schema["enum"]
    if "type" in schema:
        return "null" in (schema["type"] if isinstance(schema["type"], list) else [schema["type"]])
    for word in _CHOICES:
        if word in schema:
            return any(may_be_null(choice, resolve) for choice in schema[word])
    return all(may_be_null(part, resolve) for part in schema.get("allOf", ()))


def _without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    if None in schema.get("enum", ()):
        return schema | {"enum": [value for value in schema["enum"] if value is not None]}
    for word in _CHOICES:
        choices = schema.get(word, [])
        if _NULL in choices:
            rest = {key: value for key, value in schema.items() if key != word}
            others = [choice for choice in choices if choice != _NULL]
            return {**others[0], **rest} if len(others) == 1 else rest | {word: others}
    return schema


def left_out_by_condition(model: Any) -> set[str]:
    """Return the fields of a model that a condition of their own leaves out."""
    fields: dict[str, Any] = getattr(model, "__pydantic_fields__", {})
    return {field.serialization_alias or name for name, field in fields.items() if getattr(field, "exclude_if", None)}
