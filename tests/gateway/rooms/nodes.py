"""Several nodes in one process, on one real store, with a bus that a test controls."""

import asyncio
import json
import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from gateway.auth.authorizers import AuthResult
from gateway.auth.room_rights import RoomRights
from gateway.bus.base import (
    BusCounters,
    BusEvent,
    MemberLeft,
    NodeMessage,
    OnEvent,
    OnMissed,
    OnNodeMessage,
    OnRevoked,
    Revoked,
    room_of,
)
from gateway.chat.verbs.join_replies import NEWEST_MESSAGES
from gateway.chat.verbs.messages import SessionMessages
from gateway.chat.verbs.rooms import SessionRooms
from gateway.composition import running_state
from gateway.config.external_services import LOCAL
from gateway.core.rate_limits import Allowance
from gateway.rooms.encoding import message_json
from gateway.rooms.events import event_json
from gateway.state import GatewayState
from gateway.store import messages, rooms
from gateway.store.prepared import Rows, Statement
from gateway.testing import MovableClock, settings_for_tests
from gateway.transport.frames import Frame
from handlers.factory import MsgHandlerFactory
from schemas.codes import Close
from schemas.messages.rooms import JoinReply, JoinRoom, Position, ResumeReply
from tests.support.users import add_users

Result = TypeVar("Result")


class Air:
    """The network between the nodes. It holds back every event until a test releases it, or chooses at random."""

    def __init__(self) -> None:
        self.buses: list[LateBus] = []
        self.fate: random.Random | None = None
        self.is_clear = False
        self.is_up = True
        self.departures: list[MemberLeft] = []
        """The departures that have been published, in any order."""

    def carry(self, sender: "LateBus", event: BusEvent) -> None:
        """Pass an event to the other nodes, now or later."""
        if isinstance(event, MemberLeft):
            self.departures.append(event)
        for bus in self.buses:
            if bus is not sender and (room_of(event) is None or room_of(event) in bus.rooms):
                self._carry_to(bus, event)

    def settle(self) -> None:
        """Deliver the late events in any order, and behave well from now on."""
        self.is_clear = True
        for bus in self.buses:
            (self.fate or random).shuffle(bus.late)
            bus.let_in(len(bus.late))

    def _carry_to(self, bus: "LateBus", event: BusEvent) -> None:
        if self.fate is None and event.frame.droppable:
            return  # so that only what the test is about is late
        if self.is_clear:
            bus.receive(event)
            return
        chance = 0.6 if self.fate is None else self.fate.random()
        if chance < 0.25:
            return  # lost
        if chance < 0.5:
            bus.receive(event)
        if chance > 0.4:  # between the two, it comes twice
            bus.late.append(event)


