"""`room.resume`: a connection comes back into many rooms with one message.

Events wait for the reply of this message, so the steps of all rooms go side by side:

1. The connection begins to join each room. From then on, the hub keeps the room's new events back.
2. Earlier events go out, before the reply: after it, an old `room.left` would look new.
3. Each room is read, at some time after step 1.
4. Without a wait in between, the joins end. Only now do events from after the reads queue up behind the reply.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import ConnectionContext
from gateway.chat.verbs.join_replies import Joined
from gateway.chat.verbs.joins import Joins
from gateway.chat.verbs.pages import MAX_PAGE_BYTES, fitting_texts
from gateway.chat.verbs.rights import Outcome, check_each
from gateway.core import costs
from gateway.transport import frames
from gateway.transport.encoded import encoded
from handlers.errors import MessageError, RateLimited, Unavailable
from schemas.messages.rooms import JoinRoom, RefusedRoom, ResumeReply

FIRST = 8
"""Rooms to read at first. Their size shows how many more probably fit into the frame: too many are read in vain."""


class ResumedRoom:
    """One room of the message, and how far its join has come."""

    def __init__(self, request: JoinRoom, outcome: Outcome) -> None:
        self.request = request
        self.role = None if isinstance(outcome, MessageError) else outcome
        self.has_entered = False
        self.joined: Joined | None = None
        self.error = outcome if isinstance(outcome, MessageError) else None

    @property
    def name(self) -> str:
        """Return the name of the room."""
        return self.request.room

    def json(self) -> bytes:
        """Return its part of the reply."""
        if self.error is not None:
            return frames.json(RefusedRoom(room=self.name, error=self.error.body()))
        assert self.joined is not None  # noqa: S101 - a room without an error has been read
        return frames.json(self.joined.reply)


class Resuming:
    """One `room.resume` of one connection."""

    def __init__(self, session: ConnectionContext, joins: Joins) -> None:
        self._session = session
        self._hub = session.gateway.hub
        self._joins = joins
        self._outcomes: Mapping[str, Outcome] = {}
        """What the right to join a room depends on, of rooms where it depends on anything."""

    async def run(self, requests: Sequence[JoinRoom]) -> tuple[ResumeReply, int]:
        """Join the first rooms, as many as fit into one frame, and at least one. Return the reply and their number."""
        self._outcomes = await check_each(self._session, Right.JOIN, [request.room for request in requests])
        answers = self._run_from_memory(requests)
        while not answers:  # a room may have ended, or been left, between its read and the end of its join
            answers = await self._run_once(requests)
        has_more = b"true" if len(answers) < len(requests) else b"false"
        reply = b'{"rooms":[%b],"has_more":%b}' % (b",".join(answers), has_more)
        return encoded(ResumeReply, reply), len(answers)

    def _run_from_memory(self, requests: Sequence[JoinRoom]) -> Sequence[bytes]:
        """Join the first rooms if memory can answer for all, or none. No event can come in between."""
        remembered = self._joins.remembered(requests)
        if remembered is None or self._are_too_many(requests) or self._are_refused():
            return ()
        answers = fitting_texts([frames.json(each.joined.reply) for each in remembered])
        self._joins.complete(remembered[: len(answers)])
        return answers

    def _are_refused(self) -> bool:
        return any(isinstance(outcome, MessageError) for outcome in self._outcomes.values())

    def _are_too_many(self, requests: Sequence[JoinRoom]) -> bool:
        limit = self._session.gateway.settings.max_rooms_per_connection
        return 0 < limit < len(self._session.joined.keys() | {request.room for request in requests})

    async def _run_once(self, requests: Sequence[JoinRoom]) -> list[bytes]:
        try:
            rooms = [ResumedRoom(request, self._outcomes.get(request.room)) for request in requests]
            return self._completed(await self._read_page(rooms))
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
            if each.joined is not None:
                self._hub.complete_join(self._session, each.joined.position)
                if each.name not in self._session.joined:
                    break
            answers.append(answer)
        return answers

    async def _read_all(self, rooms: Sequence[ResumedRoom]) -> None:
        """Bring some rooms so far that only the end of their joins is missing, or to their errors."""
        self._check_count(rooms)
        await self._for_all(rooms, self._begin)
        self._session.flush()
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
        room.has_entered = await self._joins.enter_unheard(room.request, room.role)
        await self._hub.begin_join(room.name, self._session)

    async def _read_one(self, room: ResumedRoom) -> None:
        room.joined = await self._joins.read(room.request, room.role, has_entered=room.has_entered)


def too_many_rooms(limit: int) -> RateLimited:
    """Return the error about one room more than a connection may hear."""
    return RateLimited(f"rooms on this connection, the limit is {limit}; leave one first")
