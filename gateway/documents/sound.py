"""Whether a schema is one: an application may write anything into the JSON Schema of its own models."""

from typing import Any


def sound(schema: Any) -> Any:
    """Return the schema, or that of any JSON if it is none."""
    from jsonschema_rs import meta  # a process that makes no document does not need it

    try:
        return schema if meta.is_valid(schema) else {}
    except (TypeError, ValueError, RecursionError):  # no JSON, an unknown `$schema`, or too deep
        return {}
