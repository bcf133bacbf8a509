"""Signed tokens in the compact form (RFC 7515 §7.1), and the keys for them. The one module that knows jose.

Before jose sees a token, a gate checks its length, alphabet, encoding and header (`UnverifiedToken.parse`). jose alone
accepts several forms of the same token, ignores `crit`, and raises unexpected exceptions for hostile tokens. It gets
the parts that the gate has decoded, and checks the signature.

A key has one name and one algorithm of its own (RFC 8725 §3.1). The gateway compares those of the token with them, and
never follows the token.
"""

import binascii
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk, jws
from jose.backends.base import Key as JoseKey

from gateway.core import strict_json
from schemas.messages.auth import MAX_TOKEN_LENGTH

MAX_PAYLOAD_DEPTH = 16

MAX_KID_LENGTH = 256

MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MAX_RSA_BITS = 8192
"""The longest key. A longer one costs too much to verify with, and the issuer chooses the length."""

# jose's algorithms without a shared secret; it has neither PS256 nor EdDSA.
# RFC 7518 §3.4
CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")

# RFC 8725 §3.14: three parts, base64url without padding, and nothing else.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class BadToken(ValueError):
    """A token that one check refuses.

    The text says which check, for the operator, and has nothing of the token but names of claims. No client sees it:
    it would only help an attacker.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnfitKey(ValueError):
    """The key is too weak, or not for this algorithm. The text says why, without the key."""


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
            raise BadToken("not three parts of base64url")
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        try:
            return cls(_header_of(header), signed.encode(), _decode(payload), _decode(signature))
        except ValueError:
            raise BadToken("a part that is not canonical base64url, or a header that is no JSON object") from None


@dataclass(frozen=True)
class Key:
    """A key, its name (`kid`), and its one algorithm."""

    kid: str
    algorithm: str
    _verifier: JoseKey = field(repr=False)
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
        _check_fitness(public, algorithm)
        return cls(kid, algorithm, jwk.construct(public, algorithm), None)  # type: ignore[arg-type]

    @classmethod
    def from_jwk(cls, published: Mapping[str, Any], algorithms: Sequence[str]) -> "Key":
        """Return the key of a published one (RFC 7517 §4), or raise `UnfitKey`.

        Its algorithm is the one that it names, or else the first of `algorithms` that it fits.
        """
        kid = published.get("kid")
        if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID_LENGTH:
            raise UnfitKey(f"expected a `kid` of 1 to {MAX_KID_LENGTH} characters")
        operations = published.get("key_ops", ["verify"])
        if published.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
            raise UnfitKey("it is not for signatures")
        public = _public_key(published)
        for algorithm in algorithms:
            if published.get("alg", algorithm) == algorithm and _fits(public, algorithm):
                return cls.from_public(kid, algorithm, public)
        raise UnfitKey(f"expected a key for one of {', '.join(algorithms)}")

    def sign(self, claims: dict[str, Any], token_type: str) -> str:
        """Return a signed token of this type (the header `typ`)."""
        assert self._signer is not None  # noqa: S101 - the caller has chosen a key that signs
        headers = {"typ": token_type, "kid": self.kid}
        return str(jws.sign(claims, self._signer, headers=headers, algorithm=self.algorithm))

    def verify(self, token: UnverifiedToken) -> dict[str, Any]:
        """Return the claims of a token, or raise `BadToken`."""
        if token.header.get("alg") != self.algorithm:
            raise BadToken(f"the algorithm `alg` is not {self.algorithm}, which the key is for")
        if not self._has_signed(token):
            raise BadToken("a wrong signature")
        try:
            claims = strict_json.loads(token.payload.decode(), max_depth=MAX_PAYLOAD_DEPTH)
        except ValueError:
            raise BadToken("claims that are no JSON") from None
        if not isinstance(claims, dict):
            raise BadToken("claims that are no JSON object")
        return claims

    def _has_signed(self, token: UnverifiedToken) -> bool:
        try:
            return bool(self._verifier.verify(token.signed, token.signature))
        except Exception:  # jose raises many kinds for hostile signatures, and itself takes each for a wrong one
            return False

    def public_jwk(self) -> dict[str, Any] | None:
        """Return the public key in the form of RFC 7517, or None for a secret."""
        if self.algorithm == "HS256":
            return None
        return {**self._verifier.to_dict(), "kid": self.kid, "use": "sig"}


@lru_cache(maxsize=64)
def _header_of(part: str) -> Mapping[str, Any]:
    """Return a header, or raise `ValueError`. All tokens of one key and issuer have the same."""
    header = strict_json.loads(_decode(part).decode(), max_depth=2)
    if not isinstance(header, dict):
        raise ValueError("not an object")  # noqa: TRY004 - like any other wrong header
    return MappingProxyType(header)


def _decode(part: str) -> bytes:
    """Decode base64url in its canonical form alone, so that a token has only one form."""
    encoded = part.encode()
    try:
        raw = a2b_base64(encoded.translate(_TO_BASE64) + b"=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if b2a_base64(raw, newline=False).translate(_TO_BASE64URL).rstrip(b"=") != encoded:
        raise ValueError("not the canonical base64url")
    return raw


_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")


def _public_key(published: Mapping[str, Any]) -> PublicKey:
    """Read the public numbers of a key (RFC 7518 §6.2.1 and §6.3.1). Never read the private ones."""
    try:
        if published.get("kty") == "RSA":
            return rsa.RSAPublicNumbers(_number(published["e"]), _number(published["n"])).public_key()
        if published.get("kty") == "EC":
            curve = _JWK_CURVES[published["crv"]]()
            return ec.EllipticCurvePublicNumbers(_number(published["x"]), _number(published["y"]), curve).public_key()
    except (KeyError, TypeError, ValueError, OverflowError, UnsupportedAlgorithm):
        raise UnfitKey("its numbers are no key") from None
    raise UnfitKey("expected an RSA or an EC key")


def _number(text: object) -> int:
    if not isinstance(text, str) or not text:
        raise TypeError("expected base64url")
    return int.from_bytes(_decode(text.rstrip("=")), "big")


_JWK_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


def _fits(public: PublicKey, algorithm: str) -> bool:
    try:
        _check_fitness(public, algorithm)
    except UnfitKey:
        return False
    return True


def _check_fitness(public: PublicKey, algorithm: str) -> None:
    if isinstance(public, rsa.RSAPublicKey):
        if algorithm not in RSA_ALGORITHMS:
            raise UnfitKey(f"an RSA key is not for {algorithm}")
        if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
            raise UnfitKey(f"expected an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, got {public.key_size}")
        if public.public_numbers().n % 2 == 0:
            raise UnfitKey("its modulus is even, which no product of two large primes is")
        return
    curve = CURVES.get(algorithm)
    if curve is None or not isinstance(public.curve, curve):
        expected = f"the curve {curve.name}" if curve else "another kind of key"
        raise UnfitKey(f"expected {expected} for {algorithm}, got the curve {public.curve.name}")
