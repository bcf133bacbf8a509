"""Rooms in the store, under simultaneous changes."""

import asyncio

from gateway.store import rooms, users
from gateway.store.engine import Database
from gateway.store.users import UserRow


async def join(database: Database, user: UserRow, name: str) -> tuple[int, bool]:
    """Join, and return the room and whether the user is new in it."""
    async with database.write() as connection:
        room = await rooms.find(connection, name, user.id, lock=True)
        if room is None:
            room = await rooms.add(connection, name=name, now=0)
        if room.role is None:
            await rooms.add_member(connection, room, user.id, "member", 0)
    return room.id, room.role is None


async def test_a_room_that_many_join_at_once_is_made_once_and_each_enters_it_once(store_url: str) -> None:
    # Two databases, like those of two nodes, which share only the store.
    nodes = [Database(store_url) for _ in range(2)]
    await nodes[0].upgrade()
    async with nodes[0].write() as connection:
        people = [await users.add(connection, name=name, password_hash="x", now=0) for name in ("alice", "bob")]
    for number in range(5):
        joined = await asyncio.gather(
            *(join(node, user, f"room-{number}") for user in people for node in nodes for _ in range(3))
        )
        assert len({room_id for room_id, _ in joined}) == 1
        assert sum(is_new for _, is_new in joined) == 2
        async with nodes[0].read() as connection:
            assert await rooms.count_members(connection, joined[0][0]) == 2
    for node in nodes:
        await node.close()
