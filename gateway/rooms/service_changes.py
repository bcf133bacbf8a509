"""What services do in rooms: they speak, make and change rooms, and put users into them.

A service needs no membership, and has an owner's rights. The caller has checked which rooms the service may touch. All
of it goes through the log, or through a transaction that locks the room, and the room's listeners on all nodes get the
same events as if a user had done it.
"""

import asyncio
import re
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from gateway.bus.base import Bus, RoomEnded, ToAll, ToRoom, ToUser
from gateway.config.settings import Settings
from gateway.connections.registry import Connections
from gateway.core.clock import Clock, milliseconds
from gateway.rooms import rules
from gateway.rooms.appending import Appender
from gateway.rooms.finder import RoomFinder
from gateway.rooms.growth import NewPiece
from gateway.rooms.hooks import Hooks
from gateway.rooms.hub import Hub
from gateway.rooms.log import Log
from gateway.rooms.membership_changes import Create, Entered, Put, Remove, RoomQuotas
from gateway.rooms.message_changes import Delete, Edit, Send, Written
from gateway.rooms.removal import RoomRemover
from gateway.rooms.service_events import event_frame
from gateway.rooms.service_senders import ServiceSender
from gateway.rooms.signals import Signals
from gateway.store import rooms, users
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
from gateway.store.prepared import items_of
from gateway.store.rooms import RoomRow
from gateway.transport import frames
from handlers.errors import NotFound, TooLarge, Unavailable, ValidationFailed
from schemas.base import FieldError
from schemas.events.rooms import RoomAdded, RoomDeleted, RoomRole, RoomUpdated
from schemas.messages.chat import AppendReply
from schemas.messages.rooms import Role
from schemas.messages.system import MAX_TEXT
from schemas.names import USER_NAME


