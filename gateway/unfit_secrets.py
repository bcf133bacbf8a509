"""What makes a secret unfit for signing: others have it, or can guess it.

A public key is no secret: with it as an HMAC secret, every reader of it signs tokens (CVE-2024-33663). A sample of a
tutorial or of jwt.io is on every attacker's list.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP256R1, SECP384R1, SECP521R1
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as PublicPoint
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate, load_der_x509_csr

MAX_WRAPPINGS = 3
"""How many encodings are taken off, one within the other: base64 of PEM, whose body is base64 again."""


def is_key_material(secret: bytes) -> bool:
    """Return whether this is a public or private key or a certificate, in any of the forms in which keys are passed on.

    The bare 32 bytes of an Ed25519 key look like random ones and pass.
    """
    return any(_is_key(reading) for reading in _readings(secret, MAX_WRAPPINGS))


def is_guessable(secret: str) -> bool:
    """Return whether a secret is a sample that many have copied, or is made of few letters, words or repetitions."""
    folded = secret.strip().lower()
    return (
        folded in _KNOWN
        or len(set(folded)) < 10
        or _WORDS.search(folded) is not None
        or _SEQUENCE.search(folded) is not None
        or _REPEATED.fullmatch(folded) is not None
    )


def _readings(raw: bytes, depth: int) -> Iterator[bytes]:
    """Return what this may stand for: itself, and what comes out of each encoding that it may be in."""
    yield raw
    if depth == 0:
        return
    plain = raw.replace(rb"\n", b"\n").replace(rb"\r", b"\r").strip(b" \t\r\n\"'")
    dense = b"".join(plain.split())
    found = {plain, unquote_to_bytes(plain), *_decoded(dense)} - {raw}
    # What stands in the middle of PEM whose first or last line has been cut off.
    found |= {decoded for line in plain.splitlines() if len(line) > 64 for decoded in _decoded(line.strip())}
    for each in found:
        yield from _readings(each, depth - 1)


def _decoded(text: bytes) -> Iterator[bytes]:
    padding = b"=" * (-len(text.rstrip(b"=")) % 4)
    for alphabet in (b"+/", b"-_"):
        with suppress(binascii.Error):
            yield base64.b64decode(text.rstrip(b"=") + padding, alphabet, validate=True)
    with suppress(ValueError):
        yield bytes.fromhex(text.decode("ascii").removeprefix("0x").replace(":", ""))


def _is_key(raw: bytes) -> bool:
    return _NAMED.search(raw) is not None or any(_loads(load, raw) for load in _LOADERS)


# PEM and its kin, OpenSSH in one line and in its blob, JSON (RFC 7517), PuTTY, XML, OpenSSL's text, minisign, age.
_NAMED = re.compile(
    rb"-----BEGIN|-----END|---- BEGIN|\b(?:BEGIN|END) [A-Z0-9 ]*(?:KEY|CERTIFICATE)"
    rb"|^(?:\x00\x00\x00.)?(?:sk-)?(?:ssh-|ecdsa-sha2-)|^openssh-key-v1"
    rb"|[\"'](?:kty|keys|x5c|n|x)[\"']\s*:"
    rb"|PuTTY-User-Key-File|<RSAKeyValue|<Modulus>|public[- ]key|modulus ?[=(]|^age1[a-z0-9]{58}",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def _point_on(curve: SECP256R1 | SECP384R1 | SECP521R1 | SECP256K1) -> Callable[[bytes], object]:
    return lambda raw: PublicPoint.from_encoded_point(curve, raw)


_LOADERS: tuple[Callable[[bytes], object], ...] = (
    load_der_public_key,
    load_der_x509_certificate,
    load_der_x509_csr,
    lambda der: load_der_private_key(der, password=None),
    *(_point_on(curve) for curve in (SECP256R1(), SECP384R1(), SECP521R1(), SECP256K1())),
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
    r"s[e3]cr[e3]t|chang[e3][-_ ]?(?:me|this|it)|p[a@4][s$5][s$5]w[o0]rd|passphrase|example|default|replace"
    r"|your[-_ ](?:own|256|384|512|jwt|key|token)|signing[-_ ]?key|insecure|qwerty|[-_ ]bits?[-_ ]|random[-_ ]string"
)
_SEQUENCE = re.compile(r"0123456789|1234567890|abcdefghij|qwertyuiop|9876543210")
_REPEATED = re.compile(r"(.{1,16}?)\1+.{0,15}", re.DOTALL)

# Samples that no rule above finds: of FastAPI's tutorial, RFC 7515 A.1, RFC 7520 3.5, jwt.io and tutorials for Spring.
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
    }
)
