"""Deletes a user: the account at once, then its memberships and its messages, in small transactions.

Rooms hear of it as if the user had left them, and of each message as of an edit or a deletion. So clients that come
back later learn of it too. It may be interrupted at any point, and another run does the rest.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from gateway.bus.base import Bus, Revoked
from gateway.core.clock import Clock, milliseconds
from gateway.rooms.events import ended_event
from gateway.rooms.log import Log
from gateway.rooms.membership_changes import Leave
from gateway.rooms.message_changes import Disown
from gateway.rooms.removal import RoomRemover
from gateway.rooms.sent_messages import messages_of
from gateway.store import deleted_users, rooms
from gateway.store.deleted_users import Holdings, RoomOf, Successor
from gateway.store.engine import Database
from gateway.store.messages import message_id
from gateway.store.senders import MessageKey
from gateway.store.users import UserRow
from handlers.errors import Conflict, NotFound

Result = TypeVar("Result")

BATCH = 100
"""Messages or rooms in one transaction: a few milliseconds, after which other writers have their turn."""

EVENTS = 200
"""Events of hooks to look through in one transaction."""


class Messages(StrEnum):
    """What becomes of the messages of a deleted user."""

    KEEP = "keep"
    """They stay as they are, with their sender's name."""
    ANONYMISE = "anonymise"
    """They stay, and a name that leads back to no user takes the place of their sender's."""
    REMOVE = "remove"
    """They are deleted as by a moderator, and what is left of them has no sender's name either."""


@dataclass
class Deleted:
    """What a deletion has done, or would do."""

    sessions: int = 0
    tickets: int = 0
    groups: int = 0
    rooms: int = 0
    owned_rooms: int = 0
    direct_rooms: int = 0
    invitations: int = 0
    messages: int = 0
    events: int = 0
    """Events that wait for hooks."""

    def counts(self) -> dict[str, int]:
        """Return the counts by their names."""
        return asdict(self)


