"""Refresh tokens: opaque, of 256 random bits and more, and kept by the store as hashes only.

All tokens of one login begin with the same part, by which the login is found; the rest changes at each use. So whoever
comes with the right beginning and another rest has a token that was spent, and nobody else can come with it.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

PREFIX = "gwr_"
"""What every refresh token begins with, so that a log's filter, and scanners of source code, know one."""

_FORM = re.compile(PREFIX + r"([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token in its two parts."""

    family: str = field(repr=False)
    secret: str = field(repr=False)

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

    def successor(self, nonce: str) -> "RefreshToken":
        """Give the token that follows this one, made of it and of a random number that the store keeps.

        So a client whose answer was lost is given the same again, although the store has hashes only: neither what is
        stored nor a spent token is enough to make it.
        """
        secret = hmac.digest(self.text.encode(), nonce.encode(), "sha256")
        return RefreshToken(self.family, urlsafe_b64encode(secret).rstrip(b"=").decode())


def new() -> RefreshToken:
    """Make the first token of a login."""
    return RefreshToken(secrets.token_urlsafe(16), secrets.token_urlsafe(32))


def parse(text: str) -> RefreshToken | None:
    """Read a token, or give None if it is none."""
    found = _FORM.fullmatch(text)
    return RefreshToken(found[1], found[2]) if found else None


def new_nonce() -> str:
    """Make the random number for a successor."""
    return secrets.token_urlsafe(32)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
