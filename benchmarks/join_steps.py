"""The steps of `benchmarks.joins`: what users do on one server, and the CPU that it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

import httpx2

from benchmarks.asking import Asking
from benchmarks.dialects import OPENING
from benchmarks.rig import Person, cpu_seconds, wait_for_rest
from benchmarks.room_dialects import HISTORY, Answer, Authenticated, Position, Positions, RefusedError, RoomDialect

UNSEEN = 2
"""The factor for a rest after connections have ended: the gateway stores late when their users were last seen."""

QUIET, TALKED = "quiet", "talked"
"""A room without messages, and a room with some."""

BEHIND = 10
"""Events that a resume has missed."""

PHONE_ROOMS = 128
"""Rooms of one client that comes back: the most that `room.resume` takes."""

PHONES = 5
"""Clients with so many rooms."""

MARKING = 1000
"""The most members that mark a room as read at once."""

TEXT = "The quick brown fox jumps over the lazy dog."

CONNECT = "connect with a JWT, to the welcome, µs"
JOIN = "join of a heard room, no history, µs"
HISTORY_JOIN = f"the same with {HISTORY} messages, µs"
RESUME = f"resume, {BEHIND} behind, µs"
COLD_JOIN = "join of a room that no client hears, µs"
FIRST_JOIN = "first join, all at once, µs"
FIRST_JOINS = "first joins a second"
PHONE = f"{PHONE_ROOMS} rooms of one client back, µs"
PHONE_TIME = f"{PHONE_ROOMS} rooms of one client back, ms"
COLD_PHONE = f"{PHONE_ROOMS} rooms that no client hears, µs"
COLD_PHONE_TIME = f"{PHONE_ROOMS} rooms that no client hears, ms"
STORM = "storm of joins, s of CPU"
STORM_TIME = "storm of joins, s until all are back"
RESUMES = "storm of `room.resume`, s of CPU"
RESUMES_TIME = "storm of `room.resume`, s until all are back"
WAITED = "storms: connections that were told when to come back"
REFUSED = "storms and first joins: other refusals"
LIST = "`room.list` of 20, µs"
PAGE = "`chat.history` of 50, µs"
ME = "`GET /users/me`, µs"


@dataclass(frozen=True)
class Sizes:
    """The amounts of load."""

    people: int
    """Members of each room; all of them come back in the storm."""
    newcomers: int
    returning: int
    """Rooms to which each member returns in the storm."""
    messages: int
    """Messages of the room that has some."""
    asked: int
    """How often one connection asks for the same."""
    rounds: int
    rest: float
    """Seconds without work after which a server is at rest."""


@dataclass
class Host:
    """A running server, and what has been measured of it."""

    name: str
    pid: int
    dialect: RoomDialect
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, figure: str, value: float) -> None:
        """Add the value of a round."""
        self.figures.setdefault(figure, []).append(value)


@dataclass(frozen=True)
class Load:
    """The users, by the order of their tokens, and the amounts."""

    people: Sequence[Person]
    newcomers: Sequence[Person]
    known: Person
    """A user that logs in with a password."""
    password: str
    sizes: Sizes

    @property
    def all(self) -> list[Person]:
        """Return all users with tokens."""
        return [*self.people, *self.newcomers]

    def memberships(self) -> dict[str, Sequence[Person]]:
        """Return the members of each room."""
        people, phones = self.people, self.people[:PHONES]
        members: dict[str, Sequence[Person]] = {TALKED: people, QUIET: people}
        members |= {f"back-{number}": people for number in range(self.sizes.returning)}
        members |= dict.fromkeys(phone_rooms(), phones)
        for turn in range(self.sizes.rounds):
            members[f"open-{turn}"] = people[:1]
            members |= {f"cold-{turn}-{number}": [person] for number, person in enumerate(people)}
            members |= {room: [phone] for number, phone in enumerate(phones) for room in phone_rooms(turn, number)}
        return members


def phone_rooms(*key: int) -> list[str]:
    """Return the names of one client's rooms."""
    return ["-".join(map(str, ("phone", *key, number))) for number in range(PHONE_ROOMS)]


Item = TypeVar("Item")
Done = TypeVar("Done")


