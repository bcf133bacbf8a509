"""No statement reads more than its page, however many rooms, members, messages and strangers the store holds."""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from gateway.rooms.history_reader import HistoryReader
from gateway.rooms.retention import Retention
from gateway.store import login_sessions
from gateway.store.rooms import by_name
from gateway.store.tables import rooms
from gateway.testing import Gateway
from schemas.services import SERVICE_SCOPES
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.plans import Call, Recorder, excesses
from tests.support.services import add_service

MANY = 10_000

QUIET = {"chat.read", "chat.edited", "chat.deleted", "chat.message", "room.joined", "room.left", "room.role"}

ASKS: list[tuple[str, dict[str, Any]]] = [
    ("room.list", {"limit": 20}),
    ("room.list", {"limit": 20, "cursor": "public-5"}),
    ("room.members", {"room": "big", "limit": 10}),
    ("room.members", {"room": "big", "limit": 10, "cursor": "user-5"}),
    ("chat.history", {"room": "big", "limit": 50}),
    ("chat.history", {"room": "big", "limit": 50, "before": 5000}),
    ("chat.history", {"room": "big", "limit": 50, "after": 5000}),
    ("chat.read", {"room": "big", "offset": MANY - 10}),
    ("chat.typing", {"room": "big"}),
    ("presence.get", {"users": ["user-1", "user-2", "bob"]}),
    ("chat.send", {"room": "big", "text": "hi", "client_id": "1"}),
]

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("room.join", {"room": "big"}),
    ("room.join", {"room": "theirs-1", "since": {"epoch": "e1", "offset": 0}}),
    ("room.resume", {"rooms": [{"room": "big"}, {"room": "public-1"}]}),
    ("room.create", {"room": "new"}),
    ("room.invite", {"room": "new", "user": "user-1"}),
    ("room.kick", {"room": "new", "user": "user-1"}),
    ("room.update", {"room": "new", "private": True}),
    ("room.leave", {"room": "new"}),
    ("direct.open", {"user": "user-1"}),
]


async def fill(gateway: Gateway) -> None:
    """Store many rows of each kind: strangers with their own rooms, and one room that all are in."""
    await gateway.run(gateway.state.database.transact(_fill, limited=False))  # a busy machine needs some seconds


def _fill(connection: Connection) -> None:
    numbers = f"generate_series(1, {MANY}) AS each(n)"
    if connection.dialect.name == "sqlite":
        counted = f"SELECT 1 UNION ALL SELECT n + 1 FROM each WHERE n < {MANY}"
        numbers = f"(WITH RECURSIVE each(n) AS ({counted}) SELECT n FROM each)"
    for statement in _ROWS:
        connection.execute(text(statement.format(numbers=numbers, many=MANY)))


_BIG = "(SELECT id FROM rooms WHERE name = 'big')"

_ROWS = (
    """INSERT INTO users (id, name, password_hash, scopes, disabled, created_at, disabled_at)
    SELECT 'u' || n, 'user-' || n, '!', '', false, n, CASE WHEN n % 10 = 0 THEN n END FROM {numbers}""",
    """INSERT INTO login_sessions (id, user_id, scopes, family_hash, created_at, last_used_at, expires_at, ended_at)
    SELECT 's' || n, 'u' || n, '', 'f' || n, n, n, 9999999999999, CASE WHEN n % 10 = 0 THEN n END FROM {numbers}""",
    """INSERT INTO tickets (hash, user_id, service, scopes, token_expires_at, expires_at)
    SELECT 't' || n, 'u' || n, 'local', '', n, 9999999999999 FROM {numbers}""",
    """INSERT INTO rooms (name, private, epoch, "offset", created_at, oldest_at)
    SELECT 'theirs-' || n, true, 'e' || n, 1, n, 9999999999999 FROM {numbers}""",
    """INSERT INTO rooms (name, private, epoch, "offset", created_at, oldest_at)
    SELECT 'public-' || n, false, 'p' || n, 0, n, 9999999999999 FROM {numbers}""",
    """INSERT INTO memberships (room_id, user_id, role, joined_at, user_name, room_name)
    SELECT id, 'u1', 'owner', 0, 'user-1', name FROM rooms WHERE name LIKE 'theirs%'""",
    """INSERT INTO memberships (room_id, user_id, role, joined_at, user_name, room_name)
    SELECT rooms.id, users.id, 'member', 0, users.name, rooms.name FROM rooms, users
    WHERE rooms.name LIKE 'public-%' AND users.name = 'alice'""",
    """INSERT INTO memberships (room_id, user_id, role, joined_at, user_name, room_name)
    SELECT rooms.id, users.id, 'member', 0, users.name, rooms.name FROM rooms, users
    WHERE rooms.name = 'theirs-1' AND users.name = 'bobby'""",
    """INSERT INTO invitations (room_id, user_id, inviter_id, invited_at)
    SELECT id, 'u2', 'u1', 0 FROM rooms WHERE name LIKE 'theirs%'""",
    """INSERT INTO messages (room_id, "offset", changed, sender_id, text, sent_at)
    SELECT id, 1, 1, 'u1', 'hi', 9999999999999 FROM rooms WHERE name <> 'big' AND name <> 'gone'""",
    """INSERT INTO rooms (name, private, epoch, "offset", created_at, oldest_at)
    SELECT 'more-' || n, true, 'e' || n, 1, n, 9999999999999 FROM {numbers}""",
    """INSERT INTO messages (room_id, "offset", changed, sender_id, text, sent_at)
    SELECT id, 1, 1, 'u1', 'hi', 9999999999999 FROM rooms WHERE name LIKE 'more-%'""",
    f"""INSERT INTO memberships (room_id, user_id, role, joined_at, user_name, room_name)
    SELECT {_BIG}, id, 'member', created_at, name, 'big' FROM users WHERE name LIKE 'user-%'""",
    f"""INSERT INTO messages (room_id, "offset", changed, sender_id, client_id, text, sent_at)
    SELECT {_BIG}, n, n, 'u' || n, n, 'hi', 9999999999999 FROM {{numbers}}""",
    """UPDATE rooms SET "offset" = {many} WHERE name = 'big'""",
    "UPDATE rooms SET arrivals = (SELECT count(*) FROM memberships WHERE room_id = rooms.id)",
)


