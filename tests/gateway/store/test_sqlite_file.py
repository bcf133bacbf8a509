"""The file of a SQLite database: private, the gateway's own, and otherwise refused in one line."""

import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.start_error import StartError
from gateway.store.engine import Database
from gateway.store.sqlite_file import SqliteFile
from gateway.testing import running_gateway, settings_for_tests


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in sorted(folder.glob("gateway.db*"))}


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


ALL_PRIVATE = dict.fromkeys(("gateway.db", "gateway.db-shm", "gateway.db-wal", "gateway.db.lock"), "0o600")


@pytest.mark.server
@pytest.mark.usefixtures("umask")
def test_only_the_owner_may_read_the_database_whatever_the_umask(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with running_gateway(settings_for_tests(tmp_path, audit_log="off", secret_key=secrets.token_urlsafe(40))):
        assert modes(tmp_path) == ALL_PRIVATE


@pytest.mark.server
def test_an_existing_database_that_others_may_read_becomes_private(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path)
    with running_gateway(settings):
        # What a killed gateway leaves behind: the log is not taken into the database.
        files = {path: path.read_bytes() for path in tmp_path.glob("gateway.db*") if path.suffix != ".lock"}
    for path, content in files.items():
        path.write_bytes(content)
        path.chmod(0o644)
    with running_gateway(settings):
        assert modes(tmp_path) == ALL_PRIVATE


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:gateway?mode=memory&uri=true",
        "sqlite:///gateway.db?mode=memory",
        "sqlite:////",
        "sqlite:///.",
    ],
)
def test_a_database_in_memory_or_without_a_name_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(
        StartError, match=r"expected the path of a file and nothing after it, .* not possible"
    ) as refused:
        Database(url)
    assert len(str(refused.value).splitlines()) == 1


async def refusal(path: Path) -> str:
    """Return the line with which a file is refused."""
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StartError) as refused:
        await database.upgrade()
    await database.close()
    (line,) = str(refused.value).splitlines()
    return line


async def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    for content in (b"Dear diary, today " * 100, secrets.token_bytes(8192)):  # an encrypted one is all noise
        path = tmp_path / "diary.db"
        path.write_bytes(content)
        path.chmod(0o640)
        assert f"{path} is not a SQLite database, or is encrypted" in await refusal(path)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} is a folder, but the database must be a file" in await refusal(tmp_path)


@pytest.mark.parametrize("wal", [False, True])
async def test_another_application_s_file_stays_byte_for_byte_as_it_was(tmp_path: Path, wal: bool) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript("CREATE TABLE rooms (beds INTEGER); CREATE TABLE alembic_version (version_num TEXT);")
        theirs.executescript("INSERT INTO alembic_version VALUES ('0003');" + "PRAGMA journal_mode=WAL;" * wal)
    path.chmod(0o664)
    before = path.read_bytes()
    assert "belongs to another application" in await refusal(path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


@pytest.mark.parametrize("damage", ["torn", "overwritten"])
async def test_a_damaged_database_is_refused_with_the_command_that_restores_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "gateway.db"
    database = Database(f"sqlite:///{path}")
    await database.upgrade()
    await database.close()
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + (b"" if damage == "torn" else b"\x55" * (len(content) - half)))
    line = await refusal(path)
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith("gateway db restore FILE")


async def test_after_a_crash_the_log_of_the_database_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    database = Database(f"sqlite:///{path}")
    await database.upgrade()
    copies = {each.name: each.read_bytes() for each in (path, Path(f"{path}-wal"))}
    await database.close()
    other = tmp_path / "other"
    other.mkdir()
    for name, content in copies.items():
        (other / name).write_bytes(content)
    again = SqliteFile(f"sqlite:///{other / 'gateway.db'}")
    again.open()
    again.close()