class Round:
    """The steps that all servers take, in this order."""

    def __init__(self, host: Host, load: Load, turn: int) -> None:
        self.host = host
        self.load = load
        self.turn = turn
        self.here: list[Asking[RoomDialect]] = []
        """The members' connections."""
        self.waited = self.refused = 0
        self._listener: Asking[RoomDialect] | None = None
        self._heard: dict[str, Position] = {}

    async def connect(self) -> None:
        """Connect all members."""
        self.here, _ = await self.measure(CONNECT, range(len(self.load.people)), self.connected)

    async def hear(self, room: str) -> Position:
        """Let one more connection hear a room for the rest of the round, and return the room's end."""
        if self._listener is None:
            self._listener = await self.connected(0)
        if room not in self._heard:
            self._heard[room] = (await self._listener.join(room)).position
        return self._heard[room]

    async def talk(self) -> None:
        """Fill a room with messages, once for all rounds."""
        one, room = await self.connected(0), TALKED
        await one.join(room)
        for _ in range(0 if self.turn else self.load.sizes.messages):
            await one.ask(lambda number: one.dialect.send(number, room, TEXT))
        await self.end([one])

    async def join(self) -> None:
        """Join rooms that are heard."""
        await self.hear(QUIET)
        await self.measure(JOIN, self.here, lambda one: one.join(QUIET))

    async def join_with_history(self) -> None:
        """Join a room with messages, and get the newest ones."""
        head = await self.hear(TALKED)
        views, _ = await self.measure(HISTORY_JOIN, self.here, lambda one: one.join_with_history(TALKED, head))
        self._expect(HISTORY_JOIN, [view.messages for view in views], min(self.load.sizes.messages, HISTORY))

    async def resume(self) -> None:
        """Resume in a room, on new connections."""
        since = (await self.hear(TALKED)).behind(BEHIND)
        await self.end(self.here)
        self.here = await self.connected_all()
        views, _ = await self.measure(RESUME, self.here, lambda one: one.join(TALKED, since))
        self._expect(RESUME, [view.messages for view in views], min(self.load.sizes.messages, BEHIND))

    async def join_cold(self) -> None:
        """Join rooms that no client hears."""
        rooms = [(one, f"cold-{self.turn}-{number}") for number, one in enumerate(self.here)]
        await self.measure(COLD_JOIN, rooms, lambda each: each[0].join(each[1]))

    async def send(self) -> None:
        """Send messages, one at a time, in a room that only the sender hears."""
        one, room = await self.connected(0), f"cold-{self.turn}-0"
        await one.join(room)

        async def send(_: int) -> None:
            await one.ask(lambda number: one.dialect.send(number, room, TEXT))

        await self.measure("message of a lone sender, µs", range(self.load.sizes.asked), send, at_once=1)
        await self.end([one])

    async def phones(self) -> None:
        """Let clients with many rooms come back, one after the other; first into rooms that no client hears."""
        phones = range(len(self.load.people[:PHONES]))
        cold = [phone_rooms(self.turn, phone) for phone in phones]
        heard = [phone_rooms() for _ in phones]
        listener = await self.connected(0)
        positions = {room: (await listener.join(room)).position for room in phone_rooms()}
        for names, cpu, milliseconds in ((cold, COLD_PHONE, COLD_PHONE_TIME), (heard, PHONE, PHONE_TIME)):
            here = [await self.connected(phone) for phone in phones]
            await self.rest()
            at = [{room: positions.get(room) for room in rooms} for rooms in names]
            pairs = list(zip(here, at, strict=True))
            taken, _ = await self.measure(cpu, pairs, self._back_within, at_once=1)
            self.host.note(milliseconds, 1000 * median(taken))
            await self.end(here)
        await self.end([listener])

    async def _back_within(self, each: tuple[Asking[RoomDialect], Positions]) -> float:
        """Come back, and return the seconds."""
        began = time.perf_counter()
        await self.back(*each)
        return time.perf_counter() - began

    async def back(self, one: Asking[RoomDialect], rooms: Positions) -> None:
        """Come back into all of one client's rooms."""
        for answer in (await one.join_all(rooms)).values():
            one.dialect.view(answer)

    async def storm(self) -> None:
        """Cut all members at once, and let all come back at once, each into some rooms."""
        await self.storm_of(STORM, STORM_TIME, self.joined_at_last)

    async def storm_of(
        self,
        cpu: str,
        seconds: str,
        back: Callable[[Asking[RoomDialect], Positions], Awaitable[None]],
    ) -> None:
        """Cut all members, and let all come back in this way."""
        names = [f"back-{number}" for number in range(self.load.sizes.returning)]
        at = {name: await self.hear(name) for name in names}

        async def come_back(number: int) -> Asking[RoomDialect]:
            one = await self._connected_at_last(number)
            await back(one, at)
            return one

        await self._end_all()
        people = range(len(self.load.people))
        used, began = cpu_seconds(self.host.pid), time.perf_counter()
        self.here = await asyncio.gather(*map(come_back, people))
        self.host.note(seconds, time.perf_counter() - began)
        self.host.note(cpu, await self.rest() - used)

    async def leave(self) -> None:
        """End the round."""
        await self._end_all()
        self.host.note(WAITED, self.waited)
        self.host.note(REFUSED, self.refused)

    async def joined_at_last(self, one: Asking[RoomDialect], rooms: Positions) -> None:
        """Join all rooms, and again as long as the server asks for that."""
        missing = dict(rooms)
        while missing:
            for room, answer in (await one.join_all(missing)).items():
                try:
                    one.dialect.view(answer)
                except RefusedError as refused:
                    self.refused += 1
                    await asyncio.sleep(refused.seconds)
                else:
                    del missing[room]

    async def connected(self, number: int) -> Asking[RoomDialect]:
        """Connect a user."""
        one = Asking(self.host.dialect)
        await one.open(number)
        return one

    async def _connected_at_last(self, number: int) -> Asking[RoomDialect]:
        """Connect, and try again after each refusal."""
        while True:
            one = Asking(self.host.dialect)
            try:
                await one.open(number)
            except OSError:
                self.waited += one.told_to_wait
                self.refused += not one.told_to_wait
                await asyncio.sleep(one.retry_seconds)
            else:
                return one

    async def connected_all(self) -> list[Asking[RoomDialect]]:
        """Connect all members."""
        people = range(len(self.load.people))
        here = []
        for start in range(0, len(people), OPENING):
            here += await asyncio.gather(*map(self.connected, people[start : start + OPENING]))
        await self.rest()
        return here

    async def _end_all(self) -> None:
        """Cut all connections."""
        await self.end([*self.here, *([self._listener] if self._listener else ())])
        self._listener = None
        self._heard.clear()

    async def end(self, here: Sequence[Asking[Any]]) -> None:
        """Cut connections."""
        await asyncio.gather(*(one.close() for one in here))
        await wait_for_rest(self.host.pid, UNSEEN * self.load.sizes.rest)

    async def measure(
        self, name: str, items: Sequence[Item], work: Callable[[Item], Awaitable[Done]], *, at_once: int = OPENING
    ) -> tuple[list[Done], float]:
        """Do the work for all items, some at a time, and return what it brings and the seconds."""
        done: list[Done] = []
        cpu, began = cpu_seconds(self.host.pid), time.perf_counter()
        for start in range(0, len(items), at_once):
            done += await asyncio.gather(*map(work, items[start : start + at_once]))
        seconds = time.perf_counter() - began
        self.host.note(name, 1e6 * (await self.rest() - cpu) / len(items))
        return done, seconds

    async def rest(self) -> float:
        """Wait until the server is at rest, and return the CPU seconds that it had used before that."""
        return await wait_for_rest(self.host.pid, self.load.sizes.rest)

    def _expect(self, step: str, found: Sequence[int], wanted: int) -> None:
        if set(found) - {wanted}:
            raise RuntimeError(f"{self.host.name}, {step}: expected {wanted} messages, got {sorted(set(found))}")


