"""The user's rooms for the welcome: what an application needs to draw its list, and to come back into them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson

from gateway.chat.verbs.context import SessionContext
from gateway.core import costs
from gateway.store import rooms
from gateway.store.rooms import RoomRow
from schemas.messages.rooms import MAX_RESUMED, Room, RoomsReply

CHUNK = costs.COUNTED
"""Messages to search before the event loop has its turn."""

Found = Sequence[tuple[RoomRow, int]]
"""Rooms, each with how many messages to search for unread ones."""


async def own_rooms(session: SessionContext) -> RoomsReply:
    """Return the user's first rooms and invitations by name, as `room.list` shows them, and charge them."""
    rows = await session.fetch(rooms.OWN, me=session.user_id, most=MAX_RESUMED + 1)
    found = rooms.own_from_rows(rows)
    page = found[:MAX_RESUMED]
    session.charge(costs.of_rows(len(page), counted=sum(looked_at for _, looked_at in page)))
    unread: dict[int, int] = {}
    for some in _chunks([(room, looked_at) for room, looked_at in page if looked_at]):
        unread |= await _count_unread(session, some)
    shown = tuple(_to_schema(room, unread.get(room.id)) for room, _ in page)
    return RoomsReply(rooms=shown, next_cursor=page[-1][0].name if len(found) > len(page) else None)


def _chunks(found: Found) -> Iterator[Found]:
    chunk: list[tuple[RoomRow, int]] = []
    for room, looked_at in found:
        if chunk and sum(earlier for _, earlier in chunk) + looked_at > CHUNK:
            yield chunk
            chunk = []
        chunk.append((room, looked_at))
    if chunk:
        yield chunk


async def _count_unread(session: SessionContext, found: Found) -> dict[int, int]:
    after = orjson.dumps([(room.id, room.offset - looked_at) for room, looked_at in found]).decode()
    rows = await session.gateway.database.fetch(rooms.COUNT_UNREAD, me=session.user_id, items=after)
    return {row["room_id"]: row["unread"] for row in rows}


def _to_schema(room: RoomRow, unread: int | None) -> Room:
    return (room if unread is None else replace(room, unread=unread)).to_schema()
