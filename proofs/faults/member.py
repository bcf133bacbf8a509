"""A user that talks and listens, and comes back as the protocol says, to any node."""

import asyncio
import random
from collections.abc import Sequence

from picows import WSHandshakeError

from benchmarks.rig import Asker, Frame, Person, Server, connect
from benchmarks.story import Growth, Story, Wish
from benchmarks.talker import Talker, side_by_side
from proofs.faults.site import AT_ONCE
from proofs.view import Sightings, View

PATIENCE_SECONDS = 8.0
"""How long a client waits for an answer before it takes the connection for dead. A store has five seconds for one."""

PING_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""The wait before another try: it doubles up to this, and chance spreads it."""


class Connection(Asker):
    """A connection of a member. Each reply to a join, and each event, goes to the view of its room on its arrival."""

    patience = PATIENCE_SECONDS
    use_aiofastnet = False
    """It leaves a try to connect that was given up in uvloop, where the next socket of this number waits for ever."""

    def __init__(self, views: dict[str, View]) -> None:
        super().__init__()
        self._views = views
        self._joining: dict[int, View] = {}
        self.bye: Frame = {}
        self.is_over = False

    def take(self, message: Frame) -> None:
        """Take any message. A connection that the member has given up counts no longer."""
        if self.is_over:
            return
        view = self._joining.pop(message.get("id", 0), None)
        if view is not None and message["type"] == "reply":
            view.joined(message["data"])
        elif message["type"] == "bye":
            self.bye = message["data"]
        elif "id" not in message and "room" in message.get("data", {}):
            view = self._views.get(message["data"]["room"])
            if view is not None:
                view.take(message)

    async def join(self, view: View) -> Frame:
        """Join a room, or resume it, and return the answer."""
        self._joining[self._last_id + 1] = view
        return await self.ask("room.join", room=view.room, **view.since)

    async def ask(self, type: str, **data: object) -> Frame:
        """Send a message and return its answer. Without one in time, the connection is over: `ConnectionError`."""
        try:
            return await super().ask(type, **data)
        except TimeoutError:
            self.hang_up()
            raise ConnectionError("no answer came") from None

    def hang_up(self) -> None:
        """End the connection, without a wait for the other end, which may be out of reach."""
        self.is_over = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


class Member(Talker):
    """A user that talks in rooms, and hears them, until it has to stop."""

    def __init__(
        self,
        person: Person,
        servers: Sequence[Server],
        views: dict[str, View],
        story: Story,
        chance: random.Random,
        pause: float,
    ) -> None:
        """Prefer the first of the servers. `pause` is the mean time before each request."""
        super().__init__(person, list(views), story, chance)
        self.views = views
        self.silent = asyncio.Event()
        """Set when it has nothing more to say."""
        self._servers = servers
        self._number = 0
        self._pause = pause
        self._repeated: list[Wish] = []

    async def stay(self, sightings: Sightings, hushed: asyncio.Event, over: asyncio.Event) -> None:
        """Talk until `hushed`, have all requests answered, and listen until `over`."""
        wait = FIRST_PAUSE_SECONDS
        while not over.is_set():
            connection = self._connection(sightings)
            try:
                await self._come(connection, sightings)
                wait = FIRST_PAUSE_SECONDS
                await side_by_side([self._speak(connection, hushed), self._watch(connection, sightings, over)])
            except (OSError, WSHandshakeError, TimeoutError):
                sightings.counts["connections that failed"] += 1
            finally:
                connection.hang_up()
            self._number += 1
            after = min(connection.bye.get("after_ms", 0) / 1000, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(max(after, wait * self._chance.uniform(0.5, 1)))
            wait = min(2 * wait, LONGEST_PAUSE_SECONDS)

    def _connection(self, sightings: Sightings) -> Connection:
        return Connection(self.views)

    async def _come(self, connection: Connection, sightings: Sightings) -> None:
        # A link that drops everything answers nothing: without this limit, the system would try for minutes.
        async with asyncio.timeout(PATIENCE_SECONDS):
            await connect(self._servers[self._number % len(self._servers)], self.person, connection)
        for view in self._wanted():
            await self._join(connection, view, sightings)

    def _wanted(self) -> list[View]:
        """Return the views of the rooms that it wants to hear."""
        return list(self.views.values())

    async def _join(self, connection: Connection, view: View, sightings: Sightings) -> None:
        answer = await connection.join(view)
        if answer["type"] != "error":
            return
        if not answer["retryable"]:
            sightings.complain("lost", f"{self.person.name} may not join {view.room}: {answer}")
        raise ConnectionError(answer["name"])

    async def _speak(self, connection: Connection, hushed: asyncio.Event) -> None:
        """Repeat what has no answer, and say something new."""
        while not connection.lost.is_set():
            wishes, self.unanswered = self.unanswered, []
            if wishes:
                await side_by_side([self._repeat(connection, wish) for wish in wishes])
            elif hushed.is_set():
                self.silent.set()
                return
            else:
                await side_by_side([self._say_one(connection) for _ in range(AT_ONCE)])
            if self.unanswered:
                await asyncio.sleep(self._chance.uniform(0.1, 0.5))

    async def _say_one(self, connection: Connection) -> None:
        await asyncio.sleep(self._chance.uniform(0, 2 * self._pause))
        wish = self._next()
        await (self._grow(connection, wish) if isinstance(wish, Growth) else self._ask(connection, wish))

    async def _watch(self, connection: Connection, sightings: Sightings, over: asyncio.Event) -> None:
        """Look whether the connection lives, and join again where the gateway has lost something."""
        while not connection.lost.is_set() and not over.is_set():
            for view in self._wanted():
                if view.is_stale:
                    await self._join(connection, view, sightings)
            await connection.ask("ping")
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await over.wait()
            except TimeoutError:
                continue

    def _ask_anew(self, wish: Wish) -> None:
        """Remember that the first try of an edit may come to the store after all, but late."""
        if wish.kind == "chat.edit":
            self._story.unsure[wish.room] += 1
            self._story.late.add((wish.room, wish.offset))

    async def _repeat(self, asker: Asker, wish: Wish) -> None:
        self._repeated.append(wish)
        await super()._repeat(asker, wish)

    def _settle(self, wish: Wish, message_id: str) -> None:
        """Leave a message alone whose request was repeated.

        A node that hangs handles the first try when it goes on. That could undo a later edit, or add pieces to a text
        that has the same length again.
        """
        if wish.kind == "chat.send" or not any(wish is repeated for repeated in self._repeated):
            super()._settle(wish, message_id)
