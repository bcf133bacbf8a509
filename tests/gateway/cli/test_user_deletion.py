"""`gateway users delete`: while gateways run, nothing is left that leads back to the user."""

import asyncio
import re
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights
from gateway.store import invitations, outgoing_events, tables, users
from gateway.store.engine import Database
from gateway.store.outgoing_events import NewEvent
from gateway.store.storage import size_of
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.gateway.cli.command import Result, environment, started
from tests.gateway.cli.conftest import RunHere
from tests.support.client import PASSWORD, App, ChatClient, Frame
from tests.support.nodes import running_nodes
from tests.support.postgres import fresh_database, query
from tests.support.sums import check_sums
from tests.support.valkey import running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server

STAND_IN = re.compile(r"deleted-[0-9a-f]{16}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deletion")


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Gateway]:
    """A gateway that the tests of this file share, with a data folder that the command finds."""
    with running_gateway(settings_for_tests(folder / "data")) as running:
        yield running


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    async with App(gateway) as app:
        yield app


@pytest.fixture
def delete(run_here: RunHere, folder: Path) -> Callable[..., Any]:
    """Run `gateway users delete …`."""

    async def run(*arguments: str, typed: str = "", **variables: str) -> Result:
        return await asyncio.to_thread(run_here, folder, "users", "delete", *arguments, typed=typed, **variables)

    return run


async def transact(gateway: Gateway, work: Callable[[Connection], Any]) -> Any:
    return await gateway.run(gateway.state.database.transact(work))


