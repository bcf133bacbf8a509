"""The owner of the tables: foreign ones stay, the gateway's former ones are moved once, a refusal is one line."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from gateway.core.start_error import StartError
from gateway.store import login_sessions, revisions, rooms, users
from gateway.store.engine import Database
from gateway.store.tables import VERSION_TABLE, metadata
from gateway.store.versions import FORMER_TABLE, NEWEST
from tests.support.postgres import fresh_database, query

OTHERS = """
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('0003');
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, password_hash TEXT);
    CREATE TABLE rooms (id INTEGER PRIMARY KEY, floor INTEGER NOT NULL);
    INSERT INTO rooms VALUES (1, 7);
"""

ALICE = """
    INSERT INTO users (id, name, password_hash, scopes, disabled, created_at)
    VALUES ('u1', 'alice', 'x', '', false, 0)
"""


@pytest.fixture
async def bare(empty_store_url: str) -> AsyncIterator[Database]:
    """A store without any data yet."""
    database = Database(empty_store_url)
    yield database
    await database.close()


async def execute(database: Database, script: str) -> None:
    def work(connection: Connection) -> None:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(text(statement))

    await database.transact(work)


async def everything(database: Database) -> dict[str, Any]:
    """Read all tables: their definitions and their rows."""

    def read(connection: Connection) -> dict[str, Any]:
        found = inspect(connection)
        return {
            name: (
                [(column["name"], str(column["type"])) for column in found.get_columns(name)],
                connection.execute(text(f"SELECT * FROM {name}")).all(),
            )
            for name in found.get_table_names()
        }

    return await database.query(read)


def options(row: Any) -> dict[str, Any]:
    """Return the options of an index, such as its condition, as texts."""
    return {"dialect_options": {name: str(value) for name, value in row.get("dialect_options", {}).items()}}


def definitions(connection: Connection) -> dict[str, Any]:
    """Read what the database says of all tables. The columns of a table have no order that counts."""
    found = inspect(connection)
    columns = {
        name: sorted(str(column | {"type": str(column["type"])}) for column in found.get_columns(name))
        for name in found.get_table_names()
    }
    constraints = {
        get.__name__: {name: sorted(str(row | options(row)) for row in rows) for (_, name), rows in get().items()}
        for get in (
            found.get_multi_indexes,
            found.get_multi_unique_constraints,
            found.get_multi_foreign_keys,
            found.get_multi_check_constraints,
        )
    }
    keys = {name: found.get_pk_constraint(name) for name in columns}
    return {"columns": columns, "keys": keys, **constraints}


async def version(database: Database) -> str:
    def read(connection: Connection) -> str:
        found: str = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one()
        return found

    return await database.query(read)


def make_former(connection: Connection, revision: str) -> None:
    """Leave a store as an older gateway would."""
    command.upgrade(revisions.config(connection), f"gateway_{revision}")
    connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
    connection.exec_driver_sql(f"CREATE TABLE {FORMER_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO {FORMER_TABLE} VALUES ('{revision}')")


def test_the_newest_version_is_the_one_of_the_newest_script() -> None:
    assert revisions.scripts().get_current_head() == NEWEST


async def test_a_new_store_gets_at_once_what_all_migrations_make_and_the_code_uses(bare: Database) -> None:
    await bare.transact(partial(revisions.upgrade, revision=NEWEST))
    migrated = await bare.query(definitions)
    await bare.transact(lambda connection: command.downgrade(revisions.config(connection), "base"))
    await execute(bare, f"DROP TABLE {VERSION_TABLE}")
    await bare.upgrade()
    await bare.upgrade()  # a second time is fine
    assert await bare.query(definitions) == migrated
    assert set(migrated["columns"]) == set(metadata.tables) | {VERSION_TABLE}
    assert "left_by IS NOT NULL" in str(migrated["get_multi_indexes"]["rooms"])
    assert await version(bare) == NEWEST


async def test_another_application_s_tables_stay_as_they_are_and_are_named(bare: Database) -> None:
    await execute(bare, OTHERS)
    before = await everything(bare)
    with pytest.raises(StartError, match="belongs to another application, whose tables are in the way: rooms, users;"):
        await bare.upgrade()
    assert await everything(bare) == before


async def test_another_alembic_application_with_other_tables_shares_the_database(bare: Database) -> None:
    await execute(bare, OTHERS.replace("users", "staff").replace("rooms", "offices"))
    before = await everything(bare)
    await bare.upgrade()
    assert {name: content for name, content in (await everything(bare)).items() if name in before} == before

    def go_on(connection: Connection) -> None:
        theirs = MigrationContext.configure(connection)
        assert theirs.get_current_revision() == "0003"

    await bare.query(go_on)
    await bare.upgrade()


@pytest.mark.parametrize("revision", ["0001", "0003", "0005"])
async def test_what_an_earlier_gateway_stored_is_taken_over_once_by_all_that_start_at_once(
    bare: Database, empty_store_url: str, revision: str
) -> None:
    await bare.transact(partial(make_former, revision=revision))
    await execute(bare, ALICE)
    nodes = [Database(empty_store_url) for _ in range(3)]
    await asyncio.gather(*(node.upgrade() for node in nodes))
    for node in nodes:
        await node.close()
    assert [user.name for user in await bare.query(users.list_all)] == ["alice"]
    assert FORMER_TABLE not in await everything(bare)
    assert await version(bare) == NEWEST


SESSIONS = """
    INSERT INTO logins (id, user_id, scopes, family_hash, refresh_hash, created_at, last_used_at, expires_at, ended_at)
    VALUES ('s1', 'u1', 'chat:read', 'f1', 'r1', 1, 2, 3, NULL), ('s2', 'u1', '', NULL, NULL, 4, 5, 6, 7)
