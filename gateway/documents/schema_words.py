"""The words of JSON Schema by what is behind them."""

from collections.abc import Callable
from typing import Any

DATA = frozenset({"const", "default", "enum", "examples", "example"})
"""Words with plain JSON behind them, which may look like a schema."""

MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
"""Words with schemas by name behind them."""


def with_each(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a schema with a change of each schema, or list of schemas, right inside it."""
    return {key: _changed(key, value, change) for key, value in schema.items()}


def _changed(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    if key in DATA:
        return value
    if key in MAPS and isinstance(value, dict):
        return {name: change(each) for name, each in value.items()}
    return change(value)