def dumped(folder: Path) -> str:
    """All that the store has, as SQL. When a user was last seen is left out: a gateway writes it down at any moment."""
    with (
        closing(sqlite3.connect(folder / "data" / "gateway.db")) as database,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        database.backup(copy)
        copy.execute("UPDATE users SET last_seen_at = NULL")
        return "\n".join(copy.iterdump())


async def history(client: ChatClient, room: str) -> list[Frame]:
    found: list[Frame] = (await client.ask("chat.history", room=room, after=0, limit=100))["messages"]
    return found


async def role_in(client: ChatClient, room: str) -> str | None:
    rooms = {each["name"]: each for each in (await client.ask("room.list"))["rooms"]}
    role: str | None = rooms[room].get("role")
    return role


async def ended(client: ChatClient) -> None:
    """Expect that a connection is closed because its user is gone."""
    await client.until(type="bye")
    await client.expect_close(4411, "token_revoked")


async def say_all(alice: ChatClient, bob: ChatClient, room: str) -> Frame:
    """Let a user leave all kinds of messages, and return the first."""
    first = await alice.say(room, "one", client_id="c-1")
    await bob.expect("chat.message")
    edited = await alice.say(room, "two")
    await alice.ask("chat.edit", room=room, message_id=edited["id"], text="2")
    gone = (await alice.until(type="chat.edited")) and await alice.say(room, "three")
    await alice.ask("chat.delete", room=room, message_id=gone["id"])
    await alice.heard()
    await bob.heard()
    await bob.say(room, "an answer", reply_to=first["id"])
    await alice.heard()
    return first


async def test_an_anonymised_user_leaves_no_trace_but_a_name_that_stays_taken(
    app: App, folder: Path, gateway: Gateway, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    grant = await app.grant(alice)
    bought = await app.ask("POST", "/ws/ticket", grant["access_token"])
    assert bought.is_success, bought.text
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room) as of_bob:
        await of_alice.heard()
        first = await say_all(of_alice, of_bob, room)
        direct = (await of_alice.ask("direct.open", user=bob))["room"]["name"]
        await of_bob.expect("room.invited")
        await of_bob.ask("room.join", room=direct)
        await of_bob.ask("room.create", room=f"{room}-2", private=True)
        await of_bob.ask("room.invite", room=f"{room}-2", user=alice)
        await of_alice.until(type="room.invited")
        await of_alice.ask("chat.read", room=room, offset=1)
        for client in (of_alice, of_bob):
            await client.heard()
        me = await app.ask("GET", "/users/me", grant["access_token"])
        my_id = me.json()["id"]
        assert my_id in dumped(folder)

        done = await delete(alice, "--messages", "anonymise", "--yes")
        assert (done.status, done.err) == (0, "")
        assert done.out.endswith(f"{alice} is deleted; the name stays taken\n")
        await ended(of_alice)
        heard = [(frame["type"], frame["data"]) for frame in await of_bob.heard()]
        kinds = [kind for kind, _ in heard]
        assert kinds[:3] == ["room.deleted", "room.left", "room.role"]
        assert heard[0][1] == {"room": direct}
        assert heard[2][1] == {"room": room, "user": bob, "role": "owner"}
        assert kinds[3:] == ["chat.edited", "chat.edited", "chat.deleted"]

        log = await history(of_bob, room)
        [stand_in] = {message["sender"] for message in log} - {bob}
        assert STAND_IN.fullmatch(stand_in)
        assert [message.get("text") for message in log] == ["one", "2", None, "an answer"]
        assert log[3]["reply_to"] == first["id"] == log[0]["id"]
        async with app.connect(bob) as other:  # from the memory of the node
            joined = await other.ask("room.join", room=room)
            assert [message["sender"] for message in joined["messages"]] == [stand_in] * 3 + [bob]
            assert await role_in(other, room) == "owner"

    assert (await app.log_in(alice)).status_code == 401
    assert (await app.refresh(grant["refresh_token"])).status_code in {400, 401}
    assert (await app.ask("GET", "/users/me", grant["access_token"])).status_code == 401
    assert (await app.register(alice)).status_code == 409
    left = dumped(folder)
    assert len(re.findall(rf"'{alice}'", left)) == 1  # the name that is taken
    assert len(re.findall(my_id, left)) == 1
    assert "c-1" not in left
    audit = (folder / "data" / "audit.log").read_text()
    assert f'"event": "user_deleted", "user": "{alice}"' in audit
    assert "one" not in re.findall(r'"text": "([^"]*)"', audit)
    await gateway.run(gateway.state.database.query(check_sums))


async def test_messages_that_are_removed_are_gone_for_clients_that_come_back_and_for_those_that_are_there(
    app: App, folder: Path, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room) as of_bob:
        await of_alice.heard()
        first = await of_alice.say(room, f"secret of {alice}")
        await of_alice.say(room, "second")
        await of_bob.heard()
        since = {"epoch": first["epoch"], "offset": 2}
        async with app.in_room(bob, room) as stays:
            await of_bob.ws.close()
            done = await delete(alice, "--messages", "remove", "--yes")
            assert "2 messages: they are deleted" in done.out
            await ended(of_alice)
            events = await stays.heard()
            assert [frame["type"] for frame in events] == ["room.left", "room.role", "chat.deleted", "chat.deleted"]
    async with app.connect(bob) as back:
        joined = await back.ask("room.join", room=room, since=since)
        assert joined["recovered"]
        assert [event["type"] for event in joined["events"]] == ["chat.deleted"] * 2
        for message in await history(back, room):
            assert (message["deleted"], message.get("text")) == (True, None)
            assert STAND_IN.fullmatch(message["sender"])
    assert f"secret of {alice}" not in dumped(folder)


async def test_messages_may_be_kept_with_the_name_and_be_anonymised_later(
    app: App, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room) as of_bob:
        await of_alice.heard()
        await of_alice.say(room, "for ever")
        direct = (await of_alice.ask("direct.open", user=bob))["room"]["name"]
        await of_alice.ask("room.join", room=direct)
        await of_alice.say(direct, "between us")
        await of_bob.heard()
        await of_bob.ask("room.join", room=direct)
        assert (await delete(alice, "--messages", "keep", "--yes")).status == 0
        assert [frame["type"] for frame in await of_bob.heard()] == ["room.left", "room.left", "room.role"]
        assert [message["sender"] for message in await history(of_bob, room)] == [alice]
        assert [message["text"] for message in await history(of_bob, direct)] == ["between us"]
        assert (await of_bob.refused("direct.open", user=alice))["status"] == 40400
        assert (await of_bob.refused("room.invite", room=room, user=alice))["status"] == 40400
        assert (await app.register(alice)).status_code == 409
        refused = await delete(alice, "--messages", "keep", "--free-name", "--yes")
        assert refused.problem.startswith("--free-name: messages that are kept need the name")
        again = await delete(alice, "--messages", "anonymise", "--yes")
        assert "1 message: a name that leads back" in again.out
        assert (await of_bob.until(type="room.deleted"))["data"] == {"room": direct}
        await of_bob.expect("chat.edited", text="for ever")
        assert all(STAND_IN.fullmatch(message["sender"]) for message in await history(of_bob, room))
        nothing = await delete(alice, "--messages", "remove", "--yes")
        assert "0 messages" in nothing.out


async def test_a_name_that_is_free_again_gives_its_new_user_no_right_of_the_former_one(
    app: App, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room):
        await of_alice.heard()
        said = await of_alice.say(room, "mine", client_id="c-1")
        await of_alice.ask("room.join", room=f"{room}-alone")
        await of_alice.say(f"{room}-alone", "nobody else")
        await of_alice.ask("room.leave", room=f"{room}-alone")
        done = await delete(alice, "--messages", "anonymise", "--free-name", "--yes")
        assert done.out.endswith(f"{alice} is deleted\n")
    assert (await app.register(alice)).status_code == 201
    async with app.connect(alice) as new, app.connect(bob) as of_bob:
        assert await role_in(new, room) is None
        await new.ask("room.join", room=room)
        assert await role_in(new, room) == "member"
        assert (await new.refused("chat.edit", room=room, message_id=said["id"], text="x"))["status"] == 40300
        assert (await new.refused("chat.delete", room=room, message_id=said["id"]))["status"] == 40300
        assert (await new.say(room, "again", client_id="c-1"))["id"] != said["id"]
        await of_bob.ask("room.join", room=f"{room}-alone")
        assert await role_in(of_bob, f"{room}-alone") == "owner"
    unknown = await delete(alice, "--messages", "keep", "--dry-run")
    assert unknown.status == 0  # the new user, and not the former


async def test_a_dry_run_counts_and_changes_nothing(
    app: App, gateway: Gateway, folder: Path, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room) as of_bob:
        await of_alice.heard()
        await say_all(of_alice, of_bob, room)
        await transact(gateway, lambda at: groups.set_rights(at, f"g-{room}", RoomRights.parse({room: ["join"]})))
        await transact(gateway, partial(_join_group, name=alice, group=f"g-{room}"))
        await of_bob.ask("direct.open", user=alice)  # of which alice is no member yet
        await of_alice.expect("room.invited")
        before = dumped(folder)
        for messages, words in (
            ("keep", "they stay"),
            ("anonymise", "a name that leads back to no user"),
            ("remove", "they are deleted"),
        ):
            seen = await delete(alice, "--messages", messages, "--dry-run")
            assert seen.status == 0
            assert "1 session with its refresh tokens\n" in seen.out
            assert "1 membership of a group\n" in seen.out
            assert "1 membership of a room, " in seen.out
            assert f"3 messages: {words}" in seen.out
            assert seen.out.endswith("nothing is deleted; leave out --dry-run to delete it\n")
        assert dumped(folder) == before
        await of_alice.expect_nothing()


def _join_group(connection: Connection, name: str, group: str) -> None:
    user = users.by_name(connection, name)
    assert user is not None
    groups.join(connection, user.id, [group])


async def test_the_command_asks_first_and_takes_no_answer_for_a_no(
    app: App, alice: str, delete: Callable[..., Any]
) -> None:
    await app.register(alice)
    for typed in ("", "n\n", "alice\n"):
        refused = await delete(alice, "--messages", "remove", typed=typed)
        assert refused.status == 1
        assert f"Delete {alice}?" in refused.out
    assert (await app.log_in(alice)).status_code == 200
    assert (await delete(alice, "--messages", "remove", typed="y\n")).status == 0
    assert (await app.log_in(alice)).status_code == 401


async def test_a_wrong_name_is_one_line_and_a_typed_one_is_understood(
    app: App, alice: str, delete: Callable[..., Any]
) -> None:
    for name in ("nobody-here", "ålice", "🏳️‍🌈", "a' OR 1=1 --", "deleted-0123456789abcdef", "a" * 5000, "x\ty"):
        assert (await delete(name, "--messages", "keep", "--yes")).problem.startswith("there is no user ")
    unasked = await delete("nobody-here", "--messages", "keep", typed="y\n")
    assert unasked.problem.startswith("there is no user ")
    assert "cannot come back" not in unasked.out
    assert "this is a service" in (await delete("service:orders", "--messages", "keep", "--yes")).problem
    assert (await delete(alice, "--yes")).status == 2
    assert (await delete(alice, "--messages", "burn", "--yes")).status == 2
    await app.register(alice)
    wide = "".join(chr(ord(letter) + 0xFEE0) if letter.isalpha() else letter for letter in alice)
    done = await delete(f" {wide.upper()} ", "--messages", "keep", "--yes")
    assert done.out.endswith(f"{alice} is deleted; the name stays taken\n")


async def test_the_last_admin_goes_only_if_that_is_meant(
    app: App, gateway: Gateway, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    for name in (alice, bob):
        await app.register(name)
        await transact(gateway, partial(users.set_scopes, name=name, scopes="admin chat:read"))
    assert (await delete(alice, "--messages", "keep", "--yes")).status == 0
    await transact(gateway, partial(users.set_scopes, name=bob, scopes="chat:read admin"))
    refused = await delete(bob, "--messages", "keep", "--yes")
    assert refused.problem.startswith(f"{bob} is the last user with the scope admin; grant it to another user first")
    assert (await app.log_in(bob)).status_code == 200
    assert (await delete(bob, "--messages", "keep", "--yes", "--last-admin")).status == 0


async def test_no_command_brings_a_deleted_user_back(
    app: App, folder: Path, alice: str, delete: Callable[..., Any], run_here: RunHere
) -> None:
    await app.register(alice)
    await delete(alice, "--messages", "keep", "--yes")
    for words in (["enable", alice], ["disable", alice], ["grant", alice, "admin"], ["revoke", alice, "admin"]):
        refused = await asyncio.to_thread(run_here, folder, "users", *words)
        assert "there is no user" in refused.problem
    typed = await asyncio.to_thread(run_here, folder, "users", "passwd", alice, typed=f"{PASSWORD}\n")
    assert "there is no user" in typed.problem
    added = await asyncio.to_thread(run_here, folder, "users", "add", alice, typed=f"{PASSWORD}\n")
    assert "is taken" in added.problem
    assert alice not in (await asyncio.to_thread(run_here, folder, "users", "list")).out


async def test_what_a_user_sends_while_it_is_deleted_is_acknowledged_and_anonymised_or_refused(
    app: App, room: str, alice: str, bob: str, delete: Callable[..., Any]
) -> None:
    sent: list[Frame] = []
    async with app.in_room(alice, room) as of_alice, app.in_room(bob, room) as of_bob:
        await of_alice.heard()

        async def talk() -> None:
            while True:
                number = await of_alice.start("chat.send", room=room, text=f"{len(sent)}")
                answer = await of_alice.until(id=number)
                if answer["type"] == "reply":
                    sent.append(answer["data"]["message"])
                else:  # it is no member any more, and its connection is about to close
                    assert answer["status"] in {40301, 40400}, answer
                    await of_alice.start("room.join", room=room)

        talking = asyncio.create_task(talk())
        await until(lambda: len(sent) > 20)
        done = await delete(alice, "--messages", "anonymise", "--yes")
        assert done.status == 0
        await asyncio.wait([talking], timeout=20)
        assert type(talking.exception()).__name__ == "ConnectionClosedError"
        await of_bob.heard()
        log: list[Frame] = []
        while page := (await of_bob.ask("chat.history", room=room, after=len(log), limit=100))["messages"]:
            log += page
        # The last one may have been stored without an answer, because its connection was closed.
        assert len(sent) <= len(log) <= len(sent) + 1
        assert [message["id"] for message in log[: len(sent)]] == [message["id"] for message in sent]
        [stand_in] = {message["sender"] for message in log}
        assert STAND_IN.fullmatch(stand_in)
        members = (await of_bob.ask("room.members", room=room))["members"]
        assert [member["user"] for member in members] == [bob]


COUNT = 2000


def _flood(connection: Connection, room: str, name: str, count: int) -> None:
    """Store many messages at once."""
    user = users.by_name(connection, name)
    assert user is not None
    room_id, offset = connection.execute(
        select(tables.rooms.c.id, tables.rooms.c.offset).where(tables.rooms.c.name == room)
    ).one()
    rows = [
        {"room_id": room_id, "offset": at, "changed": at, "sender_id": user.id, "text": f"{at}", "sent_at": at}
        for at in range(offset + 1, offset + 1 + count)
    ]
    connection.execute(insert(tables.messages), rows)
    size = sum(size_of(row["text"], None) for row in rows)
    for table, id in ((tables.rooms, room_id), (tables.users, user.id)):
        connection.execute(update(table).where(table.c.id == id).values(stored_bytes=table.c.stored_bytes + size))
    connection.execute(update(tables.rooms).where(tables.rooms.c.id == room_id).values(offset=offset + count))


@pytest.mark.parametrize(("messages", "how"), [("anonymise", signal.SIGKILL), ("remove", signal.SIGINT)])
async def test_a_deletion_that_is_ended_half_way_is_finished_by_the_next_and_others_write_meanwhile(
    tmp_path: Path, messages: str, how: signal.Signals, run_here: RunHere
) -> None:
    with running_gateway(settings_for_tests(tmp_path / "data")) as gateway:
        async with App(gateway) as app, app.in_room("alice", "lobby"), app.in_room("bob", "lobby") as bob:
            await transact(gateway, partial(_flood, room="lobby", name="alice", count=COUNT))
            words = ("users", "delete", "alice", "--messages", messages, "--yes")
            process = started(*words, env=environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE)

            def renamed(connection: Connection) -> int:
                stand_ins = select(tables.users.c.id).where(tables.users.c.deleted_at == 0)
                query = select(func.count()).where(tables.messages.c.sender_id.in_(stand_ins))
                return connection.execute(query).scalar_one()

            async def is_under_way() -> bool:
                return await gateway.run(gateway.state.database.query(renamed)) > 0

            await until(is_under_way)
            process.send_signal(how)
            _, complaint = await asyncio.to_thread(process.communicate, timeout=20)
            if how is signal.SIGINT:
                assert complaint == b"the deletion is not complete; repeat the command, which does the rest\n"
            assert 0 < await gateway.run(gateway.state.database.query(renamed)) < COUNT
            assert (await app.log_in("alice")).status_code == 401
            finishing = asyncio.create_task(asyncio.to_thread(run_here, tmp_path, *words))
            said = []
            while not finishing.done():
                number = await bob.start("chat.send", room="lobby", text="meanwhile")
                async with asyncio.timeout(5):
                    said.append((await bob.until(id=number))["data"]["message"]["id"])
            done = await finishing
            assert (done.status, done.err) == (0, "")
            assert await gateway.run(gateway.state.database.query(renamed)) == COUNT
            assert len(said) > 3

            def look(connection: Connection) -> tuple[int, int, int]:
                stand_ins = select(func.count()).where(tables.users.c.deleted_at == 0)
                texts = select(func.count()).where(
                    tables.messages.c.text.is_not(None), ~tables.messages.c.text.like("m%")
                )
                links = select(func.count()).where(tables.users.c.successor_id.is_not(None))
                return (*(connection.execute(each).scalar_one() for each in (stand_ins, texts, links)),)  # type: ignore[return-value]

            kept = COUNT if messages == "anonymise" else 0
            assert await gateway.run(gateway.state.database.query(look)) == (1, kept, 0)
            await gateway.run(gateway.state.database.query(check_sums))


HELLO = '{"message":{"id":"e.1","room":"lobby","epoch":"e","offset":1,"changed":1,"sender":"alice"'
THEIRS = HELLO.replace("alice", "bob")
NUMBERS = ',"body":{"big":123456789012345678901234567890,"small":1.50e-9,"of":"alice"},"sent_at":"x","deleted":false}'


def _event(stream: str, data: str) -> NewEvent:
    return NewEvent("archive", stream, "msg_1", "message.stored", data, created_at=1, due_at=9_000_000_000_000)


EVENTS = (
    _event("user:alice", '{"user":"alice"}'),
    _event("user:bob", '{"user":"bob"}'),
    _event("room:lobby", f"{HELLO}{NUMBERS}}}"),
    _event("room:lobby", f"{THEIRS}{NUMBERS}}}"),
    _event("unseen:lobby", f'{THEIRS}{NUMBERS},"users":["alice","bob"]}}'),
    _event("unseen:lobby", f'{THEIRS}{NUMBERS},"users":["alice"]}}'),
    _event("unseen:lobby", f'{HELLO}{NUMBERS},"users":["bob"]}}'),
    _event("due:lobby", '{"after":"","page":1}'),
)


@pytest.mark.parametrize("messages", ["keep", "anonymise", "remove"])
async def test_events_that_wait_for_hooks_name_the_user_no_more(
    tmp_path: Path, messages: str, run_here: RunHere
) -> None:
    url = f"sqlite:///{tmp_path / 'data' / 'gateway.db'}"
    (tmp_path / "data").mkdir()
    async with Database(url) as database:
        await database.upgrade()
        for name in ("alice", "bob"):
            await database.transact(partial(users.add, name=name, password_hash="x", now=1))
        await database.transact(
            lambda at: at.execute(text("INSERT INTO webhook_presence VALUES ('archive', 'user', 'alice')"))
        )
        await database.transact(_one_message)
        await database.run_script(outgoing_events.add(EVENTS))
        done = await asyncio.to_thread(run_here, tmp_path, "users", "delete", "alice", "--messages", messages, "--yes")
        assert done.status == 0, done

        def read(connection: Connection) -> tuple[list[str], str]:
            data = connection.execute(select(tables.outgoing_events.c.data).order_by(tables.outgoing_events.c.id))
            query = select(tables.users.c.name).where(tables.users.c.deleted_at == 0)
            assert connection.execute(select(func.count()).select_from(tables.webhook_presence)).scalar_one() == 0
            return list(data.scalars()), connection.execute(query).scalar_one_or_none() or ""

        left, stand_in = await database.query(read)
    sender = "alice" if messages == "keep" else stand_in
    theirs = [
        '{"user":"bob"}',
        HELLO.replace("alice", sender) + NUMBERS + "}",
        THEIRS + NUMBERS + "}",
        THEIRS + NUMBERS + ',"users":["bob"]}',
        HELLO.replace("alice", sender) + NUMBERS + ',"users":["bob"]}',
        '{"after":"","page":1}',
    ]
    assert left == (theirs if messages != "remove" else [theirs[0], theirs[2], theirs[3], theirs[5]])


def _one_message(connection: Connection) -> None:
    room = {"id": 1, "name": "lobby", "private": False, "epoch": "e", "offset": 0, "created_at": 1}
    connection.execute(insert(tables.rooms).values(room))
    _flood(connection, "lobby", "alice", 1)


async def test_a_user_that_is_connected_to_two_nodes_is_gone_from_both(
    tmp_path: Path, postgres: str, run_here: RunHere
) -> None:
    with running_valkey() as valkey, fresh_database(postgres) as url, running_nodes(tmp_path, url, valkey) as nodes:
        async with (
            App(nodes[0]) as here,
            App(nodes[1]) as there,
            here.in_room("alice", "lobby") as phone,
            there.in_room("alice", "lobby") as laptop,
            here.in_room("bob", "lobby") as bob,
            there.in_room("carol", "lobby") as carol,
        ):
            number = await phone.start("chat.send", room="lobby", text="hello")
            said = (await phone.until(id=number))["data"]["message"]
            await bob.until(type="chat.message")
            await carol.until(type="chat.message")
            variables = {"GATEWAY_DATABASE_URL": url, "GATEWAY_BUS_URL": valkey.url}
            words = ("users", "delete", "alice", "--messages", "anonymise", "--yes")
            done = await asyncio.to_thread(run_here, tmp_path, *words, **variables)
            assert (done.status, done.err) == (0, "")
            for client in (phone, laptop):
                await ended(client)
            for client in (bob, carol):
                await client.expect("room.left", user="alice")
                await client.expect("room.role", user="bob", role="owner")
                edited = await client.expect("chat.edited", id=said["id"], text="hello")
                assert STAND_IN.fullmatch(edited["sender"])
                await client.expect_nothing()
            for app in (here, there):
                async with app.connect("bob") as again:
                    joined = await again.ask("room.join", room="lobby")
                    assert [each["sender"] for each in joined["messages"]] == [edited["sender"]]
            # An invitation, a membership and a message that a request under way has made since go with the next run.
            await transact(nodes[0], _too_late)
            again_done = await asyncio.to_thread(run_here, tmp_path, *words, **variables)
            assert again_done.status == 0
            await bob.expect("room.left", user="alice")
            assert await nodes[0].run(nodes[0].state.database.query(_of_alice)) == [0, 0]


def _too_late(connection: Connection) -> None:
    alice, bob = [
        connection.execute(select(tables.users.c.id).where(tables.users.c.name == name)).scalar_one()
        for name in ("alice", "bob")
    ]
    room_id = connection.execute(select(tables.rooms.c.id)).scalar_one()
    values = {"room_id": room_id, "user_id": alice, "role": "member", "joined_at": 1}
    connection.execute(insert(tables.memberships).values(values))
    connection.execute(update(tables.rooms).values(arrivals=tables.rooms.c.arrivals + 1))
    connection.execute(insert(tables.rooms).values(id=99, name="late", private=True, epoch="l", offset=0, created_at=1))
    invitations.add(connection, 99, bob, alice, 1)


def _of_alice(connection: Connection) -> list[int]:
    counted = (tables.memberships.c.user_name == "alice", tables.invitations.c.room_id == 99)
    return [connection.execute(select(func.count()).where(each)).scalar_one() for each in counted]


async def test_a_database_user_without_the_right_to_write_is_one_line(
    tmp_path: Path, postgres: str, run_here: RunHere, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(postgres) as url:
        async with Database(url) as database:
            await database.upgrade()
            await database.transact(partial(users.add, name="alice", password_hash="x", now=1))
        await query(url, "CREATE ROLE reader LOGIN PASSWORD 'reader'")
        try:
            await query(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
            reading = f"postgresql://reader:reader@{url.partition('@')[2]}"
            words = ("users", "delete", "alice", "--messages", "remove", "--yes")
            refused = await asyncio.to_thread(run_here, tmp_path, *words, GATEWAY_DATABASE_URL=reading)
            assert refused.status == 1
            assert "Traceback" not in refused.err
            assert "permission denied for table" in caplog.text
            assert "the line above says why" in refused.err
            assert "reader:reader" not in refused.err
        finally:
            await query(url, "DROP OWNED BY reader")
            await query(url, "DROP ROLE reader")
