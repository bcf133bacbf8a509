"""The clients of a proof, in a process of their own: they come, talk, listen, go in several ways, and come back.

Each client is a member of the same rooms for good. It must hear each change of them once and in order, also what was
said while it was away. A message without an answer is sent again with its `client_id`. At the end, the store must have
each message that was acknowledged, as it was sent, and once.
"""

import asyncio
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
import uvloop
from picows import WSHandshakeError, WSParsedURL, ws_connect

from benchmarks.pace import Pace
from benchmarks.rig import ANSWER_SECONDS, Asker, Frame, database_for
from benchmarks.story import Said, read_tables
from proofs.acknowledged import Acknowledged
from proofs.child import serve
from proofs.process import raise_limit_of_files
from proofs.request import post

FOREVER = 1e6
LAST_SECONDS = 60.0
LONGEST_AWAY = 3.0
RETRY_SECONDS = 0.25
LAST_RETRY_SECONDS = 2.0
"""The pauses of a client that is refused without a word: they double, and each is cut by chance."""

PATIENCE_SECONDS = 10.0
"""How long an answer may take where the gateway does not restart. A store has five seconds for one."""

SERVER_ERROR = "status 500"

ATTEMPTS = 5
ASK_AGAIN = {429, 503}

BIN_SECONDS = 0.25
DRAINING = 1012

BY_TICKET = 0.2
BY_LOG_IN = 0.1
"""The shares of the clients that come back with a ticket, and with a log-in that they end when they go."""

MOST_ON_THE_WAY = 2000
"""Beyond so many unanswered messages, nothing more is said: the machine has too few cores."""

ABRUPT = 0.5
"""The share of the clients that go without a close frame."""

MOST_LINES = 20
"""How many faults are kept in words. All are counted."""

ODD_JOBS = ("typing", "read", "signal", "room", "edit")


@dataclass
class Returns:
    """How the clients came back from losses that were expected."""

    began: float = 0.0
    away: int = 0
    count: int = 0
    longest: float = 0.0
    """Seconds from a loss until the client was in its rooms again."""
    last: float = 0.0
    """Seconds from the beginning of this record until the last client was back."""
    steps: "list[Step]" = field(default_factory=lambda: [Step()])

    def note_attempt(self) -> None:
        """Count a TCP connection when it is made, whether or not the gateway takes the client."""
        self.steps[-1].attempts[int((time.monotonic() - self.began) / BIN_SECONDS)] += 1

    def note_loss(self) -> None:
        """Count a client that was sent away."""
        self.away += 1
        self.steps[-1].lost += 1

    def note(self, lost_at: float) -> None:
        """Note a return."""
        now = time.monotonic()
        self.away -= 1
        self.count += 1
        self.longest = max(self.longest, now - lost_at)
        self.last = now - self.began

    def summary(self) -> Frame:
        """Return it as JSON."""
        return vars(self) | {"steps": [step.summary() for step in self.steps]}


@dataclass
class Step:
    """A part of a restart, in which one process of the gateway sends its clients away."""

    lost: int = 0
    """How many were sent away."""
    attempts: Counter[int] = field(default_factory=Counter)
    """The TCP connections to a gateway or a proxy, by the quarter of a second since the beginning of the record."""

    def summary(self) -> Frame:
        """Return it as JSON, from the first connection on."""
        first, last = min(self.attempts, default=0), max(self.attempts, default=-1)
        return {"lost": self.lost, "attempts": [self.attempts[number] for number in range(first, last + 1)]}


class Position(NamedTuple):
    """The end of what a client knows of a room."""

    epoch: str
    offset: int


