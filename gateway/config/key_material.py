"""Finds secrets that are keys or certificates, and so are known to others.

A public key is no secret: used as an HMAC secret, it lets every reader of it sign tokens (CVE-2024-33663).
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, SECP384R1, SECP521R1
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as PublicPoint
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate, load_der_x509_csr

MAX_WRAPPINGS = 3
"""How many nested encodings are undone, such as base64 of PEM, which contains base64 again."""


def is_key_material(secret: bytes) -> bool:
    """Return whether this is a public or private key or a certificate, in any form in which keys are shared.

    The bare 32 bytes of an Ed25519 key look random and pass.
    """
    return any(_is_key(reading) for reading in _readings(secret, MAX_WRAPPINGS))


def _readings(raw: bytes, depth: int) -> Iterator[bytes]:
    """Yield the possible meanings of these bytes: themselves, and the result of each decoding that applies."""
    yield raw
    if depth == 0:
        return
    plain = raw.replace(rb"\n", b"\n").replace(rb"\r", b"\r").strip(b" \t\r\n\"'")
    dense = b"".join(plain.split())
    found = {plain, unquote_to_bytes(plain), *_decoded(dense)} - {raw}
    # The middle lines of PEM without its first or last line.
    found |= {decoded for line in plain.splitlines() if len(line) > 64 for decoded in _decoded(line.strip())}
    # A value after a name, as in `KEY=…`, in DKIM's `p=…` or in a `data:` URL.
    found |= {decoded for value in _VALUE.findall(plain) if value != dense for decoded in _decoded(value)}
    found |= {
        _listed(plain),
        _bytes_as_text(raw),
        raw.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b""),
    } - {raw, b""}
    for each in found:
        yield from _readings(each, depth - 1)


def _decoded(text: bytes) -> Iterator[bytes]:
    padding = b"=" * (-len(text.rstrip(b"=")) % 4)
    for alphabet in (b"+/", b"-_"):
        with suppress(binascii.Error):
            yield base64.b64decode(text.rstrip(b"=") + padding, alphabet, validate=True)
    with suppress(ValueError):
        yield bytes.fromhex(text.decode("ascii").removeprefix("0x").replace(":", ""))
    with suppress(binascii.Error):
        yield base64.b32decode(text, casefold=True)
    if text.isdigit() and 300 < len(text) < 2000:
        yield (number := int(text)).to_bytes((number.bit_length() + 7) // 8)


def _bytes_as_text(raw: bytes) -> bytes:
    """Return the bytes that a text has one character each for, or none."""
    with suppress(UnicodeError):
        return raw.decode().encode("latin-1")
    return b""


_VALUE = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_BYTE = re.compile(rb"\\x([0-9a-fA-F]{2})|0x([0-9a-fA-F]{2})\b|(?<![\w-])(-?[0-9]{1,3})(?!\w)")


def _listed(text: bytes) -> bytes:
    """Return the bytes that source code lists in hexadecimal, escapes or decimals, or none if it lists too few."""
    found = _BYTE.findall(text)
    if len(found) < 32:
        return b""
    return bytes(
        (int(escaped or hexadecimal, 16) if escaped or hexadecimal else int(number)) % 256
        for escaped, hexadecimal, number in found
    )


def _is_key(raw: bytes) -> bool:
    return _NAMED.search(raw) is not None or _is_modulus(raw) or any(_loads(load, raw) for load in _LOADERS)


def _is_modulus(raw: bytes) -> bool:
    """Return whether this may be a bare RSA modulus, such as `n` of a JWK. Of random bytes as long, 3 % may."""
    bare = raw.lstrip(b"\0")
    return len(bare) in _MODULUS_BYTES and bare[0] >= 0x80 and math.gcd(int.from_bytes(bare), _small_primes()) == 1


_MODULUS_BYTES = (256, 384, 512)


@cache
def _small_primes() -> int:
    """Return the product of the small primes. None of them divides a modulus."""
    return math.prod(n for n in range(2, 10_000) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))


# PEM and similar forms, OpenSSH's line and blob, JSON (RFC 7517), PuTTY, XML, OpenSSL's text, minisign, age.
_NAMED = re.compile(
    rb"-----BEGIN|-----END|---- BEGIN|\b(?:BEGIN|END) [A-Z0-9 ]*(?:KEY|CERTIFICATE)"
    rb"|^(?:\x00\x00\x00.)?(?:sk-)?(?:ssh-|ecdsa-sha2-)|^openssh-key-v1"
    rb"|[\"'](?:kty|keys|x5c|n|x)[\"']\s*:"
    rb"|ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp|-cert-v01@openssh"  # anywhere: jose refuses these as a secret
    rb"|PuTTY-User-Key-File|<RSAKeyValue|<Modulus>|public[- ]key|modulus ?[=(]|^age1[a-z0-9]{58}",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def _point_on(curve: SECP256R1 | SECP384R1 | SECP521R1 | SECP256K1, before: bytes = b"") -> Callable[[bytes], object]:
    return lambda raw: PublicPoint.from_encoded_point(curve, before + raw)


_LOADERS: tuple[Callable[[bytes], object], ...] = (
    load_der_public_key,
    load_der_x509_certificate,
    load_der_x509_csr,
    lambda der: load_der_private_key(der, password=None),
    *(_point_on(curve) for curve in (SECP256R1(), SECP384R1(), SECP521R1(), SECP256K1())),
    *(_point_on(curve, b"\x04") for curve in (SECP256R1(), SECP384R1(), SECP521R1(), SECP256K1())),
)


def _loads(load: Callable[[bytes], object], der: bytes) -> bool:
    try:
        load(der)
    except (ValueError, UnsupportedAlgorithm):
        return False
    except TypeError:  # a private key with a passphrase
        return True
    return True