class GatewayRound(Round):
    """The steps that only the gateway takes, besides."""

    def __init__(self, host: Host, dialect: Authenticated, load: Load, turn: int) -> None:
        super().__init__(host, load, turn)
        self._dialect = dialect

    async def first_join(self) -> None:
        """Let newcomers enter a room, all at once."""
        count = self.load.sizes.newcomers
        first = len(self.load.people) + self.turn * count
        here = [await self.connected(first + number) for number in range(count)]
        await self.rest()
        entered = {f"open-{self.turn}": None}
        _, seconds = await self.measure(FIRST_JOIN, here, lambda one: self.joined_at_last(one, entered), at_once=count)
        self.host.note(FIRST_JOINS, count / seconds)
        await self.end(here)

    async def resume_several(self) -> None:
        """Resume in several rooms with one message."""
        names = [f"back-{number}" for number in range(self.load.sizes.returning)]
        at = {name: await self.hear(name) for name in names}
        await self.measure(f"`room.resume` of {len(names)}, µs", self.here, lambda one: self._resume(one, at))

    async def back(self, one: Asking[RoomDialect], rooms: Positions) -> None:
        """Come back into all of one client's rooms with one message."""
        answers = await self._resume(one, rooms)
        if refused := [answer for answer in answers.values() if "error" in answer]:
            raise RuntimeError(f"expected all rooms, got {refused[0]}")

    async def storm_of_resumes(self) -> None:
        """Let all members come back with one message each."""
        await self.storm_of(RESUMES, RESUMES_TIME, self._resumed_at_last)

    async def _resumed_at_last(self, one: Asking[RoomDialect], rooms: Positions) -> None:
        missing = dict(rooms)
        while missing:
            try:
                for room, answer in (await self._resume(one, missing)).items():
                    if "error" not in answer:
                        del missing[room]
                    else:
                        raise _refusal(answer["error"])
            except RefusedError as refused:
                self.refused += 1
                await asyncio.sleep(refused.seconds)

    async def _resume(self, one: Asking[RoomDialect], rooms: Positions) -> dict[str, Answer]:
        """Resume in all rooms, with one message for each page."""
        missing, found = dict(rooms), {}
        while missing:
            answer = await one.ask(lambda number: self._dialect.resume(number, missing))
            if answer["type"] == "error":
                raise _refusal(answer)
            for each in answer["data"]["rooms"]:
                found[each["room"]] = each
                del missing[each["room"]]
        return found

    async def read(self) -> None:
        """Ask for the same again and again, on one connection."""
        one, sizes = self.here[0], self.load.sizes
        users = [person.name for person in self.load.people[:10]]

        def asks(type: str, **data: Any) -> Callable[[int], Awaitable[Answer]]:
            return lambda _: one.ask(lambda number: self._dialect.request(number, type, **data))

        def reads(turn: int) -> Awaitable[Answer]:
            return asks("chat.read", room=TALKED, offset=1 + turn % sizes.messages)(turn)

        questions = {
            "`ping`, µs": asks("ping"),
            PAGE: asks("chat.history", room=TALKED, limit=50),
            LIST: asks("room.list", limit=20),
            "`room.members` of 10, µs": asks("room.members", room=TALKED, limit=10),
            "`chat.read`, µs": reads,
            "`chat.typing`, µs": asks("chat.typing", room=TALKED),
            "`presence.get` of 10, µs": asks("presence.get", users=users),
        }
        for name, question in questions.items():
            _check(await question(0))
            await self.measure(name, range(sizes.asked), question, at_once=1)

    async def mark_read(self) -> None:
        """Let all members mark the same room as read, all at once."""

        async def mark(one: Asking[RoomDialect]) -> None:
            offset = 1 + (self.turn + 1) % self.load.sizes.messages
            _check(await one.ask(lambda number: self._dialect.request(number, "chat.read", room=TALKED, offset=offset)))

        members = self.here[:MARKING]  # each mark is an event to all members
        await self.measure("`chat.read`, by all members at once, µs", members, mark, at_once=len(members))

    async def refresh(self) -> None:
        """Log in, and prolong the session again and again."""
        url = f"http://127.0.0.1:{self.host.dialect.port}/token"
        form = {"username": self.load.known.name, "password": self.load.password}
        async with httpx2.AsyncClient() as http:
            token = (await http.post(url, data=form)).raise_for_status().json()["refresh_token"]

            async def prolong(_: int) -> None:
                nonlocal token
                answer = await http.post(url, data={"grant_type": "refresh_token", "refresh_token": token})
                token = answer.raise_for_status().json()["refresh_token"]

            await self.rest()
            await self.measure("refresh grant, µs", range(self.load.sizes.asked), prolong, at_once=1)


