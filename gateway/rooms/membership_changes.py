"""The changes to memberships: begun, ended and marked as read, in a transaction that they share with others.

A first member makes the room that does not exist, or becomes the owner of one without members. A last owner that leaves
passes the room on. A room that the last member leaves is removed, or stays for the next one.

A service makes rooms that are kept: they stay without members, and need no owner. It puts users into rooms and removes
them, with an owner's rights and no membership.

The order of the locks is the same in every transaction: names of new rooms, then rooms, then users.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.rooms import rules
from gateway.rooms.batch import Batch, Change, Deferred, Key, LockedRoom
from gateway.store import membership_writes as statements
from gateway.store.prepared import Script
from gateway.store.rooms import DIRECT, REMOVED, RoomRow
from gateway.store.writes import for_each
from handlers.errors import Conflict, NotFound, PositionLost, QuotaExceeded
from schemas.messages.rooms import Role


@dataclass(frozen=True, slots=True)
class Made:
    """The outcome of making a room."""

    room: RoomRow
    """The room with its owner in it."""


@dataclass(slots=True)
class Entered:
    """The outcome of entering a room."""

    room: RoomRow
    """The room with the user in it, and the user's role."""
    user_id: str
    user: str
    is_new: bool
    """Whether the membership has just begun."""
    heard: int = 0
    """How many connections of this node have been notified of it."""


@dataclass(slots=True)
class Departure:
    """The end of a membership or of an invitation."""

    room: RoomRow
    """The room as it was before, with the user's part in it."""
    user_id: str
    user: str
    departures: int
    """The room's count of ended memberships."""
    heir: str | None = None
    """The name of the room's new owner, if it has one."""
    has_ended: bool = False
    """Whether the room is removed."""
    by: str | None = None
    """The name of the user or the service that has ended it, if not the member itself."""
    heard: int = 0
    """How many connections of this node have been notified of it."""


@dataclass(slots=True)
class Marked:
    """The outcome of marking what has been read."""

    is_further: bool = False
    """Whether the member has read further than before. Of several marks at once, only the furthest says so."""


@dataclass(slots=True)
class NewMember:
    """A membership that is to be stored."""

    room: str
    role: Role
    read: int


@dataclass(frozen=True, slots=True)
class Create(Change[Made]):
    """A new room, with the user as its owner."""

    room: str
    user_id: str
    user: str
    title: str | None = None
    private: bool = False
    signals: bool = True
    """Whether the room takes signals."""
    by_service: bool = False
    """Whether a service makes it. Then the room is kept, and has no owner."""


@dataclass(frozen=True, slots=True)
class Enter(Change[Entered]):
    """A new membership, which ends an invitation, unless the user is a member already."""

    room: str
    user_id: str
    user: str
    role: Role | None = None
    """The role of a new member that would not be the owner; None for the usual one."""
    may_create: bool = True
    """Whether the user may make the room, where the settings let users do so."""


@dataclass(frozen=True, slots=True)
class Leave(Change[Departure]):
    """The end of the user's own membership, or of its invitation."""

    room: str
    user_id: str
    user: str


@dataclass(frozen=True, slots=True)
class Put(Change[Entered]):
    """A new membership that a service begins for a user, unless the user is a member already.

    Without a role, the user gets the one of a user that joins.
    """

    room: str
    user_id: str
    user: str
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Remove(Change[Departure]):
    """The end of a user's membership or invitation, by a service."""

    room: str
    user_id: str
    user: str
    by: str
    """The name of the service."""


@dataclass(frozen=True, slots=True)
class MarkRead(Change[Marked]):
    """How far a member has read."""

    room: str
    user_id: str
    offset: int


MembershipChange = Create | Enter | Leave | Put | Remove | MarkRead
MEMBERSHIP_CHANGES = (Create, Enter, Leave, Put, Remove, MarkRead)


@dataclass(frozen=True, slots=True)
class RoomQuotas:
    """How many rooms a user may be in, and may own. 0 means no limit."""

    joined: int = 0
    owned: int = 0

    def check_joined(self, joined: int, other: str | None = None) -> None:
        """Raise `QuotaExceeded` if a user that is in so many rooms may join no further one.

        `other` is the user's name, if it is not the acting one.
        """
        if 0 < self.joined <= joined:
            if other is not None:
                raise QuotaExceeded(f"`{other}` is in {self.joined} rooms, the most that one user may be in")
            raise QuotaExceeded(f"you are in {self.joined} rooms, the most that one user may be in; leave one first")

    def check_owned(self, owned: int, other: str | None = None) -> None:
        """Raise `QuotaExceeded` if a user that owns so many rooms may own no further one. `other` is as before."""
        if 0 < self.owned <= owned:
            if other is not None:
                raise QuotaExceeded(f"`{other}` owns {self.owned} rooms, the most that one user may own")
            raise QuotaExceeded(f"you own {self.owned} rooms, the most that one user may own; delete one first")


