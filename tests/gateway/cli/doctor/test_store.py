"""Databases that are missing, damaged, foreign, old, or of another kind than they should be."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.doctor import store
from gateway.cli.doctor.findings import Verdict
from gateway.store import versions
from gateway.store.tables import VERSION_TABLE
from gateway.testing import running_gateway, settings_for_tests
from tests.gateway.cli.doctor.conftest import Look, bad, worst


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database of a gateway that has stopped."""
    with running_gateway(settings_for_tests(tmp_path / "data")):
        pass
    return tmp_path / "data/gateway.db"


@pytest.mark.server
def test_a_database_is_fine_and_nothing_changes(look: Look, file: Path) -> None:
    before = sorted((each.name, each.stat().st_mtime_ns) for each in file.parent.iterdir() if each.is_file())
    assert worst(look("database")) is Verdict.OK
    assert look("migrations")[0].found == f"the tables are up to date ({versions.NEWEST})"
    after = sorted((each.name, each.stat().st_mtime_ns) for each in file.parent.iterdir() if each.is_file())
    assert after == before
    file.chmod(0o644)
    assert bad(look("database")).change == f"chmod 600 {file}"


@pytest.mark.server
@pytest.mark.parametrize(
    ("revision", "verdict"),
    [("gateway_0020", Verdict.PROBLEM), ("gateway_9999", Verdict.WARNING)],
)
def test_tables_of_another_version(look: Look, file: Path, revision: str, verdict: Verdict) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", [revision])
    connection.close()
    found = look("migrations")
    assert worst(found) in (verdict, Verdict.WARNING)
    assert revision in bad(found).found


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database(look: Look, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/gateway.db").write_bytes(content)
    assert bad(look("database")).verdict is Verdict.PROBLEM
    assert bad(look("migrations")).verdict is Verdict.PROBLEM


def test_the_database_of_another_application(look: Look, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data/gateway.db") as connection:
        connection.execute("CREATE TABLE users (id INTEGER)")
    connection.close()
    assert "another application" in bad(look("database")).found


@pytest.mark.server
def test_a_server_that_does_not_answer(look: Look) -> None:
    url = "postgresql://carol:a-secret@127.0.0.1:9/chat?connect_timeout=1"
    found = bad(look("database", database_url=url))
    assert found.verdict is Verdict.PROBLEM
    assert "127.0.0.1:9" in found.found
    assert "secret" not in found.found + found.change
    assert bad(look("migrations", database_url=url)).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"encoding": "SQL_ASCII"}, Verdict.PROBLEM),
        ({"in_recovery": True}, Verdict.PROBLEM),
        ({"read_only": True}, Verdict.PROBLEM),
        ({"may_create": False}, Verdict.WARNING),
        ({"connections": 96}, Verdict.WARNING),
        ({"clock_ahead": 3.0}, Verdict.WARNING),
        ({"clock_ahead": -60.0}, Verdict.PROBLEM),
        ({}, Verdict.OK),
    ],
)
def test_a_server_that_is_not_as_it_should_be(changes: dict[str, Any], verdict: Verdict) -> None:
    server = store._Server("17.2", "UTF8", False, False, True, 5, 100, 2**20, 0.0)._replace(**changes)
    found = list(store._postgresql("db.example.com/chat", server))
    assert worst(found) is verdict
    if changes:
        assert bad(found).verdict is verdict


@pytest.mark.both_stores
def test_a_real_store_is_fine(look: Look, store_url: str) -> None:
    assert worst(look("database", database_url=store_url)) is Verdict.OK
    assert worst(look("migrations", database_url=store_url)) is Verdict.OK
