"""A bus that loses, doubles, delays and reorders its messages, users that come and go at will, and retention.

A service speaks in the rooms meanwhile, and puts users into them and removes them.
"""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.rooms import appending, repair
from gateway.rooms.retention import Retention
from gateway.rooms.service_senders import ServiceSender
from gateway.rooms.window import Window
from gateway.store.rooms import RoomRow
from handlers.errors import Conflict, NotAMember, NotFound
from schemas.messages.rooms import JoinRoom, Position, Role
from tests.gateway.rooms.nodes import Ear, Nodes, View, running_nodes
from tests.support.waiting import until

ROOMS = ("red", "blue")
SERVICE = "service:orders"
PEOPLE = ("ann", "ben", "cat", "dan")
STEPS = 40
LIVES = {"join": 4, "resume": 4, "say": 8, "change": 3, "grow": 6, "leave": 2, "return": 2, "go": 2, "vanish": 2}
LEADS = {"say": 6, "kick": 6, "remake": 1, "missed": 2, "prune": 2, "forget": 1}
LEADS |= {"expire": 2, "role": 1, "hide": 2, "outage": 1}
LEADS |= {"publish": 4, "put": 4, "remove": 4}
"""How often users do what."""

KEPT = 8
"""The messages that retention keeps of a room, where it removes any."""


class Story:
    """Random actions of users, several at once."""

    def __init__(self, nodes: Nodes, seed: int) -> None:
        self._random = random.Random(seed)
        self.nodes = nodes
        self.nodes.air.fate = random.Random(seed + 1)
        self.owner = nodes.ear(0, "root")
        self.ears = [nodes.ear(self._random.randrange(3), self._random.choice(PEOPLE)) for _ in range(12)]
        self._busy = set[Ear]()
        """The connections with a message in this step: each has one at a time."""
        for ear in nodes.ears:
            ear.may_skip = True

    async def play(self) -> None:
        for room in ROOMS:
            await self._make(room)
        for _ in range(STEPS):
            some = self._random.sample(self.ears, 4)
            self._busy = set(some)
            await asyncio.gather(self._lead(), *(self._live(ear) for ear in some))
            bus = self._random.choice(self.nodes.air.buses)
            if bus.late:
                bus.receive(bus.late.pop(self._random.randrange(len(bus.late))))

    async def _live(self, ear: Ear) -> None:
        room = self._random.choice(ROOMS)
        try:
            match self._random.choices(tuple(LIVES), tuple(LIVES.values()))[0]:
                case "join":
                    await ear.join(room, since=self._since(ear, room))
                case "resume":
                    await ear.resume(*(JoinRoom(room=name, since=self._since(ear, name)) for name in ROOMS))
                case "say":
                    await ear.say(room)
                case "change" if ear.said:
                    change = self._random.choice((ear.edit, ear.edit, ear.delete))
                    await change(*self._random.choice(ear.said))
                case "grow" if ear.said:
                    recent = self._random.choice(ear.said[-3:])
                    await asyncio.gather(*(ear.append(*recent, f" {number} ☃") for number in range(3)))
                case "leave":
                    await ear.rooms.leave(room)
                case "return":
                    await ear.rooms.leave(room)
                    await self._other(ear).join(room)
                case "go":
                    ear.go()
                case "vanish":
                    await self._vanish(ear)
        except (NotAMember, NotFound, Conflict):
            pass  # has been kicked, or is not in it, or the message is deleted or of an earlier room

    def _other(self, ear: Ear) -> Ear:
        """Return an idle connection of the same user, on any node."""
        others = [other for other in self.ears if other.user == ear.user and other not in self._busy]
        other = self._random.choice([ear, *others])
        self._busy.add(other)
        return other

    async def _vanish(self, ear: Ear) -> None:
        """Lose the connection during a resume, and connect again."""
        resuming = asyncio.create_task(ear.resume(*(JoinRoom(room=name) for name in ROOMS)))
        for _ in range(self._random.randrange(9)):
            await asyncio.sleep(0)
        resuming.cancel()
        await asyncio.wait([resuming])
        ear.vanish()
        await asyncio.sleep(self._random.random() / 300)
        ear.return_anew()

    def _since(self, ear: Ear, room: str) -> Position | None:
        view = ear.views.get(room)
        return None if view is None or self._random.random() < 0.3 else view.position

    async def _lead(self) -> None:
        room = self._random.choice(ROOMS)
        try:
            match self._random.choices(tuple(LEADS), tuple(LEADS.values()))[0]:
                case "say":
                    await self.owner.say(room)
                case "kick":
                    await self.owner.rooms.kick(room, self._random.choice(PEOPLE))
                case "remake":
                    await self.owner.rooms.delete(room)
                    await self._make(room)
                case "missed":
                    self._random.choice(self.nodes.states).hub.repair.check_soon(self._random.choice((room, None)))
                case "prune":
                    await self._prune()
                case "forget":
                    hub = self._random.choice(self.nodes.states).hub
                    if (heard := hub.find(room)) is not None:
                        hub.memory.forget(heard)
                case "expire":
                    heard = self._random.choice(self.nodes.states).hub.find(room)
                    if heard is not None and heard.leaving is not None:
                        heard.leaving.call_now()
                case "role":
                    role: Role = self._random.choice(("owner", "moderator", "member"))
                    await self.owner.rooms.set_role(room, self._random.choice(PEOPLE), role)
                case "hide":
                    await self.owner.rooms.update(room, title=None, private=self._random.random() < 0.5)
                case "outage":
                    await self._lose_the_bus()
                case "publish" | "put" | "remove" as what:
                    await self._serve(what, room)
        except NotFound:
            pass  # is no member

    async def _serve(self, what: str, room: str) -> None:
        rooms, user = self._random.choice(self.nodes.states).service_rooms, self._random.choice(PEOPLE)
        match what:
            case "publish":
                sender = ServiceSender(self.nodes.user_ids[SERVICE], SERVICE)
                await rooms.publish_message(sender, room, text="hi", client_id=str(self._random.random()))
            case "put":
                role: Role | None = self._random.choice(("owner", "moderator", "member", None))
                await rooms.put_member(room, user, role, by=SERVICE)
            case "remove":
                await rooms.remove_member(room, user, by=SERVICE, state=None)

    async def _lose_the_bus(self) -> None:
        self.nodes.air.is_up = False
        await asyncio.sleep(0.002)
        self.nodes.air.is_up = True
        for state in self.nodes.states:
            state.hub.repair.check_soon(None)

    async def _prune(self) -> None:
        state = self._random.choice(self.nodes.states)
        await Retention(state.settings, state.database, state.clock).prune()

    async def _make(self, room: str) -> None:
        await self.owner.rooms.create(room, title=None, private=False)
        await self.owner.join(room)


