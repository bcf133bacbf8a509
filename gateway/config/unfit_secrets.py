"""Finds secrets that are unfit for signing, because others have them or can guess them.

A public key is no secret: used as an HMAC secret, it lets every reader of it sign tokens (CVE-2024-33663). The samples
of tutorials and of jwt.io are on every attacker's list.
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


def is_guessable(secret: str) -> bool:
    """Return whether a secret is a widespread sample, or consists of few characters, of words or of repetitions."""
    folded = secret.strip().lower()
    return (
        folded in _KNOWN
        or len(set(folded)) < 10
        or _WORDS.search(folded) is not None
        or _SEQUENCE.search(folded) is not None
        or _REPEATED.fullmatch(folded) is not None
    )


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
    found |= {_listed(plain), raw.removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff").replace(b"\0", b"")} - {raw, b""}
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


_WORDS = re.compile(
    r"^eyj[a-z0-9]|lorem ipsum|bezkoder"
    r"|s[e3]cr[e3]t|chang[e3][-_ ]?(?:me|this|it)|p[a@4][s$5][s$5]w[o0]rd|passphrase|example|default|replace"
    r"|your[-_ ](?:own|256|384|512|jwt|key|token)|signing[-_ ]?key|insecure|qwerty|[-_ ]bits?[-_ ]|random[-_ ]string"
)
_SEQUENCE = re.compile(r"0123456789|1234567890|abcdefghij|qwertyuiop|9876543210")
_REPEATED = re.compile(r"(.{1,16}?)\1+.{0,15}", re.DOTALL)

# Samples that no rule above finds: from FastAPI's tutorial, RFC 7515 A.1, RFC 7520 3.5, jwt.io and Spring tutorials.
_KNOWN = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
        "hjtxiz2usn5kbqfbttnwbpdmhkv8fjg-onbc6mxccyg",
        "r9imkoe5crmgvjbbtp4hrqn7qipputoj",
        "0a6b944d-d2fb-46fc-a85e-0295c986cd9f",
        "16f8c0ef4a5d391b26034086c628469d3f9f497f08163ab9b40137092f2909ef",
        "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
        "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
        "413f4428472b4b6250645367566b5970337336763979244226452948404d6351",
        "357638792f423f4428472b4b6250655368566d597133743677397a2443264629",
        "462d4a614e645267556b58703273357638792f423f4528482b4d625165546857",
        "5367566b59703373367639792f423f4528482b4d6251655468576d5a71347437",
        "daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb",
        "9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9",
        "-kapdsgvkxp2s5v8y/b?e(h+mbqethwmzq3t6w9z$c&f)j@ncrfujxn2r5u7x!a%",
        "byym000ollmqg6vvvp1oh7xzyr7ghuw1qvuc5dcgt3snm",
        "dd5f3089-40c3-403d-af14-d0c228b05cb4",
    }
)
