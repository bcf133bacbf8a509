"""Refresh tokens: opaque, of 256 random bits and more. The store keeps only their hashes.

All tokens of one session begin with the same part, which finds the session; the rest changes at each use. So a token
with the right beginning and another rest is a spent one, and no stranger can make one.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

PREFIX = "gwr_"
"""The beginning of every refresh token, by which log filters and source-code scanners recognise one."""

_FORM = re.compile(PREFIX + r"([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token in its two parts."""

    family: str = field(repr=False)
    secret: str = field(repr=False)

    @property
    def text(self) -> str:
        """Return the token in the client's form."""
        return PREFIX + self.family + self.secret

    @property
    def family_hash(self) -> str:
        """Return the SHA-256 of the part that the session's tokens share, in hexadecimal."""
        return _hash(self.family)

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the whole token, in hexadecimal."""
        return _hash(self.text)

    def successor(self, nonce: str) -> "RefreshToken":
        """Return the token that follows this one, made of it and of a random number in the store.

        So a client that lost the answer gets the same token again, although the store has only hashes. Neither the
        store nor a spent token alone is enough to make it.
        """
        secret = hmac.digest(self.text.encode(), nonce.encode(), "sha256")
        return RefreshToken(self.family, urlsafe_b64encode(secret).rstrip(b"=").decode())


def new() -> RefreshToken:
    """Return the first token of a session."""
    return RefreshToken(secrets.token_urlsafe(16), secrets.token_urlsafe(32))


def parse(text: str) -> RefreshToken | None:
    """Return the token in a text, or None if it is none."""
    found = _FORM.fullmatch(text)
    return RefreshToken(found[1], found[2]) if found else None


def new_nonce() -> str:
    """Return the random number for a successor."""
    return secrets.token_urlsafe(32)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
