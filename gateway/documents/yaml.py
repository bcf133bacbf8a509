"""Writes YAML that every reader takes the same way: no bare text, and blocks for texts of several lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def yaml_text(value: Mapping[str, Any]) -> str:
    """Return a document: mappings, sequences, texts, numbers, booleans and nulls."""
    return "\n".join(_mapping(value, "")) + "\n"


def _mapping(value: Mapping[str, Any], margin: str) -> Iterator[str]:
    for key, each in value.items():
        yield from _entry(f"{margin}{_key(key)}:", each, margin + "  ")


def _sequence(value: Sequence[Any], margin: str) -> Iterator[str]:
    for each in value:
        if isinstance(each, Mapping) and each:
            first, *rest = _mapping(each, margin + "  ")
            yield f"{margin}- {first.lstrip(' ')}"
            yield from rest
        else:
            yield from _entry(f"{margin}-", each, margin + "  ")


def _entry(start: str, value: Any, margin: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield start
        yield from _mapping(value, margin)
    elif isinstance(value, list | tuple) and value:
        yield start
        yield from _sequence(value, margin)
    elif isinstance(value, str) and _is_block(value):
        yield f"{start} |-"
        yield from (margin + line if line else "" for line in value.split("\n"))
    else:
        yield f"{start} {_scalar(value)}"


def _is_block(text: str) -> bool:
    """Return whether a text can stand as a block. Its first line decides the margin, so it begins with no space."""
    lines = text.split("\n")
    return (
        len(lines) > 1 and bool(lines[0]) and bool(lines[-1]) and not text.startswith(" ") and all(map(_shows, lines))
    )


def _shows(text: str) -> bool:
    return text.isprintable() and text == text.rstrip()


def _key(key: str) -> str:
    return key if key.replace("$", "").isidentifier() else _scalar(key)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)