async def check(story: Story) -> None:
    """All get what is due, and nothing else."""
    nodes = story.nodes
    for room in ROOMS:
        found, members = await nodes.in_store(room)
        assert found is not None
        # No further message follows, which would show a hole.
        at = found.epoch, found.offset
        await until(lambda: all(hears_all(ear, room, at, members) for ear in nodes.ears))  # noqa: B023
        due = [ear for ear in nodes.ears if room in ear.at]
        offset = await story.owner.say(room, "not for those who are no members")
        await until(lambda: all(ear.at.get(room) == (found.epoch, offset) for ear in due))  # noqa: B023
        log = await nodes.log(room)
        for ear in nodes.ears:
            assert (room in ear.at) == (room in ear.joined), ear.user
            assert ear.mistakes == []
            if room in ear.at:
                check_view(ear.views[room], log, found.pruned)
        await check_memory(nodes, room)


async def check_memory(nodes: Nodes, room: str) -> None:
    """What nodes remember of a room is what the store has."""
    found, members = await nodes.in_store(room)
    assert found is not None
    for state in nodes.states:
        hub = state.hub
        heard = hub.find(room)
        if heard is None:
            continue
        await until(lambda: hub.find_certain(room) is not None)  # noqa: B023
        assert not heard.joining
        assert heard.loading is None
        assert set(heard.members) <= {nodes.user_ids[name] for name in members}
        assert (heard.epoch, heard.position) == (found.epoch, found.offset)
        assert (heard.arrivals, heard.departures) == (found.arrivals, found.departures)
        if (window := hub.memory.window_of(heard)) is not None:
            await check_window(nodes, found, window)


async def check_window(nodes: Nodes, room: RoomRow, window: Window) -> None:
    """A window has the same pages as the store for every user, except for what retention has removed."""
    assert (window.epoch, window.top) == (room.epoch, room.offset)
    for user_id in nodes.user_ids.values():
        newest, events = await nodes.pages(room.name, user_id)
        for count in range(1, len(newest) + 1):
            page = window.newest(count, user_id)
            assert page is None or page.text == b",".join(newest[-count:])
        for since in range(room.pruned, room.offset + 1):
            page = window.since(since, user_id)
            assert page is None or page.text == b",".join(text for at, text in events.items() if at > since)


def check_view(view: View, log: dict[int, tuple[int, str | None]], pruned: int) -> None:
    """A client shows what is in the log, and perhaps what retention has removed from it."""
    shown = {offset: row for offset, row in view.messages.items() if offset >= view.begin}
    removed = {offset: (changed, _) for offset, (changed, _) in shown.items() if changed <= pruned}
    assert shown == removed | {offset: row for offset, row in log.items() if offset >= view.begin}


def hears_all(ear: Ear, room: str, at: tuple[str, int], members: set[str]) -> bool:
    return room not in ear.at or (ear.at[room] == at and ear.user in members)


def check_nobody_was_sent_away_for_what_was_before(nodes: Nodes) -> None:
    for ear in nodes.ears:
        for room, epoch, departures in ear.sent_away:
            numbers = [
                event.departures
                for event in nodes.air.departures
                if (event.room, event.epoch, event.user_id) == (room, epoch, ear.user_id)
            ]
            assert max(numbers, default=0) > departures, f"{ear.user} was sent away from {room} for nothing"


async def check_that_messages_grow(story: Story) -> None:
    """In the story, the pieces may all be refused, or come back as changes of the whole."""
    await story.owner.say(ROOMS[0])
    await story.owner.append(*story.owner.said[-1])
    await until(lambda: any(event["type"] == "chat.appended" for ear in story.nodes.ears for event in ear.heard))


CASES = [(0, 0, 0), (1, 1, KEPT), (2, 3, KEPT), (3, 100, 0)]


@pytest.mark.parametrize(("seed", "window", "kept"), CASES)
async def test_whatever_the_bus_does_all_hear_all_that_is_due_in_order_once(
    store_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seed: int,
    window: int,
    kept: int,
) -> None:
    monkeypatch.setattr(repair, "CHECK_SECONDS", 0.001)
    monkeypatch.setattr(appending, "GROUP_SECONDS", 0.001)
    async with running_nodes(
        3, tmp_path, store_url, monkeypatch, "root", SERVICE, *PEOPLE, window=window, retention_messages=kept
    ) as nodes:
        story = Story(nodes, seed)
        await story.play()
        nodes.air.settle()
        await nodes.sweep()
        await check(story)
        check_nobody_was_sent_away_for_what_was_before(nodes)
        await check_that_messages_grow(story)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