class LateBus:
    """The bus as one node sees it: its own events arrive at once."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._air.buses.append(self)
        self.node = str(len(air.buses))
        self.counters = BusCounters()
        self._receive: OnEvent | None = None
        self.rooms: set[str] = set()
        self.late: list[BusEvent] = []
        self.asked: list[str] = []
        self.given_back: list[str] = []
        self.answer: asyncio.Event | None = None
        self.error: Exception | None = None
        """The error of a subscription."""

    @property
    def is_up(self) -> bool:
        return self._air.is_up

    @property
    def is_shared(self) -> bool:
        return True

    async def start(self, receive: OnEvent, revoke: OnRevoked, missed: OnMissed) -> None:
        self._receive = receive

    async def publish(self, event: BusEvent) -> int:
        given = self.receive(event)
        self._air.carry(self, event)
        return given

    async def revoke(self, revoked: Revoked) -> None:
        raise AssertionError(revoked)

    def listen(self, on_node_message: OnNodeMessage) -> None:
        """Ignore it: these nodes ask each other nothing."""

    def send(self, node: str | None, message: NodeMessage) -> bool:
        return False

    async def subscribe(self, room: str) -> None:
        self.asked.append(room)
        if self.answer is not None:
            await self.answer.wait()
        if self._air.fate is not None:
            await asyncio.sleep(self._air.fate.random() / 1000)
        if self.error is not None:
            raise self.error
        assert room not in self.rooms, "asked for twice"
        self.rooms.add(room)

    def unsubscribe(self, room: str) -> None:
        self.rooms.remove(room)
        self.given_back.append(room)

    async def close(self) -> None:
        self._receive = None

    def receive(self, event: BusEvent) -> int:
        """Let an event in."""
        return 0 if self._receive is None else self._receive(event)

    def let_in(self, count: int = 1) -> None:
        """Let in the oldest late event."""
        for _ in range(count):
            self.receive(self.late.pop(0))


class View:
    """A room's log as a client shows it: from one offset on, the newest state of each message."""

    def __init__(self, reply: JoinReply) -> None:
        messages = reply.messages or ()
        self.begin = min(message.offset for message in messages) if len(messages) == NEWEST_MESSAGES else 1
        self.epoch, self.offset = reply.epoch, reply.offset
        self.messages = {message.offset: (message.changed, message.text) for message in messages}

    def update(self, reply: JoinReply) -> None:
        """Take over what the client has missed."""
        for event in reply.events or ():
            self.take(event.data.model_dump())
        self.offset = reply.offset

    def take(self, message: dict[str, Any]) -> None:
        """Take over a message of an event."""
        self.messages[message["offset"]] = (message["changed"], message.get("text"))
        self.offset = message["changed"]

    def grow(self, piece: dict[str, Any]) -> list[str]:
        """Take over a piece of a message, and return what is wrong with it."""
        self.offset = piece["changed"]
        _, text = self.messages.get(piece["offset"], (0, None))
        if text is None and piece["offset"] < self.begin:
            return []  # the client does not show the message
        if text is None or len(text) != piece["at"]:
            return [f"a piece at {piece['at']} for {text!r}"]
        self.messages[piece["offset"]] = (piece["changed"], text + piece["text"])
        return []

    def skip_to(self, offset: int) -> None:
        """Continue after a hole that ends at an offset, and show only what comes then."""
        self.begin, self.offset = offset + 1, offset

    @property
    def position(self) -> Position:
        """Where the client resumes."""
        return Position(epoch=self.epoch, offset=self.offset)


