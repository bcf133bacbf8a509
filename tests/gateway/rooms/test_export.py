"""Exports while what they export is deleted: they must not look complete."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.rooms.export import room_lines, user_lines
from gateway.store import deleted_users, rooms, users
from gateway.testing import Gateway
from handlers.errors import NotFound
from tests.support.client import App


async def _exported(gateway: Gateway, lines: Callable[..., Any], find: Any, end: Any) -> list[bytes]:
    """Export a part, let it end, and go on."""
    database = gateway.state.database
    found: list[bytes] = []
    async for each in lines(database, await database.query(find)):
        if not found:
            await database.transact(end)
        found.append(each)
    return found


def _remove_room(connection: Connection, name: str) -> None:
    found = rooms.by_name(connection, name)
    assert found is not None
    rooms.remove(connection, found.id, 1)


def _mark_user(connection: Connection, name: str) -> None:
    found = users.by_name(connection, name)
    assert found is not None
    deleted_users.mark(connection, found.id, 1)


async def test_an_export_of_a_room_that_is_deleted_meanwhile_fails(
    app: App, gateway: Gateway, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as client:
        await client.heard()
        await client.say(room, "soon gone")
    find, end = partial(rooms.by_name, name=room), partial(_remove_room, name=room)
    with pytest.raises(NotFound, match="was deleted meanwhile, so the export is not complete"):
        await gateway.run(_exported(gateway, room_lines, find, end))


async def test_an_export_of_a_user_that_is_deleted_meanwhile_fails(app: App, gateway: Gateway, alice: str) -> None:
    await app.register(alice)
    find, end = partial(deleted_users.find, name=alice), partial(_mark_user, name=alice)
    with pytest.raises(NotFound, match="was deleted meanwhile, so the export is not complete"):
        await gateway.run(_exported(gateway, user_lines, find, end))
