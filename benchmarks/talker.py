"""A user that talks in rooms over all lives of a gateway, and repeats each request until it has an answer."""

import asyncio
import itertools
import random
from collections.abc import Sequence

from picows import WSHandshakeError

from benchmarks.rig import Asker, Frame, Person, Server, connect
from benchmarks.story import Growth, Story, Wish

ON_THE_WAY = 4
"""The most unanswered requests of a user."""


class Refused(ConnectionError):
    """The gateway has refused a request for a reason that passes: it goes out again, as after a lost connection."""


class Talker:
    """A user that keeps talking, over all lives of the gateway."""

    def __init__(self, person: Person, names: Sequence[str], story: Story, chance: random.Random) -> None:
        self.person = person
        self.unanswered: list[Wish] = []
        self._names = names
        self._story = story
        self._chance = chance
        self._numbers = itertools.count(1)
        self._settled: list[tuple[str, str]] = []  # room and id of messages without a request on its way

    async def live(self, server: Server, stop: asyncio.Event) -> None:
        """Repeat the unanswered requests, then talk until `stop` is set or the connection is lost."""
        try:
            asker = await connect(server, self.person)
            await asker.ask("room.join", room=self._chance.choice(self._names))
        except (OSError, WSHandshakeError):
            return
        unanswered, self.unanswered = self.unanswered, []
        await side_by_side([self._repeat(asker, wish) for wish in unanswered])
        await side_by_side([self._talk(asker, stop) for _ in range(ON_THE_WAY)])
        await asker.close()

    async def _repeat(self, asker: Asker, wish: Wish) -> None:
        self._story.counts["resent"] += 1
        if isinstance(wish, Growth):
            self._note_grown(wish, await self._stored(asker, wish))
            await self._grow(asker, wish)
        elif wish.kind == "chat.edit" and (message := await self._stored(asker, wish)).get("text") == wish.text:
            self._fulfilled(wish, message)  # a second edit would take another offset
        else:
            self._ask_anew(wish)
            await self._ask(asker, wish)

    def _ask_anew(self, wish: Wish) -> None:
        """Take note that a request is repeated whose first answer is unknown."""

    async def _stored(self, asker: Asker, wish: Wish) -> Frame:
        """Return the message that a request is about, as it is now."""
        answer = await self._answer(asker, wish, "chat.history", room=wish.room, after=wish.offset - 1, limit=1)
        found: Frame = answer["data"]["messages"][0]
        return found

    def _note_grown(self, wish: Growth, message: Frame) -> None:
        """Record the pieces that were stored without an answer."""
        text = message.get("text")
        stored = next((count for count in range(len(wish.pieces) + 1) if text == wish.text_after(count)), None)
        if stored is None or stored < wish.acknowledged:
            self._story.counts["lost"] += 1
            self._story.wrong.append(f"{wish} had {wish.acknowledged} pieces acknowledged, found is {message}")
        elif stored > wish.acknowledged:
            self._story.unsure[wish.room] += stored - wish.acknowledged - 1
            self._story.note_pieces(wish, stored, {message["changed"]})

    async def _grow(self, asker: Asker, wish: Growth) -> None:
        """Send the pieces that are missing, all at once."""
        left = range(wish.acknowledged, len(wish.pieces))
        answers = await asyncio.gather(*(self._add(asker, wish, number) for number in left), return_exceptions=True)
        missing = None
        for number, answer in zip(left, answers, strict=True):
            if isinstance(answer, BaseException):
                missing = missing or answer
                continue
            # A piece is taken only after those before it, so they are stored if it is.
            self._story.unsure[wish.room] += number - wish.acknowledged
            self._story.note_pieces(wish, number + 1, {answer["data"]["changed"]})
        if missing is None:
            self._settle(wish, str(wish.message_id))
            return
        self.unanswered.append(wish)
        raise missing

    async def _add(self, asker: Asker, wish: Growth, number: int) -> Frame:
        at, place = len(wish.text_after(number)), {"room": wish.room, "message_id": wish.message_id}
        answer = await asker.ask("chat.append", **place, text=wish.pieces[number], at=at)
        if answer["type"] == "error":
            self._check_refusal(wish, answer)
        return answer

    async def _talk(self, asker: Asker, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wish = self._next()
            await (self._grow(asker, wish) if isinstance(wish, Growth) else self._ask(asker, wish))

    def _next(self) -> Wish:
        number = next(self._numbers)
        text = f"{self.person.name} says {number}"
        if self._settled and self._chance.random() < 0.3:
            room, message_id = self._settled.pop(self._chance.randrange(len(self._settled)))
            choice = self._chance.random()
            if choice < 0.4:
                growth = Growth(
                    "chat.append", room, message_id=message_id, pieces=[f" {text} {each}" for each in "abc"]
                )
                growth.text = self._story.logs[room][growth.offset].text
                return growth
            if choice < 0.8:
                return Wish("chat.edit", room, text, message_id=message_id)
            return Wish("chat.delete", room, message_id=message_id)
        return Wish("chat.send", self._chance.choice(self._names), text, client_id=f"c{number}")

    async def _ask(self, asker: Asker, wish: Wish) -> None:
        answer = await self._answer(asker, wish, wish.kind, **wish.data())
        self._story.counts["duplicates"] += bool(answer["data"].get("duplicate"))
        self._fulfilled(wish, answer["data"]["message"])

    async def _answer(self, asker: Asker, wish: Wish, type: str, **data: object) -> Frame:
        """Ask, and remember the request if no answer comes, or none but that the gateway is not able to."""
        try:
            answer = await asker.ask(type, **data)
            if answer["type"] == "error":
                self._check_refusal(wish, answer)
        except ConnectionError:
            self.unanswered.append(wish)
            raise
        return answer

    def _check_refusal(self, wish: Wish, answer: Frame) -> None:
        """Raise `Refused`. A refusal for a reason that does not pass is wrong."""
        if answer["retryable"]:
            self._story.counts["refused"] += 1
        elif not self._follows_unknown(wish, answer):
            self._story.wrong.append(f"{self.person.name}'s {wish} was refused: {answer}")
        raise Refused(answer["name"])

    def _follows_unknown(self, wish: Wish, answer: Frame) -> bool:
        """Return whether a piece was refused since one before it was, or because it is there already."""
        return isinstance(wish, Growth) and answer["name"] == "conflict"

    def _fulfilled(self, wish: Wish, message: Frame) -> None:
        self._story.note(self.person.name, wish, message)
        if wish.kind != "chat.delete":
            self._settle(wish, message["id"])

    def _settle(self, wish: Wish, message_id: str) -> None:
        """Let the message of an answered request be edited, deleted or grown next."""
        self._settled.append((wish.room, message_id))


async def side_by_side(work: Sequence[object]) -> None:
    """Run coroutines side by side, each to its end; a lost connection ends one too."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):  # type: ignore[call-overload]
        if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionError):
            raise outcome
