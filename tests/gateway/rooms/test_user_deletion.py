"""The deletion of a user in the store: interrupted at any point, it leaves nothing over and miscounts nothing."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select

from gateway.bus.memory import MemoryBus
from gateway.rooms.log import Log
from gateway.rooms.membership_changes import Enter
from gateway.rooms.message_changes import Delete, Edit, Send
from gateway.rooms.retention import Retention
from gateway.rooms.user_deletion import BATCH, Deleted, Messages, UserDeletion
from gateway.store import deleted_users, rooms, tables, users
from gateway.store.deleted_users import Successor
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.messages import message_id
from gateway.store.users import UserRow
from gateway.testing import MovableClock, settings_for_tests
from handlers.errors import Conflict, NotFound
from tests.support.sums import check_sums

SENT = 2 * BATCH + 30
"""Messages of the user in each room: more than two batches."""


class Stopped(Exception):
    """The command was interrupted."""


class Store:
    """A store with a log, and with two users in two rooms."""

    def __init__(self, database: Database, log: Log, bus: MemoryBus, clock: MovableClock) -> None:
        self.database, self.log, self.bus, self.clock = database, log, bus, clock

    async def user(self, name: str) -> UserRow:
        found = await self.database.query(partial(deleted_users.find, name=name))
        assert found is not None
        return found

    def deletion(self, messages: Messages, **options: Any) -> UserDeletion:
        return UserDeletion(self.database, self.log, self.bus, self.clock, messages, **options)

    async def count(self, *conditions: Any) -> int:
        def work(connection: Connection) -> int:
            return connection.execute(select(func.count()).where(*conditions)).scalar_one()

        return await self.database.query(work)

    async def count_of(self, user_id: str) -> int:
        return await self.count(tables.messages.c.sender_id == user_id)

    async def stand_ins(self) -> list[str]:
        query = select(tables.users.c.id).where(tables.users.c.deleted_at == 0)
        return await self.database.query(lambda connection: list(connection.execute(query).scalars()))


@pytest.fixture
async def filled(database: Database) -> AsyncIterator[Store]:
    bus, clock = MemoryBus(), MovableClock()
    async with Log(database, bus, clock, 10_000).running() as log:
        for name in ("alice", "bob"):
            await database.transact(partial(users.add, name=name, password_hash="x", now=1))
        made = Store(database, log, bus, clock)
        for name in ("alice", "bob"):
            user = await made.user(name)
            for room in ("garden", "lobby"):
                await log.append(Enter(room, user.id, name))
        alice, bob = await made.user("alice"), await made.user("bob")
        for room in ("garden", "lobby"):
            written = await asyncio.gather(
                *(
                    log.append(Send(room, alice.id, "alice", f"☃ {number}", None, None, f"c{number}"))
                    for number in range(SENT)
                ),
                log.append(Send(room, bob.id, "bob", None, {"of": "bob"})),
            )
            ids = [message_id(each.room.epoch, each.message.offset) for each in written]
            await log.append(Edit(room, alice.id, ids[0], None, {"edited": [1.5e-9]}))
            await log.append(Delete(room, alice.id, ids[1]))
        yield made


@pytest.mark.parametrize("messages", Messages)
async def test_each_kind_leaves_right_sums_and_another_run_changes_nothing(
    filled: Store, database: Database, messages: Messages
) -> None:
    alice = await filled.user("alice")
    foreseen = await filled.deletion(messages).foresee(alice)
    done = await filled.deletion(messages).run(alice)
    assert (done.rooms, done.owned_rooms) == (foreseen.rooms, foreseen.owned_rooms) == (2, 2)
    expected = 0 if messages is Messages.KEEP else 2 * SENT
    assert (done.messages, foreseen.messages) == (expected, 2 * SENT)
    await database.query(check_sums)
    again = await filled.deletion(messages).run(await filled.user("alice"))
    assert again == Deleted()
    assert len(await filled.stand_ins()) == (0 if messages is Messages.KEEP else 1)
    assert await filled.count_of(alice.id) == (2 * SENT if messages is Messages.KEEP else 0)
    texts = await filled.count(tables.messages.c.text.is_not(None))
    assert texts == (0 if messages is Messages.REMOVE else 2 * (SENT - 2))
    assert await filled.count(tables.messages.c.client_id.is_not(None)) == expected_ids(messages)
    owners = await filled.count(tables.memberships.c.role == "owner", tables.memberships.c.user_name == "bob")
    assert owners == 2
    with pytest.raises(NameTaken):
        await database.transact(partial(users.add, name="alice", password_hash="x", now=1))


def expected_ids(messages: Messages) -> int:
    return 2 * SENT if messages is Messages.KEEP else 0


def stop_after(batches: int) -> Any:
    """Interrupt a deletion after so many batches of messages."""

    def note(deleted: Deleted) -> None:
        if deleted.messages >= batches * BATCH:
            raise Stopped

    return note


@pytest.mark.parametrize("batches", [0, 1, 3])
async def test_an_interrupted_run_is_finished_by_one_of_another_kind(
    filled: Store, database: Database, batches: int
) -> None:
    alice = await filled.user("alice")
    with pytest.raises(Stopped):
        await filled.deletion(Messages.ANONYMISE, on_progress=stop_after(batches)).run(alice)
    found = await filled.user("alice")
    assert (found.disabled, found.password_hash, found.deleted_at is None) == (True, "", False)
    await database.query(check_sums)
    done = await filled.deletion(Messages.REMOVE).run(found)
    assert done.messages == 2 * SENT - (2 if batches == 3 else 1 if batches else 0)  # those that were deleted before
    [stand_in] = await filled.stand_ins()
    assert await filled.count_of(stand_in) == 2 * SENT
    assert await filled.count_of(alice.id) == 0
    assert await filled.count(tables.messages.c.text.is_not(None)) == 0
    assert await filled.count(tables.users.c.successor_id.is_not(None)) == 0
    await database.query(check_sums)


async def test_a_room_that_is_deleted_meanwhile_stops_no_deletion(filled: Store, database: Database) -> None:
    alice = await filled.user("alice")

    def remove(connection: Connection) -> None:
        room = rooms.find(connection, "lobby", "", lock=True)
        assert room is not None
        rooms.remove(connection, room.id, 1)

    _, done = await asyncio.gather(database.transact(remove), filled.deletion(Messages.REMOVE).run(alice))
    assert SENT <= done.messages <= 2 * SENT
    assert await filled.count_of(alice.id) == 0
    await database.query(check_sums)


async def test_retention_removes_what_was_anonymised_and_the_sums_with_it(
    filled: Store, database: Database, tmp_path: Path
) -> None:
    await filled.deletion(Messages.ANONYMISE).run(await filled.user("alice"))
    filled.clock.ahead += 10 * 24 * 3600
    await Retention(settings_for_tests(tmp_path, retention_days=9), database, filled.clock).prune()
    assert await filled.count(tables.messages.c.room_id > 0) == 0
    await database.query(check_sums)


class Late(UserDeletion):
    """A deletion during which a request that was under way stores a message, after all messages were looked through."""

    async def _clear_events(self, user: UserRow, successor: Successor | None, done: Deleted) -> None:
        await super()._clear_events(user, successor, done)
        values = {"room_id": 1, "offset": 9999, "changed": 9999, "sender_id": user.id, "text": "x", "sent_at": 1}

        def add(connection: Connection) -> None:
            connection.execute(insert(tables.messages).values(values))

        await self.database.transact(add)


async def test_a_name_is_not_freed_while_a_message_needs_it(filled: Store, database: Database) -> None:
    alice = await filled.user("alice")
    late = Late(database, filled.log, filled.bus, filled.clock, Messages.ANONYMISE, frees_name=True)
    with pytest.raises(Conflict, match="a message has come while the user was deleted; repeat the command"):
        await late.run(alice)
    await filled.deletion(Messages.ANONYMISE, frees_name=True).run(await filled.user("alice"))
    assert await database.query(partial(deleted_users.find, name="alice")) is None
    await database.transact(partial(users.add, name="alice", password_hash="x", now=1))


async def test_a_deleted_user_enters_no_room_and_a_name_that_is_kept_cannot_be_freed(filled: Store) -> None:
    alice = await filled.user("alice")
    with pytest.raises(Conflict, match="messages that are kept need the name"):
        await filled.deletion(Messages.KEEP, frees_name=True).run(alice)
    await filled.deletion(Messages.KEEP).run(alice)
    for room in ("lobby", "attic"):
        with pytest.raises(NotFound, match="there is no user `alice`"):
            await filled.log.append(Enter(room, alice.id, "alice"))
    assert await filled.count(tables.rooms.c.name == "attic") == 0
