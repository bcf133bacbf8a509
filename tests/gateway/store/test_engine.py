"""The database: durable, migrated, and unavailable in words."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from gateway.store import engine, users
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.tables import metadata
from tests.client import App
from tests.conftest import OwnGateway


async def opened(path: Path) -> Database:
    database = Database(f"sqlite:///{path}")
    await database.upgrade()
    return database


async def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    database = await opened(tmp_path / "test.db")
    await database.upgrade()  # a second time is fine
    async with database.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    assert differences == []
    await database.close()


async def test_two_processes_that_start_at_once_both_find_the_tables(tmp_path: Path) -> None:
    first, second = (Database(f"sqlite:///{tmp_path / 'test.db'}") for _ in range(2))
    await asyncio.gather(first.upgrade(), second.upgrade())
    await first.close()
    await second.close()


async def test_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    database = await opened(tmp_path / "test.db")
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2  # FULL
        assert (await connection.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
    await database.close()


async def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = await opened(tmp_path / "test.db")

    async def fail() -> None:
        async with database.write() as connection:
            await users.add(connection, name="alice", password_hash="x", now=0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.read() as connection:
        assert await users.by_name(connection, "alice") is None
    await database.close()


async def test_a_folder_that_is_not_there_is_unavailable_in_words(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'test.db'}")
    with pytest.raises(StoreUnavailable, match="the store is not available for now; nothing was accepted, try again"):
        await database.upgrade()
    await database.close()


async def test_while_another_process_holds_the_database_messages_are_refused_and_then_accepted_again(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0)
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        other = sqlite3.connect(gateway.settings.data_dir / "gateway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        error = await client.refused("chat.send", room="lobby", text="lost?")
        assert (error["status"], error["name"], error["retryable"]) == (50300, "unavailable", True)
        assert error["retry_after_ms"] == 1000
        assert await client.ask("chat.history", room="lobby") == {"messages": [], "has_more": False}
        other.execute("ROLLBACK")
        other.close()
        assert (await client.ask("chat.send", room="lobby", text="kept"))["message"]["offset"] == 1
        await client.expect("chat.message", text="kept")
