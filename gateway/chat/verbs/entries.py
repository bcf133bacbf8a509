"""How a user becomes a member of a room, and which joins memory answers. None of it needs a connection."""

from dataclasses import dataclass

from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.join_replies import Joined, remembered_reply
from gateway.chat.verbs.rights import may_create
from gateway.core import costs
from gateway.rooms.membership_changes import Enter
from gateway.rooms.room import Room
from gateway.store.rooms import RoomPosition, RoomRow
from handlers.errors import PositionLost
from schemas.messages.rooms import JoinRoom, Position, Role


@dataclass(frozen=True, slots=True)
class Remembered:
    """A join that memory can answer: nothing has happened yet."""

    room: Room
    departures: int
    """How many departures there had been when the user was known to be a member."""
    joined: Joined


class Entries:
    """The entries of one user into rooms."""

    def __init__(self, session: SessionContext) -> None:
        self._session = session
        self._gateway = session.gateway
        self._hub = session.gateway.hub

    async def enter(self, name: str, since: Position | None, role: Role | None) -> RoomRow:
        """Make the user a member, if that is allowed, and announce a new one. Return the room.

        A new member gets the role, or the usual one.
        """
        user_id = self._session.user_id
        room = await self._gateway.room_finder.find(name, user_id)
        if room is not None and not room.closed:
            # Refuse before any change, so that a refused user keeps its membership and its rooms.
            check_position(room, since)
            if room.role is not None:
                return room
        may_make = await may_create(self._session, name, exists=room is not None)
        self._session.charge(costs.WRITE)
        # This finds the room once more, now under the lock: another connection may have made or entered it meanwhile.
        entered = await self._gateway.log.append(Enter(name, user_id, self._session.user, role, may_make))
        self._session.charge(costs.of_deliveries(entered.heard, 0))
        return entered.room

    def find_remembered(self, request: JoinRoom) -> Remembered | None:
        """Return a join that memory can answer, or None if only the store can."""
        room = self._hub.find_certain(request.room)
        departures = None if room is None else room.members.get(self._session.user_id)
        if room is None or room.epoch is None or departures is None:
            return None
        window = self._hub.memory.window_of(room)
        if window is None:
            return None
        at = RoomPosition(room.name, room.epoch, window.top, room.arrivals, room.departures)
        joined = remembered_reply(window, at, self._session.user_id, request.since, request.limit)
        return None if joined is None else Remembered(room, departures, joined)


def check_position(room: RoomRow, since: Position | None) -> None:
    """Raise `PositionLost` for a position beyond the end of the room's log."""
    if since is not None and since.epoch == room.epoch and since.offset > room.offset:
        raise PositionLost(f"the log of `{room.name}` ends at {room.offset}; join without `since`")
