"""Public keys: read as an issuer publishes them (RFC 7517), and checked to be fit for an algorithm."""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.auth.keys import edwards
from gateway.auth.keys.base64url import decode

MIN_RSA_BITS = 2048  # RFC 7518 §3.3
MAX_RSA_BITS = 8192
"""The longest key. A longer one costs too much to verify with, and the issuer chooses the length."""

# RFC 7518 §3.4
CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256")
ED25519 = "Ed25519"

MAX_EXPONENT_BITS = 64
"""The longest public exponent, as in OpenSSL for long keys. With one as long as the key, each check takes 20 ms."""

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey


class UnfitKey(ValueError):
    """The key is too weak, or not for this algorithm. The text says why, without the key."""


def one_name(algorithm: object) -> str | None:
    """Return the one name of an algorithm that a header, a key or a setting names, or None if it is no text.

    `EdDSA` is the older name for what is `Ed25519` with the only curve here (RFC 9864 §2.2).
    """
    if not isinstance(algorithm, str):
        return None
    return ED25519 if algorithm == "EdDSA" else algorithm


def read_jwk(published: Mapping[str, Any]) -> PublicKey:
    """Read the public numbers of a key (RFC 7518 §6.2.1 and §6.3.1, RFC 8037 §2), or raise `UnfitKey`.

    Never read the private ones.
    """
    kty = published.get("kty")
    reader = _READERS.get(kty) if isinstance(kty, str) else None
    if reader is None:
        raise UnfitKey("expected an RSA, an EC or an Ed25519 key")
    try:
        return reader(published)
    except UnfitKey:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, UnsupportedAlgorithm):
        raise UnfitKey("its numbers are no key") from None


def is_for(public: PublicKey, algorithm: str) -> bool:
    """Return whether a key is of the kind that this algorithm needs."""
    if isinstance(public, rsa.RSAPublicKey):
        return algorithm in RSA_ALGORITHMS
    if isinstance(public, ec.EllipticCurvePublicKey):
        curve = CURVES.get(algorithm)
        return curve is not None and isinstance(public.curve, curve)
    return algorithm == ED25519


def check_fitness(public: PublicKey, algorithm: str) -> None:
    """Raise `UnfitKey` for a key that is for another algorithm, or too weak."""
    if not is_for(public, algorithm):
        raise UnfitKey(f"expected {_kind_for(algorithm)} for {algorithm}, got {_kind_of(public)}")
    if isinstance(public, rsa.RSAPublicKey):
        _check_rsa(public)
    elif isinstance(public, Ed25519PublicKey) and (problem := edwards.problem_of(public.public_bytes_raw())):
        raise UnfitKey(problem)


def _check_rsa(public: rsa.RSAPublicKey) -> None:
    if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS:
        raise UnfitKey(f"expected an RSA key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, got {public.key_size}")
    if public.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
        raise UnfitKey(f"expected a public exponent of at most {MAX_EXPONENT_BITS} bits, such as 65537")
    if public.public_numbers().n % 2 == 0:
        raise UnfitKey("its modulus is even, which no product of two large primes is")


def _kind_for(algorithm: str) -> str:
    if curve := CURVES.get(algorithm):
        return f"the curve {curve.name}"
    return "an RSA key" if algorithm in RSA_ALGORITHMS else "an Ed25519 key"


def _kind_of(public: PublicKey) -> str:
    if isinstance(public, ec.EllipticCurvePublicKey):
        return f"the curve {public.curve.name}"
    return "an RSA key" if isinstance(public, rsa.RSAPublicKey) else "an Ed25519 key"


def _rsa(published: Mapping[str, Any]) -> PublicKey:
    return rsa.RSAPublicNumbers(_number(published["e"]), _number(published["n"])).public_key()


def _elliptic(published: Mapping[str, Any]) -> PublicKey:
    curve = _JWK_CURVES[published["crv"]]()
    return ec.EllipticCurvePublicNumbers(_number(published["x"]), _number(published["y"]), curve).public_key()


def _octets(published: Mapping[str, Any]) -> PublicKey:
    if published["crv"] != ED25519:
        raise UnfitKey("expected the curve Ed25519 of an OKP key")
    return Ed25519PublicKey.from_public_bytes(_bytes(published["x"]))


_READERS = {"RSA": _rsa, "EC": _elliptic, "OKP": _octets}
_JWK_CURVES: dict[str, type[ec.EllipticCurve]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


def _number(text: object) -> int:
    return int.from_bytes(_bytes(text), "big")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text:
        raise TypeError("expected base64url")
    return decode(text.rstrip("="))
