"""The keys that sign: made, kept, refused, and rotated under live connections."""

import asyncio
import base64
import json
import logging
import stat
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import ValidationError

from gateway.auth.keys import key_ring
from gateway.auth.keys.key_files import make_file, retire_file
from gateway.auth.keys.key_ring import KeyReloader, load_key_ring
from gateway.auth.keys.signatures import Key, UnverifiedToken
from gateway.core.start_error import StartError
from gateway.testing import settings_for_tests
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import ec_signer, rsa_signer, signer_of
from tests.support.client import App
from tests.support.waiting import until

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
NAME = "20200101T000000Z-key1"


def test_in_development_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_key_ring(settings_for_tests(tmp_path)).signing_key(0)
    assert (first.kid, first.algorithm) == ("secret", "HS256")
    secret = tmp_path / "secret_key"
    assert len(secret.read_text().strip()) >= 32
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]
    token = first.sign({"a": 1}, "at+jwt")
    assert load_key_ring(settings_for_tests(tmp_path)).signing_key(0).verify(UnverifiedToken.parse(token)) == {"a": 1}


def test_two_gateways_have_two_secrets(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    load_key_ring(settings_for_tests(tmp_path / "a"))
    load_key_ring(settings_for_tests(tmp_path / "b"))
    assert (tmp_path / "a" / "secret_key").read_text() != (tmp_path / "b" / "secret_key").read_text()


def test_a_secret_that_is_set_is_used_and_none_is_made(tmp_path: Path) -> None:
    token = load_key_ring(settings_for_tests(tmp_path, secret_key=GOOD_SECRET)).signing_key(0).sign({"a": 1}, "at+jwt")
    assert Key.from_secret("secret", GOOD_SECRET.encode()).verify(UnverifiedToken.parse(token)) == {"a": 1}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "short"])
def test_a_secret_file_with_no_usable_secret_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content)
    with pytest.raises(StartError, match="holds no usable key; remove it"):
        load_key_ring(settings_for_tests(tmp_path))


def test_a_place_where_no_secret_can_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"\(Not a directory\); make"):
        load_key_ring(settings_for_tests(tmp_path / "file"))


def test_production_needs_a_secret_or_a_key_file_and_makes_neither(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path, environment="production", password_rounds=10)
    with pytest.raises(StartError, match=r"^GATEWAY_SECRET_KEY: .* openssl rand -base64 48 .* gateway keys new"):
        load_key_ring(settings)
    assert not list(tmp_path.iterdir())
    made = make_file(settings.key_folder, "ES256", time.time())
    assert load_key_ring(settings).signing_key(time.time()).kid == made.key.kid


PUBLIC_SECRETS = {
    f"{algorithm} in {form}": public
    for algorithm in ("ES256", "RS256")
    for form, public in signer_of(algorithm).public().items()
}


def der_that_ends_in(last: bytes) -> bytes:
    """Return a public key in DER with this last byte."""
    while True:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if der.endswith(last):
            return der


@pytest.mark.parametrize("last", [b"\t", b"\n", b" ", b"\x0b"])
def test_a_public_key_whose_last_byte_looks_like_white_space_is_no_secret(tmp_path: Path, last: bytes) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{NAME}.secret").write_bytes(der_that_ends_in(last))
    with pytest.raises(StartError, match=r"expected a random string, got a key or a certificate"):
        load_key_ring(settings_for_tests(tmp_path))


@pytest.mark.parametrize("public", PUBLIC_SECRETS.values(), ids=PUBLIC_SECRETS)
def test_a_public_key_is_no_secret_in_whatever_form_it_comes(tmp_path: Path, public: bytes) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{NAME}.secret").write_bytes(public)
    with pytest.raises(StartError, match=r"expected a random string, got a key or a certificate"):
        load_key_ring(settings_for_tests(tmp_path))
    (tmp_path / "keys" / f"{NAME}.secret").write_bytes(base64.b64encode(public))
    if not public.startswith((b"-----", b"ssh-", b"ecdsa-")):  # DER in base64 is a PEM without its frame
        with pytest.raises(StartError, match=r"expected a random string, got a key or a certificate"):
            load_key_ring(settings_for_tests(tmp_path))
        (tmp_path / "keys" / f"{NAME}.secret").unlink()
        with pytest.raises(ValidationError, match=r"expected a random string, got a key or a certificate"):
            settings_for_tests(tmp_path, secret_key=base64.b64encode(public).decode())


