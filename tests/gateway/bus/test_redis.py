"""The bus over a real Valkey: what reaches other nodes, and what happens when the server fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gateway.bus import redis as redis_bus
from gateway.bus.base import (
    BusEvent,
    Logged,
    MemberJoined,
    MemberLeft,
    NodeMessage,
    OwnForm,
    Revoked,
    RoomEnded,
    ToAll,
    ToRoom,
    ToUser,
    room_of,
)
from gateway.bus.redis import RedisBus
from gateway.bus.redis_client import connect
from gateway.core import faults
from gateway.core.start_error import StartError
from gateway.testing import settings_for_tests
from gateway.transport.frames import Frame, text_frame
from tests.support.certificate import certificate
from tests.support.child import free_port
from tests.support.proxy import Proxy
from tests.support.valkey import Valkey, running_cluster, running_sentinel, running_valkey
from tests.support.waiting import until

pytestmark = pytest.mark.server

WAIT_SECONDS = 20


class Node:
    """A node's end of the bus, and what arrived there."""

    def __init__(self, bus: RedisBus) -> None:
        self.bus = bus
        self.events: asyncio.Queue[BusEvent] = asyncio.Queue()
        self.revoked: asyncio.Queue[Revoked] = asyncio.Queue()
        self.missed: list[str | None] = []

    async def start(self) -> None:
        await self.bus.start(self._receive, self.revoked.put_nowait, self.missed.append)

    def _receive(self, event: BusEvent) -> int:
        self.events.put_nowait(event)
        return 7

    async def expect(self, text: str, *, perhaps_after: str | None = None) -> BusEvent:
        """Take the next event, which must have this content. Events that may or may not come before it are skipped."""
        event = await asyncio.wait_for(self.events.get(), WAIT_SECONDS)
        if perhaps_after is not None and event.frame.text == said(perhaps_after).frame.text:
            event = await asyncio.wait_for(self.events.get(), WAIT_SECONDS)
        assert event.frame.text == said(text).frame.text
        return event

    async def expect_nothing(self, other: "Node") -> None:
        """Check that nothing more is on its way from another node: an event for all would come after it."""
        await other.bus.publish(said("end", room=None))
        await other.expect("end")
        await self.expect("end")
        assert self.events.empty()


def frame(text: str, *, droppable: bool = False) -> Frame:
    return text_frame(f'{{"type":"x","data":"{text}"}}'.encode(), droppable=droppable)


def said(text: str, room: str | None = "lobby", *, droppable: bool = False) -> BusEvent:
    event = frame(text, droppable=droppable)
    return ToAll(event) if room is None else ToRoom(event, room)


@asynccontextmanager
async def running_bus(url: str, *names: str, start: bool = True, **changes: Any) -> AsyncIterator[list[Node]]:
    """Return each named node with its end of a bus."""
    settings = settings_for_tests(Path("unused"), bus_url=url, **changes)
    nodes = [Node(RedisBus(connect(settings), settings, name)) for name in names]
    try:
        for node in nodes:
            if start:
                await node.start()
        yield nodes
    finally:
        for node in nodes:
            await node.bus.close()


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@pytest.fixture
async def nodes(valkey: Valkey, unique: Callable[[str], str]) -> AsyncIterator[list[Node]]:
    """Two nodes with a prefix for this test."""
    async with running_bus(valkey.url, "a", "b", bus_prefix=unique("prefix")) as running:
        yield running


@pytest.mark.parametrize(
    "given",
    [
        Logged(frame("☃ hello"), "lobby", "k3f9", 58),
        Logged(frame("☃ hello"), "lobby", "k3f9", 58, OwnForm("u1", frame("mine"))),
        ToRoom(frame("☃ hello", droppable=True), "lobby"),
        ToRoom(frame("☃ hello"), "lobby", skip_user="u2"),
        MemberJoined(frame("☃ hello", droppable=True), "lobby", "k3f9", "u3", 5),
        MemberLeft(frame("☃ hello"), "lobby", "k3f9", "u3", 4),
        RoomEnded(frame("☃ hello"), "lobby", "k3f9"),
        ToUser(frame("☃ hello"), "u4"),
        ToAll(frame("☃ hello")),
    ],
    ids=lambda given: type(given).__name__,
)
async def test_an_event_of_each_kind_arrives_as_it_was(nodes: list[Node], given: BusEvent) -> None:
    here, there = nodes
    await there.bus.subscribe("lobby")
    assert await here.bus.publish(given) == 7
    came = await there.expect("☃ hello")
    assert (came.frame.wire, came.frame.droppable) == (given.frame.wire, given.frame.droppable)
    assert plain(came) == plain(given)


