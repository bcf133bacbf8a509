"""Listeners that break at the worst moment, by a reset or a fault. All others get everything."""

import asyncio
import json
import os
import random
import socket
import struct
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Connection

from gateway.core import faults
from gateway.store import messages, rooms
from gateway.testing import Gateway
from gateway.transport.frames import Frame as OutFrame
from gateway.transport.outbox import Outbox
from tests.conftest import OwnGateway
from tests.handlers.test_system import add_admin
from tests.support.client import App, ChatClient, Frame
from tests.support.metrics import metrics_of
from tests.support.waiting import until
from tests.support.wire import frame, handshake, opened

SECONDS = float(os.environ.get("BREAK_SECONDS", "5"))
"""How long listeners break. Use `BREAK_SECONDS=60` for a thorough run."""

ROOMS = ("red", "green", "blue")
BREAKING = 30
STAY_SECONDS = 0.3
"""How long a breaking listener stays at most."""


def joins() -> bytes:
    return b"".join(frame(json.dumps({"type": "room.join", "id": 1, "data": {"room": room}})) for room in ROOMS)


async def break_again_and_again(gateway: Gateway, token: str, chance: random.Random) -> int:
    """Connect, join all rooms, and leave by a reset, until the time is over. Return how often."""
    loop, times = asyncio.get_running_loop(), 0
    end = loop.time() + SECONDS
    while loop.time() < end:
        async with opened(gateway, handshake(token) + joins()) as (reader, writer):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            async with asyncio.timeout(20):
                await reader.read(100)  # the answer to the handshake
            await asyncio.sleep(chance.uniform(0, STAY_SECONDS))
            writer.transport.abort()
            times += 1
    return times


async def talk(client: ChatClient, done: asyncio.Event) -> list[str]:
    """Send a message in each room, and one to all connections, again and again. Return what was announced."""
    announced: list[str] = []
    while not done.is_set():
        for room in ROOMS:
            await client.until(id=await client.start("chat.send", room=room, text="hi"), status=20000)
        announced.append(str(len(announced)))
        await client.until(id=await client.start("announce", text=announced[-1]), status=20000)
        await asyncio.sleep(0.01)
    return announced


async def hear(client: ChatClient, last: str) -> list[Frame]:
    """Take all events up to the last announcement."""
    events = []
    while True:
        event = await client.next()
        events.append(event)
        if event["type"] == "announcement" and event["data"]["text"] == last:
            return events


async def log_of(gateway: Gateway, name: str) -> list[int]:
    """Return the offsets that the store has for a room."""

    def read(connection: Connection) -> list[int]:
        room = rooms.by_name(connection, name)
        assert room is not None
        return [row.changed for row in messages.changed_since(connection, room.id, 0, limit=1_000_000)]

    return await gateway.run(gateway.state.database.query(read))


async def test_all_that_stay_hear_every_message_while_others_break_in_the_middle_of_fan_outs(
    own_gateway: OwnGateway, fresh_faults: None, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = own_gateway(max_connections_per_user=0)
    async with App(gateway) as app, AsyncExitStack() as stack:
        await gateway.run(add_admin(gateway, "admin"))
        speaker, *staying = [
            await stack.enter_async_context(app.connect(name)) for name in ("admin", "ann", "ben", "cat")
        ]
        for client in (speaker, *staying):
            client.ignored |= {"room.joined"}
            for room in ROOMS:
                await client.ask("room.join", room=room)
        done = asyncio.Event()
        hearing = [asyncio.create_task(hear(client, "the end")) for client in staying]
        talking = asyncio.create_task(talk(speaker, done))
        token = await app.token("restless")
        broke = await asyncio.gather(
            *(break_again_and_again(gateway, token, random.Random(number)) for number in range(BREAKING))
        )
        done.set()
        announced = await talking
        async with app.connect("newcomer") as newcomer:  # as a client that comes back hears what follows
            newcomer.ignored |= {"room.joined"}
            for room in ROOMS:
                await newcomer.ask("room.join", room=room)
            for room in ROOMS:
                await speaker.until(id=await speaker.start("chat.send", room=room, text="bye"), status=20000)
            await speaker.until(id=await speaker.start("announce", text="the end"), status=20000)
            heard_last = await hear(newcomer, "the end")
        assert sorted(event["type"] for event in heard_last) == ["announcement", *["chat.message"] * len(ROOMS)]
        logs = {room: await log_of(gateway, room) for room in ROOMS}
        for events in await asyncio.gather(*hearing):
            said = [event["data"] for event in events if event["type"] == "chat.message"]
            assert {room: [each["offset"] for each in said if each["room"] == room] for room in ROOMS} == logs
            texts = [event["data"]["text"] for event in events if event["type"] == "announcement"]
            assert texts == [*announced, "the end"]
        assert all(log == list(range(1, len(log) + 1)) for log in logs.values())
        assert (sum(broke) > BREAKING, len(announced) > 10) == (True, True)
    assert not faults.counters, "nothing was to be contained"
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[Outbox]:
    """Outboxes that raise for the next frame that is delivered, once."""
    outboxes: set[Outbox] = set()
    deliver = Outbox.deliver

    def deliver_or_fail(self: Outbox, frame: OutFrame) -> None:
        if self in outboxes:
            outboxes.remove(self)
            raise RuntimeError("an outbox fails")
        deliver(self, frame)

    monkeypatch.setattr(Outbox, "deliver", deliver_or_fail)
    return outboxes


@pytest.mark.parametrize("kind", ["a message", "an announcement"])
@pytest.mark.usefixtures("fresh_faults")
async def test_a_listener_with_a_failed_delivery_comes_back_and_resumes_and_the_others_notice_nothing(
    own_gateway: OwnGateway, failing: set[Outbox], kind: str
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, AsyncExitStack() as stack:
        await gateway.run(add_admin(gateway, "ann"))
        ann, cat = [await stack.enter_async_context(app.in_room(name, "red")) for name in ("ann", "cat")]
        for client in (ann, cat):
            client.ignored |= {"room.joined"}
        async with app.in_room("ben", "red") as ben:
            ben.ignored |= {"room.joined"}
            first = await ann.say("red", "one")
            for each in (ben, cat):
                await each.expect("chat.message", text="one")
            [connection] = [each for each in gateway.state.connections.all() if each.user == "ben"]
            failing.add(connection.ws.outbox)  # type: ignore[attr-defined]  # of a session
            if kind == "a message":
                await ann.say("red", "two")
                await cat.expect("chat.message", text="two")
            else:
                await ann.ask("announce", text="two")
                await ann.expect("announcement", text="two")
                await cat.expect("announcement", text="two")
            await ben.ws.wait_closed()
        await until(lambda: gateway.state.connections.count == 2)
        async with app.connect("newcomer") as newcomer, app.connect("ben") as ben:
            await newcomer.ask("room.join", room="red")
            since = {"epoch": first["epoch"], "offset": 1}
            resumed = await ben.ask("room.join", room="red", since=since)
            assert resumed["recovered"] is True
            assert [event["data"]["text"] for event in resumed["events"]] == (["two"] if kind == "a message" else [])
            await ann.say("red", "three")
            await ann.ask("announce", text="four")
            for client in (ann, cat, newcomer, ben):
                client.ignored |= {"room.joined"}
                if client is not ann:
                    await client.expect("chat.message", text="three")
                await client.expect("announcement", text="four")
                await client.expect_nothing()
        assert (await metrics_of(app))['gateway_faults_contained_total{loop="deliveries"}'] == 1
