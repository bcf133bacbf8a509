"""Writes YAML that every reader takes the same way: no bare text, and blocks for texts of several lines."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[$A-Za-z_][A-Za-z0-9_]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
"""Bare words that a reader takes for a boolean or a null."""


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
    return key if _BARE.fullmatch(key) and key.lower() not in _WORDS else _scalar(key)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
