"""JSON of anything. A schema or an example of an application may have dates, NaN or half of a character in it."""

import json
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON has it. What JSON has no word for becomes a text or null."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        case Mapping():
            return {plain(str(key)): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    return plain(str(value))


def plain_json(value: Any) -> str:
    """Return the JSON of a value, on several lines."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)
