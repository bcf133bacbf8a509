"""Refresh tokens: opaque, of 256 random bits and more, and kept by the store as hashes only.

All tokens of one login begin with the same part, by which the login is found; the rest changes at each use. So whoever
comes with the right beginning and another rest has a token that was spent, and nobody else can come with it.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass

PREFIX = "gwr_"
"""What every refresh token begins with, so that a log's filter, and scanners of source code, know one."""

_FORM = re.compile(PREFIX + r"([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token in its two parts."""

    family: str
    secret: str

    @property
    def text(self) -> str:
        """The token as its owner has it."""
        return PREFIX + self.family + self.secret

    @property
    def family_hash(self) -> str:
        """SHA-256 of what the login's tokens have in common, in hexadecimal."""
        return _hash(self.family)

    @property
    def hash(self) -> str:
        """SHA-256 of the whole token, in hexadecimal."""
        return _hash(self.text)

    def successor(self, key: bytes) -> "RefreshToken":
        """Give the token that follows this one: always the same, and known only to one who has both it and the key.

        So a client whose answer was lost is given the same again, though the store could not tell what that was.
        """
        secret = hmac.digest(key, self.text.encode(), "sha256")
        return RefreshToken(self.family, urlsafe_b64encode(secret).rstrip(b"=").decode())


def new() -> RefreshToken:
    """Make the first token of a login."""
    return RefreshToken(secrets.token_urlsafe(16), secrets.token_urlsafe(32))


def parse(text: str) -> RefreshToken | None:
    """Read a token, or give None if it is none."""
    found = _FORM.fullmatch(text)
    return RefreshToken(found[1], found[2]) if found else None


def successor_key(secret: str) -> bytes:
    """Derive the key of `successor` from the gateway's secret, which also signs and must do one thing only."""
    return hmac.digest(secret.encode(), b"json-gateway: successors of refresh tokens", "sha256")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
