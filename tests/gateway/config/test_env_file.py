"""The file `.env`: a mistake in it is reported, and never silently means the default values."""

import logging
from pathlib import Path

import pytest

from gateway.config import settings
from gateway.config.settings import load_settings, warn_of_unknown_names
from gateway.core.start_error import StartError
from tests.gateway.cli.command import run

NOT_A_FILE_OF_SETTINGS = {
    "UTF-16": ("GATEWAY_JOIN_RATE=3\n".encode("utf-16"), ".env, line 1: expected UTF-8, got another encoding"),
    "UTF-16 without a mark": ("GATEWAY_JOIN_RATE=3\n".encode("utf-16-le"), ".env: expected UTF-8, got a file with NUL"),
    "latin-1": ("OK=1\nGATEWAY_DATA_DIR=Müller\n".encode("latin-1"), ".env, line 2: expected UTF-8"),
    "YAML": (b"GATEWAY_JOIN_RATE: hunter2\n", ".env, line 1: expected NAME=value, or a comment after #"),
    "no value": (b"\n\n# fine\nGATEWAY_SECRET_KEY\n", ".env, line 4: expected NAME=value"),
    "an open quote": (b"OK=1\n\nGATEWAY_SECRET_KEY='hunter2\n", ".env, line 3: expected NAME=value"),
}


@pytest.fixture(autouse=True)
def an_empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings._warn.cache_clear()
    settings._warn_of_lines.cache_clear()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING):
        warn_of_unknown_names()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("what", NOT_A_FILE_OF_SETTINGS)
def test_a_file_that_the_settings_would_misread_stops_the_start_in_one_line(tmp_path: Path, what: str) -> None:
    content, problem = NOT_A_FILE_OF_SETTINGS[what]
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.server
def test_a_folder_of_that_name_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert run(tmp_path, "serve").problem == (
        ".env: expected a file that the gateway may read, got: Is a directory; correct or remove it"
    )


def test_a_link_to_itself_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(".env")
    with pytest.raises(StartError, match=r"^\.env: expected a file that the gateway may read, got: Too many levels"):
        load_settings()


def test_a_file_as_windows_writes_it_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("\ufeffGATEWAY_JOIN_RATE=3\r\nexport GATEWAY_DATA_DIR='Müller'\r\n".encode())
    assert load_settings().join_rate == 3
    assert load_settings().data_dir == Path("Müller")


def test_a_slip_in_the_file_is_named_with_what_was_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = ("GATEWAY_ENVIROMENT=production", "GATWAY_JOIN_RATE=hunter2", "GATEWAY_X=1", "gateway_join_rate=2", "A=1")
    (tmp_path / ".env").write_text("\n".join(lines))
    said = warnings(caplog)
    assert said == [
        "GATEWAY_ENVIROMENT is not a setting of this version; did you mean GATEWAY_ENVIRONMENT?",
        "GATEWAY_X is not a setting of this version; `gateway settings` lists all of them",
        "GATWAY_JOIN_RATE is not a setting of this version; did you mean GATEWAY_JOIN_RATE?",
    ]
    assert load_settings().join_rate == 2
    assert warnings(caplog) == said  # each slip is named once


def test_a_name_without_its_beginning_or_with_what_cannot_be_seen_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "another program's")
    (tmp_path / ".env").write_text("environment=production\n\u200bGATEWAY_JOIN_RATE=3\nHOST=0.0.0.0\n")
    assert warnings(caplog) == [
        "\\u200bGATEWAY_JOIN_RATE is not a setting of this version; did you mean GATEWAY_JOIN_RATE?",
        "environment is not a setting of this version; did you mean GATEWAY_ENVIRONMENT?",
    ]


def test_a_setting_that_stands_twice_in_the_file_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".env").write_text("GATEWAY_JOIN_RATE=3\nA=1\nA=2\ngateway_join_rate=4\n")
    assert warnings(caplog) == ["GATEWAY_JOIN_RATE is on more than one line of .env; the last line counts"]
    assert load_settings().join_rate == 4


def test_a_slip_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("GATEWAY_SECRT_KEY", "hunter2")
    monkeypatch.setenv("GATEWAY_JOIN_RATE", "1")
    monkeypatch.setenv("GATEWAY_CHAT_PASSWORD", "hunter2")
    assert warnings(caplog) == ["GATEWAY_SECRT_KEY is not a setting of this version; did you mean GATEWAY_SECRET_KEY?"]
