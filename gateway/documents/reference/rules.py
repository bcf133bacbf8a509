"""What a schema says about several fields at once, in words of Markdown. `schemas.rules` has such rules for models."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.documents.plain import plain


def rules_of(schema: Any) -> Iterator[str]:
    """Return the rules that have words."""
    if not isinstance(schema, dict):
        return
    for rule in (schema, *_list(schema, "allOf")):
        if isinstance(rule, dict):
            yield from _choices(rule)
            if len(fields := _excluded(rule.get("not"))) > 1:
                yield f"Not together: {_names(fields)}"


def _choices(rule: dict[str, Any]) -> Iterator[str]:
    for word, words in (("oneOf", "Exactly one of"), ("anyOf", "At least one of")):
        choices = _list(rule, word)
        needed = [_present(choice) for choice in choices]
        if len(needed) > 1 and all(len(each) == 1 for each in needed):
            yield f"{words} {_names(name for each in needed for name in each)}"
        elif len(choices) > 1 and all(conditions := [_conditions(choice) for choice in choices]):
            yield "Either " + ", or ".join(conditions)


def _conditions(choice: Any) -> str:
    """Return what one choice says of its fields, or an empty text if that has no words."""
    if not isinstance(choice, dict) or choice.keys() - {"required", "properties", "not"}:
        return ""
    if "not" in choice:
        return f"no {_names(absent)}" if (absent := _present(choice["not"])) else ""
    required = [str(name) for name in _list(choice, "required")]
    properties = choice.get("properties", {})
    found = [_condition(name, each, name in required) for name, each in properties.items()]
    found += [_name(name) for name in required if name not in properties]
    return " with ".join(found) if all(found) else ""


def _condition(name: str, schema: Any, is_required: bool) -> str:
    match schema:
        case {"const": value, **rest} if not rest:
            missing = "" if is_required else " or missing"
            return f"{_name(name)} is `{json.dumps(plain(value))}`{missing}"
        case {"minLength": 1, **rest} if not rest:
            return f"{_name(name)} is not empty"
        case {"not": {"type": "null"}, **rest} if not rest:
            return _name(name)
    return ""


def _excluded(schema: Any) -> list[str]:
    parts = _list(schema, "allOf") if isinstance(schema, dict) else []
    return [name for part in parts for name in _present(part)] or list(_present(schema))


def _present(schema: Any) -> tuple[str, ...]:
    """Return the fields that a part of a rule requires, if it says nothing else of them."""
    if not isinstance(schema, dict) or schema.keys() - {"required", "properties"}:
        return ()
    properties = schema.get("properties", {})
    if any(each != {"not": {"type": "null"}} for each in properties.values()):
        return ()
    return tuple(map(str, _list(schema, "required")))


def _names(fields: Iterable[str]) -> str:
    return ", ".join(map(_name, fields))


def _name(field: str) -> str:
    return f"`{field}`"


def _list(schema: dict[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []
