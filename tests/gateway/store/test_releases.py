"""Releases, one after the other: each takes over what the last one stored, and two may use the tables for a while."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.script import Script
from sqlalchemy import Connection, select

from gateway.core.start_error import StartError
from gateway.store import revisions, versions
from gateway.store.engine import Database
from gateway.store.tables import versions as stored_versions
from gateway.store.versions import NEWEST, READABLE_FROM
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.support.client import App, ChatClient, Frame
from tests.support.expansion import obstacles, shape_of
from tests.support.former_store import STORES, views
from tests.support.made_up_release import CONTRACTS, EXPANDS, REVISION, next_release
from tests.support.postgres import in_thread

RELEASES = sorted(path.stem for path in STORES.glob("*.json"))
"""The tables of each release, by their version."""


def fill(url: str, release: str) -> None:
    """Put what a release has left into an empty database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.executescript((STORES / f"{release}.sqlite.sql").read_text())
    else:
        in_thread(query_all(url, (STORES / f"{release}.postgresql.sql").read_text()))


async def query_all(url: str, script: str) -> None:
    """Run a script on a connection of its own."""
    import asyncpg  # type: ignore[import-untyped] # it brings no types

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


@pytest.mark.parametrize("release", RELEASES)
async def test_what_each_release_has_stored_is_there_and_its_clients_go_on(
    release: str, empty_store_url: str, store: str, tmp_path: Path
) -> None:
    known = json.loads((STORES / f"{release}.json").read_text())[store]
    fill(empty_store_url, release)
    settings = settings_for_tests(tmp_path, database_url=empty_store_url)
    with running_gateway(settings) as gateway:
        async with App(gateway) as app:
            assert await views(app, "alice") == known["rooms"]  # every log, member and position
            assert (await app.log_in("alice")).status_code == 200
            assert (await app.log_in("carol")).status_code == 401  # she is still disabled
            message = {"text": "paid", "client_id": "o-2"}
            body = {"rooms": ["lobby"], "message": message}
            assert (await app.ask("POST", "/api/publish", known["key"], json=body)).status_code == 200
            async with app.connect("bob") as bob:
                await resumes(bob, known["rooms"]["lobby"]["log"])
                assert [each["name"] for each in (await bob.ask("room.list"))["rooms"] if each.get("invited")] == [
                    name for name in sorted(known["rooms"]) if name != "lobby"
                ]
        assert await gateway.run(gateway.state.database.query(versions.check)) == NEWEST


async def resumes(client: ChatClient, log: list[Frame]) -> None:
    """Come back as a client that has heard all but the last two changes."""
    *_, position, _, last = sorted(log, key=lambda message: message["changed"])
    since = {"epoch": position["epoch"], "offset": position["changed"]}
    joined = await client.ask("room.join", room="lobby", since=since)
    assert joined["recovered"]
    changed = [event["data"]["changed"] for event in joined["events"]]
    assert changed == [last["changed"] - 1, last["changed"], last["changed"] + 1]


@pytest.fixture
def next_folder(tmp_path: Path) -> Path:
    """A folder for the migration of the next release."""
    folder = tmp_path / "next"
    folder.mkdir()
    return folder