@dataclass
class Tally:
    """What has happened to all clients."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stored: dict[str, set[int]] = field(default_factory=dict)
    """The offsets of acknowledged messages, by room."""

    def note(self, kind: str, words: str) -> None:
        """Count a fault, and keep the first ones."""
        self.counts[kind] += 1
        if len(self.wrong) < MOST_LINES:
            self.wrong.append(f"{kind}: {words}")


class Connection(Asker):
    """One connection of a client, which passes on the events of rooms."""

    def __init__(self, heed: Callable[[Frame], None], resumed: Callable[[Frame], None], patience: float) -> None:
        super().__init__()
        self.patience = patience
        self._heed = heed
        self._resumed = resumed
        self.bye: Frame | None = None

    def take(self, message: Frame) -> None:
        """Pass on what concerns a room."""
        if message["type"] == "bye":
            self.bye = message["data"]
        elif message["type"] in {"chat.message", "chat.edited", "chat.deleted", "resync"}:
            self._heed(message)
        elif "rooms" in message.get("data", ()) and message["type"] == "reply":
            self._resumed(message["data"])  # at once: the next frame may be an event that continues it

    async def open(self, url: str, connected: Callable[[], None]) -> None:
        """Connect up to the welcome, or raise `OSError`. Call `connected` when there is a TCP connection."""
        async with asyncio.timeout(self.patience):
            opened = await ws_connect(
                lambda: self,
                url,
                websocket_handshake_timeout=self.patience,
                socket_factory=partial(_connected_socket, connected),
            )
            if opened[1] is not self:
                raise ConnectionError("the connection was lost")
            await self.welcomed

    def cut(self) -> None:
        """Go without a close frame, and without what is still to be sent."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


async def _connected_socket(connected: Callable[[], None], url: WSParsedURL) -> socket.socket:
    sock = socket.socket()
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (url.host, url.port))
    except BaseException:
        sock.close()
        raise
    connected()
    return sock


def _words(error: Exception) -> str:
    """Return in short why a connection failed: the status of the handshake, or the kind of the error."""
    response = error.response if isinstance(error, WSHandshakeError) else None
    return type(error).__name__ if response is None else f"status {int(response.status)}"


class FailedError(Exception):
    """A request was answered with an error."""


