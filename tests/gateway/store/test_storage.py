"""The bytes of messages: the sums of users and rooms are exact after any simultaneous changes."""

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, text

from gateway.chat.verbs import quotas
from gateway.rooms import changes
from gateway.rooms.batch import Change
from gateway.rooms.changes import Limits
from gateway.rooms.message_changes import Delete, Edit, Send, StorageQuotas, Written
from gateway.store import invitations, pruning, revisions, rooms, users
from gateway.store.engine import Database
from gateway.store.messages import message_id
from gateway.store.storage import MESSAGE_BYTES, size_of
from gateway.store.tables import messages
from gateway.testing import settings_for_tests
from handlers.errors import QuotaExceeded
from tests.support.users import add_users

SAYINGS = [
    ("hi", None),
    ('Grüße 😀\n\t"', None),
    (None, {"ü": [1, 2.5, None, "😀", {"a": -0.0}]}),
    (None, "x"),
    (None, 0),
]
"""The contents of messages, as a text or a body."""


def sums(connection: Connection, table: str) -> dict[str, int]:
    """Return the stored sums of users or rooms, by name, without zeros."""
    found = connection.execute(text(f"SELECT name, stored_bytes FROM {table} WHERE stored_bytes != 0"))
    return {row.name: row.stored_bytes for row in found}


async def check(database: Database) -> None:
    """Compare the sums with the bytes of the existing messages."""
    of_rooms: Counter[str] = Counter()
    of_users: Counter[str] = Counter()

    def add_up(connection: Connection) -> None:
        for room, user, said, body in connection.execute(
            text(
                "SELECT rooms.name, users.name, messages.text, messages.body FROM messages"
                " JOIN rooms ON rooms.id = room_id JOIN users ON users.id = sender_id"
            )
        ):
            size = MESSAGE_BYTES + len((said or "").encode()) + len((body or "").encode())
            of_rooms[room] += size
            of_users[user] += size
        assert sums(connection, "rooms") == of_rooms
        assert sums(connection, "users") == of_users

    await database.query(add_up)


async def people(database: Database, *names: str) -> list[users.UserRow]:
    return await database.transact(partial(add_users, names=names))


async def make_room(database: Database, name: str, *members: users.UserRow) -> rooms.RoomRow:
    """Make a room. Its first member is the owner."""

    def work(connection: Connection) -> rooms.RoomRow:
        room = rooms.add(connection, name=name, now=0)
        for number, member in enumerate(members):
            rooms.add_member(connection, room, member.id, "member" if number else "owner", 0)
        return room

    return await database.transact(work)


async def apply(database: Database, *wanted: Change[Written], bound: StorageQuotas | None = None) -> list[Any]:
    return await database.run_script(changes.apply(wanted, 1, Limits(bound or StorageQuotas())))


async def test_the_sums_are_what_adding_up_gives_after_all_that_changes_messages(database: Database) -> None:
    alice, bob = await people(database, "alice", "bob")
    both = (alice, bob)
    for name in ("a", "b"):
        room = await make_room(database, name, alice, bob)
        sends = [Send(name, user.id, user.name, *saying) for user in both for saying in SAYINGS]
        await apply(database, *sends)
        await check(database)
        ids = [message_id(room.epoch, offset) for offset in range(1, 11)]
        await apply(
            database,
            Edit(name, alice.id, ids[0], "longer than before", None),
            Edit(name, alice.id, ids[0], "and again", None),
            Edit(name, alice.id, ids[2], "short", None),
            Edit(name, alice.id, ids[5], "not hers", None),
            Delete(name, alice.id, ids[6]),  # of bob
            Delete(name, alice.id, ids[6]),
            Delete(name, bob.id, ids[7]),
            Send(name, bob.id, "bob", "once more", None, client_id="x"),
            Send(name, bob.id, "bob", "once more", None, client_id="x"),
        )
        await check(database)

    def prune(connection: Connection) -> pruning.Pruned:
        too_many, _ = pruning.surplus(connection, room.id, keep=3)
        return pruning.prune(connection, room.id, before=None, too_many=too_many, now=1, limit=4)

    assert await database.transact(prune) == pruning.Pruned(4, is_done=False)
    await check(database)
    await database.transact(partial(rooms.remove, room_id=room.id, now=1))
    last = await database.transact(partial(pruning.remove_rows, room.id, messages.c.offset, None, limit=2))
    await check(database)
    assert await database.transact(partial(pruning.remove_rows, room.id, messages.c.offset, last, limit=99)) is None
    await check(database)


