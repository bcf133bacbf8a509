"""The rooms of a gateway object: which ones it hears, and how all of them resume at once."""

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from gateway_client.connection import Connection
from gateway_client.errors import Lost, Refused, UnexpectedReply
from gateway_client.hub import Hub
from gateway_client.returning import Backoff
from gateway_client.room_log import RoomLog
from gateway_client.times import Times

log = logging.getLogger("gateway_client")

MOST_AT_ONCE = 128
POSITION_LOST = 41000
TOO_MANY_ROOMS = {41300, 42200}
"""The statuses of a `room.resume` that is too long, or has one bad room. Fewer rooms may be right."""

OnReply = Callable[[Any], None]


class Rooms:
    """The rooms that the program has joined, and the rooms that it holds."""

    def __init__(self, hub: Hub, times: Times) -> None:
        self._hub = hub
        self._times = times
        self._joined: dict[str, RoomLog] = {}
        self._held: weakref.WeakValueDictionary[str, RoomLog] = weakref.WeakValueDictionary()
        self._connection: Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._again: dict[str, RoomLog] = {}

    def log_of(self, name: str) -> RoomLog:
        """Return the log of a room."""
        found = self._held.get(name)
        if found is None:
            found = self._held[name] = RoomLog(name, self._hub)
        return found

    # ---- one connection ----

    async def resume(self, connection: Connection) -> None:
        """Join all rooms again on a new connection, from their positions. Raise `Lost` if it ends meanwhile."""
        self._connection = connection
        await self._ask(connection, self._joined.values(), Backoff(self._times.first_delay, self._times.longest_delay))

    async def leave_connection(self) -> None:
        """Stop what goes on for the connection, which has ended."""
        self._connection = None
        self._again.clear()
        for room in self._joined.values():
            room.hears = False
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_event(self, type: str, data: Any, user: str) -> None:
        """Deliver an event, unless its room has had it."""
        room = data.get("room") if isinstance(data, Mapping) else None
        joined = self._joined.get(room) if isinstance(room, str) else None
        if joined is None:
            self._hub.offer(type, data, room if isinstance(room, str) else None)
            return
        if not joined.take(type, data) or type == "resync":
            self._begin_again(joined)
        if joined.unknown:
            self._read_again(joined)
        if type == "room.deleted" or (type == "room.left" and data.get("user") == user):
            self.forget(joined)

    def forget(self, room: RoomLog) -> None:
        """Resume a room no more."""
        self._joined.pop(room.name, None)
        self._again.pop(room.name, None)
        room.leave()

    # ---- messages of the program ----

    def on_reply_to(self, type: str, data: Any, *, delivers: bool = False) -> OnReply | None:
        """Return what has to be done with the reply of a message about rooms, before any later event."""
        name = data.get("room") if isinstance(data, Mapping) else None
        if type == "room.resume":
            return self._adopt_all
        if not isinstance(name, str):
            return None
        if type == "room.join":
            return partial(self._take_join, self.log_of(name), delivers)
        return partial(self._take_leave, self.log_of(name)) if type == "room.leave" else None

    def _take_join(self, room: RoomLog, delivers: bool, reply: Any) -> None:
        room.joined(reply) if delivers else room.adopt(reply)
        self._joined[room.name] = room

    def _take_leave(self, room: RoomLog, _: Any) -> None:
        self.forget(room)

    def _adopt_all(self, reply: Any) -> None:
        for entry in entries_of(reply):
            if "error" not in entry:
                self._take_join(self.log_of(str(entry.get("room"))), False, entry)

    # ---- resuming ----

    def _begin_again(self, room: RoomLog) -> None:
        """Join a room again, with others for which the gateway asks at the same time."""
        connection = self._connection
        if connection is not None:
            room.hears = False  # what comes before the answer would move the position over the hole
            self._again[room.name] = room
            if len(self._again) == 1:
                self._start(self._ask_again(connection))

    async def _ask_again(self, connection: Connection) -> None:
        await asyncio.sleep(0)
        rooms = list(self._again.values())
        self._again.clear()
        await self._ask(connection, rooms, Backoff(self._times.first_delay, self._times.longest_delay))

    async def _ask(self, connection: Connection, rooms: Iterable[RoomLog], backoff: Backoff) -> None:
        """Ask for rooms, page after page, until none is missing."""
        missing = {room.name: room for room in rooms}
        most = MOST_AT_ONCE
        while missing:
            page = Page(list(islice(missing.values(), most)))
            await self._ask_page(connection, page)
            most = len(page.rooms) // 2 if page.too_long else MOST_AT_ONCE
            for room in page.done:
                del missing[room.name]
            if page.later:
                self._start(self._ask_later(connection, page, backoff))

    async def _ask_page(self, connection: Connection, page: "Page") -> None:
        request = {"rooms": [_request(room) for room in page.rooms]}
        try:
            async with asyncio.timeout(self._times.answer):
                await connection.call("room.resume", request, on_reply=partial(self._take_page, page))
        except TimeoutError:
            connection.abort(words := f"no answer to `room.resume` within {self._times.answer:g} s")
            raise Lost(words) from None
        except Refused as refused:
            page.too_long = refused.status in TOO_MANY_ROOMS and len(page.rooms) > 1
            for room in () if page.too_long else page.rooms:
                self._take_error(page, room, refused)
        except UnexpectedReply as error:
            log.warning("%s", error)
        if not page.moves:
            log.warning("the gateway has answered for none of %d rooms", len(page.rooms))
            page.later = page.rooms
        page.done = [*page.done, *(room for room in page.later if room not in page.done)]

    async def _ask_later(self, connection: Connection, page: "Page", backoff: Backoff) -> None:
        wait = max((room.why.retry_after_ms if room.why else 0) for room in page.later)
        await asyncio.sleep(backoff.after(Lost("not yet", after_ms=wait)))
        await self._ask(connection, [room for room in page.later if room.name in self._joined], backoff)

    def _take_page(self, page: "Page", reply: Any) -> None:
        asked = {room.name: room for room in page.rooms}
        for entry in entries_of(reply):
            room = asked.pop(str(entry.get("room")), None)
            if room is None:
                log.warning("ignored an entry of a room that was not asked for")
            elif room.name not in self._joined:
                page.done.append(room)  # the program has left it meanwhile
            elif isinstance(entry.get("error"), dict):
                self._take_error(page, room, Refused.read(entry["error"]))
            else:
                room.joined(entry)
                page.done.append(room)

    def _take_error(self, page: "Page", room: RoomLog, refused: Refused) -> None:
        if refused.status == POSITION_LOST and room.position is not None:
            room.forget_position()
            page.afresh = True
        elif refused.retryable:
            room.why = refused
            page.later.append(room)
        else:
            self._refuse(room, refused)
            page.done.append(room)

    def _refuse(self, room: RoomLog, refused: Refused) -> None:
        log.warning("the room %s is lost: %s", room.name, refused)
        self._joined.pop(room.name, None)
        room.refuse(refused)

    # ---- texts that have grown ----

    def _read_again(self, room: RoomLog) -> None:
        offsets, room.unknown = room.unknown, set()
        if self._connection is not None:
            for offset in offsets:
                self._start(self._read_message(self._connection, room, offset))

    async def _read_message(self, connection: Connection, room: RoomLog, offset: int) -> None:
        def take(reply: Any) -> None:
            for message in reply["messages"]:
                room.read_again(message)

        data = {"room": room.name, "after": offset - 1, "limit": 1}
        await connection.call("chat.history", data, on_reply=take)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work), name="gateway_client rooms")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass
class Page:
    """The rooms of one `room.resume`, and what has become of them. Without any entry, they are still missing."""

    rooms: list[RoomLog]
    done: list[RoomLog] = field(default_factory=list)
    """They need no further question now."""
    later: list[RoomLog] = field(default_factory=list)
    """Time may help them."""
    afresh: bool = False
    """Whether a room is to be joined without a position."""
    too_long: bool = False
    """Whether to ask for fewer rooms at a time."""

    @property
    def moves(self) -> bool:
        """Return whether another question makes sense at once."""
        return bool(self.done or self.later or self.afresh or self.too_long)


def entries_of(reply: Any) -> list[dict[str, Any]]:
    """Return the rooms of a reply to `room.resume`. Raise `ValueError` if it is none."""
    rooms = reply.get("rooms") if isinstance(reply, dict) else None
    if not isinstance(rooms, list) or not all(isinstance(each, dict) for each in rooms):
        raise ValueError("expected a list of rooms")
    return rooms


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Lost:
        pass  # the next connection resumes all rooms
    except Exception as error:
        log.warning("a room is not up to date: %r", error)


def _request(room: RoomLog) -> dict[str, Any]:
    since = {} if room.position is None else {"since": room.position.model_dump()}
    return {"room": room.name, **since}
