"""The JSON of what goes to clients, checked."""

import orjson
from pydantic_core import to_json

_N, _I = b"NI"


def encode(value: object) -> bytes:
    """Return the JSON of a value. Raise `ValueError` for None, and for what JSON cannot hold, such as NaN."""
    if value is None:
        raise ValueError("expected data to encode, got None; return `Empty()` for no data")
    encoded = to_json(value, exclude_none=True)
    # A search for one byte is several times faster than for a word, and this runs for every reply.
    if (_N in encoded and encoded.find(b"NaN") >= 0) or (_I in encoded and encoded.find(b"Infinity") >= 0):
        _check_numbers(encoded)
    return encoded


def _check_numbers(encoded: bytes) -> None:
    """Raise `ValueError` if a number is NaN or infinite. Both words may also be part of a text."""
    try:
        orjson.loads(encoded)
    except orjson.JSONDecodeError:
        raise ValueError("expected finite numbers, got NaN or an infinity") from None
