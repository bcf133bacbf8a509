"""Many changes to rooms' logs in one transaction.

A transaction costs one sync of the disk, however much is in it: so everyone who writes at the same time shares
one. Each change has its own outcome; one that is refused leaves its neighbours alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import messages as log
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.store.tables import memberships, messages, rooms
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


async def apply(connection: AsyncConnection, changes: Sequence[Change], now: int) -> list[Outcome]:
    """Make changes in the order given, and give the outcome of each. Nothing is durable before the commit."""
    batch = _Batch(now)
    await batch.read(connection, changes)
    outcomes = [batch.outcome(change) for change in changes]
    await batch.write(connection)
    return outcomes


class _Batch:
    """What the changes are about, read in a few statements; what they came to, written in a few."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._rooms: dict[str, RoomRow] = {}
        self._offsets: dict[str, int] = {}
        self._roles: dict[tuple[int, str], Role] = {}
        self._messages: dict[tuple[int, int], MessageRow] = {}
        self._sent: dict[tuple[int, str, str], MessageRow] = {}
        self._new: dict[tuple[int, int], MessageRow] = {}
        self._changed: dict[tuple[int, int], MessageRow] = {}

    async def read(self, connection: AsyncConnection, changes: Sequence[Change]) -> None:
        """Read the rooms, locking them, and what is needed of the rest."""
        # In one order, so that two nodes never wait for each other.
        names = sorted({change.room for change in changes})
        query = select(rooms).where(rooms.c.name.in_(names)).order_by(rooms.c.name).with_for_update()
        for row in await connection.execute(query):
            self._rooms[row.name] = RoomRow(**row._mapping)
        self._offsets = {name: room.offset for name, room in self._rooms.items()}
        known = [(self._rooms[change.room], change) for change in changes if change.room in self._rooms]
        await self._read_roles(connection, {(room.id, change.user_id) for room, change in known})
        await self._read_messages(connection, known)
        await self._read_sent(
            connection,
            {
                (room.id, change.user_id, change.client_id)
                for room, change in known
                if isinstance(change, Send) and change.client_id is not None
            },
        )

    async def _read_roles(self, connection: AsyncConnection, pairs: set[tuple[int, str]]) -> None:
        if pairs:
            key = tuple_(memberships.c.room_id, memberships.c.user_id)
            query = select(memberships.c.room_id, memberships.c.user_id, memberships.c.role).where(key.in_(pairs))
            self._roles = {(row.room_id, row.user_id): row.role for row in await connection.execute(query)}

    async def _read_messages(self, connection: AsyncConnection, known: list[tuple[RoomRow, Change]]) -> None:
        wanted = set()
        for room, change in known:
            about = change.reply_to if isinstance(change, Send) else change.message_id
            if about is not None and (offset := log.offset_of(about, room.epoch)) is not None:
                wanted.add((room.id, offset))
        if wanted:
            found = await log.matching(connection, tuple_(messages.c.room_id, messages.c.offset).in_(wanted))
            self._messages = {(row.room_id, row.offset): row for row in found}

    async def _read_sent(self, connection: AsyncConnection, keys: set[tuple[int, str, str | None]]) -> None:
        if keys:
            key = tuple_(messages.c.room_id, messages.c.sender_id, messages.c.client_id)
            recent = messages.c.sent_at > self._now - ONCE_MILLISECONDS
            for row in await log.matching(connection, key.in_(keys) & recent):
                assert row.client_id is not None  # noqa: S101 - as asked for
                self._sent[row.room_id, row.sender_id, row.client_id] = row

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

    async def write(self, connection: AsyncConnection) -> None:
        """Write what has come out."""
        moved = [
            {"of": room.id, "to": self._offsets[name]}
            for name, room in self._rooms.items()
            if self._offsets[name] != room.offset
        ]
        if moved:
            await connection.execute(_MOVE, moved)
        if self._new:
            await connection.execute(insert(messages), [_columns(row) for row in self._new.values()])
        if self._changed:
            await connection.execute(
                _CHANGE,
                [
                    {
                        "in_room": row.room_id,
                        "at": row.offset,
                        "changed": row.changed,
                        "text": row.text,
                        "body": row.body,
                        "edited_at": row.edited_at,
                        "deleted_at": row.deleted_at,
                    }
                    for row in self._changed.values()
                ],
            )


_MOVE = update(rooms).where(rooms.c.id == bindparam("of")).values(offset=bindparam("to"))
_CHANGE = update(messages).where(messages.c.room_id == bindparam("in_room"), messages.c.offset == bindparam("at"))


def _columns(row: MessageRow) -> dict[str, Any]:
    return {
        "room_id": row.room_id,
        "offset": row.offset,
        "changed": row.changed,
        "sender_id": row.sender_id,
        "text": row.text,
        "body": row.body,
        "reply_to": row.reply_to,
        "client_id": row.client_id,
        "sent_at": row.sent_at,
    }
