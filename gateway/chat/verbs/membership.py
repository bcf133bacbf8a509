"""Finding a room for one of its members, as nearly every verb begins."""

from sqlalchemy import Connection

from gateway.rooms import rules
from gateway.store import rooms
from gateway.store.rooms import RoomRow


def find_as_member(connection: Connection, name: str, user_id: str, *, lock: bool = False) -> RoomRow:
    """Return a room with the user's role in it, or raise `NotAMember` or `NotFound`."""
    room = rooms.find(connection, name, user_id, lock=lock)
    found, _ = rules.as_member(name, room, None if room is None else room.role)
    return found
