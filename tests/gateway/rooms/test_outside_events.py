"""Events from commands beside a gateway: delivered as its own, also long ones; a wrong one harms nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.base import Revoked, ToRoom, ToUser
from gateway.bus.outside import CHECK, MAX_BYTES, PUBLISH, OutsideBus
from gateway.core.clock import SystemClock
from gateway.core.local_socket import LocalFailed, ask, sockets_in
from gateway.rooms.log import Log
from gateway.rooms.message_changes import Send
from gateway.store.engine import Database
from gateway.testing import Gateway, running_gateway, settings_for_tests
from gateway.transport.frames import text_frame
from tests.support.client import App

pytestmark = pytest.mark.server

SECONDS = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(settings_for_tests(tmp_path_factory.mktemp("outside"))) as running:
        yield running


@pytest.fixture
async def app(gateway: Gateway) -> AsyncIterator[App]:
    async with App(gateway) as app:
        yield app


@pytest.fixture
def socket(gateway: Gateway) -> Path:
    [path] = sockets_in(gateway.settings.data_dir)
    return path


@pytest.fixture
async def bus(socket: Path) -> AsyncIterator[OutsideBus]:
    """The bus of a command."""
    bus = OutsideBus(socket)
    await bus.start(lambda _: 0, lambda _: None, lambda _: None)
    yield bus
    await bus.close()


async def test_a_command_writes_to_a_room_and_its_listeners_hear_each_message_in_order(
    app: App, gateway: Gateway, bus: OutsideBus, room: str, alice: str
) -> None:
    long = "☃" * MAX_BYTES  # longer than a question may be
    async with app.in_room(alice, room) as client:
        me = (await app.ask("GET", "/users/me", await app.token(alice))).json()["id"]
        async with (
            Database(gateway.settings.store_url) as database,
            Log(database, bus, SystemClock(), 100).running() as log,
        ):
            for text in ("one", long[:16000], "two"):
                await log.append(Send(room, me, alice, text, None))
            await log.append(Send(room, me, alice, None, {"long": long}))
            await log.append(Send(room, me, alice, "three", None))
        for offset in range(1, 6):
            heard = await client.expect("chat.message", offset=offset)
        assert heard["text"] == "three"
        await client.expect_nothing()


async def test_hundreds_of_events_and_a_revocation_arrive_in_their_order(
    app: App, bus: OutsideBus, room: str, alice: str, bob: str
) -> None:
    async with app.in_room(alice, room) as client, app.connect(bob) as other:
        bobs_id = (await app.ask("GET", "/users/me", await app.token(bob))).json()["id"]
        for number in range(500):
            await bus.publish(ToRoom(text_frame(b'{"type":"x","data":%d}' % number), room))
        await bus.publish(ToUser(text_frame(b'{"type":"x","data":"for one"}'), bobs_id))
        await bus.revoke(Revoked(bobs_id, None))
        for number in range(500):
            assert (await client.next())["data"] == number
        assert (await other.next())["data"] == "for one"
        await other.expect_revoked()


WRONG: dict[str, Any] = {
    "nothing": {},
    "no list": {"messages": "jg1"},
    "a message that is none": {"messages": ["jg1"]},
    "a message of too many parts": {"messages": [[None, "jg1 x", 1]]},
    "a room that is none": {"messages": [[7, "jg1 x\n{}"]]},
    "what is no event": {"messages": [[None, "hello"]]},
    "an event of another version": {"messages": [[None, 'jg2 x\n{"kind":"event"}\n{"type":"x","data":1}']]},
    "an event of another room": {"messages": [["a", 'jg1 x\n{"kind":"event","room":"b"}\n{"type":"x","data":1}']]},
    "a question of nodes": {"messages": [[None, 'jg1 x\n{"kind":"node","what":"news","name":"n"}\n{}']]},
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_event_is_refused_in_words_and_none_of_its_question_is_delivered(
    kind: str, app: App, socket: Path, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as client:
        good = [room, f'jg1 x\n{{"kind":"event","room":"{room}"}}\n{{"type":"x","data":1}}']
        messages = WRONG[kind].get("messages")
        data = {"messages": [good, *messages]} if isinstance(messages, list) else WRONG[kind]
        with pytest.raises(LocalFailed):
            await ask(socket, PUBLISH, data, timeout=SECONDS)
        await client.expect_nothing()


async def test_a_room_that_nobody_hears_may_be_checked(socket: Path) -> None:
    assert await ask(socket, CHECK, {"room": "nowhere"}, timeout=SECONDS) == {}
    with pytest.raises(LocalFailed, match="expected `room`"):
        await ask(socket, CHECK, {"room": 7}, timeout=SECONDS)


async def test_a_command_outlives_the_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_gateway(settings_for_tests(tmp_path)):
        [path] = sockets_in(tmp_path)
        bus = OutsideBus(path)
        await bus.start(lambda _: 0, lambda _: None, lambda _: None)
    await bus.publish(ToRoom(text_frame(b'{"type":"x","data":1}'), "lobby"))
    async with asyncio.timeout(SECONDS):
        await bus.close()
    assert "the gateway of this data folder does not take events" in caplog.text
