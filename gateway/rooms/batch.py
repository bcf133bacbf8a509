"""The rooms and members of the changes that share a transaction: locked and read, and as the changes leave them.

The changes are applied in their order, in memory. Each sees the results of the earlier ones.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from gateway.rooms import rules
from gateway.store import writes
from gateway.store.prepared import Script
from gateway.store.rooms import RoomRow
from handlers.errors import NotFound
from schemas.messages.rooms import Role

Result_co = TypeVar("Result_co", covariant=True)

Key = tuple[int, str]
"""The number of a room and the id of a user."""


class Change(Generic[Result_co]):
    """A change of a room by a user. Its type names what it results in."""

    __slots__ = ()

    room: str
    """The name of the room."""
    user_id: str


class Deferred(Exception):
    """Raised by a change that the next transaction must make: this one has already removed its room."""


class LockedRoom:
    """A room that no other transaction changes, with what the changes so far have made of it."""

    __slots__ = ("arrivals", "departures", "id", "is_removed", "left_by", "offset", "row", "stored_bytes")

    def __init__(self, row: RoomRow) -> None:
        self.row = row
        self.id = row.id
        self.offset = row.offset
        self.stored_bytes = row.stored_bytes
        self.arrivals = row.arrivals
        self.departures = row.departures
        self.left_by = row.left_by
        self.is_removed = False

    @property
    def members(self) -> int:
        """Return how many members it has."""
        return self.arrivals - self.departures

    def seen_by(self, role: Role | None, *, invited: bool = False) -> RoomRow:
        """Return the room as it is now, for a user with this role."""
        return replace(
            self.row,
            offset=self.offset,
            arrivals=self.arrivals,
            departures=self.departures,
            stored_bytes=self.stored_bytes,
            left_by=self.left_by,
            role=role,
            invited=invited,
        )


class Batch:
    """The rooms and members of one transaction."""

    def __init__(self, now: int) -> None:
        self.now = now
        """The time of all changes, in milliseconds since 1970."""
        self.rooms: dict[str, LockedRoom] = {}
        self.roles: dict[Key, Role] = {}
        self.user_bytes: dict[str, int] = {}
        """The bytes of the messages of each user."""

    def lock_rooms(self, names: Iterable[str]) -> Script[None]:
        """Lock and read the rooms that exist."""
        for row in (yield from writes.for_each(writes.ROOMS, {(name,) for name in names})):
            self.rooms[row["name"]] = LockedRoom(RoomRow(**row))

    def read_roles(self, changes: Iterable[Change[Any]]) -> Script[None]:
        """Read the roles of the acting users, and the bytes of their messages."""
        # In its own statement: one that has waited for a lock sees older states of the other tables.
        keys = {(self.rooms[change.room].id, change.user_id) for change in changes if change.room in self.rooms}
        for row in (yield from writes.for_each(writes.ROLES, keys)):
            self.user_bytes[row["user_id"]] = row["stored_bytes"]
            if row["role"] is not None:
                self.roles[row["room_id"], row["user_id"]] = row["role"]

    def room(self, name: str) -> LockedRoom | None:
        """Return a room by name, or None. Raise `Deferred` if a change before has removed it."""
        room = self.rooms.get(name)
        if room is not None and room.is_removed:
            raise Deferred
        return room

    def as_service(self, name: str) -> tuple[LockedRoom, Role]:
        """Return the room in which a service acts, with an owner's rights and no membership, or raise `NotFound`."""
        room = self.room(name)
        if room is None:
            raise NotFound(f"there is no room `{name}`")
        return room, "owner"

    def as_member(self, change: Change[Any]) -> tuple[LockedRoom, Role]:
        """Return the room and the role of an acting user in it, or raise `NotAMember` or `NotFound`."""
        room = self.room(change.room)
        role = None if room is None else self.roles.get((room.id, change.user_id))
        _, role = rules.as_member(change.room, None if room is None else room.row, role)
        assert room is not None  # noqa: S101 - or it would have raised
        return room, role
