"""Backups: made while the gateway runs, and restored when it does not. No id ever names two messages."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.store.tables import VERSION_TABLE
from gateway.store.versions import FORMER_TABLE
from gateway.testing import running_gateway, settings_for_tests
from tests.gateway.cli.command import Result
from tests.gateway.cli.conftest import RunHere
from tests.support.client import App, ChatClient, Frame
from tests.support.postgres import fresh_database, tool

Run = Callable[..., Result]


@pytest.fixture
def gateway_db(run_here: RunHere, tmp_path: Path) -> Run:
    """Run `gateway db …` on the data folder of this test."""
    return lambda *arguments, **variables: run_here(tmp_path, "db", *arguments, **variables)


def rows(file: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(sql).fetchall()


async def history(client: ChatClient) -> list[Frame]:
    found: list[Frame] = (await client.ask("chat.history", room="lobby", after=0, limit=100))["messages"]
    return found


@pytest.mark.server
async def test_a_client_that_resumes_after_a_restore_learns_of_it_and_no_id_stands_for_two_messages(
    tmp_path: Path, gateway_db: Run
) -> None:
    settings, file = settings_for_tests(tmp_path / "data"), tmp_path / "backup.db"
    with running_gateway(settings) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
            before = [await alice.say("lobby", f"before {number}") for number in range(3)]
            await alice.ask("chat.read", room="lobby", offset=2)
            await alice.expect("chat.read")
            sent: list[Frame] = []

            async def talk() -> None:
                while True:
                    sent.append(await alice.say("lobby", "meanwhile"))

            talking = asyncio.create_task(talk())
            made = await asyncio.to_thread(gateway_db, "backup", str(file))
            assert (made.status, made.err) == (0, "")
            talking.cancel()
            await asyncio.wait([talking])
            assert talking.cancelled()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            refused = await asyncio.to_thread(gateway_db, "restore", str(file))
            assert refused.problem == f"{tmp_path}/data/gateway.db is in use; stop the gateway first"
        async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
            grant = await app.grant("alice")
            lost = await alice.say("lobby", "lost by the restore")
            known = {message["id"] for message in await history(alice)}

    copied = rows(file, 'SELECT "offset" FROM messages ORDER BY "offset"')
    assert [offset for (offset,) in copied] == list(range(1, len(copied) + 1))  # one moment, without a hole
    assert len(before) <= len(copied) < lost["offset"]

    done = await asyncio.to_thread(gateway_db, "restore", str(file))
    assert (done.status, done.err) == (0, "")
    assert "1 room has a new epoch" in done.out
    [kept] = await asyncio.to_thread(lambda: list(tmp_path.glob("data/gateway.db.before-*")))
    assert str(kept) in done.out
    assert rows(kept, "SELECT text FROM messages ORDER BY changed DESC LIMIT 1") == [("lost by the restore",)]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    with running_gateway(settings) as gateway:
        async with App(gateway) as app:
            assert (await app.refresh(grant["refresh_token"])).status_code == 401
            assert (await app.ask("GET", "/users/me", grant["access_token"])).status_code == 401
            async with app.connect("alice") as alice:
                since = {"epoch": lost["epoch"], "offset": lost["offset"]}
                joined = await alice.ask("room.join", room="lobby", since=since)
                assert (joined["recovered"], joined["reason"]) == (False, "epoch_changed")
                assert joined["epoch"] != lost["epoch"]
                assert joined["offset"] == len(copied)
                # Earlier messages have another id as well, and the old one names nothing.
                old = before[0]["id"]
                assert (await alice.refused("chat.edit", room="lobby", message_id=old, text="x"))["status"] == 40400
                new = await alice.say("lobby", "new")
                assert new["offset"] <= lost["offset"]
                assert {message["id"] for message in await history(alice)}.isdisjoint(known)
                assert (await alice.ask("room.list"))["rooms"][0]["unread"] == 0  # read marks are kept, all are her own


def test_a_backup_is_not_written_over_unless_that_is_asked_for(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    file = tmp_path / "backup.db"
    file.write_text("precious")
    assert gateway_db("backup", str(file)).problem.startswith(f"{file} exists already; name another file")
    assert "is not a SQLite database" in gateway_db("backup", "--replace", str(file)).problem
    assert file.read_text() == "precious"
    for start in ("", "an older backup"):
        file.unlink()
        file.touch() if not start else gateway_db("backup", str(file))
        assert gateway_db("backup", "--replace", str(file)).status == 0
        assert rows(file, f"SELECT count(*) FROM {VERSION_TABLE}") == [(1,)]
    assert "no folder" in gateway_db("backup", str(tmp_path / "no" / "such" / "backup.db")).problem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "data"]


@pytest.mark.server
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal", ".lock"])
def test_no_backup_takes_the_place_of_what_belongs_to_the_database(
    tmp_path: Path, gateway_db: Run, ending: str
) -> None:
    gateway_db("upgrade")
    live = tmp_path / "data" / "gateway.db"
    shortcut = tmp_path / "shortcut"
    shortcut.symlink_to(live.parent)
    before = live.read_bytes()
    for folder in (live.parent, shortcut):
        refused = gateway_db("backup", "--replace", str(folder / (live.name + ending)))
        assert "belongs to the database itself; name another file" in refused.problem
    assert live.read_bytes() == before
    assert gateway_db("upgrade").status == 0


def test_there_is_no_backup_of_nothing(tmp_path: Path, gateway_db: Run) -> None:
    assert gateway_db("backup", str(tmp_path / "backup.db")).problem.startswith("there is no database ")
    assert list(tmp_path.glob("*.db")) == []


def test_what_is_no_sound_backup_of_a_gateway_is_refused_and_changes_nothing(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    live = tmp_path / "data" / "gateway.db"
    before = live.read_bytes()
    sound = tmp_path / "sound.db"
    gateway_db("backup", str(sound))
    torn = tmp_path / "torn.db"
    torn.write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])
    noise = tmp_path / "noise.db"
    noise.write_bytes(b"no database " * 100)
    theirs = tmp_path / "theirs.db"
    rows(theirs, "CREATE TABLE rooms (beds INTEGER)")
    newer = tmp_path / "newer.db"
    shutil.copy(sound, newer)
    with closing(sqlite3.connect(newer, isolation_level=None)) as database:
        database.execute(f"UPDATE {VERSION_TABLE} SET version_num = 'gateway_9999', readable_from = NULL")
    for file, problem in (
        (torn, "is damaged"),
        (noise, "is not a SQLite database"),
        (theirs, "belongs to another application"),
        (newer, "a newer gateway has written"),
        (tmp_path / "missing.db", "there is no database"),
    ):
        refused = gateway_db("restore", str(file)).problem
        assert refused.startswith(f"cannot restore {file}: ")
        assert problem in refused
        assert refused.endswith("; name a file of: gateway db backup FILE")  # and not another store
    assert live.read_bytes() == before
    assert [path.name for path in live.parent.iterdir() if path.name.startswith((".", "gateway.db.before"))] == []


def test_a_backup_of_an_earlier_gateway_is_brought_up_to_date(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        old.execute(f"CREATE TABLE {FORMER_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        old.execute(f"INSERT INTO {FORMER_TABLE} VALUES ('0001')")
        for sql in FIRST_TABLES:
            old.execute(sql)
    assert gateway_db("restore", str(file)).status == 0
    live = tmp_path / "data" / "gateway.db"
    [(epoch,)] = rows(live, "SELECT epoch FROM rooms")
    assert epoch.endswith("-7")
    assert rows(live, 'SELECT "offset", text FROM messages') == [(1, "long ago")]
    assert rows(file, f"SELECT version_num FROM {FORMER_TABLE}") == [("0001",)]


FIRST_TABLES = (
    """CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL, full_name TEXT,
    email TEXT, scopes TEXT NOT NULL, disabled BOOLEAN NOT NULL, created_at BIGINT NOT NULL, last_seen_at BIGINT)""",
    """CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT, private BOOLEAN NOT NULL,
    epoch TEXT NOT NULL, "offset" BIGINT NOT NULL, created_at BIGINT NOT NULL)""",
    """CREATE TABLE memberships (room_id INTEGER REFERENCES rooms(id) ON DELETE CASCADE, user_id TEXT REFERENCES
    users(id) ON DELETE CASCADE, role TEXT NOT NULL, joined_at BIGINT NOT NULL, PRIMARY KEY (room_id, user_id))""",
    "CREATE INDEX memberships_of_user ON memberships (user_id)",
    """CREATE TABLE messages (room_id INTEGER REFERENCES rooms(id) ON DELETE CASCADE, "offset" BIGINT, changed BIGINT
    NOT NULL, sender_id TEXT NOT NULL REFERENCES users(id), text TEXT, body TEXT, sent_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, "offset"), UNIQUE (room_id, changed))""",
    "INSERT INTO users VALUES ('u1', 'alice', 'x', NULL, NULL, '', false, 0, NULL)",
    "INSERT INTO rooms VALUES (7, 'lobby', NULL, false, 'former', 1, 0)",
    "INSERT INTO messages VALUES (7, 1, 1, 'u1', 'long ago', NULL, 0)",
)


def test_a_damaged_database_is_replaced_and_its_log_with_it(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    file, live = tmp_path / "backup.db", tmp_path / "data" / "gateway.db"
    gateway_db("backup", str(file))
    live.write_bytes(b"\x55" * live.stat().st_size)
    (live.parent / "gateway.db-wal").write_bytes(b"\x55" * 4096)
    assert gateway_db("restore", str(file)).status == 0
    assert not (live.parent / "gateway.db-wal").exists()
    assert gateway_db("upgrade").status == 0
    [kept] = live.parent.glob("gateway.db.before-*")
    assert set(kept.read_bytes()) == {0x55}


def test_a_restore_that_fails_at_its_last_step_leaves_the_database_in_its_place(
    tmp_path: Path, gateway_db: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway_db("upgrade")
    file, live = tmp_path / "backup.db", tmp_path / "data" / "gateway.db"
    gateway_db("backup", str(file))
    before = live.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        patch.setattr(Path, "replace", fail)
        assert "No space left on device" in gateway_db("restore", str(file)).problem
    assert rows(live, f"SELECT count(*) FROM {VERSION_TABLE}") == [(1,)]
    assert len(before) == live.stat().st_size
    assert gateway_db("upgrade").status == 0


def test_another_program_that_has_the_database_open_is_told_of(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    file, live = tmp_path / "backup.db", tmp_path / "data" / "gateway.db"
    gateway_db("backup", str(file))
    with closing(sqlite3.connect(live)) as shell:
        shell.execute("SELECT count(*) FROM rooms").fetchall()
        assert f"another program has {live} open" in gateway_db("restore", str(file)).problem


def test_sessions_may_be_kept(tmp_path: Path, gateway_db: Run) -> None:
    gateway_db("upgrade")
    live, file = tmp_path / "data" / "gateway.db", tmp_path / "backup.db"
    with closing(sqlite3.connect(live, isolation_level=None)) as database:
        database.execute(
            "INSERT INTO users (id, name, password_hash, scopes, disabled, created_at)"
            " VALUES ('u1', 'alice', 'x', '', false, 0)"
        )
        database.execute(
            "INSERT INTO login_sessions (id, user_id, scopes, created_at, last_used_at, expires_at)"
            " VALUES ('s1', 'u1', '', 0, 0, 9999999999999)"
        )
    gateway_db("backup", str(file))
    assert "0 sessions have ended" in gateway_db("restore", "--keep-sessions", str(file)).out
    assert rows(live, "SELECT count(*) FROM login_sessions WHERE ended_at IS NULL") == [(1,)]
    assert "1 session has ended" in gateway_db("restore").out  # restored by other means
    assert rows(live, "SELECT count(*) FROM login_sessions WHERE ended_at IS NULL") == [(0,)]
    assert '"event": "store_restored"' in (live.parent / "audit.log").read_text()


async def test_postgresql_is_dumped_and_restored_with_its_own_tools_and_then_gets_new_epochs(
    tmp_path: Path, gateway_db: Run, postgres: str
) -> None:
    dump = tmp_path / "gateway.dump"
    with fresh_database(postgres) as first, fresh_database(postgres) as second:
        with running_gateway(settings_for_tests(tmp_path / "data", database_url=first)) as gateway:
            async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
                said = await alice.say("lobby", "kept")
                await asyncio.to_thread(run_tool, "pg_dump", "--format=custom", "--file", str(dump), first)
                lost = await alice.say("lobby", "lost")
        refused = await asyncio.to_thread(gateway_db, "backup", "x.db", GATEWAY_DATABASE_URL=first)
        assert "use pg_dump" in refused.problem
        run_tool("pg_restore", "--no-owner", "--dbname", second, str(dump))
        done = await asyncio.to_thread(gateway_db, "restore", GATEWAY_DATABASE_URL=second)
        assert (done.status, done.err) == (0, "")
        assert "1 room has a new epoch, 1 session has ended" in done.out
        with running_gateway(settings_for_tests(tmp_path / "data", database_url=second)) as gateway:
            async with App(gateway) as app, app.connect("alice") as alice:
                since = {"epoch": said["epoch"], "offset": lost["offset"]}
                joined = await alice.ask("room.join", room="lobby", since=since)
                assert (joined["recovered"], joined["reason"]) == (False, "epoch_changed")
                assert [message["text"] for message in joined["messages"]] == ["kept"]
                assert (await alice.say("lobby", "new"))["id"] not in {said["id"], lost["id"]}


def run_tool(name: str, *arguments: str) -> None:
    subprocess.run([tool(name), *arguments], check=True, timeout=60, capture_output=True, cwd="/")