def plain(event: BusEvent) -> tuple[type[BusEvent], dict[str, object]]:
    """Return an event with texts in place of its frames."""
    return type(event), asdict(event, dict_factory=lambda pairs: {name: _plain(part) for name, part in pairs})


def _plain(part: object) -> object:
    return part.text if isinstance(part, Frame) else part


async def test_whoever_publishes_has_the_event_at_once_and_once(nodes: list[Node]) -> None:
    here, there = nodes
    await here.bus.subscribe("lobby")
    await here.bus.publish(said("mine"))
    assert here.events.qsize() == 1
    await here.expect("mine")
    await here.expect_nothing(there)


async def test_only_nodes_that_hear_a_room_get_its_events(nodes: list[Node]) -> None:
    here, there = nodes
    await there.bus.subscribe("lobby")
    await here.bus.publish(said("elsewhere", "lobby-2"))
    await here.expect("elsewhere")
    await there.expect_nothing(here)
    assert there.bus.counters.received == 1  # the end


async def test_what_is_for_a_user_or_all_and_what_has_ended_reaches_every_node(nodes: list[Node]) -> None:
    here, there = nodes
    await here.bus.publish(ToUser(frame("you"), "u1"))
    assert plain(await there.expect("you")) == plain(ToUser(frame("you"), "u1"))
    for revoked in (Revoked("u1", frozenset({"s1", "s2"})), Revoked("u1", None), Revoked("u1", frozenset())):
        await here.bus.revoke(revoked)
        for node in nodes:
            assert await asyncio.wait_for(node.revoked.get(), WAIT_SECONDS) == revoked


async def test_a_room_that_is_left_and_joined_at_once_is_heard(nodes: list[Node], valkey: Valkey) -> None:
    here, there = nodes
    for number in range(100):
        await there.bus.subscribe("lobby")
        await here.bus.publish(said(str(number)))
        await there.expect(str(number))
        there.bus.unsubscribe("lobby")
        if number % 3 == 0:
            await asyncio.sleep(0)
        if number % 3 == 1:  # in one turn with the one before, or while that is on its way
            await there.bus.subscribe("lobby")
            there.bus.unsubscribe("lobby")
    there.bus.unsubscribe("lobby")
    await until(lambda: "room:lobby" not in valkey.ask("PUBSUB CHANNELS *"))
    await here.bus.publish(said("nobody hears this"))
    await until(lambda: here.bus.counters.published == 101)
    await there.bus.subscribe("lobby")
    here.events = asyncio.Queue()
    await there.expect_nothing(here)


async def test_all_simultaneous_requests_for_a_room_hear_what_is_said_after_its_confirmation(nodes: list[Node]) -> None:
    here, there = nodes

    async def ask(number: int) -> None:
        await there.bus.subscribe("lobby")
        await here.bus.publish(said(str(number)))

    await asyncio.gather(*(ask(number) for number in range(5)))
    assert {(await asyncio.wait_for(there.events.get(), WAIT_SECONDS)).frame.text for _ in range(5)} == {
        said(str(number)).frame.text for number in range(5)
    }


async def test_ten_thousand_rooms_that_are_joined_and_left_leave_nothing_behind(
    nodes: list[Node], valkey: Valkey
) -> None:
    _, there = nodes
    rooms = [f"room-{number}" for number in range(10_000)]
    for start in range(0, len(rooms), 500):
        await asyncio.gather(*(there.bus.subscribe(room) for room in rooms[start : start + 500]))
        for room in rooms[start : start + 250]:
            there.bus.unsubscribe(room)
    assert there.bus.channels > 5000
    for room in rooms:
        there.bus.unsubscribe(room)
    await until(lambda: there.bus.channels == 2)
    await until(lambda: "room-" not in valkey.ask("PUBSUB CHANNELS *"))
    assert there.missed in ([], [None])


async def test_two_clusters_on_one_server_hear_nothing_of_each_other(valkey: Valkey) -> None:
    async with (
        running_bus(valkey.url, "a", "b", bus_prefix="one") as ones,
        running_bus(valkey.url, "a", "b", bus_prefix="two") as others,
    ):
        for node in (*ones, *others):
            await node.bus.subscribe("lobby")
        await ones[0].bus.publish(said("for one"))
        await ones[0].bus.publish(said("for all of one", None))
        await ones[0].bus.revoke(Revoked("u1", None))
        await ones[1].expect("for one")
        await ones[1].expect("for all of one")
        await others[1].expect_nothing(others[0])
        assert others[1].revoked.empty()
        assert others[1].bus.counters.received == 1


