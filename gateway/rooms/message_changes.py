"""The changes to messages: sent, edited, grown and deleted, in a transaction that they share with others."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.trace_context import current_traceparent
from gateway.rooms import rules
from gateway.rooms.batch import Batch, Change, LockedRoom
from gateway.rooms.encoding import message_json
from gateway.rooms.growth import Append, Grown, Growth, NewPiece
from gateway.store import messages as log
from gateway.store import storage, writes
from gateway.store.messages import MessageRow
from gateway.store.prepared import Script
from gateway.store.rooms import RoomRow
from gateway.store.storage import MESSAGE_BYTES, size_of
from handlers.errors import Conflict, MessageError, NotFound, QuotaExceeded
from schemas.messages.rooms import Role

ONCE_MILLISECONDS = 24 * 3600 * 1000
"""How long a `client_id` stands for one message."""


@dataclass(slots=True)
class Written:
    """The outcome of a change: the message as it is now, and whether it was so before."""

    room: RoomRow
    message: MessageRow
    unchanged: bool = False
    trace: str | None = None
    """The `traceparent` of what has sent it."""
    _json: bytes | None = field(default=None, init=False, repr=False, compare=False)
    _own_json: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def json(self) -> bytes:
        """Return the message as all but its sender may see it."""
        # Without `cached_property`, which takes a lock.
        if self._json is None:
            self._json = message_json(self.room, self.message)
        return self._json

    @property
    def own_json(self) -> bytes:
        """Return the message as its sender may see it. The reply and the event usually both need it."""
        row = self.message
        if row.client_id is None:
            return self.json
        if self._own_json is None:
            self._own_json = message_json(self.room, row, row.sender_id)
        return self._own_json

    def json_for(self, viewer_id: str) -> bytes:
        """Return what a user may see of the message."""
        return self.own_json if viewer_id == self.message.sender_id else self.json


@dataclass(frozen=True, slots=True)
class Send(Change[Written]):
    """A new message."""

    room: str
    user_id: str
    user: str
    text: str | None
    body: Any
    reply_to: str | None = None
    client_id: str | None = None
    by_service: bool = False
    """Whether the sender is a service, which needs no membership."""
    trace: str | None = field(default_factory=current_traceparent)
    """The `traceparent` of what sends it."""


@dataclass(frozen=True, slots=True)
class Edit(Change[Written]):
    """A new content for a message."""

    room: str
    user_id: str
    message_id: str
    text: str | None
    body: Any
    by_service: bool = False


@dataclass(frozen=True, slots=True)
class Delete(Change[Written]):
    """A deletion of a message, by its sender, a moderator or a service."""

    room: str
    user_id: str
    message_id: str
    by_service: bool = False


@dataclass(frozen=True, slots=True)
class Disown(Change[Written]):
    """The end of a deleted user's name at a message, which another name takes. Its content may end too."""

    room: str
    user_id: str
    message_id: str
    successor_id: str
    successor: str
    empties: bool
    by_service: bool = True

    def concerns(self, row: MessageRow) -> bool:
        """Return whether the message is not yet as this change leaves it."""
        if row.sender_id == self.user_id:
            return True
        return row.sender_id == self.successor_id and self.empties and row.deleted_at is None


MessageChange = Send | Edit | Append | Delete | Disown
MESSAGE_CHANGES = (Send, Edit, Append, Delete, Disown)


@dataclass(frozen=True, slots=True)
class StorageQuotas:
    """The bytes that the messages of one user and of one room may take up. 0 means no limit."""

    per_user: int = 0
    per_room: int = 0

    def check_user(self, stored: int) -> None:
        """Raise `QuotaExceeded` if a user's messages would take up too much."""
        if 0 < self.per_user < stored:
            raise QuotaExceeded(
                f"your messages would take up more than {self.per_user} bytes, the most that one user may store;"
                " delete some first"
            )

    def check_room(self, stored: int) -> None:
        """Raise `QuotaExceeded` if a room's messages would take up too much."""
        if 0 < self.per_room < stored:
            raise QuotaExceeded(
                f"the room's messages would take up more than {self.per_room} bytes, the most that one room may store"
            )


