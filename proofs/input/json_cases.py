"""The 318 parsing cases of JSONTestSuite, wherever the gateway reads JSON of others.

The names begin with `y_` for JSON that a parser must accept, `n_` for what it must refuse, and `i_` for what it may
treat as it likes. The gateway's protocol refuses some of the first kind: a key twice, and U+0000.
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "json_parsing.json"

STRICTER = {
    "y_object_duplicated_key": "a key twice",
    "y_object_duplicated_key_and_value": "a key twice",
    "y_object_escaped_null_in_key": "U+0000",
    "y_string_null_escape": "U+0000",
}
"""What is JSON, and refused by section 1 of docs/protocol.md all the same."""

NOTHING = frozenset({"n_structure_no_data", "n_single_space"})
"""No content at all: as a frame a keep-alive, and as a body of `/call` the empty object."""


@dataclass(frozen=True)
class JsonCase:
    """One text, or bytes that are none."""

    name: str
    raw: bytes

    @property
    def must_pass(self) -> bool:
        """Return whether the gateway must accept it as a value."""
        return self.name.startswith("y_") and self.name not in STRICTER

    @property
    def must_fail(self) -> bool:
        """Return whether the gateway must refuse it."""
        return self.name.startswith("n_") or self.name in STRICTER

    @property
    def is_text(self) -> bool:
        """Return whether it is UTF-8, as each text frame must be (RFC 6455 §8.1)."""
        try:
            self.raw.decode()
        except UnicodeDecodeError:
            return False
        return True

    @property
    def value(self) -> Any:
        """Return the value of a case that must pass."""
        return json.loads(self.raw)


def json_cases() -> list[JsonCase]:
    """Return all cases."""
    return [JsonCase(name, _bytes_of(stored)) for name, stored in json.loads(DATA.read_text("utf-8")).items()]


def _bytes_of(stored: str | dict[str, Any]) -> bytes:
    if isinstance(stored, str):
        return stored.encode()
    if "base64" in stored:
        return base64.b64decode(stored["base64"])
    text: str = stored["repeat"] * stored["times"] + stored.get("then", "")
    return text.encode()


@dataclass
class Tally:
    """How many cases went how in one place."""

    place: str
    accepted: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, case: JsonCase, accepted: bool, words: str) -> None:
        """Count a case, by whether its place has accepted it."""
        if accepted:
            self.accepted += 1
        else:
            self.refused += 1
        if (case.must_pass and not accepted) or (case.must_fail and accepted):
            self.wrong.append(f"{case.name}: {words}"[:160])

    def mistake(self, case: JsonCase, words: str) -> None:
        """Note an answer that is wrong in itself."""
        self.wrong.append(f"{case.name}: {words}"[:160])


def same(left: Any, right: Any) -> bool:
    """Return whether two values are the same JSON. A number may have another form: the gateway reads doubles."""
    if isinstance(left, float) or isinstance(right, float):
        return isinstance(left, float | int) and isinstance(right, float | int) and float(left) == float(right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and bool(left == right)


def around(case: JsonCase, before: bytes, after: bytes) -> bytes:
    """Return a document with the case as a part."""
    return before + case.raw + after
