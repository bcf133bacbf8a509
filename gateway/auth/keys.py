"""The key that signs tokens: given by a setting, or made once and kept in the data folder."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from gateway.settings import Settings
from gateway.startup import StartError

KEY_FILE = "secret_key"


def signing_key(settings: Settings) -> str:
    """Give the key; in development one is made on first start, readable by its owner alone."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / KEY_FILE
    try:
        return _read(path) or _make(path)
    except OSError as error:
        raise StartError(
            f"cannot keep the signing key in {path} ({error.strerror});"
            " make the data folder writable, or name another with GATEWAY_DATA_DIR"
        ) from None


def _read(path: Path) -> str | None:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if len(key) < 32:
        raise StartError(f"{path} holds no usable key; remove it, and the next start makes a new one")
    return key


def _make(path: Path) -> str:
    # Written whole beside its place and linked there: another process either sees no key or all of it,
    # and of two that start at once both use the first one's.
    draft = path.with_name(f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    key = _read(path)
    assert key is not None  # noqa: S101 - linked a moment ago
    return key
