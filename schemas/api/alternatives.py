"""Rules between fields, in the JSON Schema of a model: its validators hold the same rules."""

from pydantic import JsonValue


def present(name: str, type: str) -> dict[str, JsonValue]:
    """Return the schema of an object with a field that is not null."""
    return {"required": [name], "properties": {name: {"type": type}}}


def absent(name: str) -> dict[str, JsonValue]:
    """Return the schema of an object without a field, or with null in it."""
    return {"properties": {name: {"type": "null"}}}


ONE_CONTENT: list[JsonValue] = [
    present("text", "string"),
    {"required": ["body"], "properties": {"body": {"not": {"type": "null"}}}},
]
"""The alternatives of a message's content, of which exactly one holds."""