class MessageChanges:
    """The messages that the changes are about, read in a few statements, and their results, written in a few."""

    def __init__(self, batch: Batch, quotas: StorageQuotas) -> None:
        self._batch = batch
        self._quotas = quotas
        self._messages: dict[tuple[int, int], MessageRow] = {}
        self._sent: dict[tuple[int, str, str], MessageRow] = {}
        self._new: dict[tuple[int, int], MessageRow] = {}
        self._changed: dict[tuple[int, int], MessageRow] = {}
        self._disowned: list[tuple[int, int, str]] = []
        self._added: defaultdict[str, int] = defaultdict(int)
        """How many bytes to add to the sum of each user."""
        self._services: set[str] = set()
        """The ids of the services among the senders, which have no quota of their own."""

    def read(self, changes: Sequence[MessageChange]) -> Script[None]:
        """Read the messages that the changes name, and those that have been sent with the same `client_id`."""
        rooms = self._batch.rooms
        known = [(rooms[change.room].row, change) for change in changes if change.room in rooms]
        yield from self._read_messages(known)
        yield from self._read_sent(known)

    def user_ids(self, changes: Iterable[MessageChange]) -> set[str]:
        """Return the users whose sums of bytes may change."""
        senders = {change.user_id for change in changes if isinstance(change, Send)}
        return senders | {row.sender_id for row in self._messages.values()}

    def _read_messages(self, known: list[tuple[RoomRow, MessageChange]]) -> Script[None]:
        wanted = set()
        for room, change in known:
            about = change.reply_to if isinstance(change, Send) else change.message_id
            if about is not None and (offset := log.offset_of(about, room.epoch)) is not None:
                wanted.add((room.id, offset))
        for row in (yield from writes.for_each(writes.ABOUT, wanted)):
            self._messages[row["room_id"], row["offset"]] = MessageRow(**row)

    def _read_sent(self, known: list[tuple[RoomRow, MessageChange]]) -> Script[None]:
        wanted = {
            (room.id, change.user_id, change.client_id)
            for room, change in known
            if isinstance(change, Send) and change.client_id is not None
        }
        found = yield from writes.for_each(writes.SENT, wanted, after=self._batch.now - ONCE_MILLISECONDS)
        for row in sorted(found, key=lambda row: row["offset"]):
            self._sent[row["room_id"], row["sender_id"], row["client_id"]] = MessageRow(**row)

    def apply(self, change: MessageChange) -> Written | Grown:
        """Apply one change in memory, or raise the reason why not."""
        if change.by_service:
            self._services.add(change.user_id)
            room, role = self._batch.as_service(change.room)
        else:
            room, role = self._batch.as_member(change)
        if isinstance(change, Send):
            return self._send(room, change)
        if isinstance(change, Edit):
            return self._edit(room, role, change)
        if isinstance(change, Append):
            return self._append(room, role, change)
        if isinstance(change, Disown):
            return self._disown(room, change)
        return self._delete(room, role, change)

    def _send(self, room: LockedRoom, change: Send) -> Written:
        if change.client_id is not None:
            sent = self._sent.get((room.id, change.user_id, change.client_id))
            if sent is not None:
                now_is = self._changed.get((room.id, sent.offset), sent)
                return Written(room.row, now_is, unchanged=True)
        reply_to = None if change.reply_to is None else self._message(room, change.reply_to).offset
        self._store(room, change.user_id, size_of(change.text, change.body))
        offset = _next_offset(room)
        row = MessageRow(
            room_id=room.id,
            offset=offset,
            changed=offset,
            sender_id=change.user_id,
            sender=change.user,
            text=change.text,
            body=change.body,
            reply_to=reply_to,
            client_id=change.client_id,
            sent_at=self._batch.now,
        )
        self._new[room.id, offset] = row
        if change.client_id is not None:
            self._sent[room.id, change.user_id, change.client_id] = row
        return Written(room.row, row, trace=change.trace)

    def _edit(self, room: LockedRoom, role: Role, change: Edit) -> Written:
        row = self._message(room, change.message_id)
        rules.check_edit(role, own=row.sender_id == change.user_id)
        if row.deleted_at is not None:
            raise Conflict("the message has been deleted meanwhile")
        self._store(room, row.sender_id, size_of(change.text, change.body) - row.size)
        return self._change(room, row.edited(_next_offset(room), change.text, change.body, self._batch.now))

    def _append(self, room: LockedRoom, role: Role, change: Append) -> Grown:
        row = self._message(room, change.message_id)
        rules.check_append(role, own=row.sender_id == change.user_id)
        growth = Growth(row)
        outcomes = [self._add_piece(room, row, growth, piece) for piece in change.pieces]
        grown = Grown(room.row, row, growth.at, growth.text, outcomes)
        if grown.is_changed:
            text = (row.text or "") + grown.text
            grown.message = row.grown(_next_offset(room), text, self._batch.now, done=growth.done)
            self._changed[room.id, row.offset] = grown.message
        return grown

    def _add_piece(self, room: LockedRoom, row: MessageRow, growth: Growth, piece: NewPiece) -> int | MessageError:
        try:
            growth.check(piece)
            self._store(room, row.sender_id, len(piece.text.encode()))
        except MessageError as error:
            return error
        return growth.add(piece)

    def _delete(self, room: LockedRoom, role: Role, change: Delete) -> Written:
        row = self._message(room, change.message_id)
        rules.check_delete(role, own=row.sender_id == change.user_id)
        if row.deleted_at is not None:
            return Written(room.row, row, unchanged=True)
        self._store(room, row.sender_id, MESSAGE_BYTES - row.size)
        return self._change(room, row.deleted(_next_offset(room), self._batch.now))

    def _disown(self, room: LockedRoom, change: Disown) -> Written:
        row = self._message(room, change.message_id)
        if not change.concerns(row):
            return Written(room.row, row, unchanged=True)
        now_is = row.disowned(_next_offset(room), change.successor_id, change.successor)
        if change.empties and row.deleted_at is None:
            now_is = now_is.deleted(now_is.changed, self._batch.now)
        self._services.add(change.successor_id)  # which has no quota: it stores nothing new
        room.stored_bytes += now_is.size - row.size
        self._added[row.sender_id] -= row.size
        self._added[change.successor_id] += now_is.size
        self._disowned.append((room.id, row.offset, change.successor_id))
        return self._change(room, now_is)

    def _store(self, room: LockedRoom, user_id: str, more: int) -> None:
        """Count bytes for a user's messages, or raise `QuotaExceeded`. A smaller message is always accepted."""
        in_room = room.stored_bytes + more
        if more > 0:
            if user_id not in self._services:
                self._quotas.check_user(self._batch.user_bytes[user_id] + self._added[user_id] + more)
            self._quotas.check_room(in_room)
        room.stored_bytes = in_room
        self._added[user_id] += more

    def _message(self, room: LockedRoom, id: str) -> MessageRow:
        offset = log.offset_of(id, room.row.epoch)
        row = None if offset is None else self._messages.get((room.id, offset))
        if row is None:
            raise NotFound("there is no such message in this room")
        return self._changed.get((room.id, row.offset), row)

    def _change(self, room: LockedRoom, row: MessageRow) -> Written:
        self._changed[room.id, row.offset] = row
        return Written(room.row, row)

    def write(self) -> Script[None]:
        """Write the results. Raise `QuotaExceeded` if another node has used up a user's quota meanwhile."""
        moved = {
            (room.id, room.offset, room.stored_bytes)
            for room in self._batch.rooms.values()
            if room.offset != room.row.offset
        }
        yield from writes.for_each(writes.MOVE, moved)
        yield from writes.for_each(writes.ADD, [writes.new_values(row) for row in self._new.values()])
        yield from writes.for_each(writes.CHANGE, [writes.changed_values(row) for row in self._changed.values()])
        yield from writes.for_each(writes.DISOWN, self._disowned)
        # In a fixed order, so that two nodes never wait for each other.
        added = sorted((user_id, more) for user_id, more in self._added.items() if more)
        sums = yield from writes.for_each(storage.ADD, added)
        for row in sums:
            if self._added[row["id"]] > 0 and row["id"] not in self._services:
                self._quotas.check_user(row["stored_bytes"])


def _next_offset(room: LockedRoom) -> int:
    room.offset += 1
    return room.offset
