"""Pages of rooms and of members come by name, each once."""

import itertools
from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import Connection

from gateway.rooms import changes
from gateway.rooms.growth import Append, NewPiece
from gateway.rooms.membership_changes import MarkRead
from gateway.rooms.message_changes import Send
from gateway.rooms.room_pages import ROWS_AT_ONCE, read_members, read_rooms
from gateway.store import invitations, rooms
from gateway.store.engine import Database
from gateway.store.room_pages import MAX_UNREAD
from gateway.store.rooms import RoomRow
from gateway.store.users import UserRow
from tests.gateway.store.test_pages import say
from tests.support.users import add_users


async def people(database: Database, *names: str) -> list[UserRow]:
    return await database.transact(partial(add_users, names=names))


async def make_room(database: Database, name: str, *members: UserRow, private: bool = False) -> RoomRow:
    room = await database.transact(partial(rooms.add, name=name, private=private, now=0))

    def add(connection: Connection, some: Sequence[UserRow]) -> None:
        for user in some:
            rooms.add_member(connection, room, user.id, "member", 0)

    for start in range(0, len(members), 100):  # a transaction may take five seconds
        await database.transact(partial(add, some=members[start : start + 100]))
    return room


async def test_members_come_by_name_a_page_at_a_time(database: Database) -> None:
    room = await make_room(database, "here", *await people(database, "dora", "alice", "carl", "bob"))
    first = await read_members(database, room.id, None, 3)
    assert [member.name for member in first.members] == ["alice", "bob", "carl"]
    last = await read_members(database, room.id, first.next_cursor, 3)
    assert ([member.name for member in last.members], last.next_cursor) == (["dora"], None)


async def test_a_page_of_exactly_the_last_members_is_the_last(database: Database) -> None:
    room = await make_room(database, "here", *await people(database, "alice", "bob"))
    page = await read_members(database, room.id, None, 2)
    assert ([member.name for member in page.members], page.next_cursor) == (["alice", "bob"], None)


async def test_a_long_page_of_members_is_read_whole(database: Database) -> None:
    crowd = await people(database, *(f"user-{number:04}" for number in range(ROWS_AT_ONCE + 100)))
    room = await make_room(database, "here", *crowd)
    page = await read_members(database, room.id, None, 1000)
    assert [member.name for member in page.members] == [user.name for user in crowd]


async def test_a_list_has_public_rooms_and_ones_own_and_invitations_by_name_and_each_once(database: Database) -> None:
    [ann, ben] = await people(database, "alice", "bob")
    await make_room(database, "a-open")
    await make_room(database, "b-mine", ann, private=True)
    await make_room(database, "c-his", ben, private=True)
    await make_room(database, "d-both", ann)
    invited = await make_room(database, "e-invited", ben, private=True)
    await database.transact(lambda connection: invitations.add(connection, invited.id, ann.id, ben.id, 0))
    await make_room(database, "f-open", ben)
    first = await read_rooms(database, ann.id, None, 3)
    assert [(room.name, room.role) for room in first.rooms] == [
        ("a-open", None),
        ("b-mine", "member"),
        ("d-both", "member"),
    ]
    last = await read_rooms(database, ann.id, first.next_cursor, 3)
    assert [(room.name, room.invited) for room in last.rooms] == [("e-invited", True), ("f-open", False)]
    assert last.next_cursor is None


async def test_a_deleted_room_is_in_no_list(database: Database) -> None:
    [ann] = await people(database, "alice")
    room = await make_room(database, "gone", ann)
    offered = await make_room(database, "offered", private=True)
    await database.transact(lambda connection: invitations.add(connection, offered.id, ann.id, ann.id, 0))
    for each in (room, offered):
        await database.transact(partial(rooms.remove, room_id=each.id, now=1))
    assert (await read_rooms(database, ann.id, None, 10)).rooms == []


@pytest.mark.parametrize(("read", "unread", "searched"), [(0, 995, 1000), (1005, 0, 5), (900, 105, 110), (1010, 0, 0)])
async def test_unread_messages_of_others_are_counted_in_the_newest_thousand(
    database: Database, read: int, unread: int, searched: int
) -> None:
    [ann, ben] = await people(database, "alice", "bob")
    room = await make_room(database, "here", ann)
    await database.transact(
        lambda connection: say(connection, room, ben, [{"text": "hi"}] * 1005 + [{"deleted_at": 1}] * 5)
    )
    await database.run_script(changes.apply([MarkRead(room.name, ann.id, read)], 0))
    page = await read_rooms(database, ann.id, None, 10)
    assert ([room.unread for room in page.rooms], page.searched) == ([unread], searched)


async def test_the_offsets_of_a_message_that_has_grown_long_hide_no_unread_message(database: Database) -> None:
    [ann, ben] = await people(database, "alice", "bob")
    room = await make_room(database, "here", ann, ben)
    first, last = (Send(room.name, ben.id, "bob", text, None) for text in ("first", "and"))
    pieces = [Append(room.name, ben.id, f"{room.epoch}.2", [NewPiece(".")])] * (MAX_UNREAD + 1)
    await database.run_script(changes.apply([first, last], 0))
    await database.run_script(changes.apply(pieces, 0))
    page = await read_rooms(database, ann.id, None, 10)
    assert ([room.unread for room in page.rooms], page.searched) == ([2], MAX_UNREAD)


async def test_own_messages_are_not_unread_and_strangers_have_no_number(database: Database) -> None:
    [ann, ben] = await people(database, "alice", "bob")
    room = await make_room(database, "here", ann)
    await database.transact(lambda connection: say(connection, room, ann, [{"text": "hi"}] * 3))
    seen = [await read_rooms(database, user.id, None, 10) for user in (ann, ben)]
    assert [room.unread for room in itertools.chain(*(page.rooms for page in seen))] == [0, None]