@dataclass
class UserDeletion:
    """Deletes one user after the other."""

    database: Database
    log: Log
    bus: Bus
    clock: Clock
    messages: Messages
    frees_name: bool = False
    """Whether another user may have the name from then on."""
    on_progress: Callable[[Deleted], None] = field(default=lambda _: None)

    async def foresee(self, user: UserRow) -> Deleted:
        """Return what a deletion would do, without any change."""
        found = Deleted(**asdict(await self._holdings_of(user)))
        async for keys in self._messages_of({user.id}):
            found.messages += len(keys)
            self.on_progress(found)
        return found

    async def run(self, user: UserRow) -> Deleted:
        """Delete a user, or the rest of one. Raise `Unavailable`, after which another run goes on."""
        if self.frees_name and self.messages is Messages.KEEP:
            raise Conflict("messages that are kept need the name of their sender")
        held = await self._holdings_of(user)
        done = Deleted(sessions=held.sessions, tickets=held.tickets, groups=held.groups, invitations=held.invitations)
        done.owned_rooms = held.owned_rooms
        await self._end_account(user)
        while await self._leave_rooms(user, done):
            self.on_progress(done)
        await self.database.transact(partial(deleted_users.forget_rest, user_id=user.id))
        successor = None if self.messages is Messages.KEEP else await self._take_over(user, done)
        await self._clear_events(user, successor, done)
        # A request that was under way when the account ended may have made a membership or an invitation since.
        while await self._leave_rooms(user, done):
            pass
        await self.database.transact(partial(self._finish, user.id))
        return done

    async def _holdings_of(self, user: UserRow) -> Holdings:
        keeps_direct = self.messages is Messages.KEEP
        return await self.database.query(partial(deleted_users.holdings, user_id=user.id, keeps_direct=keeps_direct))

    async def _end_account(self, user: UserRow) -> None:
        if user.deleted_at is None:
            await self.database.transact(partial(deleted_users.mark, user_id=user.id, now=milliseconds(self.clock)))
        await self.bus.revoke(Revoked(user.id, None))

    async def _leave_rooms(self, user: UserRow, done: Deleted) -> bool:
        """Leave some rooms, and return whether there may be more."""
        found = await self.database.query(partial(deleted_users.rooms_of, user_id=user.id, limit=BATCH))
        for room in found:
            if room.direct and self.messages is not Messages.KEEP:
                await self._end_room(room)
                done.direct_rooms += 1
        left = [room for room in found if not room.direct or self.messages is Messages.KEEP]
        for departure in await self._settled(Leave(room.name, user.id, user.name) for room in left):
            done.rooms += departure.room.role is not None
            if departure.room.direct and departure.room.members == (departure.room.role is not None):
                await self._end_room(RoomOf(departure.room.id, departure.room.name, direct=True))
        return bool(found)

    async def _end_room(self, room: RoomOf) -> None:
        """Delete a room with all of its messages."""

        def work(connection: Connection) -> str | None:
            found = rooms.find(connection, room.name, "", lock=True)
            if found is None or found.id != room.id:
                return None
            rooms.remove(connection, room.id, milliseconds(self.clock))
            return found.epoch

        epoch = await self._paced(self.database.transact, work)
        if epoch is not None:
            await self.bus.publish(ended_event(room.name, epoch))

    async def _take_over(self, user: UserRow, done: Deleted) -> Successor | None:
        """Move the messages to a name that leads back to no user. Return that, or None without any messages."""
        successor = await self.database.query(partial(deleted_users.successor_of, user_id=user.id))
        empties = self.messages is Messages.REMOVE
        async for keys in self._messages_of({user.id} if successor is None else {user.id, successor.id}):
            if successor is None:
                successor = await self.database.transact(partial(deleted_users.make_successor, user_id=user.id))
            done.messages += await self._disown(user, successor, keys, empties=empties)
            self.on_progress(done)
        # Of rooms that were deleted, also long ago, nothing may be left that names the user.
        await RoomRemover(self.database).remove_all()
        return successor

    async def _disown(self, user: UserRow, successor: Successor, keys: list[MessageKey], *, empties: bool) -> int:
        for room in {RoomOf(key.room.id, key.room.name, direct=True) for key in keys if key.room.direct}:
            await self._end_room(room)  # the other user is its only member, or it has none
        written = await self._settled(
            Disown(key.room.name, user.id, _id_of(key), successor.id, successor.name, empties)
            for key in keys
            if not key.room.direct
        )
        return sum(not each.unchanged for each in written)

    def _messages_of(self, sender_ids: set[str]) -> AsyncIterator[list[MessageKey]]:
        return messages_of(partial(self._paced, self.database.query), sender_ids, BATCH)

    async def _clear_events(self, user: UserRow, successor: Successor | None, done: Deleted) -> None:
        last: int | None = 0
        removes = self.messages is Messages.REMOVE or (self.messages is Messages.ANONYMISE and successor is None)
        while last is not None:
            clear = partial(
                deleted_users.clear_events,
                name=user.name,
                new_name=None if successor is None else successor.name,
                after=last,
                limit=EVENTS,
                removes=removes,
            )
            changed, last = await self._paced(self.database.transact, clear)
            done.events += changed
        await self.database.transact(partial(deleted_users.forget_presence, name=user.name))

    def _finish(self, user_id: str, connection: Connection) -> None:
        deleted_users.forget_rest(connection, user_id)
        try:
            deleted_users.finish(connection, user_id, frees_name=self.frees_name)
        except IntegrityError:
            raise Conflict("a message has come while the user was deleted; repeat the command") from None

    async def _settled(self, changes: Iterable[Any]) -> list[Any]:
        """Make changes in one transaction, and return the outcomes, without those that came too late."""
        begun = time.perf_counter()
        outcomes = await asyncio.gather(*(self.log.append(change) for change in changes), return_exceptions=True)
        await asyncio.sleep(time.perf_counter() - begun)  # others write too
        return [outcome for outcome in outcomes if not _is_late(outcome)]

    async def _paced(self, run: Callable[..., Any], work: Callable[[Connection], Result]) -> Result:
        """Run some work on the store, and rest for as long as it took."""
        begun = time.perf_counter()
        result: Result = await run(work)
        await asyncio.sleep(time.perf_counter() - begun)
        return result


def _id_of(key: MessageKey) -> str:
    return message_id(key.room.epoch, key.offset)


def _is_late(outcome: object) -> bool:
    """Return whether a room or a message was gone before the change. Raise every other failure."""
    if isinstance(outcome, NotFound):
        return True
    if isinstance(outcome, BaseException):
        raise outcome
    return False
