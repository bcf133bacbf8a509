"""The files behind the routes: read as a whole, bounded, and watched for changes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.core.start_error import StartError
from gateway.core.strict_json import NotStrictJson, loads

MAX_FILE_BYTES = 1024 * 1024
MAX_SCHEMA_BYTES = 256 * 1024
MAX_SCHEMA_DEPTH = 64

Stamp = tuple[int, int, int] | None
"""What shows a change of a file: its time, size and number; None if there is no file."""

Stamps = Mapping[Path, Stamp]


def stamp(path: Path) -> Stamp:
    """Return what differs after a change of the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file says, or raise `StartError` for one that is wrong, large or empty."""
    raw = _bytes(path, MAX_FILE_BYTES, "GATEWAY_ROUTES: ")
    try:
        document = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise StartError(f"{path}, line {number}: expected UTF-8, got another encoding; save it as UTF-8") from None
    except RecursionError:
        raise StartError(f"{path}: expected TOML, got values that are nested too deep") from None
    except ValueError as error:  # also of a number with thousands of digits
        raise StartError(f"{path}: expected TOML: {' '.join(str(error).split())[:200]}") from None
    if not document:
        # An editor that writes in place leaves such a file for a moment.
        raise StartError(
            f'{path}: expected a table such as [routes."orders.*"], got an empty file; write `scopes = []` for none'
        )
    return document


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, or raise `StartError`."""
    raw = _bytes(path, MAX_SCHEMA_BYTES)
    try:
        return loads(raw.decode("utf-8-sig"), max_depth=MAX_SCHEMA_DEPTH)
    except UnicodeDecodeError:
        raise StartError(f"expected JSON in {path}, in UTF-8, got another encoding") from None
    except NotStrictJson as error:
        raise StartError(f"expected JSON in {path}: {error}") from None


def _bytes(path: Path, limit: int, prefix: str = "") -> bytes:
    """Return the contents of a file, or raise `StartError`."""
    try:
        if not path.is_file():  # a pipe or a device might never end
            raise StartError(
                f"{prefix}expected a file at {path}, got {'something else' if path.exists() else 'nothing'}"
            )
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise StartError(f"{prefix}cannot read {path} ({error.strerror}); make it readable") from None
    if len(raw) > limit:
        raise StartError(f"{prefix}expected at most {limit} bytes in {path}, got more")
    return raw