"""


async def test_sessions_are_kept_when_their_table_gets_its_new_name(bare: Database) -> None:
    await bare.transact(lambda sync: command.upgrade(revisions.config(sync), "gateway_0008"))
    await execute(bare, ALICE)
    await execute(bare, SESSIONS)
    [_, former] = (await everything(bare))["logins"]
    await bare.upgrade()
    after = await everything(bare)
    assert "logins" not in after
    assert sorted(after["login_sessions"][1]) == sorted(former)
    found = login_sessions.from_rows(await bare.fetch(login_sessions.BY_FAMILY, family="f1"))
    assert found is not None
    assert (found.id, found.refresh_hash, found.ended_at) == ("s1", "r1", None)
    await execute(bare, "DELETE FROM users WHERE id = 'u1'")  # which still takes its sessions along
    assert (await everything(bare))["login_sessions"][1] == []


async def test_the_new_name_of_the_sessions_can_be_taken_back(bare: Database) -> None:
    await bare.upgrade()
    newest = await everything(bare)
    await bare.transact(lambda sync: command.downgrade(revisions.config(sync), "gateway_0008"))
    assert "logins" in await everything(bare)
    await bare.upgrade()
    assert await everything(bare) == newest


ROOMS = """
    INSERT INTO users (id, name, password_hash, scopes, disabled, created_at) VALUES ('u2', 'bob', 'x', '', false, 0);
    INSERT INTO rooms (id, name, private, epoch, "offset", created_at, departures) VALUES
    (1, 'lobby', false, 'e', 0, 0, 3), (2, 'garden', false, 'e', 0, 0, 4);
    INSERT INTO memberships (room_id, user_id, role, joined_at) VALUES (1, 'u1', 'owner', 0), (1, 'u2', 'member', 0)
"""


async def test_rooms_learn_how_many_memberships_have_begun(bare: Database) -> None:
    await bare.transact(lambda sync: command.upgrade(revisions.config(sync), "gateway_0009"))
    await execute(bare, ALICE)
    await execute(bare, ROOMS)
    await bare.upgrade()
    found = [await bare.query(partial(rooms.by_name, name=name)) for name in ("lobby", "garden")]
    assert [room and (room.arrivals, room.departures, room.members) for room in found] == [(5, 3, 2), (4, 4, 0)]


MESSAGES = """
    UPDATE rooms SET "offset" = 5, pruned = 1, created_at = 10 WHERE id = 1;
    INSERT INTO messages (room_id, "offset", changed, sender_id, text, sent_at, edited_at) VALUES
    (1, 2, 5, 'u1', 'hi', 20, 50), (1, 3, 4, 'u1', 'hi', 30, 40)
