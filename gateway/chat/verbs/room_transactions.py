"""What the verbs for rooms do in the store, each in one transaction.

A transaction may run in a thread, so it neither charges the session nor sends anything.
"""

from dataclasses import replace

from sqlalchemy import Connection

from gateway.chat.verbs import quotas
from gateway.chat.verbs.join_replies import (
    NEWEST_MESSAGES,
    Joined,
    newest_reply,
    recovered_reply,
    unrecovered_reply,
)
from gateway.chat.verbs.membership import find_as_member
from gateway.chat.verbs.pages import MAX_PAGE_BYTES, READ_BYTES, fitting_texts
from gateway.core.clock import milliseconds
from gateway.rooms import rules
from gateway.rooms.encoding import message_json
from gateway.rooms.events import event_json
from gateway.rooms.history_reader import changes_since
from gateway.rooms.membership_changes import Departure
from gateway.rooms.rules import Action
from gateway.rooms.window import Page, page_of
from gateway.state import GatewayState
from gateway.store import invitations, messages, rooms, users
from gateway.store.rooms import RoomRow
from gateway.store.users import UserRow
from handlers.errors import Conflict, NotFound
from schemas.messages.rooms import Position, Role


class RoomTransactions:
    """The transactions of one user."""

    def __init__(self, gateway: GatewayState, user_id: str) -> None:
        self._settings = gateway.settings
        self._clock = gateway.clock
        self._user_id = user_id

    def read(self, connection: Connection, name: str, since: Position | None, limit: int | None) -> Joined:
        """Read what a join replies, and the room's position at that time. Raise `NotAMember`."""
        return self._read_log(connection, find_as_member(connection, name, self._user_id), since, limit)

    def invite(self, connection: Connection, name: str, user: str) -> tuple[RoomRow, UserRow]:
        """Invite another user, and return the room and the user."""
        room = self._managed(connection, name, Action.INVITE)
        invited = self._other(connection, user, "you are a member already")
        if invited.disabled:
            raise NotFound(f"there is no user `{user}`")
        if rooms.find_role(connection, room.id, invited.id) is not None:
            raise Conflict(f"`{user}` is a member already")
        if invitations.exists(connection, room.id, invited.id):
            raise Conflict(f"`{user}` is invited already")
        self._invite(connection, room, invited)
        return room, invited

    def kick(self, connection: Connection, name: str, user: str) -> Departure:
        """End another user's membership or invitation, and return that with the room as the other user saw it."""
        room = self._managed(connection, name, Action.KICK_MEMBER)
        kicked = self._other(connection, user, "a user cannot kick itself; send `room.leave`")
        role = rooms.find_role(connection, room.id, kicked.id)
        if role is None and not invitations.remove(connection, room.id, kicked.id):
            raise NotFound(f"`{user}` is not a member")
        rules.check(room, rules.kick_of(role))
        departures = room.departures if role is None else rooms.remove_member(connection, room.id, kicked.id)
        seen = replace(room, role=role, invited=role is None)
        return Departure(seen, kicked.id, user, departures)

    def set_role(self, connection: Connection, name: str, user: str, role: Role) -> Role:
        """Change a member's role, and return the former one. One owner must remain."""
        room = self._managed(connection, name, Action.SET_ROLE)
        member = users.by_name(connection, user)
        had = None if member is None else rooms.find_role(connection, room.id, member.id)
        if member is None or had is None:
            raise NotFound(f"`{user}` is not a member")
        if had == "owner" and role != "owner":
            rules.check_owner_left(room, rooms.count_with_role(connection, room.id, "owner"))
        if had != "owner" and role == "owner":
            quotas.check_owner(connection, self._settings, member)
        rooms.set_role(connection, room.id, member.id, role)
        return had

    def update(
        self, connection: Connection, name: str, title: str | None, *, private: bool | None, signals: bool | None
    ) -> tuple[RoomRow, RoomRow]:
        """Change a room's title, its privacy, and whether it takes signals. Return the room before and after that."""
        room = self._managed(connection, name, Action.UPDATE)
        return room, rooms.change(connection, room, title=title, private=private, signals=signals)

    def delete(self, connection: Connection, name: str) -> RoomRow:
        """Delete a room, and return it as it was."""
        room = self._managed(connection, name, Action.DELETE_ROOM)
        rooms.remove(connection, room.id, self._now())
        return room

    def open_direct(self, connection: Connection, name: str) -> tuple[RoomRow, UserRow | None]:
        """Find or make the direct room with a user, and enter it.

        Return the room with the user's former role, and the invited user.
        """
        other = self._other(connection, name, "a direct room is for two; name another user")
        me = users.by_id(connection, self._user_id)
        if me is None or other.disabled:
            raise NotFound(f"there is no user `{name}`")
        now = self._now()
        room_name = rooms.direct_name([me.id, other.id])
        found = rooms.find(connection, room_name, me.id, lock=True)
        room = found or rooms.add(connection, name=room_name, private=True, direct=True, now=now)
        if is_new := self._is_new(connection, room, other):
            self._invite(connection, room, other)
        if room.role is None:
            quotas.check_joining(connection, self._settings, me.id)
            room = replace(room, arrivals=rooms.add_member(connection, room, me.id, "member", now))
        return room, other if is_new else None

    def _now(self) -> int:
        return milliseconds(self._clock)

    def _managed(self, connection: Connection, name: str, action: Action) -> RoomRow:
        """Lock and return a room in which this user may do something."""
        room = find_as_member(connection, name, self._user_id, lock=True)
        rules.check(room, action)
        return room

    def _other(self, connection: Connection, name: str, if_oneself: str) -> UserRow:
        """Return another user than this one."""
        user = users.by_name(connection, name)
        if user is None:
            raise NotFound(f"there is no user `{name}`")
        if user.id == self._user_id:
            raise Conflict(if_oneself)
        return user

    def _is_new(self, connection: Connection, room: RoomRow, user: UserRow) -> bool:
        """Return whether a user is neither a member of a room nor invited to it."""
        role = rooms.find_role(connection, room.id, user.id)
        return role is None and not invitations.exists(connection, room.id, user.id)

    def _invite(self, connection: Connection, room: RoomRow, user: UserRow) -> None:
        quotas.check_inviting(connection, self._settings, room.id, self._user_id, user)
        invitations.add(connection, room.id, user.id, self._user_id, self._now())

    def _read_log(self, connection: Connection, room: RoomRow, since: Position | None, limit: int | None) -> Joined:
        newest = NEWEST_MESSAGES if limit is None else limit
        if since is None:
            return newest_reply(room.position, self._newest(connection, room, newest))
        missed = changes_since(connection, room, since.epoch, since.offset, limit=limit, max_bytes=READ_BYTES)
        if not isinstance(missed, str):
            events = page_of(event_json(room, row, self._user_id) for row in missed)
            if len(events.text) <= MAX_PAGE_BYTES or events.count == 1:
                return recovered_reply(room.position, events)
            missed = "too_many"
        return unrecovered_reply(room.position, missed, self._newest(connection, room, newest))

    def _newest(self, connection: Connection, room: RoomRow, limit: int) -> Page:
        newest = messages.page(connection, room, limit=limit, max_bytes=READ_BYTES)
        return page_of(fitting_texts([message_json(room, row, self._user_id) for row in newest])[::-1])
