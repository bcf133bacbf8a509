"""Keys that are guessable, missing or readable for others."""

import os
from pathlib import Path

import pytest

from gateway.cli.doctor.findings import Verdict
from tests.gateway.cli.doctor.conftest import GOOD_SECRET, Look, bad, worst

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "secret", ["change-me-change-me-change-me-change-me", "0123456789" * 4, "a" * 40, "abcabcab" * 5]
)
def test_a_secret_that_is_easy_to_guess(look: Look, secret: str) -> None:
    # A start in production refuses it, so development is where the doctor meets it.
    found = bad(look("signing key", environment="development", secret_key=secret))
    assert found.verdict is Verdict.PROBLEM
    assert "openssl rand" in found.change
    assert secret not in found.found + found.change


def test_no_key_at_all(look: Look) -> None:
    assert bad(look("signing key", secret_key=None)).verdict is Verdict.PROBLEM
    assert bad(look("signing key", secret_key=None, environment="development")).verdict is Verdict.WARNING
    assert worst(look("signing key", secret_key=GOOD_SECRET)) is Verdict.OK


def test_a_key_file_that_is_no_key(look: Look, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys/key.pem").write_text("nonsense")
    (tmp_path / "keys/key.pem").chmod(0o600)
    assert bad(look("signing key", keys_dir=tmp_path / "keys")).verdict is Verdict.PROBLEM


@pytest.mark.parametrize(
    ("mode", "verdict"),
    [
        (0o644, Verdict.PROBLEM),
        (0o604, Verdict.PROBLEM),
        (0o620, Verdict.PROBLEM),
        (0o640, Verdict.WARNING),
        (0o440, Verdict.WARNING),
    ],
)
def test_a_key_file_that_others_can_read(look: Look, tmp_path: Path, mode: int, verdict: Verdict) -> None:
    assert worst(look("key files")) is Verdict.OK
    (tmp_path / "keys").mkdir(mode=0o700)
    key = tmp_path / "keys/key.pem"
    key.touch()
    key.chmod(mode)
    found = bad(look("key files", keys_dir=tmp_path / "keys"))
    assert (found.verdict, found.change) == (verdict, f"chmod 600 {key}")
    key.chmod(0o600)
    assert worst(look("key files", keys_dir=tmp_path / "keys")) is Verdict.OK


def test_a_mounted_secret_of_kubernetes(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is a link into a folder with a time, and belongs to root and the gateway's group."""
    folder = tmp_path / "keys"
    (folder / "..2026_11_21_10_15_00.1").mkdir(parents=True, mode=0o755)
    folder.chmod(0o777)
    key = folder / "..2026_11_21_10_15_00.1/key.pem"
    key.touch()
    key.chmod(0o440)
    (folder / "..data").symlink_to(key.parent.name)
    (folder / "key.pem").symlink_to("..data/key.pem")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert worst(look("key files", keys_dir=folder)) is Verdict.OK
    key.chmod(0o444)
    assert bad(look("key files", keys_dir=folder)).verdict is Verdict.PROBLEM