class Member:
    """A client over all of its connections."""

    def __init__(self, crowd: "Crowd", name: str, token: str, rooms: Sequence[str]) -> None:
        self.crowd = crowd
        self.name = name
        self.token = token
        self.rooms = rooms
        self.known: dict[str, Position] = {}
        self.connection: Connection | None = None
        self.leaving = False
        self.busy = False
        """Whether it does an odd job, which it does not leave half done."""
        self.unanswered: dict[str, tuple[str, str]] = {}
        self._own_token: str | None = None
        self._numbers = 0

    @property
    def is_here(self) -> bool:
        """Return whether it is in its rooms and may talk."""
        return self.connection is not None and not self.leaving and not self.connection.lost.is_set()

    async def come(self) -> None:
        """Connect, resume all rooms, and send again what has no answer. Try again while it is refused."""
        refusals = 0
        while True:
            connection = Connection(self._hear, self._take_rooms, self.crowd.patience)
            try:
                address = f"ws://127.0.0.1:{self.crowd.port}/ws/chat?{await self._credential()}"
                await connection.open(address, self.crowd.returns.note_attempt)
                await self._resume(connection)
            except (OSError, WSHandshakeError) as error:  # of a proxy without a node, too
                bye = connection.bye
                self.crowd.excuse("refused connections", bye["reason"] if bye else _words(error))
                longest = min(LAST_RETRY_SECONDS, RETRY_SECONDS * 2**refusals)
                refusals += 1
                seconds = longest * self.crowd.chance.uniform(0.5, 1)
                await asyncio.sleep((bye or {}).get("after_ms", 1000 * seconds) / 1000)
            else:
                break
        self.connection, self.leaving = connection, False
        connection_lost = asyncio.create_task(self._await_loss(connection))
        self.crowd.keep(connection_lost)
        for client_id, (room, text) in list(self.unanswered.items()):
            self.crowd.keep(asyncio.create_task(self._send(client_id, room, text)))

    async def _await_loss(self, connection: Connection) -> None:
        await connection.lost.wait()
        if self.leaving or self.crowd.ended:
            return
        lost_at, bye = time.monotonic(), connection.bye or {}
        if self.crowd.restarts and bye.get("code") == DRAINING:
            self.crowd.returns.note_loss()
            await asyncio.sleep(bye["after_ms"] / 1000)
            await self.come()
            self.crowd.returns.note(lost_at)
        else:
            self.crowd.tally.note("lost connections", f"{self.name}: {bye}")
            await self.come()

    async def leave(self) -> None:
        """Go, in one of several ways."""
        connection, self.leaving = self.connection, True
        if connection is None:
            return
        if self.crowd.chance.random() < ABRUPT:
            connection.cut()
            await connection.lost.wait()
        else:
            await connection.close()
        if self._own_token is not None:
            await self._log_out(self._own_token)
            self._own_token = None

    async def _log_out(self, token: str) -> None:
        for _ in range(ATTEMPTS):
            try:
                status, _body = await self._post("/token/revoke", urlencode({"token": token}))
            except OSError as error:
                self.crowd.excuse("asked to try again", f"/token/revoke: {type(error).__name__}")
            else:
                if status == 200:
                    return
                self.crowd.excuse("asked to try again", f"/token/revoke: {status}")
            await asyncio.sleep(RETRY_SECONDS)
        self.crowd.tally.note("refused requests", f"{self.name} cannot log out")

    async def _post(self, path: str, form: str, *, token: str | None = None) -> tuple[int, bytes]:
        async with asyncio.timeout(self.crowd.patience):
            return await post(self.crowd.port, path, form, token=token)

    async def _credential(self) -> str:
        chance, password = self.crowd.chance.random(), self.crowd.password
        if password is None:
            return f"token={self.token}"
        if chance < BY_TICKET:
            status, body = await self._post("/ws/ticket", "", token=self.token)
            self._expect(status, body)
            return f"ticket={orjson.loads(body)['ticket']}"
        if chance < BY_TICKET + BY_LOG_IN and self._own_token is None:
            form = urlencode({"username": self.name, "password": password})
            status, body = await self._post("/token", form)
            self._expect(status, body)
            self._own_token = orjson.loads(body)["access_token"]
            return f"token={self._own_token}"
        return f"token={self.token}"

    def _expect(self, status: int, body: bytes) -> None:
        if status in ASK_AGAIN:
            self.crowd.excuse("asked to try again", str(status))
        elif status != 200:
            self.crowd.tally.note("refused requests", f"{status} {body!r}")
        if status != 200:
            raise ConnectionError(f"a request was answered with {status}")

    async def _resume(self, connection: Connection) -> None:
        wanted = []
        for room in self.rooms:
            known = self.known.get(room)
            wanted.append({"room": room} if known is None else {"room": room, "since": known._asdict()})
        reply = await connection.ask("room.resume", rooms=wanted)
        if reply["type"] != "reply" or any("error" in each for each in reply["data"]["rooms"]):
            raise ConnectionError("the rooms cannot be resumed now")

    def _take_rooms(self, data: Frame) -> None:
        """Take what a resume brings."""
        for each in data["rooms"]:
            if "error" in each:
                continue
            if each.get("recovered"):
                for event in each["events"]:
                    self._hear(event)
            elif each["room"] in self.known:
                self.crowd.tally.note("lost", f"{self.name} in {each['room']}: {each.get('reason')}")
            self._reach(each["room"], Position(each["epoch"], each["offset"]))

    def _reach(self, room: str, position: Position) -> None:
        known = self.known.get(room)
        if known is not None and known.offset != position.offset:
            self.crowd.tally.note("lost", f"{self.name} in {room}: at {known.offset}, and the log at {position.offset}")
        self.known[room] = position

    def _hear(self, event: Frame) -> None:
        """Take a change of a room: it must be the one after the last."""
        data = event["data"]
        known = self.known.get(data["room"])
        if known is None:
            return  # one of its own passing rooms
        if event["type"] == "resync":
            self.crowd.tally.note("lost", f"{self.name} has to join {data['room']} anew")
            return
        self.crowd.tally.counts["heard"] += 1
        if data["changed"] <= known.offset:
            self.crowd.tally.note("doubled", f"{self.name} in {data['room']}: {data['changed']} after {known.offset}")
        elif data["changed"] > known.offset + 1:
            self.crowd.tally.note("lost", f"{self.name} in {data['room']}: {data['changed']} after {known.offset}")
        self.known[data["room"]] = Position(data["epoch"], max(known.offset, data["changed"]))

    def say(self) -> None:
        """Send a message to one of the rooms."""
        self._numbers += 1
        client_id, room = f"{self.name}-{self._numbers}", self.crowd.chance.choice(self.rooms)
        self.crowd.on_the_way += 1
        self.unanswered[client_id] = (room, f"message {self._numbers} of {self.name}, {secrets.token_hex(20)}")
        self.crowd.keep(asyncio.create_task(self._send(client_id, *self.unanswered[client_id])))

    async def _send(self, client_id: str, room: str, text: str) -> None:
        connection = self.connection
        assert connection is not None  # noqa: S101 - it is here
        try:
            reply = await connection.ask("chat.send", room=room, text=text, client_id=client_id)
        except TimeoutError:
            self.crowd.tally.note("late answers", f"{client_id} in {room}, after {connection.patience:g} s")
            return
        except OSError:
            return  # it goes out again after the return
        if reply["type"] == "error":
            if not reply["retryable"]:
                self.crowd.tally.note("refused messages", str(reply))
                return
            self.crowd.excuse("asked to try again", reply["name"])
            await asyncio.sleep(reply.get("retry_after_ms", 1000 * RETRY_SECONDS) / 1000)
            if self.connection is connection and client_id in self.unanswered:
                await self._send(client_id, room, text)
            return
        if self.unanswered.pop(client_id, None) is not None:
            self.crowd.on_the_way -= 1
        message = reply["data"]["message"]
        said = Said(self.name, client_id, text, message["changed"])
        self.crowd.store(room, message["offset"], said, repeated=reply["data"]["duplicate"])

    async def do_odd_job(self, job: str, room: str) -> None:
        """Do what is not a message in the common rooms: none of it may leave something behind."""
        connection = self.connection
        assert connection is not None  # noqa: S101 - it is here
        try:
            if job == "typing":
                await self._ask(connection, "chat.typing", room=room)
            elif job == "read":
                await self._ask(connection, "chat.read", room=room, offset=self.known[room].offset)
            elif job == "signal":
                await self._ask(connection, "room.signal", room=room, name="wave", data={"at": 1})
            elif job == "room":
                await self._pass_through(connection)
            else:
                await self._change_mind(connection)
        except (OSError, FailedError) as error:
            self.crowd.tally.note("failed odd jobs", f"{job} of {self.name}: {error!r}")
        else:
            self.crowd.tally.counts[f"done: {job}"] += 1
        finally:
            self.busy = False

    async def _ask(self, connection: Connection, type: str, **data: Any) -> Frame:
        """Send a request, and return the reply, or raise `FailedError`."""
        answer = await connection.ask(type, **data)
        if answer["type"] != "reply":
            raise FailedError(f"{type} was answered with {answer}")
        return answer

    async def _pass_through(self, connection: Connection) -> None:
        """Make a room and delete it."""
        name = await self._make_room(connection)
        await self._ask(connection, "chat.send", room=name, text="Soon gone")
        await self._delete_room(connection, name)

    async def _change_mind(self, connection: Connection) -> None:
        """Make a room, and edit and delete a message in it, before the room goes too."""
        name = await self._make_room(connection)
        reply = await self._ask(connection, "chat.send", room=name, text="First")
        message = {"room": name, "message_id": reply["data"]["message"]["id"]}
        await self._ask(connection, "chat.edit", **message, text="Second")
        await self._ask(connection, "chat.delete", **message)
        await self._delete_room(connection, name)

    async def _make_room(self, connection: Connection) -> str:
        name = f"passing-{secrets.token_hex(6)}"
        await self._ask(connection, "room.create", room=name)
        return name

    async def _delete_room(self, connection: Connection, name: str) -> None:
        await self._ask(connection, "room.delete", room=name)
        self.crowd.tally.counts["rooms made and deleted"] += 1