async def expect_pages(store_url: str, found: dict[str, list[Call]]) -> None:
    """Check all statements."""
    too_much = await excesses(store_url, list(dict.fromkeys(itertools.chain(*found.values()))))
    assert not too_much, "\n\n".join(too_much)


async def test_no_message_and_no_request_reads_more_than_its_page(
    own_gateway: OwnGateway, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, found = Recorder(monkeypatch), {}
    gateway = own_gateway(max_rooms_joined=1000, max_rooms_owned=100)
    async with App(gateway) as app, app.connect("alice") as alice, app.connect("bobby") as bobby:
        await alice.ask("room.create", room="big")
        await fill(gateway)
        await alice.ask("room.join", room="big")
        alice.ignored |= QUIET
        bobby.ignored |= QUIET
        for user, asks in ((alice, ASKS), (bobby, CHANGES)):
            for type_, data in asks:
                with recorder.statements() as found[f"{type_} {data}"]:
                    await user.ask(type_, **data)
        with recorder.statements() as found["an edit and a deletion"]:
            message = (await alice.ask("chat.send", room="big", text="hi"))["message"]
            await alice.ask("chat.edit", room="big", message_id=message["id"], text="ho")
            await alice.ask("chat.delete", room="big", message_id=message["id"])
        with recorder.statements() as found["a welcome with the user's rooms"]:
            async with app.socket(f"?token={await app.token('alice')}&rooms=1") as other:
                await other.expect("welcome")
        with recorder.statements() as found["the end of an owner's membership"]:
            await alice.ask("room.leave", room="big")
        with recorder.statements() as found["a log-in, a connection and requests"]:
            grant = await app.grant("alice")
            grant = (await app.refresh(grant["refresh_token"])).json()
            for method, path in (("GET", "/users/me"), ("GET", "/users/me/sessions"), ("POST", "/ws/ticket")):
                assert (await app.ask(method, path, grant["access_token"])).is_success
            async with app.connect_with(grant["access_token"]):
                assert (await app.ask("DELETE", "/users/me/sessions", grant["access_token"])).is_success
    await expect_pages(store_url, found)


SERVICE_ASKS: list[tuple[str, str, Any]] = [
    ("GET", "/api/rooms?limit=20", None),
    ("GET", "/api/rooms?limit=20&cursor=public-5", None),
    ("GET", "/api/rooms/big", None),
    ("GET", "/api/rooms/big/members?limit=10&cursor=user-5", None),
    ("GET", "/api/rooms/big/messages?limit=50", None),
    ("GET", "/api/rooms/big/messages?limit=50&cursor=before-5000", None),
    ("GET", "/api/rooms/big/messages?limit=50&after=5000", None),
    ("POST", "/api/publish", {"rooms": ["big", "theirs-1"], "message": {"text": "hi", "client_id": "1"}}),
    ("POST", "/api/publish", {"rooms": ["big", "public-1"], "event": {"type": "orders.changed"}}),
    ("POST", "/api/publish", {"users": ["user-1", "user-2"], "event": {"type": "orders.changed"}}),
    ("POST", "/api/rooms", {"room": "kept"}),
    ("PATCH", "/api/rooms/big", {"title": "Big"}),
    ("PUT", "/api/rooms/big/members/bobby", {"role": "owner"}),
    ("PUT", "/api/rooms/big/members/bobby", {"role": "moderator"}),
    ("DELETE", "/api/rooms/big/members/bobby", None),
    ("DELETE", "/api/rooms/kept", None),
]


async def test_no_request_of_a_service_reads_more_than_its_page(
    own_gateway: OwnGateway, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, found = Recorder(monkeypatch), {}
    gateway = own_gateway(max_rooms_joined=1000, max_rooms_owned=100)
    async with App(gateway) as app, app.connect("alice") as alice:
        await app.register("bobby")
        await alice.ask("room.create", room="big")
        await fill(gateway)
        key = await add_service(gateway, "orders", *SERVICE_SCOPES)
        for method, path, body in SERVICE_ASKS:
            with recorder.statements() as found[f"{method} {path} {body}"]:
                response = await app.ask(method, path, key, json=body)
                assert response.is_success, response.text
        with recorder.statements() as found["a message that is read, edited and deleted"]:
            content = {"rooms": ["big"], "message": {"text": "hi"}}
            [sent] = (await app.ask("POST", "/api/publish", key, json=content)).json()["results"]
            for method, body in (("GET", None), ("PATCH", {"text": "ho"}), ("DELETE", None)):
                path = f"/api/rooms/big/messages/{sent['id']}"
                assert (await app.ask(method, path, key, json=body)).is_success
    await expect_pages(store_url, found)


async def test_a_resume_of_many_rooms_looks_up_each_also_in_a_small_store(
    own_gateway: OwnGateway, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among so few, PostgreSQL finds it cheaper to compare every room with every name."""
    recorder, found = Recorder(monkeypatch), {}
    gateway = own_gateway(max_rooms_joined=1000)
    async with App(gateway) as app, app.connect("alice") as alice:
        await gateway.run(gateway.state.database.transact(_add_rooms))
        names = [f"room-{number}" for number in range(128)]
        with recorder.statements() as found["room.resume"]:
            reply = await alice.ask("room.resume", rooms=[{"room": name} for name in names])
        assert [each["room"] for each in reply["rooms"]] == names
    await expect_pages(store_url, found)


def _add_rooms(connection: Connection) -> None:
    rows = [{"name": f"room-{number}", "epoch": "e", "offset": 0, "created_at": 0} for number in range(1500)]
    connection.execute(insert(rooms), [row | {"private": False} for row in rows])


async def test_nothing_that_runs_by_itself_reads_more_than_its_page(
    own_gateway: OwnGateway, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, found = Recorder(monkeypatch), {}
    gateway = own_gateway()
    state = gateway.state
    async with App(gateway) as app, app.connect("alice") as alice:
        await alice.ask("room.create", room="big")
        await alice.ask("room.create", room="gone")
        await fill(gateway)
        for days, keep in ((0, 1000), (1, 0)):
            limits = gateway.settings.model_copy(update={"retention_days": days, "retention_messages": keep})
            with recorder.statements() as found[f"retention of {days} days, {keep} messages"]:
                await gateway.run(Retention(limits, state.database, gateway.clock).prune())
        with recorder.statements() as found["the removal of a room"]:
            await alice.ask("room.delete", room="gone")
            await gateway.run(state.room_remover.remove_all())
        with recorder.statements() as found["the look at sessions"]:
            await gateway.run(state.database.query(partial(login_sessions.ended_since, since=MANY - 10, now=MANY)))
            await gateway.run(state.database.query(partial(login_sessions.alive_among, ids=["s1", "s2"], now=MANY)))
            await gateway.run(state.database.transact(partial(login_sessions.prune, before=20)))
        with recorder.statements() as found["the look at rooms"]:
            reader = HistoryReader(state.database)
            [position] = (await gateway.run(reader.positions(["big"]))).values()
            await gateway.run(reader.read_gap("big", position.epoch, MANY - 10))
            await gateway.run(reader.departed("big", ["u1", "u2"]))
            big = await gateway.run(state.database.query(partial(by_name, name="big")))
            assert big is not None
            for stored in (0, 10_000_000):  # a room that is read with others, and one that is not
                await gateway.run(reader.newest_changes(replace(big, stored_bytes=stored), 100, 65_536))
    await expect_pages(store_url, found)
