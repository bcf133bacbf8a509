"""The signing key."""

import stat
from pathlib import Path

import pytest

from gateway.auth.keys import signing_key
from gateway.startup import StartError
from tests.server import settings_for_tests


def test_in_development_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = signing_key(settings_for_tests(tmp_path))
    assert len(key) >= 32
    assert signing_key(settings_for_tests(tmp_path)) == key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]


def test_two_gateways_have_two_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert signing_key(settings_for_tests(tmp_path / "a")) != signing_key(settings_for_tests(tmp_path / "b"))


def test_a_key_that_is_set_is_used_and_none_is_made(tmp_path: Path) -> None:
    key = "0123456789abcdefghijklmnopqrstuvwxyz"
    assert signing_key(settings_for_tests(tmp_path, secret_key=key)) == key
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "short"])
def test_a_key_file_with_no_usable_key_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret_key").write_text(content)
    with pytest.raises(StartError, match="holds no usable key; remove it"):
        signing_key(settings_for_tests(tmp_path))


def test_a_place_where_no_key_can_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot keep the signing key in .* make the data folder writable"):
        signing_key(settings_for_tests(tmp_path / "file"))
