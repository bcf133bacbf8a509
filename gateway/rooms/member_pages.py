"""Pages of members as clients and services see them: with presence and custom states."""

from typing import Any

import orjson

from gateway.rooms.presence import Presence
from gateway.rooms.room_pages import read_members
from gateway.store.engine import Database
from gateway.store.room_pages import MemberRow
from gateway.store.rooms import RoomRow
from schemas.messages.presence import UserPresence
from schemas.messages.rooms import Member, MembersReply

MAX_CUSTOM_BYTES = 100_000
"""The bytes of a page's custom states. With a thousand members, a frame stays under 256 KiB."""


async def members_page(
    database: Database, presence: Presence, room: RoomRow, cursor: str | None, limit: int
) -> MembersReply:
    """Return members of a room by name, after `cursor`. Long custom states make a page shorter. Raise `Unavailable`."""
    page = await read_members(database, room.id, cursor, limit)
    presences = await presence.get({row.name: row.last_seen_at for row in page.members})
    present = [each.user for each in presences if each.state != "offline"]
    custom = await presence.custom.get(room.name, present) if present else {}
    fitting = _fitting(page.members, custom)
    members = (_member(row, each, custom.get(row.name)) for row, each in zip(fitting, presences, strict=False))
    is_cut = len(fitting) < len(page.members)
    return MembersReply(members=tuple(members), next_cursor=fitting[-1].name if is_cut else page.next_cursor)


def _fitting(rows: list[MemberRow], custom: dict[str, dict[str, Any]]) -> list[MemberRow]:
    size = 0
    for count, row in enumerate(rows):
        size += len(orjson.dumps(custom[row.name])) if row.name in custom else 0
        if size > MAX_CUSTOM_BYTES:
            return rows[:count]
    return rows


def _member(row: MemberRow, presence: UserPresence, custom: dict[str, Any] | None) -> Member:
    return Member(user=row.name, role=row.role, state=presence.state, last_seen=presence.last_seen, custom_state=custom)
