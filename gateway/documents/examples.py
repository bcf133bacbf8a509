"""An example of each message type, for the page at `/`: the handler's own, or one made from its schema."""

import json
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from gateway.documents.wire_schema import WireSchema
from handlers.registry import Registry
from schemas.base import Wire

MAX_LEVELS = 8
"""The most levels of a schema that contains itself."""
MAX_VALUES = 5000
"""The most values of one example."""
MAX_ITEMS = 100
MAX_TEXT = 4000


class Example(Wire):
    """A message type: its purpose, the scope that it needs, and sample `data`."""

    type: str
    about: str
    scope: str | None = None
    streams: bool | None = None
    """True if its answer comes in chunks, for a client that asks for them."""
    data: Any = None


def examples(registry: Registry) -> list[Example]:
    """Return an example of each type, in the order of the registry."""
    return [
        Example(
            type=kind,
            about=(handler.__doc__ or handler.schema.__doc__ or "").strip().partition("\n")[0],
            scope=handler.scope,
            streams=handler.streams or None,
            data=handler.examples[0] if handler.examples else example_of(handler.schema),
        )
        for kind, handler in registry.handlers.items()
    ]


def example_of(schema: type[BaseModel]) -> Any:
    """Return data for a schema: its own first example, or else its required fields with values."""
    return example_of_model(schema, "validation")


def example_of_model(model: Any, mode: Literal["validation", "serialization"]) -> Any:
    """Return what goes to the gateway, or comes from it, for any type that pydantic knows."""
    try:
        return example_of_schema(TypeAdapter(model).json_schema(mode=mode, schema_generator=WireSchema))
    except Exception:  # a JSON schema cannot express every schema of an application
        return {}


def example_of_schema(schema: dict[str, Any]) -> Any:
    """Return data for a JSON Schema, in the same way."""
    return _Maker(schema).value(schema)


def json_of(values: Any) -> list[Any]:
    """Return the values that JSON holds. An application may have a date among the examples of a model."""
    return [each for each in values if _is_json(each)] if isinstance(values, list) else []


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


class _Maker:
    """Makes one example. Each value counts, or a schema of a few lines would make an example of millions."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._definitions = schema.get("definitions", {}) | schema.get("$defs", {})
        self._left = MAX_VALUES

    def value(self, schema: Any, levels: int = MAX_LEVELS) -> Any:
        """Return a value that fits, or None beyond the bounds."""
        self._left -= 1
        if not isinstance(schema, dict) or not levels or self._left < 0:
            return None
        if "$ref" in schema:
            return self.value(self._definitions.get(schema["$ref"].rpartition("/")[2]), levels - 1)
        for known in ("examples", "enum"):
            if given := json_of(schema.get(known)):
                return given[0]
        for known in ("const", "default"):
            if schema.get(known) is not None:
                return schema[known]
        for choice in ("anyOf", "oneOf", "allOf"):
            if schema.get(choice) and "properties" not in schema:
                return self.value(schema[choice][0], levels - 1)
        return self._of_type(schema, levels)

    def _of_type(self, schema: dict[str, Any], levels: int) -> Any:
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                return {name: self.value(properties.get(name), levels - 1) for name in _required(schema)}
            case "array":
                items = schema.get("prefixItems") or [schema.get("items")] * min(schema.get("minItems", 0), MAX_ITEMS)
                return [self.value(item, levels - 1) for item in items]
            case "string":
                return "text".ljust(min(schema.get("minLength", 0), MAX_TEXT), "…")[: schema.get("maxLength", MAX_TEXT)]
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return False
        return None


def _required(schema: dict[str, Any]) -> list[str]:
    """Return the required fields, and the fields of the first choice of each rule (`schemas.rules`)."""
    choices = [choice for rule in schema.get("allOf", ()) for choice in rule.get("oneOf", rule.get("anyOf", ()))[:1]]
    return [name for each in (schema, *choices) for name in each.get("required", ())]


def _number(schema: dict[str, Any]) -> float:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None and "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + 1
    if least is None and most is None and "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - 1
    if least is not None:
        return float(least) if isinstance(least, float) and not least.is_integer() else int(least)
    return 0 if most is None else min(0, most)
