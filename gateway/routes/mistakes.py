"""The words for mistakes in the routes file: each is one line with a place, what was expected and what came.

A line never holds a secret or a URL. It quotes a value only if the value is short and looks like a plain word.
"""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.routes.tables import Table

HIDDEN_KEYS = frozenset({"secret", "url"})

Place = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.:*-]{1,40}")
_SECRET = re.compile(r"whsec_|gwk_|env:")


def line(place: Place, problem: str) -> str:
    """Return one line, such as `routes."orders.*".url: expected …`."""
    return f"{_path(place)}: {' '.join(problem.split())}"


def lines(error: ValidationError, table: type[Table], place: Place) -> list[str]:
    """Return a line for each mistake that pydantic has found in a table."""
    found = error.errors(include_url=False)
    return [line((*place, *item["loc"]), _problem(item, table, place)) for item in found]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question whether another name was meant, or what is known if none is near."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def shown(value: object) -> str:
    """Return what came, without a text that may be a secret."""
    match value:
        case bool() | int() | float():
            return json.dumps(value)[:40]
        case str():
            plain = _PLAIN_WORD.fullmatch(value) is not None and _SECRET.search(value) is None
            return json.dumps(value) if plain else "a text" if value else "an empty text"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a table"
        case None:
            return "nothing"
    return "a date or a time"


def _problem(item: ErrorDetails, table: type[Table], place: Place) -> str:
    key = str(item["loc"][0]) if item["loc"] else None
    if item["type"] == "extra_forbidden" and key is not None:
        return _unknown(key, item["input"], table, place)
    description = _description(table, key)
    if item["type"] == "missing":
        return f"expected {description}, got nothing; add the line"
    if not item["type"].islower() or item["type"] in _OWN:
        return item["msg"]
    came = "" if key in HIDDEN_KEYS else f", got {shown(item['input'])}"
    return f"expected {description}{came}"


_OWN = frozenset({"url", "rooms", "twice"})
"""The types of errors that `tables` words itself."""


def _unknown(key: str, value: Any, table: type[Table], place: Place) -> str:
    if isinstance(value, dict) and place[0] != "authorize":
        whole = _path((place[0], f"{place[-1]}.{key}"))
        return f"there is no such key; to name a type with a dot, put it in quotes: [{whole}]"
    return f"there is no such key; {nearest(key, table.model_fields)}"


def _description(table: type[Table], key: str | None) -> str:
    if key is None:
        return "a table"
    return table.model_fields[key].description or "another value"


def _path(place: Place) -> str:
    path = ""
    for part in place:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{_key(part)}" if path else _key(part)
    return path


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name[:80], ensure_ascii=True)