class Ear:
    """A connection without a socket. It checks what a client may expect of each room's events."""

    def __init__(self, state: GatewayState, user: str, user_id: str) -> None:
        self.gateway = state
        self.user = user
        self.user_id = user_id
        self.address = "127.0.0.1"
        self.sid: str | None = None
        self.service = LOCAL
        self.room_rights: RoomRights | None = None
        self.claims: Mapping[str, Any] | None = None
        self.joined: dict[str, int] = {}
        self.joins = self.writes = Allowance()
        self.last_message_at = self.opened_at = 0.0
        self.connection = ""
        self.scopes: frozenset[str] = frozenset()
        self.expires_at = math.inf
        self.on_message: Callable[[], None] | None = None
        self.at: dict[str, tuple[str, int]] = {}
        """The rooms that a client would regard as joined, each with its position."""
        self.sent_away: list[tuple[str, str, int]] = []
        """Rooms that an event has removed it from, with the epoch and the departures before its membership."""
        self.views: dict[str, View] = {}
        """What a client shows of each room. It stays while the client is away."""
        self.heard: list[dict[str, Any]] = []
        self.may_skip = False
        """Whether messages are edited: then later changes may have replaced earlier ones that it has missed."""
        self.mistakes: list[str] = []
        """The events that it should not have received."""
        self.said: list[tuple[str, str]] = []
        """The rooms and ids of the messages that it has sent."""
        self._held: list[Frame] | None = None
        self._since: dict[str, tuple[str, int]] = {}
        state.connections.add(self)

    def charge(self, cost: float) -> None:
        """Cost nothing."""

    def take_signal(self) -> None:
        """Allow every signal."""

    def renew(self, auth: AuthResult) -> None:
        raise AssertionError(auth)

    def leave_forbidden_rooms(self) -> None:
        """Do nothing: no right ends."""

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        return await self.gateway.database.fetch(statement, **values)

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        return await self.gateway.database.transact(work)

    async def join(self, room: str, **since: Any) -> JoinReply:
        """Join a room."""
        self._held = []
        try:
            reply = await SessionRooms(self).join(room, **since)
            self._begin(reply)
        finally:
            self._release()  # after the reply, or the error
            if room not in self.joined:
                self.at.pop(room, None)
        return reply

    async def resume(self, *requests: JoinRoom) -> ResumeReply:
        """Resume several rooms."""
        self._held = []
        try:
            reply = await SessionRooms(self).resume(requests)
            for each in reply.rooms:
                if isinstance(each, JoinReply):
                    self._begin(each)
        finally:
            self._release()
            for request in requests:
                if request.room not in self.joined:
                    self.at.pop(request.room, None)
        return reply

    @property
    def rooms(self) -> SessionRooms:
        return SessionRooms(self)

    async def say(self, room: str, text: str = "hi") -> int:
        """Send a message, and return its offset."""
        client_id = f"{id(self)}-{len(self.said)}-{text}"
        reply = await SessionMessages(self).send(room, text=text, body=None, reply_to=None, client_id=client_id)
        self.said.append((room, reply.message.id))
        return reply.message.offset

    async def edit(self, room: str, message_id: str) -> None:
        """Edit a message."""
        await SessionMessages(self).edit(room, message_id, text=f"edited {message_id}", body=None)

    async def append(self, room: str, message_id: str, text: str = " and more", *, done: bool = False) -> None:
        """Add text to a message."""
        await SessionMessages(self).append(room, message_id, text, done=done)

    async def delete(self, room: str, message_id: str) -> None:
        """Delete a message."""
        await SessionMessages(self).delete(room, message_id)

    def go(self) -> None:
        """Disconnect, to return later."""
        for room in tuple(self.joined):
            self.gateway.hub.leave(room, self)
        self.at.clear()

    def vanish(self) -> None:
        """Lose the connection, as its node sees it."""
        self.go()
        self.gateway.connections.remove(self)

    def return_anew(self) -> None:
        """Connect to the same node again."""
        self.gateway.connections.add(self)

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        raise AssertionError(close)

    def close(self, close: Close, after_ms: int | None = None) -> None:
        raise AssertionError(close)

    def abort(self) -> None:
        raise AssertionError

    def limit_rooms(self, rights: RoomRights) -> None:
        raise AssertionError(rights)

    def flush(self) -> None:
        self._release()
        self._held = []

    def deliver(self, frame: Frame) -> None:
        if self._held is not None:
            self._held.append(frame)
        else:
            self._take(frame)

    def kinds(self) -> list[tuple[str, object]]:
        """The received events except presence: the type of each, and its offset or user."""
        return [
            (event["type"], event["data"].get("offset", event["data"].get("user")))
            for event in self.heard
            if event["type"] != "presence.changed"
        ]

    def _begin(self, reply: JoinReply) -> None:
        room = reply.room
        for message in (*(reply.messages or ()), *(event.data for event in reply.events or ())):
            self._check_client_id(message.model_dump(exclude_none=True))
        self.at[room] = (reply.epoch, reply.offset)
        self._since[room] = (reply.epoch, self.joined[room])
        if reply.recovered:
            self.views[room].update(reply)
        else:
            self.views[room] = View(reply)

    def _release(self) -> None:
        held, self._held = self._held, None
        for frame in held or ():
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        for event in map(json.loads, frame.texts):
            self.heard.append(event)
            self._check(event["type"], event["data"])

    def _check(self, type: str, data: dict[str, Any]) -> None:
        room, is_told_to_go = data.get("room", ""), (type, data.get("user")) == ("room.left", self.user)
        if is_told_to_go and room in self._since:  # or an invitation has been taken back
            self.sent_away.append((room, *self._since[room]))
        if type in {"chat.message", "chat.edited", "chat.deleted"}:
            self._check_client_id(data)
            epoch, offset = self.at.get(room, ("", 0))
            if not data["id"].startswith(epoch or "nothing of this room"):
                self.mistakes.append(f"{self.user} hears {data['id']} of {room} and should not")
            elif data["changed"] <= offset or (data["changed"] != offset + 1 and not self.may_skip):
                self.mistakes.append(f"{self.user} hears {data['changed']} of {room} after {offset}")
            else:
                self.at[room] = (epoch, data["changed"])
                self.views[room].take(data)
        elif type == "chat.appended":
            epoch, offset = self.at.get(room, ("", 0))
            if not data["id"].startswith(epoch or "nothing of this room"):
                self.mistakes.append(f"{self.user} hears a piece of {data['id']} of {room} and should not")
            elif data["changed"] != offset + 1:
                self.mistakes.append(f"{self.user} hears a piece {data['changed']} of {room} after {offset}")
            else:
                self.at[room] = (epoch, data["changed"])
                self.mistakes.extend(self.views[room].grow(data))
        elif type == "resync" and self.at.get(room, ("", 0))[0] == data["epoch"]:
            self.at[room] = (data["epoch"], data["offset"])
            self.views[room].skip_to(data["offset"])
        elif (is_told_to_go or type in {"room.deleted", "resync"}) and self.at.pop(room, None) is None:
            self.mistakes.append(f"{self.user} is told {type} of {room} and had left")

    def _check_client_id(self, message: dict[str, Any]) -> None:
        if ("client_id" in message) != (message["sender"] == self.user):
            self.mistakes.append(f"{self.user} gets the wrong form of {message}")


