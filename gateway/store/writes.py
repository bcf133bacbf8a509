"""Many changes to rooms' logs in one transaction.

A transaction costs one sync of the disk, however much is in it: so everyone who writes at the same time shares
one. Each change has its own outcome; one that is refused leaves its neighbours alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Integer,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.sql.type_api import TypeEngine

from gateway.store import messages as log
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.store.tables import memberships, messages, rooms, users
from handlers.errors import Conflict, Forbidden, MessageError, NotAMember, NotFound
from schemas.messages.rooms import Role

ONCE_MILLISECONDS = 24 * 3600 * 1000
"""For how long a `client_id` stands for one message."""


@dataclass(frozen=True, slots=True)
class Send:
    """Somebody says something."""

    room: str
    user_id: str
    user: str
    text: str | None
    body: Any
    reply_to: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody says something else instead."""

    room: str
    user_id: str
    message_id: str
    text: str | None
    body: Any


@dataclass(frozen=True, slots=True)
class Delete:
    """Somebody takes something back, or a moderator does."""

    room: str
    user_id: str
    message_id: str


Change = Send | Edit | Delete


@dataclass(frozen=True, slots=True)
class Written:
    """What a change came to: the message as it is now, and whether that was so before."""

    room: RoomRow
    message: MessageRow
    unchanged: bool = False


Outcome = Written | MessageError


def apply(connection: Connection, changes: Sequence[Change], now: int) -> list[Outcome]:
    """Make changes in the order given, and give the outcome of each. Nothing is durable before the commit."""
    batch = _Batch(connection, now)
    batch.read(changes)
    outcomes = [batch.outcome(change) for change in changes]
    batch.write()
    return outcomes


class _Batch:
    """What the changes are about, read in a few statements; what they came to, written in a few."""

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._statements = _STATEMENTS[connection.dialect.name]
        self._now = now
        self._rooms: dict[str, RoomRow] = {}
        self._offsets: dict[str, int] = {}
        self._roles: dict[tuple[int, str], Role] = {}
        self._messages: dict[tuple[int, int], MessageRow] = {}
        self._sent: dict[tuple[int, str, str], MessageRow] = {}
        self._new: dict[tuple[int, int], MessageRow] = {}
        self._changed: dict[tuple[int, int], MessageRow] = {}

    def read(self, changes: Sequence[Change]) -> None:
        """Read the rooms, locking them, and what is needed of the rest."""
        for row in self._find(self._statements.rooms, {(change.room,) for change in changes}):
            self._rooms[row.name] = RoomRow(**row._mapping)
        self._offsets = {name: room.offset for name, room in self._rooms.items()}
        known = [(self._rooms[change.room], change) for change in changes if change.room in self._rooms]
        # In a statement of its own: one that waited for a lock sees the other tables as they were before that.
        roles = self._find(self._statements.roles, {(room.id, change.user_id) for room, change in known})
        self._roles = {(row.room_id, row.user_id): row.role for row in roles}
        self._read_messages(known)
        self._read_sent(known)

    def _read_messages(self, known: list[tuple[RoomRow, Change]]) -> None:
        wanted = set()
        for room, change in known:
            about = change.reply_to if isinstance(change, Send) else change.message_id
            if about is not None and (offset := log.offset_of(about, room.epoch)) is not None:
                wanted.add((room.id, offset))
        for row in self._find(self._statements.messages, wanted):
            self._messages[row.room_id, row.offset] = MessageRow(**row._mapping)

    def _read_sent(self, known: list[tuple[RoomRow, Change]]) -> None:
        wanted = {
            (room.id, change.user_id, change.client_id)
            for room, change in known
            if isinstance(change, Send) and change.client_id is not None
        }
        for row in self._find(self._statements.sent, wanted, after=self._now - ONCE_MILLISECONDS):
            self._sent[row.room_id, row.sender_id, row.client_id] = MessageRow(**row._mapping)

    def _find(self, query: Select[Any], items: Collection[tuple[Any, ...]], **more: int) -> Sequence[Row[Any]]:
        """Read what a query finds for each of some items, if there are any."""
        if not items:
            return ()
        return self._connection.execute(query, {"items": _json_text(list(items)), **more}).all()

    def outcome(self, change: Change) -> Outcome:
        """Make one change, in memory."""
        try:
            room, role = self._room_of_member(change)
            if isinstance(change, Send):
                return self._send(room, change)
            if isinstance(change, Edit):
                return self._edit(room, change)
            return self._delete(room, role, change)
        except MessageError as refused:
            return refused

    def _room_of_member(self, change: Change) -> tuple[RoomRow, Role]:
        room = self._rooms.get(change.room)
        role = None if room is None else self._roles.get((room.id, change.user_id))
        if room is None or (room.private and role is None):
            raise NotFound(f"there is no room `{change.room}`")
        if role is None:
            raise NotAMember(room.name)
        return room, role

    def _send(self, room: RoomRow, change: Send) -> Written:
        if change.client_id is not None:
            sent = self._sent.get((room.id, change.user_id, change.client_id))
            if sent is not None:
                now_is = self._changed.get((room.id, sent.offset), sent)
                return Written(room, now_is, unchanged=True)
        reply_to = None if change.reply_to is None else self._message(room, change.reply_to).offset
        offset = self._next_offset(room)
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
            sent_at=self._now,
        )
        self._new[room.id, offset] = row
        if change.client_id is not None:
            self._sent[room.id, change.user_id, change.client_id] = row
        return Written(room, row)

    def _edit(self, room: RoomRow, change: Edit) -> Written:
        row = self._message(room, change.message_id)
        if row.sender_id != change.user_id:
            raise Forbidden("only its author may edit a message")
        if row.deleted_at is not None:
            raise Conflict("the message has been deleted meanwhile")
        return self._change(room, row.edited(self._next_offset(room), change.text, change.body, self._now))

    def _delete(self, room: RoomRow, role: Role, change: Delete) -> Written:
        row = self._message(room, change.message_id)
        if row.sender_id != change.user_id and role == "member":
            raise Forbidden("only its author, a moderator or an owner may delete a message")
        if row.deleted_at is not None:
            return Written(room, row, unchanged=True)
        return self._change(room, row.deleted(self._next_offset(room), self._now))

    def _message(self, room: RoomRow, id: str) -> MessageRow:
        offset = log.offset_of(id, room.epoch)
        row = None if offset is None else self._messages.get((room.id, offset))
        if row is None:
            raise NotFound("there is no such message in this room")
        return self._changed.get((room.id, row.offset), row)

    def _change(self, room: RoomRow, row: MessageRow) -> Written:
        self._changed[room.id, row.offset] = row
        return Written(room, row)

    def _next_offset(self, room: RoomRow) -> int:
        self._offsets[room.name] += 1
        return self._offsets[room.name]

    def write(self) -> None:
        """Write what has come out."""
        moved = [
            (room.id, self._offsets[name]) for name, room in self._rooms.items() if self._offsets[name] != room.offset
        ]
        if moved:
            self._connection.execute(self._statements.move, {"items": _json_text(moved)})
        if self._new:
            rows = [tuple(_columns(row).values()) for row in self._new.values()]
            self._connection.execute(self._statements.add, {"items": _json_text(rows)})
        if self._changed:
            self._connection.execute(_CHANGE, [_changes(row) for row in self._changed.values()])


