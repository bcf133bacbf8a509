"""Signed tokens in the compact form (RFC 7515 §7.1), and the keys for them. The one module that knows jose.

Before jose sees a token, a gate checks its length, alphabet, encoding and header (`UnverifiedToken.parse`). jose alone
accepts several forms of the same token, ignores `crit`, and raises unexpected exceptions for hostile tokens. It gets
the parts that the gate has decoded, and checks the signature. `verifiers` checks those of algorithms that jose lacks.

A key has one name and one algorithm of its own (RFC 8725 §3.1). The gateway compares those of the token with them, and
never follows the token.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jose import jwk, jws
from jose.backends.base import Key as JoseKey

from gateway.auth.keys.base64url import decode
from gateway.auth.keys.public_keys import PublicKey, UnfitKey, check_fitness, is_for, one_name, read_jwk
from gateway.auth.keys.verifiers import Ed25519Verifier, PssVerifier, Verifier
from gateway.core import strict_json
from schemas.messages.auth import MAX_TOKEN_LENGTH

MAX_PAYLOAD_DEPTH = 16

MAX_KID_LENGTH = 256

# RFC 8725 §3.14: three parts, base64url without padding, and nothing else.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class BadToken(ValueError):
    """A token that one check refuses.

    The text says which check, for the operator, and has nothing of the token but names of claims. No client sees it:
    it would only help an attacker.
    """

    def __init__(self, reason: str, check: str = "form") -> None:
        super().__init__(reason)
        self.reason = reason
        self.check = check
        """The name of the check, for the metrics."""


class UnverifiedToken(NamedTuple):
    """The parts of a token in the one accepted form. Nothing of it is proven."""

    header: Mapping[str, Any]
    signed: bytes
    """The part that the signature is for: header and payload, as they came."""
    payload: bytes
    signature: bytes

    @classmethod
    def parse(cls, token: str) -> Self:
        """Take a token apart, or raise `BadToken` if it has another form."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise BadToken(f"over {MAX_TOKEN_LENGTH} characters")
        if _COMPACT.fullmatch(token) is None:
            encrypted = (
                ": an encrypted token has five, and its maker alone can read it" if token.count(".") == 4 else ""
            )
            raise BadToken(f"not three parts of base64url{encrypted}")
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            return cls(_header_of(header), signed.encode(), decode(payload), decode(signature))
        except ValueError:
            raise BadToken("a part that is not canonical base64url, or a header that is no JSON object") from None


@dataclass(frozen=True)
class Key:
    """A key, its name (`kid`), and its one algorithm."""

    kid: str
    algorithm: str
    _verifier: Verifier = field(repr=False)
    _signer: JoseKey | None = field(repr=False)

    @classmethod
    def from_secret(cls, kid: str, secret: bytes) -> "Key":
        """Return an HS256 key. The caller has checked the secret."""
        both = jwk.construct(secret, "HS256")
        return cls(kid, "HS256", both, both)

    @classmethod
    def from_private(cls, kid: str, private: PrivateKey) -> "Key":
        """Return a key that signs with ES256 or RS256, by its kind, or raise `UnfitKey`."""
        public = private.public_key()
        algorithm = "RS256" if isinstance(public, rsa.RSAPublicKey) else "ES256"
        verifier = cls.from_public(kid, algorithm, public)._verifier
        return cls(kid, algorithm, verifier, jwk.construct(private, algorithm))  # type: ignore[arg-type]

    @classmethod
    def from_public(cls, kid: str, algorithm: str, public: PublicKey) -> "Key":
        """Return a key that only verifies, or raise `UnfitKey`."""
        check_fitness(public, algorithm)
        return cls(kid, algorithm, _verifier_of(public, algorithm), None)

    @classmethod
    def from_jwk(cls, published: Mapping[str, Any], algorithms: Sequence[str]) -> "Key":
        """Return the key of a published one (RFC 7517 §4), or raise `UnfitKey`.

        Its algorithm is the one that it names, or else the first of `algorithms` that it fits. Its name is empty if it
        has none.
        """
        kid = published.get("kid", "")
        if not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH or (not kid and "kid" in published):
            raise UnfitKey(f"expected a `kid` of 1 to {MAX_KID_LENGTH} characters, or none")
        operations = published.get("key_ops", ["verify"])
        if published.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
            raise UnfitKey("it is not for signatures")
        public = read_jwk(published)
        named = one_name(published.get("alg", ""))
        for algorithm in map(one_name, algorithms):
            if algorithm and named in {"", algorithm} and is_for(public, algorithm):
                return cls.from_public(kid, algorithm, public)
        raise UnfitKey(f"expected a key for one of {', '.join(algorithms)}")

    def sign(self, claims: dict[str, Any], token_type: str) -> str:
        """Return a signed token of this type (the header `typ`)."""
        assert self._signer is not None  # noqa: S101 - the caller has chosen a key that signs
        headers = {"typ": token_type, "kid": self.kid}
        return str(jws.sign(claims, self._signer, headers=headers, algorithm=self.algorithm))

    def verify(self, token: UnverifiedToken) -> dict[str, Any]:
        """Return the claims of a token, or raise `BadToken`."""
        if one_name(token.header.get("alg")) != self.algorithm:
            raise BadToken(f"the algorithm `alg` is not {self.algorithm}, which the key is for", "algorithm")
        if not self._has_signed(token):
            raise BadToken("a wrong signature", "signature")
        try:
            claims = strict_json.loads(token.payload.decode(), max_depth=MAX_PAYLOAD_DEPTH)
        except ValueError:
            raise BadToken("claims that are no JSON", "claims") from None
        if not isinstance(claims, dict):
            raise BadToken("claims that are no JSON object", "claims")
        return claims

    def _has_signed(self, token: UnverifiedToken) -> bool:
        try:
            return bool(self._verifier.verify(token.signed, token.signature))
        except Exception:  # jose raises many kinds for hostile signatures, and itself takes each for a wrong one
            return False

    def public_jwk(self) -> dict[str, Any] | None:
        """Return the public half of a key that signs, in the form of RFC 7517, or None for a secret."""
        if self.algorithm == "HS256":
            return None
        assert self._signer is not None  # noqa: S101 - the gateway publishes its own keys alone
        return {**self._signer.public_key().to_dict(), "kid": self.kid, "use": "sig"}


def _verifier_of(public: PublicKey, algorithm: str) -> Verifier:
    if isinstance(public, Ed25519PublicKey):
        return Ed25519Verifier(public)
    if isinstance(public, rsa.RSAPublicKey) and algorithm == "PS256":
        return PssVerifier(public)
    return jwk.construct(public, algorithm)  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def _header_of(part: str) -> Mapping[str, Any]:
    """Return a header, or raise `ValueError`. All tokens of one key and issuer have the same."""
    header = strict_json.loads(decode(part).decode(), max_depth=2)
    if not isinstance(header, dict):
        raise ValueError("not an object")  # noqa: TRY004 - like any other wrong header
    return MappingProxyType(header)
