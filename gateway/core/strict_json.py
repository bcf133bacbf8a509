"""JSON from strangers: decoded strictly, or refused with one kind of exception.

orjson already refuses NaN, numbers beyond a double, lone surrogates and more than 1,024 levels. It lets through
what two readers could understand differently, or what PostgreSQL's text cannot hold: duplicate keys, deep
nesting and U+0000. Those are refused here, at little cost for the messages that have none of them.

Most clients write JSON as orjson does, without spaces. A text that comes out again as it came in has lost nothing in
reading, so it is known at once that no key was there twice; in the others the keys are counted.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

WRITABLE_LEVELS = 254
"""What orjson writes; it reads more."""


class NotStrictJson(ValueError):
    """The text is not JSON, or is JSON that we do not take. Says which, without the text."""


def loads(text: str, *, max_depth: int) -> Any:
    """Decode a JSON text of at most `max_depth` levels of arrays and objects."""
    try:
        value = orjson.loads(text)
    except ValueError as error:
        # orjson names what is wrong and where, without a word of the text.
        raise NotStrictJson(f"this is not JSON: {error}") from None
    # There are at least as many brackets as levels.
    brackets = text.count("{") + text.count("[")
    if brackets > max_depth or brackets > WRITABLE_LEVELS or orjson.dumps(value) != text.encode():
        _refuse_the_ambiguous(text, value, max_depth)
    if "\\u0000" in text and _has_nul(value):
        raise NotStrictJson("U+0000 is not allowed in a string")
    return value


def peek(text: str) -> Any:
    """Decode a text of which no more is wanted than to say what is refused; None if it is no JSON."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def _refuse_the_ambiguous(text: str, value: Any, max_depth: int) -> None:
    try:
        if not _has_each_key_once(text, _keys(value, max_depth)):
            json.loads(text, object_pairs_hook=_refuse_duplicates)
    except RecursionError:  # also of what a second value of the same key has hidden from us
        raise NotStrictJson(f"it is nested more than {max_depth} levels deep") from None


def _has_each_key_once(text: str, keys: int) -> bool:
    """Tell whether there are no duplicates for sure, as most of the time there are none."""
    # Each key has a colon of its own: as many colons as there are keys leave none for a duplicate.
    if text.count(":") == keys:
        return True
    # Some are in strings, as in 12:30. A key's comes right after a quotation mark, unless there is space between.
    return text.count('":') == keys and _SPACE_BEFORE_COLON.search(text) is None


_SPACE_BEFORE_COLON = re.compile(r'"[ \t\n\r]+:')


def _keys(value: Any, levels: int) -> int:
    """Count the keys on all levels; raises `RecursionError` if there are more levels than that."""
    # Spelt out, for every message with spaces passes here: a generator for each level takes three times as long.
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
        raise NotStrictJson("a key is there twice in one object")
    return result


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)