"""


async def test_rooms_learn_the_bounds_of_their_messages(bare: Database) -> None:
    await bare.transact(lambda sync: command.upgrade(revisions.config(sync), "gateway_0011"))
    for script in (ALICE, ROOMS, MESSAGES):
        await execute(bare, script)
    await bare.upgrade()
    found = [await bare.query(partial(rooms.by_name, name=name)) for name in ("lobby", "garden")]
    assert [room and (room.oldest_at, room.vacant) for room in found] == [(40, 3), (0, 0)]


async def test_a_take_over_that_dies_half_way_has_done_nothing_and_the_next_does_all(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bare.transact(partial(make_former, revision="0004"))
    before = await everything(bare)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "upgrade", die)
        with pytest.raises(KeyboardInterrupt):
            await bare.upgrade()
    assert await everything(bare) == before
    await bare.upgrade()
    assert FORMER_TABLE not in await everything(bare)


async def test_a_newer_gateway_s_database_is_left_alone(bare: Database) -> None:
    await bare.upgrade()
    await execute(bare, f"UPDATE {VERSION_TABLE} SET version_num = 'gateway_9999', readable_from = 'gateway_9998'")
    before = await everything(bare)
    with pytest.raises(StartError, match=r"a newer gateway has written the database \(its version is gateway_9999\)"):
        await bare.upgrade()
    assert await everything(bare) == before


async def test_a_database_that_lacks_what_its_version_has_is_called_damaged(bare: Database) -> None:
    await bare.upgrade()
    await execute(bare, "DROP TABLE tickets")
    with pytest.raises(StartError, match=r"the database is damaged: .* tickets\.hash"):
        await bare.upgrade()


async def test_columns_that_an_operator_has_added_do_no_harm(bare: Database) -> None:
    await bare.upgrade()
    await execute(bare, "ALTER TABLE rooms ADD COLUMN cost_centre TEXT")
    await bare.upgrade()


async def test_a_table_that_gets_in_the_way_of_a_later_version_is_one_line(bare: Database) -> None:
    await bare.transact(partial(make_former, revision="0003"))
    await execute(bare, "CREATE TABLE tickets (id INTEGER PRIMARY KEY)")
    with pytest.raises(
        StartError, match=r"cannot make the tables in the database: .*tickets.* already exists"
    ) as refused:
        await bare.upgrade()
    assert len(str(refused.value).splitlines()) == 1


async def test_sqlite_takes_names_for_the_same_whatever_their_case(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'theirs.db'}")
    await execute(database, "CREATE TABLE Rooms (id INTEGER PRIMARY KEY)")
    with pytest.raises(StartError, match="in the way: rooms;"):
        await database.upgrade()
    await database.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_postgresql_database_that_cannot_hold_every_text_is_refused(postgres: str, encoding: str) -> None:
    with fresh_database(postgres, f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'") as url:
        database = Database(url)
        with pytest.raises(StartError, match=f"expected a database in UTF8, got one in {encoding}"):
            await database.upgrade()
        await database.close()


async def test_a_postgresql_user_that_may_not_make_tables_is_told_what_to_grant(postgres: str) -> None:
    with fresh_database(postgres) as url:
        await query(url, "CREATE ROLE tenant LOGIN PASSWORD 'tenant'")
        server = url.partition("@")[2]
        database = Database(f"postgresql://tenant:tenant@{server}")
        try:
            with pytest.raises(
                StartError, match=r"permission denied for schema public; .* GRANT USAGE, CREATE"
            ) as refused:
                await database.upgrade()
            await query(url, "REVOKE USAGE ON SCHEMA public FROM public")
            with pytest.raises(StartError, match=r"no schema has been selected .*; .* GRANT USAGE, CREATE"):
                await database.upgrade()
            assert len(str(refused.value).splitlines()) == 1
            await query(url, "GRANT USAGE, CREATE ON SCHEMA public TO tenant")
            await database.upgrade()
            await query(url, "REVOKE CREATE ON SCHEMA public FROM tenant")
            await database.upgrade()  # with nothing to make, nothing is needed
        finally:
            await database.close()
            await query(url, "DROP OWNED BY tenant")
            await query(url, "DROP ROLE tenant")