async def test_an_edit_back_to_what_a_message_said_changes_no_sum(database: Database) -> None:
    (alice,) = await people(database, "alice")
    room = await make_room(database, "a", alice)
    for offset, saying in enumerate(SAYINGS):
        at = message_id(room.epoch, 3 * offset + 1)
        await apply(database, Send("a", alice.id, "alice", *saying))
        await apply(database, Edit("a", alice.id, at, "something else", None))
        await apply(database, Edit("a", alice.id, at, *saying))
        await check(database)
    assert await database.query(partial(sums, table="users")) == {"alice": sum(size_of(*each) for each in SAYINGS)}


async def test_two_nodes_that_write_to_other_rooms_of_a_user_at_once_keep_to_one_quota(store_url: str) -> None:
    # Two databases, like those of two nodes, which share only the store.
    nodes = [Database(store_url) for _ in range(2)]
    await nodes[0].upgrade()
    alice, bob = await people(nodes[0], "alice", "bob")
    names = [f"room-{number}" for number in range(24)]
    for name in names:
        await make_room(nodes[0], name, alice, bob)
    size = size_of("hi", None)
    bound = StorageQuotas(per_user=10 * size)

    async def send(node: Database, name: str, *senders: users.UserRow) -> list[bool]:
        changes = [Send(name, sender.id, sender.name, "hi", None) for sender in senders]
        try:
            outcomes = await apply(node, *changes, bound=bound)
        except QuotaExceeded:
            return [False]  # the other node was faster, and nothing was written
        return [isinstance(outcome, Written) for outcome in outcomes]

    taken = await asyncio.gather(*(send(nodes[number % 2], name, alice) for number, name in enumerate(names)))
    assert sum(sum(each) for each in taken) == 10
    # The users of a batch are changed in one order, in any order of its messages: there is no deadlock.
    async with asyncio.timeout(20):
        mixed = [(bob, alice) if number % 2 else (alice, bob) for number in range(len(names))]
        await asyncio.gather(
            *(apply(nodes[n % 2], *(Send(names[n], u.id, u.name, "hi", None) for u in mixed[n])) for n in range(24))
        )
    await check(nodes[0])
    for node in nodes:
        await node.close()


def fill_former(connection: Connection) -> None:
    """Store messages as a gateway without sums has done."""
    revisions.upgrade(connection, "gateway_0005")
    for name in ("alice", "bob"):
        values = {"id": name, "hash": "x", "scopes": "", "no": False}
        connection.execute(
            text(
                "INSERT INTO users (id, name, password_hash, scopes, disabled, created_at)"
                " VALUES (:id, :id, :hash, :scopes, :no, 0)"
            ),
            values,
        )
    for number, name in enumerate(("a", "b", "empty")):
        connection.execute(
            text(
                'INSERT INTO rooms (id, name, private, epoch, "offset", created_at)'
                " VALUES (:id, :name, :no, 'x', 0, 0)"
            ),
            {"id": number, "name": name, "no": False},
        )
    rows = [
        {
            "room_id": room,
            "offset": offset,
            "changed": offset,
            "sender_id": sender,
            "text": said,
            "body": body,
            "sent_at": 0,
        }
        for room in (0, 1)
        for offset, (sender, (said, body)) in enumerate(
            [(sender, saying) for sender in ("alice", "bob") for saying in SAYINGS], room
        )
    ]
    connection.execute(insert(messages), rows)


async def test_an_upgrade_counts_what_is_there(empty_store_url: str) -> None:
    database = Database(empty_store_url)
    await database.transact(fill_former)
    await database.upgrade()
    await check(database)
    await database.close()


async def test_two_nodes_that_invite_a_user_at_once_keep_to_one_quota(store_url: str, tmp_path: Path) -> None:
    nodes = [Database(store_url) for _ in range(2)]
    await nodes[0].upgrade()
    invited, *inviters = await people(nodes[0], *(f"user-{number}" for number in range(25)))
    made = [await make_room(nodes[0], inviter.name, inviter) for inviter in inviters]
    settings = settings_for_tests(tmp_path, max_invitations_per_user=10)

    def add(room: rooms.RoomRow, inviter: users.UserRow, connection: Connection) -> None:
        quotas.check_inviting(connection, settings, room.id, inviter.id, invited)
        invitations.add(connection, room.id, invited.id, inviter.id, 0)

    async def invite(node: Database, room: rooms.RoomRow, inviter: users.UserRow) -> bool:
        try:
            await node.transact(partial(add, room, inviter))
        except QuotaExceeded:
            return False
        return True

    pairs = enumerate(zip(made, inviters, strict=True))
    done = await asyncio.gather(*(invite(nodes[number % 2], room, inviter) for number, (room, inviter) in pairs))
    assert sum(done) == 10
    for node in nodes:
        await node.close()
