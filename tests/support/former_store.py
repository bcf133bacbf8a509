"""The stores of released gateways, as SQL, with what clients knew of them: each later gateway must go on with them.

At a release: `python -m tests.support.former_store` writes the files of the newest tables into `STORES`.
"""

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights
from gateway.store import outgoing_events, users
from gateway.store.outgoing_events import NewEvent
from gateway.store.versions import NEWEST
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.support.client import App, ChatClient, Frame
from tests.support.postgres import any_postgres, fresh_database, tool
from tests.support.services import add_service

STORES = Path(__file__).parents[1] / "gateway" / "store" / "former"
"""The folder of the files: `NAME.sqlite.sql`, `NAME.postgresql.sql` and `NAME.json` for each version of the tables."""

NUMBERS = {"big": 12345678901234567890, "small": 1.5e-9, "deep": [[[]], {"": None}]}
TEXTS = ("hello", "Zoë ☃ 🏳️‍🌈 ‮tfel‬", "'; DROP TABLE messages; --", "\\N \t end")


async def live(gateway: Gateway) -> Frame:
    """Use all that a store keeps, and return what the clients know at the end."""
    key = await add_service(gateway, "orders", "api:publish", "api:rooms")
    await add_service(gateway, "alarms", hook_of="lobby")
    async with App(gateway) as app:
        grant = await app.grant("alice")
        async with app.in_room("alice", "lobby") as alice, app.in_room("bob", "lobby") as bob:
            await alice.expect("room.joined")
            await _talk(alice, bob)
            await _open_rooms(alice, bob)
        await app.register("carol")
        await gateway.run(gateway.state.database.transact(_by_command))
        message = {"body": NUMBERS, "client_id": "o-1"}
        posted = await app.ask("POST", "/api/publish", key, json={"rooms": ["lobby"], "message": message})
        assert posted.status_code == 200, posted.text
        await gateway.run(gateway.state.database.run_script(outgoing_events.add([_EVENT])))
        return {"refresh_token": grant["refresh_token"], "key": key, "rooms": await views(app, "alice")}


async def views(app: App, name: str) -> Frame:
    """Return what a user sees of its rooms: their state, their members and their logs."""
    async with app.connect(name) as client:
        rooms = (await client.ask("room.list"))["rooms"]
        return {room["name"]: await _view(client, room) for room in rooms if "role" in room}


async def _view(client: ChatClient, room: Frame) -> Frame:
    name = room["name"]
    members = (await client.ask("room.members", room=name))["members"]
    log = (await client.ask("chat.history", room=name, after=0, limit=100))["messages"]
    members = [{"user": member["user"], "role": member["role"]} for member in members]
    return {"room": room, "members": members, "log": log}


async def _done(client: ChatClient, type: str, **data: Any) -> Frame:
    """Send a message, and return its reply's data; events may come before it."""
    reply = await client.until(id=await client.start(type, **data))
    assert reply["status"] == 20000, reply
    found: Frame = reply["data"]
    return found


async def _talk(alice: ChatClient, bob: ChatClient) -> None:
    said = [
        (await _done(alice, "chat.send", room="lobby", text=text, client_id=f"c-{number}"))["message"]
        for number, text in enumerate(TEXTS)
    ]
    await _done(bob, "chat.read", room="lobby", offset=2)
    await _done(bob, "chat.send", room="lobby", body=NUMBERS, reply_to=said[0]["id"])
    await _done(alice, "chat.edit", room="lobby", message_id=said[1]["id"], text="edited")
    await _done(alice, "chat.delete", room="lobby", message_id=said[2]["id"])
    grows = (await _done(alice, "chat.send", room="lobby", text="it grows"))["message"]
    await _done(alice, "chat.append", room="lobby", message_id=grows["id"], text=" and grows", done=True)


async def _open_rooms(alice: ChatClient, bob: ChatClient) -> None:
    await _done(alice, "room.create", room="garden", title="Garten ☃", private=True, signals=False)
    await _done(alice, "chat.send", room="garden", text="nobody else is here")
    await _done(alice, "room.invite", room="garden", user="bob")
    direct = (await _done(alice, "direct.open", user="bob"))["room"]["name"]
    await _done(alice, "chat.send", room=direct, text="between us")
    await _done(bob, "room.join", room="attic")
    await _done(bob, "chat.send", room="attic", text="left behind")
    await _done(bob, "room.leave", room="attic")


def _by_command(connection: Connection) -> None:
    groups.set_rights(connection, "staff", RoomRights.parse({"lobby": ["join", "send"]}))
    for name in ("carol",):
        users.set_disabled(connection, name, 1_700_000_000_000)
        found = users.by_name(connection, name)
        assert found is not None
        groups.join(connection, found.id, ["staff"])


_EVENT = NewEvent(
    webhook="archive",
    stream="room:lobby",
    event_id="msg_1",
    type="message.stored",
    data='{"message":{"room":"lobby","sender":"alice","text":"hello"}}',
    created_at=1_700_000_000_000,
    due_at=9_000_000_000_000,
)


def dumped_sqlite(file: Path) -> str:
    """Return a SQLite database as SQL."""
    with closing(sqlite3.connect(file)) as database:
        return "\n".join(database.iterdump()) + "\n"


def dumped_postgresql(url: str) -> str:
    """Return a PostgreSQL database as SQL that any client can run."""
    options = ("--inserts", "--no-owner", "--no-privileges", "--no-comments")
    done = subprocess.run([tool("pg_dump"), *options, url], check=True, timeout=60, capture_output=True, cwd="/")
    lines = done.stdout.decode().splitlines()
    # psql's own commands, and settings that older servers do not know.
    kept = [line for line in lines if not line.startswith(("\\", "SET ", "--", "SELECT pg_catalog.set_config"))]
    return "\n".join(line for line in kept if line) + "\n"


def write(folder: Path) -> None:
    """Write the files of the newest tables."""
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as data:
        file = Path(data) / "gateway.db"
        known = {"sqlite": _lived(Path(data), f"sqlite:///{file}")}
        (folder / f"{NEWEST}.sqlite.sql").write_text(dumped_sqlite(file))
    with any_postgres() as server, fresh_database(server) as url, TemporaryDirectory() as data:
        known["postgresql"] = _lived(Path(data), url)
        (folder / f"{NEWEST}.postgresql.sql").write_text(dumped_postgresql(url))
    (folder / f"{NEWEST}.json").write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def _lived(folder: Path, url: str) -> Frame:
    with running_gateway(settings_for_tests(folder, database_url=url)) as gateway:
        return asyncio.run(live(gateway))


if __name__ == "__main__":
    write(STORES)
