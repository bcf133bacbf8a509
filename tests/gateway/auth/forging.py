"""Tokens as an attacker makes them, for each algorithm: the usual list, and what follows from the gateway's own."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.auth.keys.key_files import SECRET_KID, KeyFile
from gateway.auth.keys.key_ring import KeyRing
from gateway.auth.keys.signatures import Key, PrivateKey
from gateway.auth.tokens import Claims

SECRET = "k" * 40 + "0123456789"
ALGORITHMS = ("HS256", "ES256", "RS256")


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_hmac(key: bytes, header: Any, claims: Any) -> str:
    """Sign any header and claims correctly with HMAC-SHA-256: only the header or the claims are wrong then."""
    signing_input = f"{encode(header)}.{encode(claims)}"
    return f"{signing_input}.{encode(hmac.digest(key, signing_input.encode(), hashlib.sha256))}"


@dataclass(frozen=True)
class Signer:
    """An attacker with the key, who signs anything"""

    kid: str
    algorithm: str
    raw: Callable[[bytes], bytes]
    private: PrivateKey | Ed25519PrivateKey | None = None
    header: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid})

    def sign(self, claims: Any, header: Any = None, **changes: Any) -> str:
        """Sign any claims, with a correct header unless another is given."""
        header = {**self.header, **changes} if header is None else header
        if isinstance(header, dict):
            header = {name: value for name, value in header.items() if value is not ...}
        signing_input = f"{encode(header)}.{encode(claims)}"
        return f"{signing_input}.{encode(self.raw(signing_input.encode()))}"

    @property
    def pem(self) -> bytes:
        """The private key, as a file holds it."""
        assert self.private is not None
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def public(self) -> dict[str, bytes]:
        """The public key, which is known to all, in each of its forms."""
        assert self.private is not None
        public = self.private.public_key()
        return {
            "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "SSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        }

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key in the form that an issuer publishes."""
        assert self.private is not None
        if isinstance(self.private, Ed25519PrivateKey):
            point = encode(self.private.public_key().public_bytes_raw())
            published: dict[str, Any] = {"kty": "OKP", "crv": "Ed25519", "x": point, "kid": self.kid, "use": "sig"}
        else:
            published = Key.from_private(self.kid, self.private).public_jwk() or {}
        published |= {"alg": self.algorithm, **changes}
        return {name: value for name, value in published.items() if value is not ...}

    def ring(self) -> KeyRing:
        """The keys of a gateway that signs with this one, and also has a secret."""
        secret = Key.from_secret(SECRET_KID, SECRET.encode())
        if self.private is None:
            return KeyRing(secret)
        assert not isinstance(self.private, Ed25519PrivateKey)
        return KeyRing(secret, [KeyFile(None, Key.from_private(self.kid, self.private), 0, None)])  # type: ignore[arg-type]


def ec_signer(kid: str, curve: ec.EllipticCurve | None = None) -> Signer:
    """Make a new ES256 key."""
    private = ec.generate_private_key(curve or ec.SECP256R1())

    def raw(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(signing_input, ec.ECDSA(hashes.SHA256())))
        size = (private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return Signer(kid, "ES256", raw, private)


def rsa_signer(kid: str, bits: int = 2048) -> Signer:
    """Make a new RS256 key."""
    private = rsa.generate_private_key(65537, bits)
    return Signer(kid, "RS256", lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256()), private)


def pss_signer(kid: str, salt_length: int = 32, of: Signer | None = None) -> Signer:
    """Make a PS256 key, or one from the private key of another signer."""
    private = rsa.generate_private_key(65537, 2048) if of is None else of.private
    assert isinstance(private, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length)
    return Signer(kid, "PS256", lambda data: private.sign(data, pss, hashes.SHA256()), private)


def edwards_signer(kid: str) -> Signer:
    """Make a new Ed25519 key."""
    private = Ed25519PrivateKey.generate()
    return Signer(kid, "EdDSA", private.sign, private)


def hmac_signer(kid: str, secret: bytes) -> Signer:
    """Make an HS256 key from a secret."""
    return Signer(kid, "HS256", lambda data: hmac.digest(secret, data, hashlib.sha256))


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


KID = "20200101T000000Z-key1"