class MembershipChanges:
    """What the changes need to know, read in a few statements, and their results, written in a few."""

    def __init__(self, batch: Batch, quotas: RoomQuotas, *, rooms_open: bool) -> None:
        self._batch = batch
        self._quotas = quotas
        self._rooms_open = rooms_open
        self._made: dict[str, tuple[LockedRoom, Create | Enter]] = {}
        """The rooms that did not exist, each with the first change that may make it."""
        self._entering: set[str] = set()
        """The users that may become members."""
        self._users: dict[str, str] = {}
        """The names of these users, by their ids, without users that no longer exist."""
        self._joined: Counter[str] = Counter()
        self._owned: Counter[str] = Counter()
        self._invited: set[Key] = set()
        self._uninvited: set[Key] = set()
        self._new: dict[Key, NewMember] = {}
        self._ended: set[Key] = set()
        """The stored memberships to remove."""
        self._read: dict[Key, tuple[int, Marked]] = {}
        """The furthest mark of each stored membership."""
        self._counted: dict[int, LockedRoom] = {}
        """The rooms whose counts of members have changed."""
        self._emptied: list[LockedRoom] = []
        """The direct rooms without members, whose invitations end."""
        self._passed_on: dict[str, Departure] = {}
        """The last departure of an owner from each room, which may have left no other."""

    def make_rooms(self, changes: Sequence[MembershipChange]) -> Script[None]:
        """Make the rooms that do not exist and that a change may make. `write` takes the unwanted ones back."""
        makers: dict[str, Create | Enter] = {}
        for change in changes:
            if isinstance(change, Create) or (isinstance(change, Enter) and self._may_create(change)):
                makers.setdefault(change.room, change)
        # In a fixed order, so that two nodes never wait for each other.
        new = [self._new_room(name, makers[name]) for name in sorted(makers) if not name.startswith(DIRECT)]
        for row in (yield from for_each(statements.MAKE, new)):
            self._made[row["name"]] = (LockedRoom(RoomRow(**row)), makers[row["name"]])

    def _may_create(self, change: Enter) -> bool:
        return self._rooms_open and change.may_create

    def _new_room(self, name: str, maker: Create | Enter) -> tuple[str, str | None, bool, bool, bool, str, int]:
        title, private, kept, signals = None, False, False, True
        if isinstance(maker, Create):
            title, private, kept, signals = maker.title, maker.private, maker.by_service, maker.signals
        return (name, title, private, kept, signals, secrets.token_urlsafe(6), self._batch.now)

    def hide_made_rooms(self) -> None:
        """Let no change see the rooms that none has made yet."""
        for name in self._made:
            self._batch.rooms.pop(name, None)

    def lock_users(self, changes: Sequence[MembershipChange], others: set[str]) -> Script[None]:
        """Lock the users that may become members, so that no other transaction counts their rooms.

        Lock `others` with them: this transaction will change these users too.
        """
        self._entering = {change.user_id for change in changes if _may_enter(change)}
        if not self._entering:
            return
        for row in (yield from for_each(statements.LOCK_USERS, [(user_id,) for user_id in self._entering | others])):
            if row["deleted_at"] is None:  # a connection of a deleted user may still be open
                self._users[row["id"]] = row["name"]
            self._batch.user_bytes[row["id"]] = row["stored_bytes"]

    def read(self, changes: Sequence[MembershipChange]) -> Script[None]:
        """Read invitations, and count rooms. Call this after all locks."""
        rooms = self._batch.rooms
        maybe = {
            (rooms[change.room].id, change.user_id)
            for change in changes
            if isinstance(change, Enter | Leave | Put | Remove) and change.room in rooms
        }
        missing = maybe - self._batch.roles.keys()
        for row in (yield from for_each(statements.INVITED, missing)):
            if row["invited_at"] is not None:
                self._invited.add((row["room_id"], row["user_id"]))
        yield from self._count_rooms()

    def _count_rooms(self) -> Script[None]:
        if not (self._quotas.joined or self._quotas.owned):
            return
        limits = {"joined": self._quotas.joined, "owned": self._quotas.owned + 1}
        for row in (yield from for_each(statements.COUNT_ROOMS, [(user_id,) for user_id in self._entering], **limits)):
            self._joined[row["user_id"]] = row["joined"]
            self._owned[row["user_id"]] = row["owned"]

    def apply(self, change: MembershipChange) -> Made | Entered | Departure | Marked:
        """Apply one change in memory, or raise the reason why not."""
        if isinstance(change, MarkRead):
            return self._mark_read(change)
        if isinstance(change, Leave | Remove):
            return self._leave(change)
        if isinstance(change, Put):
            return self._put(change)
        return self._create(change) if isinstance(change, Create) else self._enter(change)

    def _create(self, change: Create) -> Made:
        if self._batch.room(change.room) is not None:
            raise Conflict(f"the room `{change.room}` exists already; join it with `room.join`")
        room = self._made_for(change)
        if change.by_service:
            self._batch.rooms[change.room] = room
            return Made(room.seen_by(None))
        return Made(self._add(room, change, "owner").room)

    def _enter(self, change: Enter) -> Entered:
        room = self._batch.room(change.room)
        if room is None:
            if not self._may_create(change):
                raise NotFound(f"there is no room `{change.room}`")
            rules.check_name(change.room)
            return self._add(self._made_for(change), change, "owner")
        key = (room.id, change.user_id)
        role = self._batch.roles.get(key)
        if role is not None:
            return Entered(room.seen_by(role), change.user_id, change.user, is_new=False)
        self._check_visible(room, key)
        first = _first_role(room)
        return self._add(room, change, first if first == "owner" else change.role or first)

    def _put(self, change: Put) -> Entered:
        room, _ = self._batch.as_service(change.room)
        rules.check_not_direct(room.row)
        role = self._batch.roles.get((room.id, change.user_id))
        if role is not None:
            return Entered(room.seen_by(role), change.user_id, change.user, is_new=False)
        return self._add(room, change, change.role or _first_role(room))

    def _made_for(self, change: Create | Enter) -> LockedRoom:
        """Return the room that a change makes."""
        room, maker = self._made.get(change.room, (None, None))
        if room is None or maker is not change:
            # A change before it was refused, or another node has removed the room of this name meanwhile.
            raise Deferred
        return room

    def _check_visible(self, room: LockedRoom, key: Key) -> None:
        """Raise `NotFound` for a private room of others."""
        if room.row.private and key not in self._invited:
            raise NotFound(f"there is no room `{room.row.name}`")

    def _add(self, room: LockedRoom, change: Create | Enter | Put, role: Role) -> Entered:
        user_id, other = change.user_id, change.user if isinstance(change, Put) else None
        if user_id not in self._users:
            raise NotFound(f"there is no user `{change.user}`")
        owned = self._owned[user_id] - (room.left_by == user_id)  # it has counted as this user's own
        self._quotas.check_joined(self._joined[user_id], other)
        if role == "owner":
            self._quotas.check_owned(owned, other)
        if room.left_by is not None:
            self._owned[room.left_by] -= 1
            room.left_by = None
        self._joined[user_id] += 1
        self._owned[user_id] += role == "owner"
        key = (room.id, user_id)
        self._batch.rooms[room.row.name] = room
        self._batch.roles[key] = role
        self._new[key] = NewMember(room.row.name, role, room.offset)
        self._uninvite(key)
        room.arrivals += 1
        self._counted[room.id] = room
        return Entered(room.seen_by(role), user_id, change.user, is_new=True)

    def _leave(self, change: Leave | Remove) -> Departure:
        room = self._batch.room(change.room)
        if room is None:
            raise NotFound(f"there is no room `{change.room}`")
        key, by = (room.id, change.user_id), None
        role = self._batch.roles.get(key)
        if isinstance(change, Remove):
            by = change.by
            rules.check_not_direct(room.row)
            if role is None and key not in self._invited:
                raise NotFound(f"`{change.user}` is not a member")
        if role is None:
            if by is None:
                self._check_visible(room, key)
            before = room.seen_by(None, invited=key in self._invited)
            self._uninvite(key)
            return Departure(before, change.user_id, change.user, room.departures, by=by)
        before = room.seen_by(role)
        self._remove_member(room, key)
        departure = Departure(before, change.user_id, change.user, room.departures, by=by)
        if room.members == 0:
            departure.has_ended = self._leave_empty(room, change.user_id)
        elif role == "owner" and not room.row.kept:
            self._passed_on[room.row.name] = departure
        return departure

    def _remove_member(self, room: LockedRoom, key: Key) -> None:
        del self._batch.roles[key]
        if self._new.pop(key, None) is None:
            self._ended.add(key)
        self._read.pop(key, None)
        room.departures += 1
        self._counted[room.id] = room

    def _leave_empty(self, room: LockedRoom, user_id: str) -> bool:
        """Remove a room without members, or keep it for the user that joins or opens it next.

        Return whether it is removed.
        """
        if room.row.kept:
            return False  # it is its service's
        if room.offset == 0 or (room.row.private and not room.row.direct):
            # The room has no messages, or no member can invite others any more. It would only block the name.
            room.is_removed = True
        elif room.row.direct:
            # The other user finds the room with `direct.open`. A leave also takes the invitation back.
            self._emptied.append(room)
            self._invited = {key for key in self._invited if key[0] != room.id}
        else:
            # Otherwise a user could make rooms without end, and leave each.
            room.left_by = user_id
            self._owned[user_id] += 1
        return room.is_removed

    def _uninvite(self, key: Key) -> None:
        if key in self._invited:
            self._invited.discard(key)
            self._uninvited.add(key)

    def _mark_read(self, change: MarkRead) -> Marked:
        room, _ = self._batch.as_member(change)
        if change.offset > room.offset:
            raise PositionLost(
                f"the log of `{change.room}` ends at {room.offset}; what comes after cannot have been read"
            )
        key, marked = (room.id, change.user_id), Marked()
        new = self._new.get(key)
        if new is not None:
            marked.is_further = change.offset > new.read
            new.read = max(new.read, change.offset)
        elif key not in self._read or change.offset > self._read[key][0]:
            self._read[key] = (change.offset, marked)
        return marked

    def write(self) -> Script[None]:
        """Write the results."""
        wanted = {room.id for room in self._batch.rooms.values()}
        unwanted = [(room.id,) for room, _ in self._made.values() if room.id not in wanted]
        yield from for_each(statements.UNMAKE, unwanted)
        yield from for_each(statements.UNINVITE, self._uninvited)
        yield from for_each(statements.UNINVITE_ALL, [(room.id,) for room in self._emptied])
        yield from for_each(statements.END, self._ended)
        yield from for_each(statements.ADD, [self._new_row(key, new) for key, new in self._new.items()])
        for row in (yield from for_each(statements.MARK_READ, [(*key, mark) for key, (mark, _) in self._read.items()])):
            self._read[row["room_id"], row["user_id"]][1].is_further = True
        counts = [(room.id, room.arrivals, room.departures, room.left_by) for room in self._counted.values()]
        yield from for_each(statements.COUNT_MEMBERS, counts)
        removed = [room.id for room in self._counted.values() if room.is_removed]
        names = [(room_id, f"{REMOVED}{room_id}", True, self._batch.now) for room_id in removed]
        yield from for_each(statements.REMOVE, names)
        yield from self._pass_on()

    def _new_row(self, key: Key, new: NewMember) -> tuple[int, str, Role, int, int, str, str]:
        return (*key, new.role, self._batch.now, new.read, self._users[key[1]], new.room)

    def _pass_on(self) -> Script[None]:
        """Make another member the owner of each room whose last owner has left."""
        for name, departure in self._passed_on.items():
            room = self._batch.rooms[name]
            if room.members and (heir := (yield from self._heir(room))) is not None:
                user_id, departure.heir = heir
                yield from for_each(statements.SET_ROLE, [(room.id, user_id, "owner")])

    def _heir(self, room: LockedRoom) -> Script[tuple[str, str] | None]:
        """Return the id and name of the member that becomes the owner, or None if there is an owner.

        The order is: moderators before members, the longest-standing first, and disabled users last.
        """
        for role, disabled in _HEIRS:
            found = yield (statements.HEIR, {"room": room.id, "role": role, "disabled": disabled})
            if found:
                return None if role == "owner" else (found[0]["id"], found[0]["name"])
        return None


def _may_enter(change: MembershipChange) -> bool:
    return isinstance(change, Enter | Put) or (isinstance(change, Create) and not change.by_service)


def _first_role(room: LockedRoom) -> Role:
    """Return the role of a new member. A public room without members goes to the next user that joins."""
    return "owner" if room.members == 0 and not room.row.direct and not room.row.kept else "member"


_HEIRS = (
    *(("owner", False), ("owner", True)),
    *(("moderator", False), ("member", False), ("moderator", True), ("member", True)),
)
"""Whether an owner is left; and otherwise the roles of members that may become one, with whether they are disabled."""
