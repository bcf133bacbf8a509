"""The verbs of a session for rooms."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.auth.room_rights import Right
from gateway.bus.base import BusEvent, RoomEnded, ToRoom, ToUser
from gateway.chat.own_rooms import charged_reply
from gateway.chat.verbs.context import ConnectionContext, SessionContext
from gateway.chat.verbs.joins import Joins
from gateway.chat.verbs.membership import check_sender, check_signal, fetch_as_member
from gateway.chat.verbs.resuming import Resuming, too_many_rooms
from gateway.chat.verbs.rights import check_direct, check_right
from gateway.chat.verbs.room_transactions import RoomTransactions
from gateway.core import costs
from gateway.rooms import rules
from gateway.rooms.events import departure_events, joined_event
from gateway.rooms.member_pages import members_page
from gateway.rooms.membership_changes import Create, Entered, Leave
from gateway.rooms.room_pages import read_rooms
from gateway.store import rooms
from gateway.transport import frames
from handlers.errors import RateLimited, Unavailable
from schemas.base import Event
from schemas.events.rooms import RoomDeleted, RoomInvited, RoomRole, RoomSignal, RoomUpdated
from schemas.messages.rooms import (
    JoinReply,
    JoinRoom,
    MembersReply,
    Position,
    ResumeReply,
    Role,
    Room,
    RoomsReply,
)

Result = TypeVar("Result")


class UserRooms(ABC):
    """The verbs of `handlers.base.RoomVerbs`, for one user. A subclass says what a join is."""

    def __init__(self, session: SessionContext) -> None:
        self._session = session
        self._gateway = session.gateway
        self._transactions = RoomTransactions(session.gateway, session.user_id)

    @abstractmethod
    async def _join(self, request: JoinRoom) -> JoinReply:
        """Join a room, after the checks of rates."""

    @abstractmethod
    async def _resume(self, requests: Sequence[JoinRoom]) -> tuple[ResumeReply, int]:
        """Join the first of several rooms, after the checks of rates. Return the reply and their number."""

    async def create(self, room: str, *, title: str | None, private: bool, signals: bool = True) -> Room:
        """Make a room with this user as its owner, or raise `Conflict`."""
        rules.check_name(room)
        await check_right(self._session, Right.CREATE, room)
        self._session.charge(costs.WRITE)
        user_id, user = self._session.user_id, self._session.user
        made = await self._gateway.log.append(Create(room, user_id, user, title, private, signals))
        return made.room.to_schema()

    async def join(self, room: str, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Make the user a member and this connection a listener."""
        self._check_limits(room)
        self._session.charge(costs.READ + costs.PAGE)
        await self._gateway.turns.take()
        return await self._join(JoinRoom(room=room, since=since, limit=limit))

    async def resume(self, rooms: Sequence[JoinRoom]) -> ResumeReply:
        """Join several rooms, as many as fit into one frame."""
        self._take_joins(costs.joins_of(len(rooms)))
        self._session.charge(costs.RESUMED * len(rooms))
        await self._gateway.turns.take()
        reply, answered = await self._resume(rooms)
        # The rest comes in another message, which takes its own.
        unanswered = len(rooms) - answered
        self._session.joins.spend(self._gateway.clock.steady(), -unanswered / costs.RESUMED_A_JOIN)
        return reply

    async def leave(self, room: str) -> None:
        """End the user's membership on all connections, or decline an invitation. Without either, do nothing."""
        self._session.charge(costs.WRITE)
        departure = await self._gateway.log.append(Leave(room, self._session.user_id, self._session.user))
        self._session.charge(costs.of_deliveries(departure.heard, 0))
        if departure.room.role is not None:
            await self._gateway.hooks.member_left(room, self._session.user, self._gateway.app_state)
        if departure.has_ended:
            self._gateway.room_remover.wake()
            await self._gateway.hooks.room_deleted(room, self._gateway.app_state)

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Return a page of the public rooms, the user's own and its invitations."""
        self._session.charge(costs.READ)
        page = await read_rooms(self._gateway.database, self._session.user_id, cursor, limit)
        return charged_reply(self._session, page)

    async def role(self, room: str) -> Role:
        """Return the user's role in a room, or raise `NotAMember`."""
        found = await fetch_as_member(self._session, room)
        assert found.role is not None  # noqa: S101 - or it would have raised
        return found.role

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Return a page of a room's members, or raise `NotAMember`."""
        found = await fetch_as_member(self._session, room)
        page = await members_page(self._gateway.database, self._gateway.presence, found, cursor, limit)
        self._session.charge(costs.of_rows(len(page.members)))
        return page

    async def invite(self, room: str, user: str) -> None:
        """Invite another user; for owners and moderators."""
        found, invited = await self._change(room, partial(self._transactions.invite, name=room, user=user))
        await self._publish_invited(found, invited.id)

    async def kick(self, room: str, user: str) -> None:
        """End another user's membership, or take an invitation back.

        Owners may do this to any member, moderators only to plain members.
        """
        departure = await self._end(room, partial(self._transactions.kick, name=room, user=user))
        for event in departure_events(replace(departure, by=self._session.user)):
            await self._publish_event(event)
        if departure.room.role is not None:
            await self._gateway.hooks.member_left(room, user, self._gateway.app_state)

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Change a member's role; for owners. One owner must remain."""
        had = await self._change(room, partial(self._transactions.set_role, name=room, user=user, role=role))
        if role != had:
            await self._publish_to_room(room, RoomRole(room=room, user=user, role=role))

    async def update(self, room: str, *, title: str | None, private: bool | None, signals: bool | None = None) -> Room:
        """Change the title, the privacy, and whether the room takes signals; for owners."""
        work = partial(self._transactions.update, name=room, title=title, private=private, signals=signals)
        found, changed = await self._change(room, work)
        self._gateway.signals.forget(room)
        if changed != found:
            await self._publish_to_room(room, RoomUpdated(room=replace(changed, role=None).to_schema()))
        return changed.to_schema()

    async def delete(self, room: str) -> None:
        """Delete a room with all of its messages; for owners."""
        found = await self._end(room, partial(self._transactions.delete, name=room))
        self._gateway.room_remover.wake()
        await self._publish_event(RoomEnded(frames.event(RoomDeleted(room=room)), room, found.epoch))
        await self._gateway.hooks.room_deleted(room, self._gateway.app_state)

    async def open_direct(self, user: str) -> Room:
        """Return the private room of this user and another. Make it and invite the other user if needed."""
        await check_direct(self._session, user)
        room, invited = await self._session.transact(partial(self._transactions.open_direct, name=user))
        if room.role is None:
            user_id, user = self._session.user_id, self._session.user
            await self._publish_event(joined_event(Entered(room, user_id, user, is_new=True)))
        if invited is not None:
            await self._publish_invited(room, invited.id)
        return replace(room, role="member", invited=False).to_schema()

    async def publish(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to all listeners of the room; for members."""
        most = self._gateway.settings.max_frame_bytes
        frame = frames.bounded(frames.event(event, droppable=droppable), most)
        await check_sender(self._session, room)
        await self._publish_event(ToRoom(frame, room))

    async def signal(self, room: str, name: str, data: Any = None) -> None:
        """Send a signal to the other users that hear the room; for members."""
        self._session.take_signal()
        signal = RoomSignal(room=room, user=self._session.user, name=name, data=data)
        await check_signal(self._session, room)
        await self._publish_event(ToRoom(frames.event(signal, droppable=True), room, self._session.user_id))

    async def _change(self, room: str, work: Callable[[Connection], Result]) -> Result:
        """Run a transaction that changes a room, for a user that may be in it."""
        await check_right(self._session, Right.JOIN, room)
        return await self._session.transact(work)

    async def _end(self, room: str, work: Callable[[Connection], Result]) -> Result:
        """Run a transaction that ends a membership or a room."""
        await check_right(self._session, Right.JOIN, room)
        try:
            return await self._session.transact(work)
        except Unavailable:
            # It may have been made all the same, and then no event says so.
            self._gateway.hub.repair.check_soon(room)
            raise

    async def _publish_to_room(self, room: str, event: Event) -> None:
        await self._publish_event(ToRoom(frames.event(event), room))

    async def _publish_event(self, event: BusEvent) -> None:
        heard, size = await self._gateway.bus.publish(event), len(event.frame.wire)
        self._session.charge(costs.of_bytes(size) + costs.of_deliveries(heard, size))

    async def _publish_invited(self, room: rooms.RoomRow, user_id: str) -> None:
        event = RoomInvited(room=room.to_invitation(), by=self._session.user)
        await self._gateway.bus.publish(ToUser(frames.event(event), user_id))

    def _check_limits(self, room: str) -> None:
        self._take_joins(1)

    def _take_joins(self, joins: float) -> None:
        refused = self._session.joins.take(self._gateway.clock.steady(), joins)
        if refused is not None:
            wait, whose = refused
            raise RateLimited(f"joins {whose}", int(wait * 1000) + 1)


class SessionRooms(UserRooms):
    """The verbs for rooms of a connection, which hears what it joins."""

    _session: ConnectionContext

    def __init__(self, session: ConnectionContext) -> None:
        super().__init__(session)
        self._joins = Joins(session, self._transactions)

    async def _join(self, request: JoinRoom) -> JoinReply:
        with self._still_allowed():
            return await self._joins.join(request)

    async def _resume(self, requests: Sequence[JoinRoom]) -> tuple[ResumeReply, int]:
        with self._still_allowed():
            return await Resuming(self._session, self._joins).run(requests)

    @contextmanager
    def _still_allowed(self) -> Iterator[None]:
        """Leave what was joined, if the user's rights have shrunk since the check."""
        rights = self._session.room_rights
        yield
        if self._session.room_rights is not rights:
            self._session.leave_forbidden_rooms()

    def _check_limits(self, room: str) -> None:
        super()._check_limits(room)
        limit = self._gateway.settings.max_rooms_per_connection
        if 0 < limit <= len(self._session.joined) and room not in self._session.joined:
            raise too_many_rooms(limit)