class Nodes:
    """Gateways that share one store."""

    def __init__(self, air: Air, states: list[GatewayState], user_ids: dict[str, str]) -> None:
        self.air = air
        self.states = states
        self.ears: list[Ear] = []
        self.user_ids = user_ids
        """The ids of the users, by their names."""

    def ear(self, node: int, user: str) -> Ear:
        """Connect a user to a node."""
        ear = Ear(self.states[node], user, self.user_ids[user])
        self.ears.append(ear)
        return ear

    def bus(self, node: int) -> LateBus:
        """The bus of a node."""
        return self.air.buses[node]

    async def sweep(self) -> None:
        """Make every node compare its rooms with the store."""
        for state in self.states:
            await state.hub.repair.check(state.hub.room_names)

    async def in_store(self, room: str) -> tuple[rooms.RoomRow | None, set[str]]:
        """Return the store's room, and the names of its members."""

        def read(connection: Connection) -> tuple[rooms.RoomRow | None, set[str]]:
            found = rooms.by_name(connection, room)
            if found is None:
                return None, set()
            return found, rooms.members_among(connection, found.id, list(self.user_ids.values()))

        found, ids = await self.states[0].database.query(read)
        return found, {name for name, user_id in self.user_ids.items() if user_id in ids}

    async def pages(self, room: str, user_id: str) -> tuple[list[bytes], dict[int, bytes]]:
        """Return the messages of a room as a user gets them, and the last event of each, by its offset."""

        def read(connection: Connection) -> tuple[list[bytes], dict[int, bytes]]:
            found = rooms.by_name(connection, room)
            assert found is not None
            newest = messages.page(connection, found, limit=1000)
            changed = messages.changed_since(connection, found.id, 0, 1000)
            return (
                [message_json(found, row, user_id) for row in reversed(newest)],
                {row.changed: event_json(found, row, user_id) for row in changed},
            )

        return await self.states[0].database.query(read)

    async def log(self, room: str) -> dict[int, tuple[int, str | None]]:
        """Return the last change and the text of each of a room's messages, by their offsets."""

        def read(connection: Connection) -> dict[int, tuple[int, str | None]]:
            found = rooms.by_name(connection, room)
            assert found is not None
            rows = messages.page(connection, found, after=0, limit=1000)
            return {row.offset: (row.changed, row.text) for row in rows}

        return await self.states[0].database.query(read)


@asynccontextmanager
async def running_nodes(
    count: int,
    folder: Path,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *names: str,
    window: int = 0,
    retention_messages: int = 0,
) -> AsyncIterator[Nodes]:
    """Start so many nodes, and add users with these names.

    Without a window, rooms remember no messages, and the store answers each join.
    """
    air = Air()
    monkeypatch.setattr("gateway.bus.build.MemoryBus", lambda: LateBus(air))
    user_ids: dict[str, str] = defaultdict(str)
    async with AsyncExitStack() as stack:
        started = []
        for number in range(count):
            settings = settings_for_tests(
                folder / str(number),
                database_url=store_url,
                sweep_seconds=3600,
                rooms_open=False,
                retention_messages=retention_messages,
                room_window_messages=window,
                room_memory_seconds=60 if window else 0,
            )
            running = running_state(settings, MsgHandlerFactory(), MovableClock())
            started.append(await stack.enter_async_context(running))
        if names:
            added = await started[0].database.transact(partial(add_users, names=names))
            user_ids.update((user.name, user.id) for user in added)
        yield Nodes(air, started, user_ids)