async def read_me(each: Round) -> None:
    """Ask for the user over HTTP again and again."""
    url = f"http://127.0.0.1:{each.host.dialect.port}/users/me"
    headers = {"Authorization": f"Bearer {each.load.people[0].token}"}
    async with httpx2.AsyncClient(headers=headers) as http:

        async def ask(_: int) -> None:
            (await http.get(url)).raise_for_status()

        await ask(0)
        await each.measure(ME, range(each.load.sizes.asked), ask, at_once=1)


Step = Callable[[Round], Awaitable[None]]


def _by_gateway(step: Callable[[GatewayRound], Awaitable[None]]) -> Step:
    async def take(each: Round) -> None:
        if isinstance(each, GatewayRound):
            await step(each)

    return take


async def _me(each: Round) -> None:
    if isinstance(each, GatewayRound) or each.host.name == "tutorial":
        await read_me(each)


STEPS: tuple[Step, ...] = (
    Round.connect,
    Round.talk,
    Round.join,
    Round.join_with_history,
    Round.resume,
    Round.join_cold,
    _by_gateway(GatewayRound.first_join),
    _by_gateway(GatewayRound.resume_several),
    Round.phones,
    Round.storm,
    _by_gateway(GatewayRound.storm_of_resumes),
    Round.send,
    _by_gateway(GatewayRound.mark_read),
    _by_gateway(GatewayRound.read),
    _me,
    _by_gateway(GatewayRound.refresh),
    Round.leave,
)
"""The steps of a round; all servers take one before the next."""


def _refusal(error: Answer) -> RefusedError:
    if not error["retryable"]:
        raise RuntimeError(f"expected rooms, got {error}")
    return RefusedError(error.get("retry_after_ms", 0) / 1000)


def _check(reply: Answer) -> Answer:
    if reply["type"] != "reply":
        raise RuntimeError(f"expected a reply, got {reply}")
    data: Answer = reply["data"]
    return data
