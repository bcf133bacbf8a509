"""What a schema says about several fields at once, in words. `schemas.rules` has the same rules for models."""

from collections.abc import Iterator
from typing import Any

Fields = tuple[str, ...]


def rules_of(schema: Any) -> Iterator[tuple[str, Fields]]:
    """Return the rules that have words, each as the words before the fields, and the fields."""
    if not isinstance(schema, dict):
        return
    for rule in (schema, *_list(schema, "allOf")):
        if isinstance(rule, dict):
            yield from _choices(rule)
            if fields := _excluded(rule.get("not")):
                yield "not together", fields


def _choices(rule: dict[str, Any]) -> Iterator[tuple[str, Fields]]:
    for word, words in (("oneOf", "exactly one of"), ("anyOf", "at least one of")):
        needed = [_present(choice) for choice in _list(rule, word)]
        if len(needed) > 1 and all(len(each) == 1 for each in needed):
            yield words, tuple(name for each in needed for name in each)
    first, *others = _list(rule, "anyOf") or [None]
    absent = _present(first["not"]) if isinstance(first, dict) and "not" in first else ()
    if absent and len(others) == 1 and (present := _present(others[0])):
        yield "the first only with the second:", (*absent, *present)


def _excluded(schema: Any) -> Fields:
    parts = _list(schema, "allOf") if isinstance(schema, dict) else []
    found = [name for part in parts for name in _present(part)] or list(_present(schema))
    return tuple(found) if len(found) > 1 else ()


def _present(schema: Any) -> Fields:
    """Return the fields that a part of a rule requires, if it says nothing else of them."""
    if not isinstance(schema, dict) or schema.keys() - {"required", "properties"}:
        return ()
    required = schema.get("required")
    return tuple(map(str, required)) if isinstance(required, list) else ()


def _list(schema: dict[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []
