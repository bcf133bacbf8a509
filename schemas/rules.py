"""Rules about several fields at once, as JSON Schema says them. A validator of the model checks each of them."""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


def with_rule(schema: CoreSchema, handler: GetJsonSchemaHandler, **rule: Any) -> JsonSchemaValue:
    """Return the JSON Schema of a model with one more rule, which stands apart from its fields."""
    found = handler(schema)
    handler.resolve_ref_schema(found).setdefault("allOf", []).append(rule)
    return found


def present(field: str) -> dict[str, Any]:
    """Return the schema of objects that have a field, and not with the value null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}