def _private_pem(private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: str | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password.encode())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


UNFIT: dict[str, tuple[str, bytes, str]] = {
    "RSA of 1,024 bits": (
        f"{NAME}.pem",
        rsa_signer("x", 1024).pem,
        "expected an RSA key of 2048 to 8192 bits, got 1024",
    ),
    "another curve": (f"{NAME}.pem", ec_signer("x", ec.SECP384R1()).pem, "expected the curve secp256r1 for ES256"),
    "Bitcoin's curve": (f"{NAME}.pem", ec_signer("x", ec.SECP256K1()).pem, "expected the curve secp256r1 for ES256"),
    "EdDSA": (
        f"{NAME}.pem",
        _private_pem(ed25519.Ed25519PrivateKey.generate()),
        "expected an EC key on the curve P-256",
    ),
    "a public key": (f"{NAME}.pem", signer_of("ES256").public()["PEM"], "expected a private key in PEM"),
    "a passphrase": (f"{NAME}.pem", _private_pem(ec.generate_private_key(ec.SECP256R1()), "x"), "it is encrypted"),
    "nonsense": (f"{NAME}.pem", b"nonsense", "expected a private key in PEM"),
    "a short secret": (f"{NAME}.secret", b"short", "expected at least 32 random bytes"),
    "a dull secret": (f"{NAME}.secret", b"ab" * 40, "expected at least 32 random bytes"),
    "another name": ("my.pem", signer_of("ES256").pem, "is not named as a key is; expected a name such as 2026"),
    "no such time": ("20209999T000000Z-x.pem", signer_of("ES256").pem, "20209999T000000Z-x.pem"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_weak_or_wrong_key_file_stops_the_start_in_words(tmp_path: Path, unfit: str) -> None:
    name, content, problem = UNFIT[unfit]
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(StartError) as refused:
        load_key_ring(settings_for_tests(tmp_path))
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_in_production_a_key_that_all_can_read_is_refused(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path, environment="production", password_rounds=10)
    made = make_file(settings.key_folder, "ES256", time.time())
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.key_folder.stat().st_mode) == 0o700
    made.path.chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        load_key_ring(settings)
    made.path.chmod(0o640)
    load_key_ring(settings)


def test_the_newest_key_signs_once_every_process_has_had_time_to_read_it(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path, secret_key=GOOD_SECRET)
    first = make_file(settings.key_folder, "ES256", 1_000_000)
    second = make_file(settings.key_folder, "HS256", 2_000_000)
    ring = load_key_ring(settings)
    assert ring.signing_key(1_000_059).kid == "secret"
    assert ring.signing_key(1_000_060).kid == first.key.kid
    assert ring.signing_key(2_000_059).kid == first.key.kid
    assert ring.signing_key(2_000_060).kid == second.key.kid
    retire_file(second, until=3_000_000)
    ring = load_key_ring(settings)
    assert ring.signing_key(2_500_000).kid == first.key.kid
    assert ring.find(second.key.kid, 2_999_999) is not None
    assert ring.find(second.key.kid, 3_000_000) is None
    assert {key.kid for key in ring.verifying_keys(2_500_000)} == {first.key.kid, second.key.kid}
    assert {key.kid for key in ring.verifying_keys(3_000_000)} == {first.key.kid}


def test_a_first_key_signs_at_once_where_there_is_no_other(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path)
    made = make_file(settings.key_folder, "RS256", time.time())
    assert load_key_ring(settings).signing_key(time.time()).kid == made.key.kid
    assert not (tmp_path / "secret_key").exists()


def _kid(token: str) -> str:
    kid: str = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
    return kid


async def test_keys_are_rotated_while_twenty_sockets_live_and_none_of_them_notices(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_connections_per_user=0)
    settings, ring = gateway.settings, gateway.state.tokens.keys
    watch = KeyReloader(settings, ring)
    async with App(gateway) as app, AsyncExitStack() as stack:
        old = await app.token("alice")
        assert _kid(old) == "secret"
        clients = [await stack.enter_async_context(app.socket(f"?token={old}")) for _ in range(20)]
        for client in clients:
            await client.expect("welcome")

        made = make_file(settings.key_folder, "ES256", gateway.clock.wall())
        await gateway.run(watch.reload_if_changed())
        assert _kid(await app.token("alice")) == "secret"  # the other processes may not have read it yet
        gateway.clock.ahead = 60
        new = await app.token("alice")
        assert _kid(new) == made.key.kid

        for token in (old, new):
            async with app.socket(f"?token={token}") as client:
                await client.expect("welcome", user="alice")
        await asyncio.gather(*(client.expect_nothing() for client in clients))

        # And back again: a retired key no longer signs, but its tokens stay valid until their end.
        retire_file(made, until=gateway.clock.wall() + 100)
        await gateway.run(watch.reload_if_changed())
        assert _kid(await app.token("alice")) == "secret"
        async with app.socket(f"?token={new}") as client:
            await client.expect("welcome", user="alice")
        gateway.clock.ahead += 101
        async with app.socket(f"?token={new}") as client:
            await client.expect("error", status=40001)
        await asyncio.gather(*(client.expect_nothing() for client in clients))


async def test_a_token_survives_a_restart_with_a_new_key(own_gateway: OwnGateway) -> None:
    before = own_gateway()
    async with App(before) as app:
        old = await app.token("alice")
    make_file(before.settings.key_folder, "RS256", time.time() - 100)
    async with App(own_gateway()) as app:
        async with app.socket(f"?token={old}") as client:
            await client.expect("welcome", user="alice")
        assert _kid(await app.token("alice")) != "secret"


async def test_a_running_gateway_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(key_ring, "REREAD_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    settings = settings_for_tests(tmp_path)
    ring = load_key_ring(settings)
    async with KeyReloader(settings, ring).running():
        made = make_file(settings.key_folder, "ES256", 0)
        await until(lambda: ring.find(made.key.kid, 0))
    assert "read the keys again" in caplog.text


async def test_a_bad_file_in_the_folder_of_a_running_gateway_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for_tests(tmp_path)
    made = make_file(settings.key_folder, "ES256", 0)
    ring = load_key_ring(settings)
    watch = KeyReloader(settings, ring)
    (settings.key_folder / "20200101T000000Z-bad.pem").write_text("nonsense")
    await watch.reload_if_changed()
    assert ring.signing_key(100).kid == made.key.kid
    assert "the keys stay as they were" in caplog.text
    (settings.key_folder / "20200101T000000Z-bad.pem").unlink()
    made.path.unlink()
    await watch.reload_if_changed()
    assert ring.signing_key(100).kid == made.key.kid
    assert "has none that signs" in caplog.text


PROGRAM = """
import sys
from pathlib import Path
from gateway.app import create_app
from gateway.auth.keys.key_files import make_file
from gateway.auth.keys.signatures import UnverifiedToken
for algorithm in ("HS256", "ES256", "RS256"):
    key = make_file(Path("keys"), algorithm, 1e9).key
    assert key.verify(UnverifiedToken.parse(key.sign({"a": 1}, "at+jwt"))) == {"a": 1}
print(sorted({name.partition(".")[0] for name in sys.modules} & {"ecdsa", "rsa", "pyasn1"}))
"""


@pytest.mark.server
def test_the_packages_that_scanners_report_are_not_even_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_python_joses_signatures_are_those_of_the_cryptography_library() -> None:
    for algorithm in ("HS256", "ES256", "RS256"):
        key = signer_of(algorithm).ring().signing_key(100)
        for part in (key._verifier, key._signer):
            assert type(part).__module__ == "jose.backends.cryptography_backend"
