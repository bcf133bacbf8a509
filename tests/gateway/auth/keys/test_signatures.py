"""Signatures of others: each algorithm accepts what its standard allows, and no key works for another algorithm."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.auth.keys.public_keys import UnfitKey
from gateway.auth.keys.signatures import BadToken, Key, UnverifiedToken
from tests.gateway.auth.forging import (
    SECRET,
    Signer,
    ec_signer,
    edwards_signer,
    encode,
    hmac_signer,
    pss_signer,
    rsa_signer,
)

WYCHEPROOF = Path(__file__).parent / "wycheproof"
ALL = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")

edwards, elliptic, pkcs1 = edwards_signer("key"), ec_signer("key"), rsa_signer("key")
pss = pss_signer("key", of=pkcs1)
shared = hmac_signer("key", SECRET.encode())


def key_of(signer: Signer, *algorithms: str, **changes: Any) -> Key:
    if signer.private is None:
        return Key.from_secret(signer.kid, SECRET.encode())
    return Key.from_jwk(signer.jwk(**changes), algorithms or ALL)


def accepted(key: Key, token: UnverifiedToken) -> bool:
    try:
        key.verify(token)
    except BadToken:
        return False
    return True


def accepts(key: Key, token: str) -> bool:
    return accepted(key, UnverifiedToken.parse(token))


# ---- the vectors of Project Wycheproof ----


def vectors(file: str) -> list[tuple[Key, dict[str, Any]]]:
    groups = json.loads((WYCHEPROOF / file).read_text())["testGroups"]
    return [
        (Key.from_jwk({**group["publicKeyJwk"], "kid": "key"}, ALL), test)
        for group in groups
        for test in group["tests"]
    ]


@pytest.mark.parametrize(
    ("file", "algorithm", "valid", "invalid"),
    [("ed25519_test.json", "EdDSA", 88, 63), ("rsa_pss_2048_sha256_mgf1_32_test.json", "PS256", 63, 45)],
)
def test_every_vector_of_wycheproof_is_judged_as_it_says(file: str, algorithm: str, valid: int, invalid: int) -> None:
    judged = {"valid": 0, "invalid": 0}
    for key, test in vectors(file):
        token = UnverifiedToken({"alg": algorithm}, bytes.fromhex(test["msg"]), b"{}", bytes.fromhex(test["sig"]))
        result = "valid" if accepted(key, token) else "invalid"
        assert result == test["result"], (test["tcId"], test["comment"])
        judged[result] += 1
    assert judged == {"valid": valid, "invalid": invalid}


# ---- Ed25519 ----

P = 2**255 - 19
EIGHTH = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")
BAD_POINTS = {
    f"{name}{', with the sign' if sign else ''}": (y | sign << 255).to_bytes(32, "little")
    for name, y in {
        "order 1": 1,
        "order 2": P - 1,
        "order 4": 0,
        "order 8": EIGHTH,
        "order 8, the other": P - EIGHTH,
        "order 4, as p": P,
        "order 1, as p + 1": P + 1,
        "3 as p + 3": P + 3,
        "the highest number": 2**255 - 1,
        "no point": 2,
    }.items()
    for sign in (0, 1)
}


def published(point: bytes, **changes: Any) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "x": encode(point), "kid": "key", **changes}


@pytest.mark.parametrize("bad", BAD_POINTS)
def test_a_point_with_which_others_could_sign_is_no_key(bad: str) -> None:
    with pytest.raises(UnfitKey, match=r"small order|canonical form|no point of the curve"):
        Key.from_jwk(published(BAD_POINTS[bad]), ALL)


def test_the_checked_points_are_all_those_of_small_order() -> None:
    def doubled(y: int) -> int:  # -x² + y² = 1 + d·x²·y², RFC 8032 §5.1.4
        x_squared = (y * y - 1) * pow(-121665 * pow(121666, -1, P) * y * y + 1, -1, P)
        return (y * y + x_squared) * pow(2 - y * y + x_squared, -1, P) % P

    for y in (1, P - 1, 0, EIGHTH, P - EIGHTH):
        assert doubled(doubled(doubled(y))) == 1
    assert [doubled(EIGHTH), doubled(0), doubled(P - 1)] == [0, P - 1, 1]


def test_without_that_check_one_signature_would_be_good_for_every_message() -> None:
    neutral = BAD_POINTS["order 1"]
    for message in (b"any", b"other"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), message)


def test_ed25519_has_two_names_and_no_third() -> None:
    unknown: list[Any] = ["Ed448", "ed25519", "EDDSA", "ES256", "none", "", None, ["EdDSA"], {"EdDSA": 1}, 7]
    for of_key in ("EdDSA", "Ed25519", ...):
        for accepted in ("EdDSA", "Ed25519"):
            key = key_of(edwards, accepted, alg=of_key)
            for named in ("EdDSA", "Ed25519"):
                assert accepts(key, edwards.sign({"a": 1}, alg=named))
            for each in unknown:
                assert not accepts(key, edwards.sign({"a": 1}, alg=each))


POINT = encode(b"\x01" + bytes(31))
WRONG_JWKS: dict[str, dict[str, Any]] = {
    "another curve": {"crv": "Ed448", "x": encode(bytes(57))},
    "for key agreement": {"crv": "X25519"},
    "a curve that is a list": {"crv": ["Ed25519"]},
    "no curve": {"crv": None},
    "31 bytes": {"x": encode(bytes(range(31)))},
    "33 bytes": {"x": encode(bytes(range(33)))},
    "no bytes": {"x": ""},
    "no text": {"x": 7},
    "standard base64": {"x": "+" + "A" * 42},
    "loose bits": {"x": "A" * 42 + "B"},
    "for another algorithm": {"alg": "ES256"},
    "an algorithm that is a list": {"alg": ["EdDSA"]},
    "another kind": {"kty": "EC"},
    "a kind that is a list": {"kty": ["OKP"]},
    "for encryption": {"use": "enc"},
    "for signing alone": {"key_ops": ["sign"]},
    "a name of its own kind": {"kid": 7},
    "an empty name": {"kid": ""},
    "a long name": {"kid": "x" * 257},
}


@pytest.mark.parametrize("wrong", WRONG_JWKS)
def test_a_published_key_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(UnfitKey):
        Key.from_jwk(edwards.jwk(**{"alg": ...} | WRONG_JWKS[wrong]), ALL)


# ---- PS256 ----


@pytest.mark.parametrize("salt_length", [0, 20, 31, 32, 33, 64, padding.PSS.MAX_LENGTH])
def test_the_salt_of_ps256_has_32_bytes_and_no_other_length(salt_length: Any) -> None:
    signer = pss_signer("key", salt_length, of=pkcs1)
    assert accepts(key_of(signer), signer.sign({"a": 1})) == (salt_length == 32)


def test_ps256_uses_one_hash_for_the_message_and_the_mask() -> None:
    private = pkcs1.private
    assert isinstance(private, rsa.RSAPrivateKey)
    for mask, message in ((hashes.SHA1(), hashes.SHA256()), (hashes.SHA256(), hashes.SHA512())):
        scheme = padding.PSS(padding.MGF1(mask), 32)
        signer = Signer("key", "PS256", lambda data, s=scheme, m=message: private.sign(data, s, m), private)  # type: ignore[misc]
        assert not accepts(key_of(signer), signer.sign({"a": 1}))


def test_an_rsa_key_has_one_algorithm_also_if_it_could_have_both() -> None:
    for named, accepted, refused in ((pkcs1, pkcs1, pss), (pss, pss, pkcs1)):
        key = key_of(named)
        assert accepts(key, accepted.sign({"a": 1}))
        assert not accepts(key, refused.sign({"a": 1}))
    # A key that names none has the first of the setting.
    assert key_of(pkcs1, "PS256", "RS256", alg=...).algorithm == "PS256"
    assert key_of(pkcs1, "RS256", "PS256", alg=...).algorithm == "RS256"
    with pytest.raises(UnfitKey, match="expected a key for one of RS256, ES256"):
        key_of(pss, "RS256", "ES256")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_weak_rsa_key_is_refused_with_the_reason(algorithm: str) -> None:
    with pytest.raises(UnfitKey, match=r"expected an RSA key of 2048 to 8192 bits, got 1024"):
        Key.from_jwk(rsa_signer("key", 1024).jwk(alg=algorithm), ALL)


@pytest.mark.parametrize("bits", [65, 2040])
def test_an_rsa_key_that_is_slow_to_verify_with_is_refused(bits: int) -> None:
    exponent = encode(((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8))
    with pytest.raises(UnfitKey, match=r"expected a public exponent of at most 64 bits"):
        key_of(pkcs1, e=exponent)


# ---- confusion of algorithms, in each direction ----

SIGNERS = {"HS256": shared, "ES256": elliptic, "RS256": pkcs1, "PS256": pss, "EdDSA": edwards}


@pytest.mark.parametrize("owner", SIGNERS)
def test_a_key_accepts_its_own_algorithm_alone_whatever_the_header_says(owner: str) -> None:
    signer = SIGNERS[owner]
    key = key_of(signer)
    assert accepts(key, signer.sign({"a": 1}))
    for other in SIGNERS.values():
        for said in (*SIGNERS, "Ed25519", "none", "HS384", "PS384"):
            genuine = other is signer and said in ({"EdDSA", "Ed25519"} if owner == "EdDSA" else {owner})
            assert accepts(key, other.sign({"a": 1}, alg=said)) == genuine, (other.algorithm, said)


@pytest.mark.parametrize("owner", ["ES256", "RS256", "PS256", "EdDSA"])
def test_a_public_key_is_no_secret_in_any_form(owner: str) -> None:
    signer = SIGNERS[owner]
    forms = [*signer.public().values(), json.dumps(signer.jwk()).encode(), b""]
    forms += [str(value).encode() for value in signer.jwk().values()]
    if isinstance(public := signer.private and signer.private.public_key(), Ed25519PublicKey):
        forms.append(public.public_bytes_raw())
    key = key_of(signer)
    for secret in forms:
        for said in ("HS256", owner):
            assert not accepts(key, hmac_signer("key", secret).sign({"a": 1}, alg=said))


def test_a_secret_among_published_keys_is_no_key() -> None:
    for kty in ("oct", "OKP", "RSA"):
        with pytest.raises(UnfitKey):
            Key.from_jwk({"kty": kty, "k": "a" * 43, "kid": "key", "alg": "HS256"}, [*ALL, "HS256"])
