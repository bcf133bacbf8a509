"""Checks of signatures that python-jose lacks, with `cryptography`: PS256 and Ed25519."""

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256


class Verifier(Protocol):
    """Checks signatures with one key. The keys of python-jose do so too."""

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Return whether the key has signed this message."""


class PssVerifier:
    """PS256 (RFC 7518 §3.5): RSASSA-PSS with SHA-256, MGF1 with the same, and a salt of exactly 32 bytes."""

    def __init__(self, public: RSAPublicKey) -> None:
        self._public = public

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Return whether the key has signed this message."""
        try:
            self._public.verify(sig, msg, PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH), SHA256())
        except InvalidSignature:
            return False
        return True


class Ed25519Verifier:
    """Ed25519 (RFC 8037 §3.1, RFC 9864 §2.2). The key has passed `edwards.problem_of`."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        self._public = public

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Return whether the key has signed this message."""
        try:
            self._public.verify(sig, msg)
        except InvalidSignature:
            return False
        return True
