"""The property test notices what breaks the order of real time, and its network cuts and waits."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from proofs.rooms import Found
from proofs.rooms.detour import CLEAR, Detour, Weather
from proofs.rooms.order import Operation, Order
from proofs.rooms.wanderer import Timed
from proofs.view import Sightings, View
from tests.support.network import HERE
from tests.support.raw_server import pipe, raw_server

WAIT = 10


def order(*operations: Operation) -> Order:
    found = Order()
    for each in operations:
        found.note("lobby", each)
    return found


def test_changes_in_the_order_of_their_requests_are_right() -> None:
    assert order(Operation(0, 1, 1), Operation(2, 3, 2)).late() == []


def test_requests_at_the_same_time_may_take_either_order() -> None:
    assert order(Operation(0, 3, 2), Operation(1, 2, 1)).late() == []


def test_a_change_before_one_that_was_acknowledged_earlier_is_late() -> None:
    assert len(order(Operation(0, 1, 2), Operation(2, 3, 1)).late()) == 1


def test_a_repeated_request_may_have_made_its_change_long_ago() -> None:
    assert order(Operation(0, 1, 2), Operation(2, 3, 1, is_repeated=True)).late() == []


def test_a_join_that_shows_less_than_was_acknowledged_is_stale() -> None:
    both = order(Operation(0, 1, 2), Operation(2, 3, 1, is_read=True))
    assert both.late() == []
    assert len(both.stale_reads()) == 1


@pytest.mark.parametrize(("is_alone", "missed"), [(True, 1), (False, 0)])
def test_one_node_may_show_no_stale_join(is_alone: bool, missed: int) -> None:
    found = Found("SQLite", is_alone, acknowledged=1, views=1, resumes=1, stale_reads=1)
    assert sum(not bar.passed for bar in found.bars()) == missed


def test_rounds_without_a_resume_miss_a_bar() -> None:
    found = Found("SQLite", acknowledged=1, views=1)
    [missed] = [bar for bar in found.bars() if not bar.passed]
    assert "resumes" in missed.what


async def test_an_event_of_a_room_that_was_left_is_a_fault() -> None:
    sightings = Sightings()
    connection = Timed("ann", {"lobby": View("ann", "lobby", sightings)}, Order(), set(), sightings)
    message = {"type": "chat.message", "data": {"room": "lobby", "offset": 1, "changed": 1, "sender": "bob"}}
    connection.take({"type": "room.left", "data": {"room": "lobby", "user": "bob"}})
    connection.take(message)
    assert sightings.counts["unasked"] == 0
    connection.take({"type": "room.left", "data": {"room": "lobby", "user": "ann"}})
    connection.take(message)
    assert sightings.counts["unasked"] == 1


class Echoing:
    """A server that sends back what comes."""

    machine = HERE
    port = 0


@pytest.fixture
async def echoing() -> AsyncIterator[Echoing]:
    server = Echoing()
    async with raw_server(pipe) as server.port:
        yield server


@pytest.mark.server
async def test_a_detour_passes_everything_and_cuts_when_it_is_told_to(echoing: Echoing) -> None:
    async with asyncio.timeout(WAIT), Detour(echoing, random.Random(1)) as detour:
        detour.weather = Weather(delay=0.01, bytes_per_second=1_000_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", detour.server.port)
        writer.write(b"one two three" * 1000)
        assert await reader.readexactly(13_000) == b"one two three" * 1000
        detour.drop()
        assert await reader.read() == b""
        writer.close()


@pytest.mark.server
async def test_a_detour_cuts_a_connection_when_its_time_is_over(echoing: Echoing) -> None:
    async with asyncio.timeout(WAIT), Detour(echoing, random.Random(1)) as detour:
        reader, writer = await asyncio.open_connection("127.0.0.1", detour.server.port)
        detour.weather = Weather(life=0.1)
        assert await reader.read() == b""
        assert (detour.cuts, CLEAR.life) == (1, 0.0)
        writer.close()