@cache
def signer_of(algorithm: str) -> Signer:
    """The key of the gateway that is attacked."""
    if algorithm == "HS256":
        return hmac_signer(SECRET_KID, SECRET.encode())
    return ec_signer(KID) if algorithm == "ES256" else rsa_signer(KID)


def good_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "iss": "json-gateway",
        "sub": "somebody",
        "aud": "json-gateway",
        "exp": now + 600,
        "iat": now,
        "nbf": now,
        "jti": "token-1",
        "sid": "session-1",
        "scope": "chat:read",
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


IN_AN_HOUR = int(time.time()) + 3600

WRONG_CLAIMS: dict[str, list[Any]] = {
    "exp": ["4000000000", 4e9, True, None, [], {}, -1, 10**18],
    "iat": ["1", None, 0, IN_AN_HOUR],
    "nbf": ["1", None, IN_AN_HOUR],
    "sub": [1, [], None, "", "x" * 129],
    "aud": ["another", ["json-gateway"], None, 1],
    "iss": ["another", ["json-gateway"], None],
    "jti": [1, None, ""],
    "sid": [1, None, ""],
    "scope": [["admin"], None, 1, "x" * 1025],
}

WRONG_KIDS: list[Any] = [
    "",
    "another",
    "../../../../dev/null",
    "/dev/null",
    "x' UNION SELECT 'secret' --",
    "key|sleep 5",
    "http://127.0.0.1:1/key",
    "x" * 300,
    1,
    None,
    [],
    ["secret"],
    {},
    True,
]

WRONG_ALGORITHMS: list[Any] = [
    *("none", "None", "NONE", "nOnE", "", None, 0, [], {}),
    *("HS384", "HS512", "RS512", "ES384", "PS256"),
]

WRONG_HEADERS: dict[str, dict[str, Any]] = {
    "crit": {"crit": ["exp"]},
    "crit of b64": {"crit": ["b64"], "b64": False},
    "b64": {"b64": False},
    "zip": {"zip": "DEF"},
    "cty": {"cty": "JWT"},
    "jwk": {"jwk": {"kty": "oct", "k": "AA"}},
    "jku": {"jku": "http://127.0.0.1:1/keys"},
    "x5u": {"x5u": "http://127.0.0.1:1/key"},
    "x5c": {"x5c": ["AA"]},
    "typ JWT": {"typ": "JWT"},
    "typ of a refresh token": {"typ": "rt+jwt"},
    "typ in capitals": {"typ": "AT+JWT"},
    "no typ": {"typ": ...},
    "no alg": {"alg": ...},
    **{f"kid {str(kid)[:40]!r} {type(kid).__name__}": {"kid": kid} for kid in WRONG_KIDS},
    **{f"alg {alg!r}": {"alg": alg} for alg in WRONG_ALGORITHMS},
}


