"""Rooms in the store, under simultaneous changes."""

import asyncio
from functools import partial

from sqlalchemy import Connection

from gateway.store import rooms
from gateway.store.engine import Database
from gateway.store.users import UserRow
from tests.support.users import add_users


def join(user: UserRow, name: str, connection: Connection) -> tuple[int, bool]:
    """Join, and return the room and whether the user is new in it."""
    room = rooms.find(connection, name, user.id, lock=True)
    if room is None:
        room = rooms.add(connection, name=name, now=0)
    if room.role is None:
        rooms.add_member(connection, room, user.id, "member", 0)
    return room.id, room.role is None


async def test_a_room_that_many_join_at_once_is_made_once_and_each_enters_it_once(store_url: str) -> None:
    # Two databases, like those of two nodes, which share only the store.
    nodes = [Database(store_url) for _ in range(2)]
    await nodes[0].upgrade()
    people = await nodes[0].transact(partial(add_users, names=("alice", "bob")))
    for number in range(5):
        works = [partial(join, user, f"room-{number}") for user in people]
        joined = await asyncio.gather(*(node.transact(work) for work in works for node in nodes for _ in range(3)))
        assert len({room_id for room_id, _ in joined}) == 1
        assert sum(is_new for _, is_new in joined) == 2
        found = await nodes[0].query(partial(rooms.by_name, name=f"room-{number}"))
        assert found is not None
        assert found.members == 2
    for node in nodes:
        await node.close()