HEAD = b'jg1 other\n{"kind":"event","room":"lobby"'
FRAME = b'{"type":"x","data":1}'
UNREADABLE = {
    "a foreign text": (b"hunter2 says hi", "foreign"),
    "nothing": (b"", "foreign"),
    "a newer version": (b'jg2 other\n{"kind":"event","room":"lobby","mood":"hunter2"}\n' + FRAME, "version"),
    "no head": (b"jg1 other", "head"),
    "a head that is no JSON": (b"jg1 other\nhunter2\n" + FRAME, "head"),
    "a kind of message that is new": (b'jg1 other\n{"kind":"hunter2","room":"lobby"}\n' + FRAME, "head"),
    "a number that is a text": (HEAD + b',"epoch":"e","offset":"1"}\n' + FRAME, "head"),
    "an offset of no log": (HEAD + b',"offset":1}\n' + FRAME, "head"),
    "an offset without an epoch and a place": (HEAD + b',"epoch":"e"}\n' + FRAME, "head"),
    "an arrival without a number": (HEAD + b',"epoch":"e","new_user":"u1"}\n' + FRAME, "head"),
    "an arrival without a user": (HEAD + b',"epoch":"e","arrivals":1}\n' + FRAME, "head"),
    "an arrival before the first": (HEAD + b',"epoch":"e","new_user":"u1","arrivals":0}\n' + FRAME, "head"),
    "an arrival of any room's log": (HEAD + b',"new_user":"u1","arrivals":1}\n' + FRAME, "head"),
    "an arrival that is a departure": (
        HEAD + b',"epoch":"e","new_user":"u1","arrivals":1,"drop_user":"u1","departures":1}\n' + FRAME,
        "head",
    ),
    "a departure without a number": (HEAD + b',"epoch":"e","drop_user":"u1"}\n' + FRAME, "head"),
    "a departure that is logged": (
        HEAD + b',"epoch":"e","offset":1,"drop_user":"u1","departures":1}\n' + FRAME,
        "head",
    ),
    "an end of a room for one user": (HEAD + b',"epoch":"e","drop_all":true,"drop_user":"u1"}\n' + FRAME, "head"),
    "an end of any room": (HEAD + b',"drop_all":true}\n' + FRAME, "head"),
    "an event for a room and a user": (HEAD + b',"user":"u1"}\n' + FRAME, "head"),
    "an event of the log that skips a user": (HEAD + b',"epoch":"e","offset":1,"skip_user":"u1"}\n' + FRAME, "head"),
    "an offset below all": (HEAD + b',"epoch":"e","offset":-1}\n' + FRAME, "head"),
    "another room": (b'jg1 other\n{"kind":"event","room":"hunter2"}\n' + FRAME, "channel"),
    "a revocation": (b'jg1 other\n{"kind":"revoked","user":"hunter2","sessions":null}', "channel"),
    "no event": (HEAD + b"}", "text"),
    "too many events": (HEAD + b"}\n" + FRAME + b"\n" + FRAME, "text"),
    "no event for the sender": (HEAD + b',"own_user":"u1"}\n' + FRAME, "text"),
    "an event that is none": (HEAD + b"}\nhunter2", "text"),
    "bytes that are no text": (HEAD + b'}\n{"type":"x","data":"\xff"}', "text"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_an_unreadable_message_is_counted_and_not_delivered_and_the_store_is_checked(
    nodes: list[Node], valkey: Valkey, kind: str, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    here, there = nodes
    data, reason = UNREADABLE[kind]
    await there.bus.subscribe("lobby")
    there.missed.clear()
    channel = next(name for name in there.bus._channels if name.endswith(":room:lobby"))
    for _ in range(3):
        await raw_client(here).execute_command("PUBLISH", channel, data)
    await here.bus.publish(said("still here"))
    await there.expect("still here")
    assert there.bus.counters.rejected == {reason: 3}
    assert there.missed == ["lobby"] * 3
    (line,) = [record.getMessage() for record in caplog.records if "cannot read messages" in record.getMessage()]
    assert reason in line
    assert "hunter2" not in caplog.text


async def test_what_a_newer_node_says_besides_is_not_needed_to_deliver_its_messages(
    nodes: list[Node], valkey: Valkey
) -> None:
    here, there = nodes
    await there.bus.subscribe("lobby")
    room = next(name for name in there.bus._channels if name.endswith(":room:lobby"))
    every = next(name for name in there.bus._channels if name.endswith(":nodes"))
    news: list[NodeMessage] = []
    there.bus.listen(news.append)
    new = b',"mood":{"since":[1,null]}}'
    for channel, data in (
        (room, HEAD + b',"epoch":"e","offset":7' + new + b"\n" + FRAME),
        (room, HEAD + new + b"\n" + FRAME),
        (every, b'jg1 other\n{"kind":"revoked","user":"u1","sessions":["s1"]' + new),
        (every, b'jg1 other\n{"kind":"node","what":"news","name":"n"' + new + b'\n{"data":1,"more":2}'),
    ):
        await raw_client(here).execute_command("PUBLISH", channel, data)
    logged, unlogged = [await asyncio.wait_for(there.events.get(), WAIT_SECONDS) for _ in range(2)]
    assert isinstance(logged, Logged)
    assert isinstance(unlogged, ToRoom)
    assert (logged.frame.text, logged.room, logged.epoch, logged.offset) == (FRAME.decode(), "lobby", "e", 7)
    assert await asyncio.wait_for(there.revoked.get(), WAIT_SECONDS) == Revoked("u1", frozenset({"s1"}))
    await until(lambda: news == [NodeMessage("other", "news", "n", {"data": 1, "more": 2})])
    assert there.bus.counters.rejected == {}


async def test_what_cannot_be_read_by_all_nodes_ends_nobodys_session(nodes: list[Node]) -> None:
    here, there = nodes
    channel = next(name for name in there.bus._channels if name.endswith(":nodes"))
    there.missed.clear()
    for data in (
        b'jg1 other\n{"kind":"revoked","user":"u1"}',
        b'jg1 other\n{"kind":"revoked","user":"","sessions":null}',
        b'jg1 other\n{"kind":"revoked","user":"u1","sessions":"all"}',
        b'jg1 other\n{"kind":"revoked","user":"u1","sessions":null}\n{}',
        b'jg9 other\n{"kind":"revoked","user":"u1","sessions":null}',
        HEAD + b"}\n" + FRAME,
    ):
        await raw_client(here).execute_command("PUBLISH", channel, data)
    await there.expect_nothing(here)
    assert there.bus.counters.rejected == {"head": 3, "text": 1, "version": 1, "channel": 1}
    assert there.revoked.empty()
    assert there.missed == []


def raw_client(node: Node) -> Any:
    """The client below a bus, to send what no bus sends."""
    return node.bus._client


async def test_a_failure_in_one_event_takes_no_other_with_it(
    nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = nodes
    await there.bus.subscribe("lobby")

    def fail(_: BusEvent) -> int:
        raise ZeroDivisionError

    there.bus._on_event = fail
    await here.bus.publish(said("breaks"))
    await until(lambda: "ZeroDivisionError" in caplog.text)
    there.bus._on_event = there._receive
    await here.bus.publish(said("works"))
    await there.expect("works")


async def test_a_server_that_restarts_is_found_again_and_what_was_missed_is_told(
    unreliable: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running_bus(unreliable.url, "a", "b") as (here, there):
        await there.bus.subscribe("lobby")
        there.missed.clear()
        unreliable.stop()
        await until(lambda: not there.bus.is_up and not here.bus.is_up)
        await here.bus.publish(said("meanwhile"))
        await asyncio.wait_for(there.bus.subscribe("made-meanwhile"), 0.5)
        unreliable.start()
        await until(lambda: there.bus.is_up and here.bus.is_up)
        assert there.missed == [None]
        for room in ("lobby", "made-meanwhile"):
            await here.bus.publish(said(room, room))
            assert room_of(await there.expect(room, perhaps_after="meanwhile")) == room
        assert there.bus.counters.connects == 2
    for words in ("the bus is away: ", "the bus is back after "):
        assert sum(words in record.getMessage() for record in caplog.records) == 2, caplog.text  # once for each node


async def test_a_connection_that_the_server_cuts_is_made_anew(
    unreliable: Valkey,
) -> None:
    async with running_bus(unreliable.url, "a", "b") as (here, there):
        await there.bus.subscribe("lobby")
        there.missed.clear()
        unreliable.ask("CLIENT KILL TYPE pubsub")
        await until(lambda: there.missed == [None] and here.bus.is_up)
        await here.bus.publish(said("again"))
        await there.expect("again")


async def test_a_server_that_hangs_is_noticed_without_any_wait(unreliable: Valkey) -> None:
    async with running_bus(unreliable.url, "a", "b") as (here, there):
        await there.bus.subscribe("lobby")
        unreliable.freeze()
        try:
            there.missed.clear()
            assert await asyncio.wait_for(here.bus.publish(said("waits")), 0.5) == 7
            await asyncio.wait_for(there.bus.subscribe("late"), redis_bus.SUBSCRIBE_SECONDS + 1)
            await until(lambda: not here.bus.is_up and not there.bus.is_up)
            assert there.missed == []
        finally:
            unreliable.thaw()
        await until(lambda: here.bus.is_up and there.bus.is_up)
        assert there.missed == [None]
        there.events = asyncio.Queue()
        await here.bus.publish(said("now", "late"))
        await there.expect("now")


async def test_what_waited_for_a_server_that_hung_is_published_when_it_goes_on(unreliable: Valkey) -> None:
    async with running_bus(unreliable.url, "a", "b") as (here, _):
        unreliable.freeze()
        try:
            for number in range(3 * redis_bus.BATCH):
                await here.bus.publish(said(str(number)))
            await until(lambda: not here.bus.is_up)
            assert here.bus.waiting >= 2 * redis_bus.BATCH
        finally:
            unreliable.thaw()
        await until(lambda: here.bus.waiting == 0)
        counts = here.bus.counters
        await until(lambda: counts.published + counts.dropped == 3 * redis_bus.BATCH)
        assert counts.dropped <= redis_bus.BATCH  # what was under way may have arrived or not


async def test_a_subscription_that_takes_too_long_is_made_up_for(
    unreliable: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_bus, "PING_SECONDS", 60)  # the server is slow, and not given up
    monkeypatch.setattr(redis_bus, "SUBSCRIBE_SECONDS", 0.1)
    async with running_bus(unreliable.url, "a") as (node,):
        node.missed.clear()
        unreliable.freeze()
        try:
            await node.bus.subscribe("lobby")
            assert node.missed == []
        finally:
            unreliable.thaw()
        await until(lambda: node.missed == ["lobby"])


async def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(unreliable: Valkey) -> None:
    async with running_bus(unreliable.url, "a", "b", bus_queue=10) as (here, there):
        await there.bus.subscribe("lobby")
        unreliable.stop()
        await until(lambda: not here.bus.is_up)
        for number in range(8):
            await here.bus.publish(said(f"typing {number}", droppable=True))
        assert (here.bus.waiting, here.bus.counters.dropped) == (0, 8)  # it would be out of date on arrival
        for number in range(12):
            await here.bus.publish(said(f"message {number}"))
        assert (here.bus.waiting, here.bus.counters.dropped) == (10, 10)
        assert here.events.qsize() == 20  # at home, nothing was
        unreliable.start()
        await until(lambda: here.bus.waiting == 0)


async def test_the_queue_is_bounded_in_bytes_as_well(unreliable: Valkey) -> None:
    async with running_bus(unreliable.url, "a", bus_queue_bytes=1_048_576) as (node,):
        unreliable.stop()
        await until(lambda: not node.bus.is_up)
        for _ in range(20):
            await node.bus.publish(said("x" * 100_000))
        assert (node.bus.waiting, node.bus.counters.dropped) == (10, 10)


async def test_without_the_server_nothing_starts_where_it_is_required() -> None:
    async with running_bus(f"redis://:hunter2@127.0.0.1:{free_port()}", "a", start=False) as (node,):
        with pytest.raises(StartError, match=r"^GATEWAY_BUS_URL: no answer") as refused:
            await node.start()
        assert "hunter2" not in str(refused.value)


async def test_without_the_server_it_starts_where_it_is_not_required_and_finds_it_later(unreliable: Valkey) -> None:
    unreliable.stop()
    async with running_bus(unreliable.url, "a", "b", bus_required=False) as (here, there):
        assert not here.bus.is_up
        await there.bus.subscribe("lobby")
        unreliable.start()
        await until(lambda: here.bus.is_up and there.bus.is_up)
        assert there.missed == [None]
        await here.bus.publish(said("hello"))
        await there.expect("hello")


async def test_in_a_cluster_rooms_are_kept_apart() -> None:
    with running_cluster() as cluster:
        async with running_bus(f"redis+cluster://127.0.0.1:{cluster.port}", "a", "b") as (here, there):
            rooms = [f"room-{number}" for number in range(20)]
            await asyncio.gather(*(there.bus.subscribe(room) for room in rooms))
            for room in rooms:
                await here.bus.publish(said(room, room))
            for room in rooms:
                assert room_of(await there.expect(room)) == room
            await here.bus.revoke(Revoked("u1", None))
            assert await asyncio.wait_for(there.revoked.get(), WAIT_SECONDS) == Revoked("u1", None)
            assert "json-gateway:room:room-7" in cluster.ask("PUBSUB SHARDCHANNELS")
            for room in rooms:
                there.bus.unsubscribe(room)
            await until(lambda: "room:" not in cluster.ask("PUBSUB SHARDCHANNELS"))
            there.missed.clear()
            # The behaviour of a server when some of its channels move to another one.
            await there.bus.subscribe("lobby")
            cluster.ask("CLUSTER DELSLOTSRANGE 0 16383")
            await until(lambda: not there.bus.is_up)
            cluster.ask("CLUSTER ADDSLOTSRANGE 0 16383")
            await until(lambda: there.bus.is_up and here.bus.is_up)
            assert there.missed == [None]
            there.events = asyncio.Queue()
            await here.bus.publish(said("again"))
            await there.expect("again")


async def test_sentinels_say_where_the_bus_is(valkey: Valkey) -> None:
    with running_sentinel(valkey, "main") as sentinel:
        async with running_bus(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", "a", "b") as (here, there):
            await there.bus.subscribe("lobby")
            await here.bus.publish(said("hello"))
            await there.expect("hello")


async def test_a_slow_network_makes_others_late_and_nothing_else(valkey: Valkey) -> None:
    async with Proxy(valkey.port) as network:
        async with running_bus(f"redis://127.0.0.1:{network.port}", "a", "b") as (here, there):
            network.delay = 0.15
            there.missed.clear()
            await there.bus.subscribe("lobby")
            begun = asyncio.get_running_loop().time()
            turns: list[str] = []
            asyncio.get_running_loop().call_soon(turns.append, "somebody else had a turn")
            for number in range(1000):
                assert await here.bus.publish(said(str(number))) == 7
            assert turns == []  # no caller waits for the network or anything else
            for number in range(1000):
                await there.expect(str(number))
            assert asyncio.get_running_loop().time() - begun > 0.3
            assert (here.bus.is_up, there.bus.is_up, there.missed) == (True, True, [])


async def test_a_network_that_swallows_everything_is_noticed(unreliable: Valkey) -> None:
    async with Proxy(unreliable.port) as network:
        async with running_bus(f"redis://127.0.0.1:{network.port}", "a") as (node,):
            node.missed.clear()
            network.swallows = True
            await until(lambda: not node.bus.is_up)
            network.swallows = False
            await until(lambda: node.bus.is_up)
            assert node.missed == [None]


async def test_over_tls_only_a_server_with_the_right_certificate_is_spoken_to(valkey: Valkey, tmp_path: Path) -> None:
    authority, context = certificate(tmp_path)
    async with Proxy(valkey.port, context) as network:
        url = f"rediss://localhost:{network.port}"
        async with running_bus(f"{url}?ssl_ca_certs={authority}", "a", "b") as (here, there):
            await there.bus.subscribe("lobby")
            await here.bus.publish(said("hello"))
            await there.expect("hello")
        for wrong in (url, f"rediss://127.0.0.1:{network.port}?ssl_ca_certs={authority}"):
            async with running_bus(wrong, "a", start=False) as (node,):
                with pytest.raises(StartError, match="certificate"):
                    await node.start()


@pytest.mark.usefixtures("fresh_faults")
async def test_what_fails_at_the_node_that_says_it_reaches_the_others_and_its_log_is_looked_into(
    nodes: list[Node],
) -> None:
    here, there = nodes
    await there.bus.subscribe("lobby")

    def fail(_: object) -> Any:
        raise ZeroDivisionError

    here.missed.clear()
    here.bus._on_event = here.bus._on_revoked = fail
    assert await here.bus.publish(said("breaks here")) == 0
    await there.expect("breaks here")
    assert here.missed == ["lobby"]
    await here.bus.revoke(Revoked("user-1", None))
    assert await asyncio.wait_for(there.revoked.get(), WAIT_SECONDS) == Revoked("user-1", None)
    assert faults.counters == {"bus": 2}