class _Statements:
    """Statements that take their items as one JSON text, so that they are the same text for any number of them.

    Neither SQLAlchemy nor the database then reads a new statement for each size of batch; and SQLite goes through
    all items in one call, in which Python is free to do other things.
    """

    def __init__(self, dialect: str) -> None:
        self._sqlite = dialect == "sqlite"
        name = self._items(Text())[0]
        # In one order, so that two nodes never wait for each other.
        self.rooms = select(rooms).where(rooms.c.name.in_(select(name))).order_by(rooms.c.name).with_for_update()
        room_id, user_id = self._items(Integer(), Text())
        self.roles = select(memberships.c.room_id, memberships.c.user_id, memberships.c.role).where(
            memberships.c.room_id == room_id, memberships.c.user_id == user_id
        )
        room_id, offset = self._items(Integer(), BigInteger())
        self.messages = _MESSAGES.where(messages.c.room_id == room_id, messages.c.offset == offset)
        room_id, sender_id, client_id = self._items(Integer(), Text(), Text())
        self.sent = _MESSAGES.where(
            messages.c.room_id == room_id,
            messages.c.sender_id == sender_id,
            messages.c.client_id == client_id,
            messages.c.sent_at > bindparam("after"),
        ).order_by(messages.c.room_id, messages.c.offset)
        room_id, offset = self._items(Integer(), BigInteger())
        self.move = update(rooms).where(rooms.c.id == room_id).values(offset=offset)
        self.add = insert(messages).from_select(_NEW, select(*self._items(*(messages.c[name].type for name in _NEW))))

    def _items(self, *types: TypeEngine[Any]) -> list[Any]:
        """Give the columns of the parameter `items`, an array of arrays, of these types."""
        if self._sqlite:
            each = func.json_each(bindparam("items", type_=Text())).table_valued("value")
            return [func.json_extract(each.c.value, f"$[{number}]") for number in range(len(types))]
        array = cast(bindparam("items", type_=Text()), JSON())
        each = func.json_array_elements(array).table_valued(column("value", JSON()))
        return [cast(each.c.value.op("->>")(number), of) for number, of in enumerate(types)]


_NEW = ("room_id", "offset", "changed", "sender_id", "text", "body", "reply_to", "client_id", "sent_at")
"""What is written of a new message: the columns that `_columns` gives, in its order."""

_MESSAGES: Select[Any] = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
_CHANGE = update(messages).where(messages.c.room_id == bindparam("in_room"), messages.c.offset == bindparam("at"))
_STATEMENTS = {dialect: _Statements(dialect) for dialect in ("sqlite", "postgresql")}


def _columns(row: MessageRow) -> dict[str, Any]:
    return {
        "room_id": row.room_id,
        "offset": row.offset,
        "changed": row.changed,
        "sender_id": row.sender_id,
        "text": row.text,
        "body": _json_text(row.body),
        "reply_to": row.reply_to,
        "client_id": row.client_id,
        "sent_at": row.sent_at,
    }


def _changes(row: MessageRow) -> dict[str, Any]:
    return {
        "in_room": row.room_id,
        "at": row.offset,
        "changed": row.changed,
        "text": row.text,
        "body": row.body,
        "edited_at": row.edited_at,
        "deleted_at": row.deleted_at,
    }


def _json_text(value: Any) -> str | None:
    # As `JsonText` does, which is not asked about what is inside the parameter of a statement.
    return None if value is None else orjson.dumps(value).decode()