class Crowd:
    """All clients."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.port: int = orders["port"]
        self.password: str | None = orders["password"]
        self.chance = random.Random(orders["seed"])
        self.tally = Tally()
        self.returns = Returns()
        self.restarts: bool = orders["restarts"]
        """Whether the gateway is expected to send its clients away."""
        self.patience = ANSWER_SECONDS if self.restarts else PATIENCE_SECONDS
        self.ended = False
        self.on_the_way = 0
        self.members = [Member(self, *each) for each in orders["members"]]
        self._url: str | None = orders["url"]
        self._acknowledged = Acknowledged(orders["kept"])
        self._rates: dict[str, float] = orders["rates"]
        self._tasks: set[asyncio.Task[None]] = set()
        self._paces: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Let all come, then start the churn and the talk."""
        for start in range(0, len(self.members), 25):
            await asyncio.gather(*(member.come() for member in self.members[start : start + 25]))
        actions = {"churn": self._churn, "messages": self._say, "odd jobs": self._do_odd_job}
        self._paces = [asyncio.create_task(Pace(self._rates[name], act).run(FOREVER)) for name, act in actions.items()]

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep a task until it is done; a fault of it is counted."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.tally.note("faults of the clients", repr(error))

    def excuse(self, kind: str, words: str) -> None:
        """Count what restarts cause. Without them, it is a fault; an error of the server is one in any case."""
        if self.restarts and words != SERVER_ERROR:
            self.tally.counts[f"{kind}: {words}"] += 1
        else:
            self.tally.note(kind, words)

    def store(self, room: str, offset: int, said: Said, *, repeated: bool) -> None:
        """Note an acknowledged message. A repeated one may be known already."""
        self.tally.counts["acknowledged"] += 1
        self.tally.counts["repeated"] += repeated
        stored = self.tally.stored.setdefault(room, set())
        if offset in stored and not repeated:
            self.tally.note("doubled", f"two messages of {room} have the offset {offset}")
        stored.add(offset)
        self._acknowledged.add(room, offset, said)

    def _one_of_them(self) -> Member | None:
        for _ in range(10):
            member = self.chance.choice(self.members)
            if member.is_here and not member.busy:
                return member
        return None

    def _churn(self, _number: int) -> None:
        if (member := self._one_of_them()) is not None:
            member.leaving = True
            self.keep(asyncio.create_task(self._go_and_come(member)))

    async def _go_and_come(self, member: Member) -> None:
        self.tally.counts["churned"] += 1
        await member.leave()
        await asyncio.sleep(self.chance.uniform(0, LONGEST_AWAY))
        await member.come()

    def _say(self, _number: int) -> None:
        if self.on_the_way > MOST_ON_THE_WAY:
            self.tally.counts["messages left out"] += 1
        elif (member := self._one_of_them()) is not None:
            member.say()

    def _do_odd_job(self, number: int) -> None:
        if (member := self._one_of_them()) is not None:
            job, member.busy = ODD_JOBS[number % len(ODD_JOBS)], True  # before the churn takes it
            self.tally.counts["odd jobs"] += 1
            self.keep(asyncio.create_task(member.do_odd_job(job, self.chance.choice(member.rooms))))

    async def answer(self, line: str) -> object:
        """Return the counts so far, or those of the end."""
        if line == "returns":
            return self.returns.summary()
        if line == "forget":
            self.returns = Returns(time.monotonic(), self.returns.away)
        if line == "step":
            self.returns.steps.append(Step())
        if line == "end":
            await self._end()
        return {"counts": self.tally.counts, "wrong": self.tally.wrong}

    async def _end(self) -> None:
        """Stop, wait until all are here and all is answered, and compare with what was acknowledged."""
        for pace in self._paces:
            pace.cancel()
        for _ in range(round(LAST_SECONDS / 0.1)):
            if all(member.is_here and not member.unanswered for member in self.members):
                break
            await asyncio.sleep(0.1)
        self.tally.counts["unanswered"] += sum(len(member.unanswered) for member in self.members)
        self.tally.counts["not back"] += sum(not member.is_here for member in self.members)
        await asyncio.sleep(1)  # for events behind the last answers
        for member in self.members:
            for room in member.rooms:
                self._compare(member, room)
        self.ended = True
        if self._url is not None:
            await self._compare_store(self._url)

    async def _compare_store(self, url: str) -> None:
        """Compare what the store has, while the gateway still serves."""
        database = database_for(url)
        try:
            found = await read_tables(database, sorted({room for member in self.members for room in member.rooms}))
        finally:
            await database.close()
        story = self._acknowledged.compare(found)
        self.tally.counts["compared with the store"] = sum(map(len, found.logs.values()))
        self.tally.counts["lost"] += story.counts["lost"]
        self.tally.counts["doubled"] += story.counts["doubles"] + story.counts["unasked"]
        self.tally.wrong += story.wrong[:MOST_LINES]

    def _compare(self, member: Member, room: str) -> None:
        stored, known = self.tally.stored.get(room, set()), member.known[room].offset
        if known != len(stored) or (stored and max(stored) != known):
            self.tally.note("lost", f"{member.name} knows {known} of the {len(stored)} messages of {room}")


async def _begin(orders: dict[str, Any]) -> Callable[[str], Awaitable[object]]:
    raise_limit_of_files()
    crowd = Crowd(orders)
    await crowd.begin()
    return crowd.answer


if __name__ == "__main__":
    uvloop.run(serve(_begin))
