"""Phones in tunnels: connections drop at random moments, while others send, edit and delete."""

import asyncio
import random
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame

LISTENERS = 50
SENDERS = 4
CHANGES = 50
SECONDS = 240


@dataclass
class Phone:
    """A client that keeps what it has seen, and resumes from there."""

    app: App
    token: str
    random: random.Random
    epoch: str | None = None
    position: int = 0
    view: dict[int, Frame] = field(default_factory=dict)
    drops: int = 0
    joined: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, done: asyncio.Event, top: list[int]) -> None:
        """Listen, dropping out at random, until all that was sent has been seen."""
        while not (done.is_set() and self.position >= top[0]):
            async with self.app.socket(f"?token={self.token}") as client:
                await client.expect("welcome")
                await self._resume(client)
                try:
                    await self._hear(client, done, top)
                except (TimeoutError, ConnectionClosed):
                    client.ws.transport.abort()
                    self.drops += 1

    async def _resume(self, client: ChatClient) -> None:
        since = {"since": {"epoch": self.epoch, "offset": self.position}} if self.epoch else {}
        lobby = {"room": "lobby", **since}
        if self.random.random() < 0.5:
            reply = await client.ask("room.join", **lobby)
        else:
            reply = (await client.ask("room.resume", rooms=[{"room": "attic"}, lobby]))["rooms"][1]
        if self.epoch is None:
            assert reply["offset"] == 0
        else:
            assert reply["recovered"] is True, reply.get("reason")
            for event in reply["events"]:
                self._take(event)
        # What lies between the last event and here was overtaken by later changes of the same messages.
        self.epoch, self.position = reply["epoch"], reply["offset"]
        self.joined.set()

    async def _hear(self, client: ChatClient, done: asyncio.Event, top: list[int]) -> None:
        async with asyncio.timeout(self.random.uniform(0.05, 1.5)):
            while not (done.is_set() and self.position >= top[0]):
                frame = await client.next()
                if frame["type"] in {"chat.message", "chat.edited", "chat.deleted"}:
                    assert frame["data"]["changed"] == self.position + 1, "a live event was lost or doubled"
                    self._take(frame)

    def _take(self, event: Frame) -> None:
        message = event["data"]
        assert message["changed"] > self.position, "an event came twice or out of order"
        self.view[message["offset"]] = message
        self.position = message["changed"]


async def send(client: ChatClient, luck: random.Random) -> None:
    """Send, edit and delete, in any order."""
    mine: list[Frame] = []
    for number in range(CHANGES):
        chance = luck.random()
        if chance < 0.7 or not mine:
            reply = await client.ask("chat.send", room="lobby", text=f"message {number}")
            mine.append(reply["message"])
        elif chance < 0.9:
            about = luck.choice(mine)
            await client.ask("chat.edit", room="lobby", message_id=about["id"], text=f"edit {number}")
        else:
            about = mine.pop(luck.randrange(len(mine)))
            await client.ask("chat.delete", room="lobby", message_id=about["id"])
        await asyncio.sleep(luck.uniform(0, 0.02))


async def whole_log(client: ChatClient) -> dict[int, Frame]:
    messages: list[Frame] = []
    while True:
        page = await client.ask("chat.history", room="lobby", after=len(messages), limit=100)
        messages += page["messages"]
        if not page["has_more"]:
            return {message["offset"]: message for message in messages}


async def test_all_that_drop_and_resume_at_random_end_up_with_the_whole_log(
    own_gateway: OwnGateway,
) -> None:
    luck = random.Random(20261120)
    gateway = own_gateway(max_connections_per_user=0)
    done, top = asyncio.Event(), [0]
    async with asyncio.timeout(SECONDS), App(gateway) as app, asyncio.TaskGroup() as listening:
        token = await app.token("listener")
        phones = [Phone(app, token, random.Random(luck.random())) for _ in range(LISTENERS)]
        for phone in phones:
            listening.create_task(phone.listen(done, top))
        for phone in phones:
            await phone.joined.wait()

        async def talk(name: str) -> None:
            async with app.in_room(name, "lobby"):
                pass  # a permanent member, which need not listen while sending
            async with app.connect(name) as member:
                await send(member, random.Random(luck.random()))

        await asyncio.gather(*(talk(f"sender-{number}") for number in range(SENDERS)))
        async with app.in_room("reader", "lobby") as reader:
            log = await whole_log(reader)
            top[0] = (await reader.ask("room.join", room="lobby"))["offset"]
            assert top[0] == SENDERS * CHANGES
            done.set()

    # Each listener first came when the log was empty, so each has seen all of it, in its newest state.
    assert all(phone.view == log for phone in phones)
    assert sum(phone.drops for phone in phones) > LISTENERS
