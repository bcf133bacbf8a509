"""Checks the file `.env` before the settings read it.

A mistake in the file stops the start, so that it never silently means the default values.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from gateway.core.start_error import StartError

ENV_FILE = Path(".env")
ENCODING = "utf-8-sig"
"""UTF-8, with or without the byte order mark that editors on Windows write."""


def names_in_file() -> list[str]:
    """Return the names that `.env` sets, or raise `StartError` if a line is not `NAME=value` or a comment.

    A pipe returns no names: it can be read only once, and the settings themselves read it.
    """
    if ENV_FILE.is_fifo() or not os.path.lexists(ENV_FILE):
        return []
    return [binding.key for binding in _parse(_read()) if binding.key is not None]


def values_in_file() -> dict[str, str]:
    """Return the values that `.env` sets, or raise `StartError` like `names_in_file`."""
    if not names_in_file():
        return {}
    found = dotenv_values(ENV_FILE, encoding=ENCODING)
    return {name: value for name, value in found.items() if value is not None}


def _read() -> str:
    try:
        raw = ENV_FILE.read_bytes()
    except OSError as error:
        raise StartError(
            f".env: expected a file that the gateway may read, got: {error.strerror}; correct or remove it"
        ) from None
    try:
        text = raw.decode(ENCODING)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StartError(f".env, line {line}: expected UTF-8, got another encoding; save the file as UTF-8") from None
    if "\0" in text:
        raise StartError(".env: expected UTF-8, got a file with NUL bytes, as UTF-16 has; save the file as UTF-8")
    return text


def _parse(text: str) -> Iterable[Binding]:
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            # The line may hold a secret, so the error names only its number.
            raise StartError(f".env, line {_line(binding)}: expected NAME=value, or a comment after #")
        yield binding


def _line(binding: Binding) -> int:
    """Return the line number of the statement itself, without the empty lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def unknown_names(names: Iterable[str], known: Iterable[str], prefix: str) -> dict[str, str | None]:
    """Return names that are meant for the gateway but are no settings, each with the most similar setting."""
    known = frozenset(known)
    nearest = {name: _nearest(name.upper(), known) for name in names if name.upper() not in known}
    return {name: near for name, near in sorted(nearest.items()) if near or name.upper().startswith(prefix)}


@cache
def _nearest(name: str, known: frozenset[str]) -> str | None:
    """Return the most similar of the known names. `gateway serve` asks twice for each name of the environment."""
    return next(iter(get_close_matches(name, known, n=1, cutoff=0.85)), None)