class ServiceRooms:
    """What services do in rooms."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        log: Log,
        appender: Appender,
        hub: Hub,
        connections: Connections,
        finder: RoomFinder,
        remover: RoomRemover,
        hooks: Hooks,
        signals: Signals,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._database = database
        self._bus = bus
        self._log = log
        self._appender = appender
        self._hub = hub
        self._connections = connections
        self._finder = finder
        self._remover = remover
        self._hooks = hooks
        self._signals = signals
        self._clock = clock
        self._settings = settings
        self._user_ids = GroupedReads(self._read_user_ids)
        self._quotas = RoomQuotas(settings.max_rooms_joined, settings.max_rooms_owned)

    async def publish_message(
        self,
        sender: ServiceSender,
        room: str,
        *,
        text: str | None = None,
        body: Any = None,
        client_id: str | None = None,
        reply_to: str | None = None,
    ) -> Written:
        """Store a message and send it to the room. For a `client_id` used before, return the first message.

        `body` is a value of strict JSON. Raise `NotFound` for a room that does not exist.
        """
        self.check_content(text, body)
        send = Send(room, sender.user_id, sender.name, text, body, reply_to, client_id, by_service=True)
        return await self._log.append(send)

    async def edit_message(
        self, sender: ServiceSender, room: str, message_id: str, *, text: str | None = None, body: Any = None
    ) -> Written:
        """Change the content of a message that the service itself has sent."""
        self.check_content(text, body)
        return await self._appender.change(Edit(room, sender.user_id, message_id, text, body, by_service=True))

    async def append_message(self, sender: ServiceSender, room: str, message_id: str, piece: NewPiece) -> AppendReply:
        """Do what `begin_append` does, and return the outcome."""
        return await self.begin_append(sender, room, message_id, piece)

    def begin_append(
        self, sender: ServiceSender, room: str, message_id: str, piece: NewPiece
    ) -> "asyncio.Future[AppendReply]":
        """Add text to the end of a message that the service itself has sent, and return a future of the outcome.

        Raise `ValidationFailed` for a text that no user could send, and what `handlers.base.MessageVerbs.append` does.
        """
        if not (piece.done and not piece.text) and not _is_text(piece.text):
            raise _wrong("data.text", f"expected {_TEXT}; it may be empty only with `done`")
        return self._appender.append(room, sender.user_id, message_id, piece, by_service=True)

    async def delete_message(self, sender: ServiceSender, room: str, message_id: str) -> Written:
        """Delete any message of a room."""
        return await self._appender.change(Delete(room, sender.user_id, message_id, by_service=True))

    async def publish_event(self, room: str, type: str, data: Any) -> None:
        """Send an event to the connections that hear a room, or raise `NotFound`. No log keeps it."""
        frame = event_frame(type, data, self._settings.max_frame_bytes)
        if self._hub.find_certain(room) is None:
            await self.find(room)
        await self._bus.publish(ToRoom(frame, room))

    async def publish_to_user(self, user: str, type: str, data: Any) -> None:
        """Send an event to all connections of a user, or raise `NotFound`."""
        frame = event_frame(type, data, self._settings.max_frame_bytes)
        await self._bus.publish(ToUser(frame, await self._user_id(user)))

    async def publish_to_all(self, type: str, data: Any) -> int:
        """Send an event to every connection on all nodes, and return their number."""
        here = await self._bus.publish(ToAll(event_frame(type, data, self._settings.max_frame_bytes)))
        return here + await self._connections.remote_count()

    async def find(self, room: str) -> RoomRow:
        """Return a room, also a private one, or raise `NotFound`."""
        found = await self._finder.find(room, "")
        if found is None:
            raise NotFound(f"there is no room `{room}`")
        return found

    async def create(
        self, sender: ServiceSender, room: str, *, title: str | None, private: bool, signals: bool = True
    ) -> RoomRow:
        """Make a room that stays without members and needs no owner, or raise `Conflict`."""
        rules.check_name(room)
        create = Create(room, sender.user_id, sender.name, title, private, signals, by_service=True)
        return (await self._log.append(create)).room

    async def update(
        self, room: str, *, title: str | None, private: bool | None, signals: bool | None = None
    ) -> RoomRow:
        """Change a room's title, its privacy, and whether it takes signals."""
        work = partial(_update, name=room, title=title, private=private, signals=signals)
        found, changed = await self._database.transact(work)
        self._signals.forget(room)
        if changed != found:
            await self._bus.publish(ToRoom(frames.event(RoomUpdated(room=changed.to_schema())), room))
        return changed

    async def delete(self, room: str, *, state: object) -> None:
        """Delete a room with all of its messages. `state` is the application's, for its hooks."""
        try:
            found = await self._database.transact(partial(_delete, name=room, now=milliseconds(self._clock)))
        except Unavailable:
            # It may have been made all the same, and then no event says so.
            self._hub.repair.check_soon(room)
            raise
        self._remover.wake()
        await self._bus.publish(RoomEnded(frames.event(RoomDeleted(room=room)), room, found.epoch))
        await self._hooks.room_deleted(room, state)

    async def put_member(self, room: str, user: str, role: Role | None, *, by: str) -> Entered:
        """Make a user a member of a room, also of a private one, or change a member's role.

        Without a role, a new member gets that of a user that joins, and a member keeps its own. `by` is the name of the
        service, which the user's connections see. Raise `NotFound` for a room or a user that does not exist.
        """
        entered = await self._log.append(Put(room, await self._user_id(user), user, role))
        if entered.is_new:
            added = RoomAdded(room=entered.room.to_schema(), by=by)
            await self._bus.publish(ToUser(frames.event(added), entered.user_id))
            if entered.room.role != "member":
                await self._announce_role(room, user, entered.room.role)
        elif role is not None and role != entered.room.role:
            await self._database.transact(
                partial(_set_role, name=room, user_id=entered.user_id, user=user, role=role, quotas=self._quotas)
            )
            entered.room = replace(entered.room, role=role)
            await self._announce_role(room, user, role)
        return entered

    async def remove_member(self, room: str, user: str, *, by: str, state: object) -> None:
        """End a user's membership on all of its connections, or take an invitation back. The user may be disabled.

        Raise `NotFound` if the user has neither. `state` is the application's, for its hooks.
        """
        found = await self._database.query(partial(users.by_name, name=user)) if _is_user_name(user) else None
        if found is None:
            raise _no_user(user)
        departure = await self._log.append(Remove(room, found.id, user, by))
        if departure.room.role is not None:
            await self._hooks.member_left(room, user, state)
        if departure.has_ended:
            self._remover.wake()
            await self._hooks.room_deleted(room, state)

    async def _announce_role(self, room: str, user: str, role: Role | None) -> None:
        if role is not None:
            await self._bus.publish(ToRoom(frames.event(RoomRole(room=room, user=user, role=role)), room))

    async def _user_id(self, name: str) -> str:
        """Return the id of an enabled user."""
        found = await self._user_ids.get(name) if _is_user_name(name) else None
        if found is None:
            raise _no_user(name)
        return found

    async def _read_user_ids(self, names: list[str]) -> dict[str, str]:
        rows = await self._database.fetch(users.IDS_BY_NAME, items=items_of(names))
        return {row["name"]: row["id"] for row in rows}

    def check_content(self, text: str | None, body: Any) -> None:
        """Raise `ValidationFailed` or `TooLarge` for a content that no user could send."""
        if (text is None) == (body is None):
            raise _wrong("message", "expected either `text` or `body`, and not both")
        if text is not None and not _is_text(text):
            raise _wrong("message.text", f"expected {_TEXT}")
        most = self._settings.max_message_bytes
        if body is not None and (size := len(frames.json(body))) > most:
            raise TooLarge(size, most)


