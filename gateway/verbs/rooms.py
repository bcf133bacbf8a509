"""What a session can do with rooms."""

from typing import TYPE_CHECKING

from gateway.bus.base import BusEvent
from gateway.clock import milliseconds
from gateway.store import messages, rooms
from gateway.transport import frames
from gateway.verbs.pages import fitting
from handlers.errors import NotFound, RateLimited
from schemas.base import Event
from schemas.events.rooms import RoomJoined, RoomLeft
from schemas.messages.rooms import JoinReply, Member, MembersReply, Room, RoomsReply

if TYPE_CHECKING:
    from gateway.session import ChatSession

NEWEST_MESSAGES = 50
"""How many messages a join reply carries at most."""


class SessionRooms:
    """The verbs of `handlers.base.RoomVerbs`, for one session."""

    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self._services = session.services

    async def create(self, room: str, *, title: str | None, private: bool) -> Room:
        """Make a room with this user as its owner, or raise `Conflict`."""
        now = milliseconds(self._services.clock)
        async with self._services.database.write() as connection:
            made = await rooms.add(connection, name=room, title=title, private=private, now=now)
            await rooms.enter(connection, made.id, self._session.user_id, "owner", now)
        return made.shown(role="owner")

    async def join(self, room: str) -> JoinReply:
        """Make the user a member and this connection a listener."""
        self._check_limits(room)
        is_new = await self._enter(room)
        await self._services.hub.begin(room, self._session)
        try:
            reply = await self._read(room)
        except BaseException:
            self._services.hub.leave(room, self._session)
            raise
        self._services.hub.complete(room, self._session, reply.offset)
        if is_new:
            joined = frames.event(RoomJoined(room=room, user=self._session.user))
            await self._services.bus.publish(BusEvent(joined, room=room, skip_user=self._session.user_id))
        return reply

    async def leave(self, room: str) -> None:
        """End the user's membership on all connections; not being a member is fine."""
        async with self._services.database.write() as connection:
            found = await rooms.find(connection, room, self._session.user_id)
            if found is None or (found.private and found.role is None):
                raise NotFound(f"there is no room `{room}`")
            if found.role is None:
                return
            await rooms.leave(connection, found.id, self._session.user_id)
        left = frames.event(RoomLeft(room=room, user=self._session.user))
        await self._services.bus.publish(BusEvent(left, room=room, drop_user=self._session.user_id))

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Read a page of the public rooms and the user's own."""
        async with self._services.database.read() as connection:
            page, next_cursor = await rooms.page(connection, self._session.user_id, cursor=cursor, limit=limit)
        return RoomsReply(rooms=tuple(row.shown() for row in page), next_cursor=next_cursor)

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Read a page of a room's members, or raise `NotAMember`."""
        async with self._services.database.read() as connection:
            found = await rooms.of_member(connection, room, self._session.user_id)
            page, next_cursor = await rooms.members(connection, found.id, cursor=cursor, limit=limit)
        return MembersReply(members=tuple(self._member(row) for row in page), next_cursor=next_cursor)

    async def tell(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to everyone who hears the room, or raise `NotAMember`."""
        async with self._services.database.read() as connection:
            await rooms.of_member(connection, room, self._session.user_id)
        await self._services.bus.publish(BusEvent(frames.event(event, droppable=droppable), room=room))

    def _check_limits(self, room: str) -> None:
        limit = self._services.settings.max_rooms_per_connection
        if wait := self._session.joins.take(self._services.clock.steady()):
            raise RateLimited("joins on this connection", int(wait * 1000) + 1)
        if 0 < limit <= len(self._session.joined) and room not in self._session.joined:
            raise RateLimited(f"rooms on this connection, the limit is {limit}; leave one first")

    async def _enter(self, name: str) -> bool:
        """Make the user a member where that is allowed; tells whether it is new."""
        async with self._services.database.read() as connection:
            room = await rooms.find(connection, name, self._session.user_id)
        if room is not None and room.role is not None:
            return False
        now = milliseconds(self._services.clock)
        async with self._services.database.write() as connection:
            # Once more, now that nobody else writes: it may have been made or entered a moment ago.
            room = await rooms.find(connection, name, self._session.user_id)
            if room is None and self._services.settings.rooms_open:
                room = await rooms.add(connection, name=name, now=now)
                await rooms.enter(connection, room.id, self._session.user_id, "owner", now)
                return True
            if room is None or (room.private and room.role is None):
                raise NotFound(f"there is no room `{name}`")
            if room.role is None:
                await rooms.enter(connection, room.id, self._session.user_id, "member", now)
        return True

    async def _read(self, name: str) -> JoinReply:
        async with self._services.database.read() as connection:
            room = await rooms.of_member(connection, name, self._session.user_id)
            newest = await messages.page(connection, room, limit=NEWEST_MESSAGES)
            members = await rooms.count_members(connection, room.id)
        return JoinReply(
            room=room.name,
            epoch=room.epoch,
            offset=room.offset,
            members=members,
            messages=tuple(reversed(fitting(newest))),
        )

    def _member(self, row: rooms.MemberRow) -> Member:
        presence = self._services.presence.of(row.name, row.last_seen_at)
        return Member(user=row.name, role=row.role, state=presence.state, last_seen=presence.last_seen)