def attacks(signer: Signer, sub: str = "somebody", sid: str = "session-1") -> dict[str, str]:
    """Make every token of the list. A gateway that accepts one takes it for a token of `sub`, in the session `sid`."""

    def claims_with(**changes: Any) -> dict[str, Any]:
        return good_claims(**({"sub": sub, "sid": sid} | changes))

    good = signer.sign(claims_with())
    head, _, signature = good.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    stranger = hmac_signer(signer.kid, b"another key, as long as it has to be")
    claims = json.dumps(claims_with())
    forged = {
        "empty": "",
        "one dot": "a.b",
        "only dots": "..",
        "two parts": head,
        "four parts": good + ".x",
        "five parts": "a.b.c.d.e",
        "10 MB": "a" * 10_000_000,
        "4,097 characters": good.ljust(4097, "a"),
        "not ASCII": "ä.ö.ü",
        "NUL": good + "\0",
        "a newline": good + "\n",
        "a space": " " + good,
        "padding": good + "=",
        "the standard alphabet": "eyJ+.eyJ/.AA",
        "junk in the middle": head[:20] + "!" + head[20:] + "." + signature,
        "another key": stranger.sign(claims_with(), signer.header),
        "another key with its own algorithm": stranger.sign(claims_with()),
        "no signature": head + ".",
        "a null signature": head + "." + encode(b"\0" * len(raw)),
        "a signature cut short": good[:-3],
        "a signature made longer": head + "." + encode(raw + b"\0"),
        "one bit of the signature": head + "." + encode(bytes([raw[0] ^ 1]) + raw[1:]),
        "another's claims": f"{head.partition('.')[0]}.{encode(claims_with(scope='admin'))}.{signature}",
        "another's header": f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{good.partition('.')[2]}",
        "an empty secret": with_hmac(b"", {**signer.header, "alg": "HS256"}, claims_with()),
        "duplicate alg": signer.sign(claims_with(), b'{"alg":"none",' + json.dumps(signer.header).encode()[1:]),
        "duplicate sub": signer.sign(claims.replace("{", '{"sub":"me",', 1).encode()),
        "header an array": signer.sign(claims_with(), []),
        "header a text": signer.sign(claims_with(), "HS256"),
        "header null": signer.sign(claims_with(), b"null"),
        "header not UTF-8": signer.sign(claims_with(), b"\xff\xfe"),
        "a lone surrogate in sub": signer.sign(json.dumps(claims_with(sub="S")).replace('"S"', '"\\ud800"').encode()),
        "a life of 25 hours": signer.sign(claims_with(exp=int(time.time()) + 25 * 3600)),
    }
    for name, header in WRONG_HEADERS.items():
        forged[f"header with {name}"] = signer.sign(claims_with(), **header)
        if name.startswith("alg"):
            forged[f"{name}, unsigned"] = encode({**signer.header, **header}) + "." + encode(claims_with()) + "."
    for depth in (300, 900, 990, 2000):
        forged[f"header {depth} levels deep"] = signer.sign(claims_with(), b"[" * depth)
    for depth in (300, 900, 990):
        forged[f"payload {depth} levels deep"] = signer.sign(b"[" * depth + b"]" * depth)
    for payload in (b"", b"[]", b'"a"', b"null", b"7", b"\xff", b"{", b"{}"):
        forged[f"payload {payload!r}"] = signer.sign(payload)
    for name in (name for name, info in Claims.model_fields.items() if info.is_required()):
        forged[f"no {name}"] = signer.sign(claims_with(**{name: ...}))
    for name, values in WRONG_CLAIMS.items():
        for value in values:
            # Named without the time: each process that collects the tests must find the same names.
            told = "in an hour" if value == IN_AN_HOUR else f"{str(value)[:40]!r} {type(value).__name__}"
            forged[f"{name} {told}"] = signer.sign(claims_with(**{name: value}))
    for literal in ("NaN", "Infinity", "1e400", "1" * 400, "1" * 2000):
        forged[f"exp {literal[:10]}, {len(literal)} long"] = signer.sign(
            json.dumps(claims_with(exp=12345)).replace("12345", literal).encode()
        )
    return forged | _asymmetric_attacks(signer, claims_with())


def _asymmetric_attacks(signer: Signer, claims: dict[str, Any]) -> dict[str, str]:
    if signer.private is None:
        return {}
    forged = {}
    # The oldest confusion: the public key, which is known to all, as the secret of an HMAC.
    for form, public in signer.public().items():
        for kid in (signer.kid, SECRET_KID, ...):
            name = f"HMAC with the public key in {form}, kid {kid if isinstance(kid, str) else 'left out'}"
            forged[name] = hmac_signer(signer.kid, public).sign(claims, kid=kid)
            forged[name + ", a newline less"] = hmac_signer(signer.kid, public.strip()).sign(claims, kid=kid)
    mine = ec_signer(signer.kid) if signer.algorithm == "ES256" else rsa_signer(signer.kid)
    forged["the attacker's own key"] = mine.sign(claims)
    forged["the attacker's own key, embedded"] = mine.sign(claims, jwk=mine.jwk())
    forged["the right secret, and the name of the other key"] = hmac_signer(signer.kid, SECRET.encode()).sign(claims)
    forged["the right key, and the name of the secret"] = signer.sign(claims, kid=SECRET_KID)
    forged["the right key without its name"] = signer.sign(claims, kid=...)
    if isinstance(signer.private, ec.EllipticCurvePrivateKey):
        head = signer.sign(claims).rpartition(".")[0]
        der = signer.private.sign(head.encode(), ec.ECDSA(hashes.SHA256()))
        forged["a signature in DER"] = f"{head}.{encode(der)}"
        forged["r and s of the curve's order"] = (
            f"{head}.{encode(bytes.fromhex('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551') * 2)}"
        )
    return forged
