"""`gateway db`: the store's tables."""

import sqlite3
import stat
from pathlib import Path

import pytest

from tests.gateway.cli.command import run
from tests.gateway.cli.conftest import RunHere

pytestmark = pytest.mark.server


def test_upgrade_makes_the_tables_and_does_no_harm_a_second_time(tmp_path: Path, run_here: RunHere) -> None:
    first = run(tmp_path, "db", "upgrade")
    assert (first.status, first.err) == (0, "")
    assert first.out == f"sqlite:///{tmp_path}/data/gateway.db is up to date\n"
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700

    assert run_here(tmp_path, "db", "upgrade") == first
    database = sqlite3.connect(tmp_path / "data" / "gateway.db")
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"users", "rooms", "messages"} <= tables
    finally:
        database.close()


def test_a_store_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    refused = run(tmp_path, "db", "upgrade", GATEWAY_DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/gateway.db")
    assert refused.problem.startswith(f"cannot write {tmp_path}/no/such/folder/gateway.db: there is no folder")
