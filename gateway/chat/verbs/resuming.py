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
from gateway.chat.verbs.pages import MAX_PAGE_BYTES
from gateway.core import costs
from gateway.store.rooms import RoomPosition
from gateway.transport import frames
from gateway.transport.encoded import encoded
from handlers.errors import MessageError, RateLimited, Unavailable
from schemas.messages.rooms import JoinReply, JoinRoom, Position, RefusedRoom, ResumeReply

FIRST = 8
"""Rooms to read at first. Their size shows how many more probably fit into the frame: too many are read in vain."""

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

    def json(self) -> bytes:
        """Return its part of the reply."""
        return frames.json(self.reply if self.error is None else RefusedRoom(room=self.name, error=self.error.body()))


class Resuming:
    """One `room.resume` of one connection."""

    def __init__(self, session: SessionContext, enter: Enter, read: Read) -> None:
        self._session = session
        self._hub = session.gateway.hub
        self._enter = enter
        self._read = read

    async def run(self, requests: Sequence[JoinRoom]) -> tuple[ResumeReply, int]:
        """Join the first rooms, as many as fit into one frame, and at least one. Return the reply and their number."""
        answers: list[bytes] = []
        while not answers:  # a room may have ended, or been left, between its read and the end of its join
            answers = await self._run_once(requests)
        has_more = b"true" if len(answers) < len(requests) else b"false"
        reply = b'{"rooms":[%b],"has_more":%b}' % (b",".join(answers), has_more)
        return encoded(ResumeReply, reply), len(answers)

    async def _run_once(self, requests: Sequence[JoinRoom]) -> list[bytes]:
        try:
            return self._completed(await self._read_page([ResumedRoom(request) for request in requests]))
        finally:
            for request in requests:
                self._hub.abort_join(request.room, self._session)  # nothing happens to those that are complete

    async def _read_page(self, rooms: Sequence[ResumedRoom]) -> list[tuple[ResumedRoom, bytes]]:
        """Read the first rooms, up to a full frame, or to a failure of the store or the bus."""
        page: list[tuple[ResumedRoom, bytes]] = []
        size = 0
        while len(page) < len(rooms):
            count = FIRST if not size else (MAX_PAGE_BYTES - size) * len(page) // size
            some = rooms[len(page) : len(page) + max(1, count)]
            await self._read_all(some)
            for number, each in enumerate(some):
                answer = each.json()
                size += len(answer)
                if size > MAX_PAGE_BYTES and page:
                    self._charge_in_vain(some[number:])
                    return page
                page.append((each, answer))
            if any(isinstance(each.error, Unavailable) for each in some):
                break
        return page

    def _charge_in_vain(self, rooms: Iterable[ResumedRoom]) -> None:
        """Charge what was read and does not fit. The reply charges the rest."""
        self._session.charge(sum(costs.of_answer(len(each.json())) for each in rooms))

    def _completed(self, page: Iterable[tuple[ResumedRoom, bytes]]) -> list[bytes]:
        """Complete the joins in order, up to the first that must be read again. Return the answers."""
        answers: list[bytes] = []
        for each, answer in page:
            if each.position is not None:
                self._hub.complete_join(self._session, each.position)
                if each.name not in self._session.joined:
                    break
            answers.append(answer)
        return answers

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


def too_many_rooms(limit: int) -> RateLimited:
    """Return the error about one room more than a connection may hear."""
    return RateLimited(f"rooms on this connection, the limit is {limit}; leave one first")
