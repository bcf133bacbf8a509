"""Keys of services: `gwk_`, an id that finds the key in the store, and a secret of 256 random bits.

The store keeps only the hash of the secret, so a reader of the store cannot use the key.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from sqlalchemy import Connection

from gateway.store import services
from gateway.store.services import ServiceKeyRow, ServiceRow

PREFIX = "gwk_"
"""The beginning of every key, by which log filters and source-code scanners recognise one."""

_FORM = re.compile(PREFIX + r"([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)

_BEGINNING = re.compile(PREFIX + r"[0-9a-f]{16}_", re.ASCII)

_NOBODYS_HASH = "0" * 64
"""What the secret of an unknown key is compared with. No text has this hash, as far as is known."""


@dataclass(frozen=True)
class ServiceKey:
    """A key in its two parts."""

    id: str
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """Return the key as a service sends it."""
        return f"{PREFIX}{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the secret, in hexadecimal."""
        # No salt and no stretching: 256 random bits cannot be guessed.
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, stored_hash: str | None) -> bool:
        """Return whether the store has this secret's hash. None, for an unknown id, takes as long."""
        return hmac.compare_digest(self.hash, _NOBODYS_HASH if stored_hash is None else stored_hash)


def new() -> ServiceKey:
    """Return a new key."""
    return ServiceKey(secrets.token_hex(8), secrets.token_urlsafe(32))


def parse(text: str) -> ServiceKey | None:
    """Return the key in a text, or None if it is none."""
    found = _FORM.fullmatch(text)
    return ServiceKey(found[1], found[2]) if found else None


def contains_key(text: str) -> bool:
    """Return whether a text has a key in it, as far as its form shows."""
    return _BEGINNING.search(text) is not None


def looks_like_key(text: str) -> bool:
    """Return whether a text begins as a key does, even if it is none."""
    return text.startswith(PREFIX)


def issue(connection: Connection, service: ServiceRow, now: int) -> ServiceKey:
    """Store a new key of a service, and return it: nothing else ever knows its secret."""
    key = new()
    row = ServiceKeyRow(id=key.id, user_id=service.user_id, hash=key.hash, created_at=now)
    services.add_key(connection, service, row)
    return key


def rotate(connection: Connection, service: ServiceRow, now: int, overlap: int) -> ServiceKey:
    """Store a new key of a service, and let the others last for an overlap of so many milliseconds."""
    key = issue(connection, service, now)
    services.expire_keys(connection, service.user_id, now + overlap, but=key.id)
    return key
