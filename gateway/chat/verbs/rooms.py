"""The verbs of a session for rooms."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.bus.base import BusEvent, MemberLeft, RoomEnded, ToRoom, ToUser
from gateway.chat.verbs import quotas
from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.membership import find_as_member
from gateway.chat.verbs.pages import READ_BYTES, fitting
from gateway.core import costs
from gateway.core.clock import milliseconds
from gateway.rooms import rules
from gateway.rooms.events import log_event
from gateway.rooms.history_reader import changes_since
from gateway.rooms.rules import Action
from gateway.store import invitations, messages, rooms, users
from gateway.store.failures import NameTaken
from gateway.transport import frames
from handlers.errors import Conflict, NotFound, PositionLost, RateLimited
from schemas.base import Event
from schemas.events.rooms import RoomDeleted, RoomInvited, RoomJoined, RoomLeft, RoomRole, RoomUpdated
from schemas.messages.chat import Message
from schemas.messages.presence import UserPresence
from schemas.messages.rooms import JoinReply, Member, MembersReply, Position, Role, Room, RoomsReply

NEWEST_MESSAGES = 50
"""The most messages in a join reply."""


class SessionRooms:
    """The verbs of `handlers.base.RoomVerbs`, for one session."""

    def __init__(self, session: SessionContext) -> None:
        self._session = session
        self._gateway = session.gateway

    async def create(self, room: str, *, title: str | None, private: bool) -> Room:
        """Make a room with this user as its owner, or raise `Conflict`."""
        rules.check_name(room)
        now = milliseconds(self._gateway.clock)
        async with self._session.writing() as connection:
            try:
                made = await rooms.add(connection, name=room, title=title, private=private, now=now)
            except NameTaken:
                raise Conflict(f"the room `{room}` exists already; join it with `room.join`") from None
            await quotas.check_entering(connection, self._gateway.settings, self._session.user_id, "owner")
            await rooms.add_member(connection, made, self._session.user_id, "owner", now)
        return made.to_schema(role="owner")

    async def join(self, room: str, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Make the user a member and this connection a listener."""
        self._check_limits(room)
        if await self._enter(room, since):
            await self._publish_joined(room, self._session.user, self._session.user_id)
        return await self._subscribe(room, since, limit)

    async def leave(self, room: str) -> None:
        """End the user's membership on all connections, or decline an invitation. Without either, do nothing."""
        async with self._session.writing() as connection:
            found = await rooms.find(connection, room, self._session.user_id, lock=True)
            if found is None or found.closed:
                raise NotFound(f"there is no room `{room}`")
            departures, heir, has_ended = await self._leave(connection, found)
        if found.private or found.offset == 0:
            self._gateway.room_remover.wake()  # the room may have ended
        left = RoomLeft(room=room, user=self._session.user)
        if found.role is not None:
            await self._publish_left(found, left, self._session.user_id, departures)
        elif found.invited:
            await self._publish_to_user(self._session.user_id, left)
        if heir is not None:
            await self._publish_to_room(room, RoomRole(room=room, user=heir, role="owner"))
        if found.role is not None:
            await self._gateway.hooks.member_left(room, self._session.user, self._gateway.app_state)
        if has_ended:
            await self._gateway.hooks.room_deleted(room, self._gateway.app_state)

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Return a page of the public rooms, the user's own and its invitations."""
        async with self._session.reading() as connection:
            page, next_cursor = await rooms.page(connection, self._session.user_id, cursor=cursor, limit=limit)
        self._session.charge(costs.of_rows(len(page), counted=sum(row.looked_at or 0 for row in page)))
        return RoomsReply(rooms=tuple(row.to_schema() for row in page), next_cursor=next_cursor)

    async def role(self, room: str) -> Role:
        """Return the user's role in a room, or raise `NotAMember`."""
        async with self._session.reading() as connection:
            found = await find_as_member(connection, room, self._session.user_id)
        assert found.role is not None  # noqa: S101 - or it would have raised
        return found.role

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Return a page of a room's members, or raise `NotAMember`."""
        async with self._session.reading() as connection:
            found = await find_as_member(connection, room, self._session.user_id)
            page, next_cursor = await rooms.members(connection, found.id, cursor=cursor, limit=limit)
        self._session.charge(costs.of_rows(len(page)))
        presences = await self._gateway.presence.get({row.name: row.last_seen_at for row in page})
        members = tuple(_member(row, presence) for row, presence in zip(page, presences, strict=True))
        return MembersReply(members=members, next_cursor=next_cursor)

    async def invite(self, room: str, user: str) -> None:
        """Invite another user; for owners and moderators."""
        async with self._session.writing() as connection:
            found = await self._managed(connection, room, Action.INVITE)
            invited = await self._other(connection, user, "you are a member already")
            if invited.disabled:
                raise NotFound(f"there is no user `{user}`")
            if await rooms.find_role(connection, found.id, invited.id) is not None:
                raise Conflict(f"`{user}` is a member already")
            if await invitations.exists(connection, found.id, invited.id):
                raise Conflict(f"`{user}` is invited already")
            await self._invite(connection, found, invited)
        await self._publish_invited(found, invited.id)

    async def kick(self, room: str, user: str) -> None:
        """End another user's membership, or take an invitation back.

        Owners may do this to any member, moderators only to plain members.
        """
        async with self._session.writing() as connection:
            found = await self._managed(connection, room, Action.KICK_MEMBER)
            kicked = await self._other(connection, user, "a user cannot kick itself; send `room.leave`")
            role = await rooms.find_role(connection, found.id, kicked.id)
            if role is None and not await invitations.remove(connection, found.id, kicked.id):
                raise NotFound(f"`{user}` is not a member")
            rules.check(found, rules.kick_of(role))
            departures = 0 if role is None else await rooms.remove_member(connection, found.id, kicked.id)
        left = RoomLeft(room=room, user=user, by=self._session.user)
        if role is None:
            await self._publish_to_user(kicked.id, left)
        else:
            await self._publish_left(found, left, kicked.id, departures)
            await self._gateway.hooks.member_left(room, user, self._gateway.app_state)

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Change a member's role; for owners. One owner must remain."""
        async with self._session.writing() as connection:
            found = await self._managed(connection, room, Action.SET_ROLE)
            member = await users.by_name(connection, user)
            had = None if member is None else await rooms.find_role(connection, found.id, member.id)
            if member is None or had is None:
                raise NotFound(f"`{user}` is not a member")
            if had == "owner" and role != "owner" and await rooms.count_members(connection, found.id, "owner") == 1:
                raise Conflict("a room needs an owner; make another one first")
            if had != "owner" and role == "owner":
                await quotas.check_owner(connection, self._gateway.settings, member)
            await rooms.set_role(connection, found.id, member.id, role)
        if role != had:
            await self._publish_to_room(room, RoomRole(room=room, user=user, role=role))

    async def update(self, room: str, *, title: str | None, private: bool | None) -> Room:
        """Change the title, the privacy, or both; for owners."""
        async with self._session.writing() as connection:
            found = await self._managed(connection, room, Action.UPDATE)
            changed = await rooms.change(connection, found, title=title, private=private)
        if changed != found:
            await self._publish_to_room(room, RoomUpdated(room=replace(changed, role=None).to_schema()))
        return changed.to_schema()

    async def delete(self, room: str) -> None:
        """Delete a room with all of its messages; for owners."""
        async with self._session.writing() as connection:
            found = await self._managed(connection, room, Action.DELETE_ROOM)
            await rooms.remove(connection, found.id, milliseconds(self._gateway.clock))
        self._gateway.room_remover.wake()
        await self._publish_event(RoomEnded(frames.event(RoomDeleted(room=room)), room, found.epoch))
        await self._gateway.hooks.room_deleted(room, self._gateway.app_state)

    async def open_direct(self, user: str) -> Room:
        """Return the private room of this user and another. Make it and invite the other user if needed."""
        room, invited = await self._open_direct(user)
        if room.role is None:
            await self._publish_joined(room.name, self._session.user, self._session.user_id)
        if invited is not None:
            await self._publish_invited(room, invited.id)
        return replace(room, role="member", invited=False).to_schema()

    async def publish(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to all listeners of the room; for members."""
        most = self._gateway.settings.max_frame_bytes
        frame = frames.bounded(frames.event(event, droppable=droppable), most)
        async with self._session.reading() as connection:
            await find_as_member(connection, room, self._session.user_id)
        await self._publish_event(ToRoom(frame, room))

    async def _publish_to_room(self, room: str, event: Event, *, skip_user: str | None = None) -> None:
        await self._publish_event(ToRoom(frames.event(event), room, skip_user))

    async def _publish_event(self, event: BusEvent) -> None:
        heard, size = await self._gateway.bus.publish(event), len(event.frame.wire)
        self._session.charge(costs.of_bytes(size) + costs.of_deliveries(heard, size))

    async def _publish_joined(self, room: str, user: str, user_id: str) -> None:
        await self._publish_to_room(room, RoomJoined(room=room, user=user), skip_user=user_id)

    async def _publish_left(self, room: rooms.RoomRow, event: RoomLeft, user_id: str, departures: int) -> None:
        await self._publish_event(MemberLeft(frames.event(event), room.name, room.epoch, user_id, departures))

    async def _publish_invited(self, room: rooms.RoomRow, user_id: str) -> None:
        await self._publish_to_user(user_id, RoomInvited(room=room.to_invitation(), by=self._session.user))

    async def _publish_to_user(self, user_id: str, event: Event) -> None:
        await self._gateway.bus.publish(ToUser(frames.event(event), user_id))

    async def _managed(self, connection: AsyncConnection, name: str, action: Action) -> rooms.RoomRow:
        """Lock and return a room in which this user may do something."""
        room = await find_as_member(connection, name, self._session.user_id, lock=True)
        rules.check(room, action)
        return room

    async def _other(self, connection: AsyncConnection, name: str, if_oneself: str) -> users.UserRow:
        """Return another user than this one."""
        user = await users.by_name(connection, name)
        if user is None:
            raise NotFound(f"there is no user `{name}`")
        if user.id == self._session.user_id:
            raise Conflict(if_oneself)
        return user

    async def _open_direct(self, name: str) -> tuple[rooms.RoomRow, users.UserRow | None]:
        """Find or make the direct room with a user, and enter it. Return its former state, and the invited user."""
        now = milliseconds(self._gateway.clock)
        async with self._session.writing() as connection:
            other = await self._other(connection, name, "a direct room is for two; name another user")
            me = await users.by_id(connection, self._session.user_id)
            if me is None or other.disabled:
                raise NotFound(f"there is no user `{name}`")
            room_name = rooms.direct_name([me.id, other.id])
            found = await rooms.find(connection, room_name, me.id, lock=True)
            room = found or await rooms.add(connection, name=room_name, private=True, direct=True, now=now)
            if is_new := await self._is_new(connection, room, other):
                await self._invite(connection, room, other)
            if room.role is None:
                await quotas.check_entering(connection, self._gateway.settings, me.id, "member")
                await rooms.add_member(connection, room, me.id, "member", now)
        return room, other if is_new else None

    async def _is_new(self, connection: AsyncConnection, room: rooms.RoomRow, user: users.UserRow) -> bool:
        """Return whether a user is neither a member of a room nor invited to it."""
        role = await rooms.find_role(connection, room.id, user.id)
        return role is None and not await invitations.exists(connection, room.id, user.id)

    async def _invite(self, connection: AsyncConnection, room: rooms.RoomRow, user: users.UserRow) -> None:
        inviter_id = self._session.user_id
        await quotas.check_inviting(connection, self._gateway.settings, room.id, inviter_id, user)
        await invitations.add(connection, room.id, user.id, inviter_id, milliseconds(self._gateway.clock))

    async def _leave(self, connection: AsyncConnection, room: rooms.RoomRow) -> tuple[int, str | None, bool]:
        """End the user's membership or invitation.

        Returns the room's count of ended memberships, the name of its new owner, if it has one, and whether the room
        has ended.
        """
        if room.role is None:
            await invitations.remove(connection, room.id, self._session.user_id)
            return room.departures, None, False
        departures = await rooms.remove_member(connection, room.id, self._session.user_id)
        if await rooms.is_empty(connection, room.id):
            return departures, None, await self._leave_empty(connection, room)
        return departures, await self._pass_on(connection, room) if room.role == "owner" else None, False

    async def _leave_empty(self, connection: AsyncConnection, room: rooms.RoomRow) -> bool:
        """Remove a room without members, or keep it for the user that joins or opens it next.

        Returns whether it is removed.
        """
        if room.offset == 0 or (room.private and not room.direct):
            # The room has no messages, or no member can invite others any more. It would only block the name.
            await rooms.remove(connection, room.id, milliseconds(self._gateway.clock))
            return True
        if room.direct:
            # The other user finds the room with `direct.open`. A leave also takes the invitation back.
            await invitations.remove_all(connection, room.id)
        else:
            # Otherwise a user could make rooms without end, and leave each.
            await rooms.note_left_by(connection, room.id, self._session.user_id)
        return False

    async def _pass_on(self, connection: AsyncConnection, room: rooms.RoomRow) -> str | None:
        """Make another member the owner of a room without one, and return its name, if there is a member."""
        if await rooms.count_members(connection, room.id, "owner"):
            return None
        heir = await rooms.next_owner(connection, room.id)
        if heir is None:
            return None
        heir_id, name = heir
        await rooms.set_role(connection, room.id, heir_id, "owner")
        return name

    def _check_limits(self, room: str) -> None:
        limit = self._gateway.settings.max_rooms_per_connection
        refused = self._session.joins.take(self._gateway.clock.steady())
        if refused is not None:
            wait, whose = refused
            raise RateLimited(f"joins {whose}", int(wait * 1000) + 1)
        if 0 < limit <= len(self._session.joined) and room not in self._session.joined:
            raise RateLimited(f"rooms on this connection, the limit is {limit}; leave one first")

    async def _enter(self, name: str, since: Position | None) -> bool:
        """Make the user a member if that is allowed, and return whether it is new."""
        async with self._session.reading() as connection:
            room = await rooms.find(connection, name, self._session.user_id)
        if room is not None and not room.closed:
            # Refuse before any change, so that a refused user keeps its membership and its rooms.
            _check_position(room, since)
            if room.role is not None:
                return False
        now = milliseconds(self._gateway.clock)
        async with self._session.writing() as connection:
            # Read once more, now under the lock: another connection may have made or entered it a moment ago.
            room = await rooms.find(connection, name, self._session.user_id, lock=True)
            if room is None and self._gateway.settings.rooms_open:
                rules.check_name(name)
                room = await rooms.add(connection, name=name, now=now)
            if room is None or room.closed:
                raise NotFound(f"there is no room `{name}`")
            if room.role is None:
                # A public room without members goes to the next user that joins.
                is_free = not room.direct and await rooms.is_empty(connection, room.id)
                role: Role = "owner" if is_free else "member"
                if room.left_by is not None:
                    await rooms.note_left_by(connection, room.id, None)
                await quotas.check_entering(connection, self._gateway.settings, self._session.user_id, role)
                await rooms.add_member(connection, room, self._session.user_id, role, now)
        return room.role is None

    async def _subscribe(self, name: str, since: Position | None, limit: int | None) -> JoinReply:
        """Make this connection a listener of a room, and return the messages before that."""
        await self._gateway.hub.begin_join(name, self._session)
        # Events so far go before the reply: after it, an old `room.left` would look new.
        self._session.send_held_events()
        try:
            position, reply = await self._read(name, since, limit)
        except BaseException:
            self._gateway.hub.abort_join(name, self._session)
            raise
        self._gateway.hub.complete_join(self._session, position)
        if name in self._session.joined:
            return reply
        # Meanwhile the membership ended, and this connection missed the event, or the room was made anew.
        return await self._subscribe(name, since, limit)

    async def _read(self, name: str, since: Position | None, limit: int | None) -> tuple[rooms.RoomPosition, JoinReply]:
        async with self._session.reading() as connection:
            room = await find_as_member(connection, name, self._session.user_id)
            members = await rooms.count_members(connection, room.id)
            self._session.charge(costs.PAGE + costs.of_rows(0, counted=members))
            reply = JoinReply(room=name, epoch=room.epoch, offset=room.offset, members=members)
            return room.position, reply.model_copy(update=await self._read_log(connection, room, since, limit))

    async def _read_log(
        self, connection: AsyncConnection, room: rooms.RoomRow, since: Position | None, limit: int | None
    ) -> dict[str, object]:
        """Return the log part of a join reply: the missed or the newest messages."""
        newest = NEWEST_MESSAGES if limit is None else limit
        if since is None:
            return {"messages": await self._newest(connection, room, newest)}
        missed = await changes_since(connection, room, since.epoch, since.offset, limit=limit, max_bytes=READ_BYTES)
        if not isinstance(missed, str):
            events = tuple(log_event(room, row, self._session.user_id) for row in missed)
            if len(fitting(events)) == len(events):
                return {"recovered": True, "events": events}
            missed = "too_many"
        return {"recovered": False, "reason": missed, "messages": await self._newest(connection, room, newest)}

    async def _newest(self, connection: AsyncConnection, room: rooms.RoomRow, limit: int) -> tuple[Message, ...]:
        newest = await messages.page(connection, room, limit=limit, max_bytes=READ_BYTES)
        return tuple(reversed(fitting(row.to_schema(room, self._session.user_id) for row in newest)))


def _member(row: rooms.MemberRow, presence: UserPresence) -> Member:
    return Member(user=row.name, role=row.role, state=presence.state, last_seen=presence.last_seen)


def _check_position(room: rooms.RoomRow, since: Position | None) -> None:
    if since is not None and since.epoch == room.epoch and since.offset > room.offset:
        raise PositionLost(f"the log of `{room.name}` ends at {room.offset}; join without `since`")
