"""Finding a room for one of its members, as nearly every verb begins."""

from sqlalchemy import Connection

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.rights import check_right
from gateway.core import costs
from gateway.rooms import rules
from gateway.store import rooms
from gateway.store.rooms import RoomRow


def find_as_member(connection: Connection, name: str, user_id: str, *, lock: bool = False) -> RoomRow:
    """Return a room with the user's role in it, or raise `NotAMember` or `NotFound`."""
    return as_member(name, rooms.find(connection, name, user_id, lock=lock))


async def fetch_as_member(session: SessionContext, name: str) -> RoomRow:
    """Return a room with the user's role in it, for verbs that read and need nothing else of the store.

    Raises `Forbidden` without the right to join it, and `NotAMember` or `NotFound` like `find_as_member`.
    """
    await check_right(session, Right.JOIN, name)
    rows = await session.fetch(rooms.FIND, me=session.user_id, name=name)
    return as_member(name, rooms.from_rows(rows))


async def check_sender(session: SessionContext, name: str) -> None:
    """Raise `Forbidden`, `NotAMember` or `NotFound` unless the user may send what the store does not keep.

    What this node remembers of the room answers, or else the store. Both cost the same.
    """
    session.charge(costs.READ)
    await check_right(session, Right.SEND, name)
    if not session.gateway.hub.knows_member(name, session.user_id):
        as_member(name, await session.gateway.room_finder.find(name, session.user_id))


async def check_signal(session: SessionContext, name: str) -> None:
    """Raise what `check_sender` raises, `Forbidden` in a room without signals, and `QuotaExceeded` in a crowded one."""
    session.charge(costs.READ)
    await check_right(session, Right.SEND, name)
    gateway = session.gateway
    if not gateway.hub.knows_member(name, session.user_id) or not gateway.signals.is_allowed(name):
        room = as_member(name, await gateway.room_finder.find(name, session.user_id))
        gateway.signals.check(room)
    gateway.hub.check_not_crowded(name, "signals")


def as_member(name: str, room: RoomRow | None) -> RoomRow:
    """Return a room as its user has found it, or raise `NotAMember` or `NotFound`."""
    found, _ = rules.as_member(name, room, None if room is None else room.role)
    return found
