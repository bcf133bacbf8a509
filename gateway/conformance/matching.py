"""How a story says what it expects: JSON of which each part must be there, with some words that begin with `$`.

- An object fits if each of its keys fits. The real one may have more keys.
- A list fits a list of the same length.
- `"$_"` fits anything. Any other name, such as `"$client_id"`, fits anything once, and from then on the same value.
- `{"$any": [a, b]}`, `{"$not": a}`, `{"$each": [a, b]}` (in any order), `{"$has": "text"}`, `{"$at_least": 1}` and
  `{"$at_most": 2}` say what else fits. `{"$all": [a, b]}` joins them.
"""

import re
from collections.abc import Callable
from typing import Any

Names = dict[str, Any]

_NAME = re.compile(r"\$([a-z]\w*)")


def fits(expected: Any, got: Any, names: Names) -> bool:
    """Return whether a value fits. If so, add the new names to `names`."""
    tried = dict(names)
    if not _fits(expected, got, tried):
        return False
    names.update(tried)
    return True


def filled(value: Any, names: Names) -> Any:
    """Return a value with the names that are known in place of their words."""
    if isinstance(value, dict):
        return {filled(key, names): filled(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, names) for part in value]
    if not isinstance(value, str):
        return value
    if (whole := _NAME.fullmatch(value)) is not None:
        return names.get(whole[1], value)
    return _NAME.sub(lambda found: str(names.get(found[1], found[0])), value)


def _fits(expected: Any, got: Any, names: Names) -> bool:
    expected = filled(expected, names)
    if isinstance(expected, str) and (name := _NAME.fullmatch(expected)) is not None:
        names[name[1]] = got
        return True
    if expected == "$_":
        return True
    if isinstance(expected, dict):
        return _object_fits(expected, got, names)
    if isinstance(expected, list):
        return isinstance(got, list) and len(got) == len(expected) and _all_fit(expected, got, names)
    return type(expected) is type(got) and bool(expected == got)


def _all_fit(expected: list[Any], got: list[Any], names: Names) -> bool:
    return all(_fits(part, mine, names) for part, mine in zip(expected, got, strict=True))


def _object_fits(expected: dict[str, Any], got: Any, names: Names) -> bool:
    for key, part in expected.items():
        if key in OPERATORS:
            if not OPERATORS[key](part, got, names):
                return False
        elif not isinstance(got, dict) or key not in got or not _fits(part, got[key], names):
            return False
    return bool(expected.keys() & OPERATORS.keys()) or isinstance(got, dict)


def _each(parts: list[Any], got: Any, names: Names) -> bool:
    """Return whether a list holds one item for each part, in any order, and no more."""
    if not isinstance(got, list) or len(got) != len(parts):
        return False
    left = list(got)
    for part in parts:
        found = next((item for item in left if fits(part, item, names)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _is_number(got: Any) -> bool:
    return isinstance(got, int | float) and not isinstance(got, bool)


OPERATORS: dict[str, Callable[[Any, Any, Names], bool]] = {
    "$any": lambda parts, got, names: any(fits(part, got, names) for part in parts),
    "$all": lambda parts, got, names: all(_fits(part, got, names) for part in parts),
    "$not": lambda part, got, names: not _fits(part, got, dict(names)),
    "$each": _each,
    "$has": lambda text, got, _: isinstance(got, str) and text.lower() in got.lower(),
    "$length": lambda length, got, _: isinstance(got, list | str) and len(got) == length,
    "$at_least": lambda bound, got, _: _is_number(got) and got >= bound,
    "$at_most": lambda bound, got, _: _is_number(got) and got <= bound,
}
"""What each operator asks of a value."""
