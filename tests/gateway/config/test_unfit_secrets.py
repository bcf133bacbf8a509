"""Unfit secrets: public keys in every form, and the first guesses of attackers."""

import base64
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.auth.keys.signatures import Key
from gateway.config.key_material import is_key_material
from gateway.config.unfit_secrets import is_guessable

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def of_one(private: Private) -> Iterator[tuple[str, bytes]]:
    """The forms of one key, without their wrappings."""
    public = private.public_key()
    yield "PEM", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    yield "SSH", public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    yield "SSH's blob", base64.b64decode(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    yield "private PEM", private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    yield "private DER", private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x" * 8))
    yield "private SSH", private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    if isinstance(public, rsa.RSAPublicKey):
        yield "PKCS#1", public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        yield "OpenSSL's modulus", f"Modulus={public.public_numbers().n:X}\n".encode()
        yield "the modulus alone", public.public_numbers().n.to_bytes(256)
        yield "the modulus in decimals", str(public.public_numbers().n).encode()
        yield "XML", b"<RSAKeyValue><Modulus>4bbs</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"
    if isinstance(public, ec.EllipticCurvePublicKey):
        yield "point", public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        yield "point without its mark", public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        yield "compressed point", public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    if isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        document = Key.from_private("mine", private).public_jwk()
        yield "JWK", json.dumps(document).encode()
        yield "JWKS", json.dumps({"keys": [document]}, indent=2).encode()
        yield "certificate", certificate(private)


def certificate(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example.com")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return built.sign(private, SHA256()).public_bytes(Encoding.DER)


def wrapped(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The same after shells, settings files and consoles have changed it."""
    yield "as it is", raw
    yield "base64", base64.b64encode(raw)
    yield "base64 in lines", base64.encodebytes(raw)
    yield "base64url", base64.urlsafe_b64encode(raw).rstrip(b"=")
    yield "hex", raw.hex().encode()
    yield "hex with colons", raw.hex(":").upper().encode()
    yield "base64 twice", base64.b64encode(base64.b64encode(raw))
    yield "base32", base64.b32encode(raw)
    yield "the value of a variable", b"JWT_KEY=" + base64.b64encode(raw)
    yield "a data URL", b"data:application/octet-stream;base64," + base64.b64encode(raw)
    yield "bytes of C", ", ".join(f"0x{byte:02x}" for byte in raw).encode()
    yield "bytes of Java", ", ".join(str(byte - 256 if byte > 127 else byte) for byte in raw).encode()
    yield "escapes", "".join(f"\\x{byte:02x}" for byte in raw).encode()
    if raw.isascii():
        yield "UTF-16", raw.decode().encode("utf-16")
        yield "in one line", raw.replace(b"\n", b"\\n")
        yield "in quotes", b'"' + raw.strip() + b'"'
        yield "percent-encoded", quote(raw.decode(), safe="").encode()
        yield "without its first line", raw.partition(b"\n")[2] or raw
        yield "its body alone", b"".join(raw.strip().splitlines()[1:-1]) or raw
        yield "in lines of Windows", raw.replace(b"\n", b"\r\n")


FORMS = {
    f"{kind} {form}, {wrapping}": content
    for kind, private in (("RSA", RSA), ("EC", EC), ("Ed25519", EDWARDS))
    for form, raw in of_one(private)
    for wrapping, content in wrapped(raw)
}
FORMS["PuTTY"] = b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"
FORMS["OpenPGP"] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n-----END PGP PUBLIC KEY BLOCK-----\n"
FORMS["SSH2"] = b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAAC3NzaC1lZDI1NTE5AAAA\n---- END SSH2 PUBLIC KEY ----\n"
FORMS["minisign"] = (
    b"untrusted comment: minisign public key 1\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
)
FORMS["X.509 PEM"] = x509.load_der_x509_certificate(certificate(RSA)).public_bytes(Encoding.PEM)


def test_no_form_of_a_key_is_taken_for_a_secret() -> None:
    assert len(FORMS) > 300
    # A private key in hex or the like without its marks is one of the forms: its public half is in it.
    assert [name for name, content in FORMS.items() if not is_key_material(content)] == []


@pytest.mark.parametrize("length", [32, 33, 48, 64, 65, 97])
def test_what_is_random_is_a_secret(length: int) -> None:
    for _ in range(50):
        raw = b"\x01" + secrets.token_bytes(length - 1)  # a point of a curve begins with 2, 3 or 4
        for text in (base64.b64encode(raw).decode(), raw.hex(), base64.urlsafe_b64encode(raw).rstrip(b"=").decode()):
            assert not is_key_material(text.encode())
            assert not is_guessable(text)


SAMPLES = [
    "change-me-change-me-change-me-change-me",  # of .env.example
    "your-256-bit-secret-your-256-bit",
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-at-least-512-bits-long-which-is-longer-than-others",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    "r9iMKoe5CRMgvJBBtp4HrqN7QiPpUToj",
    "THIS_IS_A_VERY_LONG_SECRET_KEY_FOR_JWT",
    "CHANGE_THIS_TO_SOMETHING_RANDOM_NOW",
    "<random_string_at_least_32_characters_long>",
    "SuperDuperS3cretKeyForMyApplication",
    "MyP@ssw0rdIsVeryLongAndHardToGuess",
    "test123-test123-test123-test123-test123",
    "12345678901234567890123456789012",
    "01234567890abcde01234567890abcde",
    "abcdefghijklmnopqrstuvwxyzABCDEF",
    "QWERTYUIOPASDFGHJKLZXCVBNM1234567",
    "daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb",
    "-KaPdSgVkXp2s5v8y/B?E(H+MbQeThWmZq3t6w9z$C&F)J@NcRfUjXn2r5u7x!A%",
    "========================bezKoder=Spring===========================",
    "lorem ipsum dolor sit amet consectetur",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x",
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_of_a_tutorial_is_no_secret(sample: str) -> None:
    assert is_guessable(sample)
