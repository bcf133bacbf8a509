"""A room knows how many members it has, whatever its members do at the same time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from gateway.store import tables
from handlers.errors import MessageError
from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes

PEOPLE = ("ann", "ben", "cat", "dan", "eve")
ROOMS = ("lobby", "garden", "cellar")
STEPS = 60
"""Steps, each of one deed per person at the same time."""


def deeds(ear: Ear, other: str, room: str) -> list[Callable[[], Awaitable[object]]]:
    """Everything that begins or ends a membership, or a room."""
    return [
        partial(ear.rooms.create, room, title=None, private=other < ear.user),
        *(partial(ear.join, room) for _ in range(5)),
        *(partial(ear.rooms.leave, room) for _ in range(3)),
        partial(ear.rooms.kick, room, other),
        partial(ear.rooms.invite, room, other),
        partial(ear.rooms.set_role, room, other, "moderator"),
        partial(ear.rooms.delete, room),
        partial(ear.rooms.open_direct, other),
        partial(ear.say, room),
    ]


async def do_something(nodes: Nodes, ear: Ear, fate: random.Random) -> None:
    other = fate.choice([name for name in PEOPLE if name != ear.user])
    known = [*ROOMS, *(name for name in ear.joined if name.startswith("dm-"))]
    with suppress(MessageError):
        await fate.choice(deeds(ear, other, fate.choice(known)))()


def counted(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return the count of members and the members of each room."""
    rooms, memberships = tables.rooms, tables.memberships
    members = select(func.count()).where(memberships.c.room_id == rooms.c.id).scalar_subquery()
    query = select(rooms.c.name, rooms.c.arrivals - rooms.c.departures, members).where(rooms.c.removed_at.is_(None))
    return {name: (count, members) for name, count, members in connection.execute(query)}


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_room_counts_its_members_through_all_that_they_do(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    fate = random.Random(seed)
    async with running_nodes(2, tmp_path, store_url, monkeypatch, *PEOPLE) as nodes:
        nodes.air.is_clear = True
        ears = [nodes.ear(number % 2, name) for number, name in enumerate(PEOPLE)]
        most = 0
        for _ in range(STEPS):
            await asyncio.gather(*(do_something(nodes, ear, fate) for ear in ears))
            found = await nodes.states[0].database.query(counted)
            assert {name: count for name, (count, _) in found.items()} == {
                name: members for name, (_, members) in found.items()
            }
            most = max(most, *(members for _, members in found.values()), 0)
        assert most >= 3


async def test_a_new_member_learns_how_many_there_are(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_nodes(2, tmp_path, store_url, monkeypatch, *PEOPLE) as nodes:
        nodes.air.is_clear = True
        ann = nodes.ear(0, "ann")
        await ann.rooms.create("lobby", title=None, private=False)
        joined = [await nodes.ear(number % 2, name).join("lobby") for number, name in enumerate(PEOPLE)]
        assert [reply.members for reply in joined] == [1, 2, 3, 4, 5]
        await nodes.ears[2].rooms.leave("lobby")
        await ann.rooms.kick("lobby", "dan")
        assert (await ann.join("lobby")).members == 3
        assert (await nodes.ear(1, "dan").join("lobby")).members == 4
