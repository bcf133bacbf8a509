"""Rules about several fields at once, as JSON Schema says them. A validator of the model checks each of them."""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

Rule = dict[str, Any]


def with_rules(found: JsonSchemaValue, handler: GetJsonSchemaHandler, *rules: Rule) -> JsonSchemaValue:
    """Return the JSON Schema of a model with more rules, which stand apart from its fields."""
    handler.resolve_ref_schema(found).setdefault("allOf", []).extend(rules)
    return found


def present(field: str) -> Rule:
    """Return the schema of objects that have a field, and not with the value null."""
    return {"required": [field], "properties": {field: {"not": {"type": "null"}}}}


def exactly_one(*fields: str) -> Rule:
    """Return the rule that an object has one of these fields and no other of them."""
    return {"oneOf": [present(field) for field in fields]}


def at_least_one(*fields: str) -> Rule:
    """Return the rule that an object has one or more of these fields."""
    return {"anyOf": [present(field) for field in fields]}


def not_both(first: str, second: str) -> Rule:
    """Return the rule that an object has at most one of two fields."""
    return {"not": {"allOf": [present(first), present(second)]}}


def only_with(field: str, needed: str) -> Rule:
    """Return the rule that an object with one field has another, too."""
    return {"anyOf": [{"not": present(field)}, present(needed)]}
