"""JSON from strangers: decoded strictly, or refused with one kind of exception.

orjson already refuses NaN, numbers beyond a double, lone surrogates and more than 1,024 levels. It lets through
what two readers could understand differently, or what PostgreSQL's text cannot hold: duplicate keys, deep
nesting and U+0000. Those are refused here, at little cost for the messages that have none of them.
"""

import json
import re
from typing import Any

import orjson


class NotStrictJson(ValueError):
    """The text is not JSON, or is JSON that we do not take. Says which, without the text."""


def loads(text: str, *, max_depth: int) -> Any:
    """Decode a JSON text of at most `max_depth` levels of arrays and objects."""
    try:
        value = orjson.loads(text)
    except ValueError as error:
        # orjson names what is wrong and where, without a word of the text.
        raise NotStrictJson(f"this is not JSON: {error}") from None
    # Each level opens with a bracket, so few brackets cannot be deep. Brackets in strings only make us look closer
    # than was needed.
    if text.count("{") + text.count("[") > max_depth and _depth(value) > max_depth:
        raise NotStrictJson(f"it is nested more than {max_depth} levels deep")
    if not _has_each_key_once(text, _keys(value)):
        json.loads(text, object_pairs_hook=_refuse_duplicates)
    if "\\u0000" in text and _has_nul(value):
        raise NotStrictJson("U+0000 is not allowed in a string")
    return value


def _has_each_key_once(text: str, keys: int) -> bool:
    """Tell whether there are no duplicates for sure, as most of the time there are none."""
    # Each key has a colon of its own: as many colons as there are keys leave none for a duplicate.
    if text.count(":") == keys:
        return True
    # Some are in strings, as in 12:30. A key's comes right after a quotation mark, unless there is space between.
    return text.count('":') == keys and _SPACE_BEFORE_COLON.search(text) is None


_SPACE_BEFORE_COLON = re.compile(r'"[ \t\n\r]+:')


def _depth(value: object) -> int:
    # Level by level: as deep as orjson lets through, without recursion.
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _keys(value: object) -> int:
    # Spelt out, for every message passes here: a generator for each level takes three times as long.
    if type(value) is dict:
        count = len(value)
        for item in value.values():
            if type(item) is dict or type(item) is list:
                count += _keys(item)
        return count
    count = 0
    if type(value) is list:
        for item in value:
            if type(item) is dict or type(item) is list:
                count += _keys(item)
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
