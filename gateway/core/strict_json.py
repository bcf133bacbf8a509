"""Decodes JSON of untrusted clients strictly, or refuses it with one exception.

orjson already refuses NaN, numbers beyond a double, lone surrogates and more than 1,024 levels. It accepts duplicate
keys and deep nesting, which two readers could understand differently, and U+0000, which PostgreSQL's text cannot hold.
This module refuses those, at little cost for ordinary messages.

Most clients write JSON without spaces, as orjson does. If the decoded value encodes to the same text again, decoding
lost nothing, so no key was there twice. For other texts, this module counts the keys.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

WRITABLE_LEVELS = 254
"""The levels that orjson can write. It reads more."""


class NotStrictJson(ValueError):
    """The text is not JSON, or is JSON that the gateway refuses. The message says which, without the text."""


def loads(text: str, *, max_depth: int) -> Any:
    """Return the value of a JSON text with at most `max_depth` levels of arrays and objects."""
    try:
        value = orjson.loads(text)
    except ValueError as error:
        # orjson's message names the problem and its position, and quotes none of the text.
        raise NotStrictJson(f"this is not JSON: {error}") from None
    # A text has at least as many brackets as levels.
    brackets = text.count("{") + text.count("[")
    if brackets > max_depth or brackets > WRITABLE_LEVELS or orjson.dumps(value) != text.encode():
        _refuse_the_ambiguous(text, value, max_depth)
    if "\\u0000" in text and _has_nul(value):
        raise NotStrictJson("U+0000 is not allowed in a string")
    return value


def peek(text: str) -> Any:
    """Return the value of a text, only to describe what is refused, or None if it is not JSON."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _refuse_the_ambiguous(text: str, value: Any, max_depth: int) -> None:
    try:
        if not _has_each_key_once(text, _keys(value, max_depth)):
            json.loads(text, object_pairs_hook=_refuse_duplicates)
    except RecursionError:  # also of a value that a later value of the same key has hidden
        raise NotStrictJson(f"it is nested more than {max_depth} levels deep") from None


def _has_each_key_once(text: str, keys: int) -> bool:
    """Return whether the text certainly has no duplicate key, as most texts have none."""
    # Each key has its own colon. With as many colons as keys in the value, none is left for a duplicate.
    if text.count(":") == keys:
        return True
    # Some colons are in strings, as in 12:30. A key's colon follows a quotation mark, unless there is a space.
    return text.count('":') == keys and _SPACE_BEFORE_COLON.search(text) is None


_SPACE_BEFORE_COLON = re.compile(r'"[ \t\n\r]+:')


def _keys(value: Any, levels: int) -> int:
    """Count the keys on all levels, or raise `RecursionError` if there are more levels than allowed."""
    # Not a generator for each level, which takes three times as long: every message with spaces passes here.
    count = 0
    items: Iterable[Any] = ()
    if type(value) is dict:
        count, items = len(value), value.values()
    elif type(value) is list:
        items = value
    if not levels:
        raise RecursionError
    for item in items:
        if type(item) is dict or type(item) is list:
            count += _keys(item, levels - 1)
    return count


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotStrictJson("an object has the same key twice")
    return result


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)
