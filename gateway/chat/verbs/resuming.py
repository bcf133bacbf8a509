"""`room.resume`: a connection comes back into many rooms with one message.

Events wait for the reply of this message, so the steps of all rooms go side by side:

1. The connection begins to join each room. From then on, the hub keeps the room's new events back.
2. Earlier events go out, before the reply: after it, an old `room.left` would look new.
3. Each room is read, at some time after step 1.
4. Without a wait in between, the joins end. Only now do events from after the reads queue up behind the reply.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.pages import Page
from gateway.core import costs
from gateway.core.batches import batches
from gateway.store.rooms import RoomPosition
from handlers.errors import MessageError, RateLimited, Unavailable
from schemas.messages.rooms import JoinReply, JoinRoom, Position, RefusedRoom, ResumeReply

AT_ONCE = 32
"""Rooms to read at the same time. They share statements, and no more than these are read in vain for a full page."""

Enter = Callable[[str, Position | None], Awaitable[None]]
"""A function that makes the user a member of a room, if that is allowed."""


class Read(Protocol):
    """A function that reads what a join replies, and the position of the room at that time."""

    def __call__(
        self, name: str, since: Position | None, limit: int | None
    ) -> Coroutine[Any, Any, tuple[RoomPosition, JoinReply]]:
        """Raise `NotAMember` if the membership has ended."""


class ResumedRoom:
    """One room of the message, and how far its join has come."""

    def __init__(self, request: JoinRoom) -> None:
        self.request = request
        self.position: RoomPosition | None = None
        self.reply: JoinReply | None = None
        self.error: MessageError | None = None

    @property
    def name(self) -> str:
        """Return the name of the room."""
        return self.request.room

    def result(self) -> JoinReply | RefusedRoom:
        """Return its part of the reply."""
        if self.error is not None:
            return RefusedRoom(room=self.name, error=self.error.body())
        assert self.reply is not None  # noqa: S101 - a room without an error has been read
        return self.reply


class Resuming:
    """One `room.resume` of one connection."""

    def __init__(self, session: SessionContext, enter: Enter, read: Read) -> None:
        self._session = session
        self._hub = session.gateway.hub
        self._enter = enter
        self._read = read

    async def run(self, requests: Sequence[JoinRoom]) -> ResumeReply:
        """Join the first rooms, as many as fit into one frame, and at least one."""
        taken: list[JoinReply | RefusedRoom] = []
        while not taken:  # a room may have ended, or been left, between its read and the end of its join
            taken = await self._run_once(requests)
        return ResumeReply(rooms=tuple(taken), has_more=len(taken) < len(requests))

    async def _run_once(self, requests: Sequence[JoinRoom]) -> list[JoinReply | RefusedRoom]:
        page = Page[JoinReply | RefusedRoom]()
        rooms: list[ResumedRoom] = []
        try:
            for some in batches(map(ResumedRoom, requests), AT_ONCE):
                await self._read_all(some)
                more = [each for each in some if page.add(each.result())]
                rooms += more
                if len(more) < len(some) or any(isinstance(each.error, Unavailable) for each in more):
                    break
            return [each.result() for each in self._completed(rooms)]
        finally:
            for request in requests:
                self._hub.abort_join(request.room, self._session)  # nothing happens to those that are complete

    def _completed(self, rooms: Iterable[ResumedRoom]) -> Iterable[ResumedRoom]:
        """Complete the joins in order, up to the first that must be read again."""
        for each in rooms:
            if each.position is not None:
                self._hub.complete_join(self._session, each.position)
                if each.name not in self._session.joined:
                    return
            yield each

    async def _read_all(self, rooms: Sequence[ResumedRoom]) -> None:
        """Bring some rooms so far that only the end of their joins is missing, or to their errors."""
        self._check_count(rooms)
        await self._for_all(rooms, self._begin)
        self._session.send_held_events()
        await self._for_all(rooms, self._read_one)

    def _check_count(self, rooms: Iterable[ResumedRoom]) -> None:
        limit = self._session.gateway.settings.max_rooms_per_connection
        free = limit - len(self._session.joined)
        for each in rooms:
            if limit and each.name not in self._session.joined:
                free -= 1
                if free < 0:
                    each.error = too_many_rooms(limit)

    async def _for_all(
        self, rooms: Iterable[ResumedRoom], step: Callable[[ResumedRoom], Coroutine[Any, Any, None]]
    ) -> None:
        """Take a step with all rooms that have no error, at the same time."""
        async with asyncio.TaskGroup() as tasks:
            for each in rooms:
                if each.error is None:
                    tasks.create_task(self._step(each, step))

    async def _step(self, room: ResumedRoom, step: Callable[[ResumedRoom], Coroutine[Any, Any, None]]) -> None:
        try:
            await step(room)
        except MessageError as error:
            room.error = error

    async def _begin(self, room: ResumedRoom) -> None:
        await self._enter(room.name, room.request.since)
        await self._hub.begin_join(room.name, self._session)

    async def _read_one(self, room: ResumedRoom) -> None:
        room.position, room.reply = await self._read(room.name, room.request.since, room.request.limit)
        rows = len(room.reply.messages or ()) + len(room.reply.events or ())
        self._session.charge(costs.of_rows(rows))


def too_many_rooms(limit: int) -> RateLimited:
    """Return the error about one room more than a connection may hear."""
    return RateLimited(f"rooms on this connection, the limit is {limit}; leave one first")