def _is_user_name(name: str) -> bool:
    return re.fullmatch(USER_NAME, name) is not None


def _no_user(name: str) -> NotFound:
    return NotFound(f"there is no user `{name}`")


def _wrong(field: str, expected: str) -> ValidationFailed:
    return ValidationFailed((FieldError(field=field, message=expected),))


def _is_text(text: str) -> bool:
    return 1 <= len(text) <= MAX_TEXT and _UNSTORABLE.search(text) is None


_TEXT = f"1 to {MAX_TEXT} characters, without U+0000 and lone surrogates"

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What no store holds: PostgreSQL's text has no U+0000, and a lone surrogate has no UTF-8."""


def _locked(connection: Connection, name: str) -> RoomRow:
    room = rooms.find(connection, name, "", lock=True)
    if room is None:
        raise NotFound(f"there is no room `{name}`")
    rules.check_not_direct(room)
    return room


def _update(
    connection: Connection, name: str, title: str | None, *, private: bool | None, signals: bool | None
) -> tuple[RoomRow, RoomRow]:
    """Change a room, and return it before and after that."""
    room = _locked(connection, name)
    return room, rooms.change(connection, room, title=title, private=private, signals=signals)


def _delete(connection: Connection, name: str, now: int) -> RoomRow:
    """Delete a room, and return it as it was."""
    room = _locked(connection, name)
    rooms.remove(connection, room.id, now)
    return room


def _set_role(connection: Connection, name: str, user_id: str, user: str, role: Role, quotas: RoomQuotas) -> None:
    """Change a member's role. One owner must remain, unless the room is kept."""
    room = _locked(connection, name)
    had = rooms.find_role(connection, room.id, user_id)
    if had is None:
        raise NotFound(f"`{user}` is not a member")
    if had == "owner" and role != "owner":
        rules.check_owner_left(room, rooms.count_with_role(connection, room.id, "owner"))
    if had != "owner" and role == "owner" and quotas.owned:
        users.lock(connection, user_id)
        quotas.check_owned(rooms.count_owned(connection, user_id, quotas.owned), user)
    rooms.set_role(connection, room.id, user_id, role)