@pytest.fixture
async def old(store_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway of this release."""
    with running_gateway(settings_for_tests(tmp_path / "old", database_url=store_url)) as gateway:
        yield gateway


async def upgraded(url: str, folder: Path, steps: str, *, readable_from: str) -> None:
    """Start the next release, as far as the tables."""
    with next_release(folder, steps, readable_from=readable_from):
        async with Database(url) as database:
            await database.upgrade()
            await database.query(has_newest)


def has_newest(connection: Connection) -> None:
    """Check that the tables have the version of the next release."""
    assert connection.execute(select(stored_versions.c.version_num)).scalar_one() == REVISION


async def everything_works(app: App, name: str) -> Frame:
    """Use what a gateway does with its tables, and return the last message."""
    async with app.in_room(name, "lobby") as client:
        said = await client.say("lobby", "hello", client_id=name)
        await client.ask("chat.edit", room="lobby", message_id=said["id"], text="hi")
        await client.expect("chat.edited")
        grows = await client.say("lobby", "a")
        number = await client.start("chat.append", room="lobby", message_id=grows["id"], text="b", done=True)
        assert (await client.until(id=number))["status"] == 20000
        await client.heard()
        await client.ask("room.create", room=f"of-{name}", title="mine")
        await client.ask("room.leave", room=f"of-{name}")
        log: list[Frame] = (await client.ask("chat.history", room="lobby"))["messages"]
        assert log[-1]["text"] == "ab"
        await client.heard()
        return log[-1]


async def test_a_gateway_goes_on_while_the_next_release_has_the_tables_and_so_does_one_that_starts_then(
    old: Gateway, store_url: str, tmp_path: Path, next_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(old) as app, app.in_room("alice", "lobby") as alice:
        before = await alice.say("lobby", "before")
        await upgraded(store_url, next_folder, EXPANDS, readable_from=NEWEST)
        await alice.say("lobby", "meanwhile")
        await everything_works(app, "bob")
    with running_gateway(settings_for_tests(tmp_path / "again", database_url=store_url)) as gateway:
        async with App(gateway) as app:
            await everything_works(app, "carol")
            async with app.connect("alice") as alice:
                since = {"epoch": before["epoch"], "offset": before["offset"]}
                joined = await alice.ask("room.join", room="lobby", since=since)
                assert joined["recovered"]
                assert joined["events"][0]["data"]["text"] == "meanwhile"
    assert f"a newer gateway has upgraded the tables to {REVISION}; upgrade this one soon" in caplog.text
    # The next release, which starts again, finds what it has made.
    await upgraded(store_url, next_folder, EXPANDS, readable_from=NEWEST)


async def test_a_gateway_does_not_start_on_tables_that_it_cannot_use(
    store_url: str, database: Database, next_folder: Path
) -> None:
    await upgraded(store_url, next_folder, CONTRACTS, readable_from=REVISION)
    for _ in range(2):
        with pytest.raises(StartError, match=f"a newer gateway has written the database .*{REVISION}"):
            await database.upgrade()


async def test_a_release_that_promises_too_much_is_refused_by_what_is_missing(
    store_url: str, database: Database, next_folder: Path
) -> None:
    await upgraded(store_url, next_folder, CONTRACTS, readable_from=NEWEST)
    with pytest.raises(StartError, match=r"the database is damaged: .*needs rooms\.title"):
        await database.upgrade()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (EXPANDS, []),
        (CONTRACTS, ["rooms.title is gone", "users has other rules: unique"]),
        ('    op.add_column("rooms", sa.Column("a", sa.Text))\n    op.drop_table("tickets")', ["tickets is gone"]),
    ],
)
async def test_a_migration_that_does_more_than_add_is_found_out(
    steps: str, expected: list[str], database: Database, store_url: str, next_folder: Path
) -> None:
    before = await database.query(shape_of)
    await upgraded(store_url, next_folder, steps, readable_from=REVISION)
    assert obstacles(before, await database.query(shape_of)) == expected


def scripts() -> list[Any]:
    """Return the scripts of all migrations, the oldest first."""
    return list(revisions.scripts().walk_revisions())[::-1]


def readable_from(script: Script) -> str | None:
    found: str | None = getattr(script.module, "readable_from", None)
    return found


def test_the_newest_migration_says_which_gateways_may_use_its_tables() -> None:
    newest = scripts()[-1]
    assert (newest.revision, readable_from(newest)) == (NEWEST, READABLE_FROM)


async def test_each_migration_that_lets_older_gateways_go_on_only_adds(
    empty_store_url: str,
) -> None:
    async with Database(empty_store_url) as bare:
        for script in scripts():
            lets = readable_from(script)
            if lets is not None and lets < script.revision:
                await bare.transact(partial(revisions.upgrade, revision=script.down_revision))
                before = await bare.query(shape_of)
                await bare.transact(partial(revisions.upgrade, revision=script.revision))
                assert obstacles(before, await bare.query(shape_of)) == [], script.revision


def test_each_release_has_left_its_tables_of_both_stores() -> None:
    assert RELEASES, "each release leaves its tables in tests/gateway/store/former"
    for release in RELEASES:
        names = sorted(path.name for path in STORES.glob(f"{release}.*"))
        assert names == [f"{release}.json", f"{release}.postgresql.sql", f"{release}.sqlite.sql"]
