"""Files with wrong rights, wrong names and old backups, and the lines that mend them."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.doctor import nodes, proxy
from gateway.cli.doctor.findings import Finding, Verdict
from tests.gateway.cli.doctor.conftest import Look, bad, worst

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o644, Verdict.PROBLEM), (0o606, Verdict.PROBLEM), (0o660, Verdict.WARNING)]
)
def test_an_env_file_that_others_can_read_or_change(look: Look, mode: int, verdict: Verdict) -> None:
    Path(".env").write_text("GATEWAY_TOKEN_MINUTES=5\n")
    Path(".env").chmod(mode)
    found = bad(look("env file"))
    assert (found.verdict, found.change.split()[0]) == (verdict, "chmod")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"GATEWAY_X", b"a\0b"])
def test_an_env_file_that_cannot_be_read(look: Look, content: bytes) -> None:
    Path(".env").write_bytes(content)
    Path(".env").chmod(0o600)
    assert bad(look("env file")).verdict is Verdict.PROBLEM


def test_an_env_file_that_is_right_or_not_there(look: Look) -> None:
    assert worst(look("env file")) is Verdict.OK
    Path(".env").write_text("GATEWAY_TOKEN_MINUTES=5\n")
    Path(".env").chmod(0o600)
    assert worst(look("env file")) is Verdict.OK


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("GATEWAY_TOKEN_MINUTE", "GATEWAY_TOKEN_MINUTES=…"),
        ("GATEWAY_DATABSE_URL", "GATEWAY_DATABASE_URL=…"),
        ("GATEWAY_WHAT_IS_THIS", "remove GATEWAY_WHAT_IS_THIS"),
    ],
)
def test_a_name_that_is_no_setting(look: Look, name: str, change: str) -> None:
    found = bad(look("names", environ={name: "a-secret", "PATH": "/bin"}))
    assert found.verdict is Verdict.WARNING
    assert found.change.startswith(change)
    assert "a-secret" not in found.found + found.change


def test_a_data_folder_that_others_can_enter(look: Look, tmp_path: Path) -> None:
    assert worst(look("data folder")) is Verdict.OK
    (tmp_path / "data").mkdir(mode=0o700)
    assert worst(look("data folder")) is Verdict.OK
    (tmp_path / "data").chmod(0o755)
    assert bad(look("data folder")).change == f"chmod 700 {tmp_path / 'data'}"


def test_a_file_in_the_data_folder_that_all_can_read(look: Look, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data/audit.log").touch(0o644)
    found = bad(look("data folder"))
    assert (found.verdict, found.change) == (Verdict.PROBLEM, f"chmod 600 {tmp_path / 'data/audit.log'}")


def test_a_data_folder_of_another_user(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "chown -R 4711" in bad(look("data folder")).change


def test_a_data_folder_that_this_user_cannot_look_into(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "data").mkdir(mode=0o700)
    monkeypatch.setattr(os, "scandir", refuse)
    found = bad(look("data folder"))
    assert (found.verdict, found.change) == (Verdict.PROBLEM, "run this as the gateway's user, or as root")


@pytest.mark.parametrize("check", ["nodes", "public address"])
def test_sockets_that_this_user_cannot_look_at(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    def refuse(folder: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    async def nothing(*_: object) -> list[Finding]:
        return []

    (tmp_path / "data").mkdir(mode=0o700)
    for name, put in (("sockets_in", refuse), ("_health", nothing), ("_scheme", nothing)):
        for module in (nodes, proxy):
            monkeypatch.setattr(module, name, put, raising=False)
    found = bad(look(check, subject={"url": "http://127.0.0.1:1"}))
    assert found.found == f"this user may not look at {tmp_path / 'data'}"
    assert found.change == "run this as the gateway's user, or as root"


def test_a_data_folder_that_is_a_file(look: Look, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert bad(look("data folder")).verdict is Verdict.PROBLEM


@pytest.mark.parametrize("content", ["[routes.", "[routes.'a.b']\n", "[hooks.x]\nurl = 5\n", "what = 1\n"])
def test_a_routes_file_that_is_wrong(look: Look, tmp_path: Path, content: str) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(content)
    assert worst(look("routes", routes=file)) is Verdict.PROBLEM


def test_a_routes_file_that_is_missing_or_right(look: Look, tmp_path: Path) -> None:
    assert worst(look("routes")) is Verdict.OK
    assert worst(look("routes", routes=tmp_path / "none.toml")) is Verdict.PROBLEM
    file = tmp_path / "routes.toml"
    file.write_text('[routes."stock.*"]\nworker = true\n')
    assert worst(look("routes", routes=file)) is Verdict.OK


def test_a_routes_file_with_secrets_that_all_can_read(look: Look, tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(
        '[routes."orders.*"]\nurl = "https://orders.example.com"\nsecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"\n'
    )
    file.chmod(0o644)
    found = bad(look("routes", routes=file))
    assert found.change == f"chmod 600 {file}"
    assert "whsec" not in found.found


@pytest.mark.parametrize(("hours", "size", "verdict"), [(1, 9, "ok"), (30, 9, "warning"), (1, 0, "problem")])
def test_a_backup_that_is_old_or_empty(look: Look, tmp_path: Path, hours: int, size: int, verdict: str) -> None:
    file = tmp_path / "backup.db"
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - hours * 3600,) * 2)
    subject: Any = {"backup": file}
    assert worst(look("backup", subject=subject)) == verdict


def test_a_backup_that_is_missing(look: Look, tmp_path: Path) -> None:
    assert worst(look("backup")) is Verdict.OK
    assert bad(look("backup", subject={"backup": tmp_path / "none.db"})).verdict is Verdict.PROBLEM
