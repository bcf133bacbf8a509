"""Signatures of requests to services: Standard Webhooks 1.0.0, the symmetric scheme.

The receiver computes HMAC-SHA-256 over `id.timestamp.body` with the secret, and compares it with `webhook-signature`.
While a secret rotates, a request carries one signature for each of two secrets.
"""

import base64
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

PREFIX = "whsec_"
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
MAX_SECRETS = 2
"""A new secret and the one before."""

MAKE_ONE = 'echo "whsec_$(openssl rand -base64 32)"'

_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class Signer:
    """Signs with one secret, or with two while one replaces the other. Its `repr` shows none."""

    _keys: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, secrets: Iterable[str]) -> Self:
        """Return a signer for secrets in the form `whsec_…`, or raise `ValueError` without a secret in its text."""
        keys = tuple(_decoded(secret) for secret in secrets)
        if not 1 <= len(keys) <= MAX_SECRETS:
            raise ValueError(f"expected one secret, or two while one replaces the other, got {len(keys)}")
        if len(set(keys)) != len(keys):
            raise ValueError("expected two different secrets, got the same one twice; leave one of them out")
        return cls(keys)

    def headers(self, message_id: str, now_seconds: float, body: bytes) -> dict[str, str]:
        """Return the three headers of a request with this body.

        Raise `ValueError` for an id with other characters than letters, digits, `-` and `_`: a dot would let one
        signature fit two requests, and a line break would make a header.
        """
        if _MESSAGE_ID.fullmatch(message_id) is None:
            raise ValueError("expected an id of 1 to 128 letters, digits, - and _")
        timestamp = str(int(now_seconds))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in self._keys),
        }


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _decoded(secret: str) -> bytes:
    expected = f"expected {PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes in base64"
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except ValueError:
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"{expected}; make one with: {MAKE_ONE}")
    return key
