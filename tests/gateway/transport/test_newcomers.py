"""Newcomers: their order, their bounds, and when they may come back."""

import asyncio
import logging

import pytest

from gateway.core.turns import Turns
from gateway.testing.clock import MovableClock
from gateway.transport import newcomers as module
from gateway.transport.newcomers import (
    FORGET_SECONDS,
    MAX_AWAY_SECONDS,
    MAX_WAIT_SECONDS,
    RETURN_SHARE,
    SECONDS_EACH,
    Newcomers,
)
from schemas.codes import Close
from tests.support.waiting import until


class Client:
    """A client at the door."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.after_ms: int | None = None
        self.close: Close | None = None

    def begin_handshake(self) -> None:
        self.log.append(self.name)

    def send_away(self, close: Close, after_ms: int) -> None:
        self.close, self.after_ms = close, after_ms


class Door:
    """A node with its newcomers."""

    def __init__(self, most: int = 0) -> None:
        self.clock = MovableClock()
        self.clock.stop()
        self.newcomers = Newcomers(Turns(lambda: 0), self.clock, most)
        self.begun: list[str] = []

    def come(self, *names: str) -> list[Client]:
        """Let clients come."""
        clients = [Client(name, self.begun) for name in names]
        for client in clients:
            self.newcomers.arrive(client)
        return clients

    async def settle(self) -> None:
        """Let all turns pass that are due."""
        for _ in range(200):
            await asyncio.sleep(0)


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has one handshake in progress at a time."""
    monkeypatch.setattr(module, "MAX_IN_PROGRESS", 1)


@pytest.mark.usefixtures("one_at_a_time")
async def test_handshakes_begin_in_the_order_of_arrival_when_the_one_before_has_its_answer() -> None:
    door = Door()
    door.come("a", "b", "c", "d")
    await door.settle()
    assert door.begun == ["a"]
    assert door.newcomers.waiting == 3
    for begun in (["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]):
        door.newcomers.finish()
        await door.settle()
        assert door.begun == begun


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_client_that_vanishes_frees_its_place() -> None:
    door = Door(most=2)
    _, b, c = door.come("a", "b", "c")
    [refused] = door.come("d")
    assert refused.close is Close.OVERLOADED
    door.newcomers.leave(b)
    [e] = door.come("e")
    assert (e.close, door.newcomers.waiting) == (None, 2)
    door.newcomers.leave(b)  # once more, and nothing happens
    door.newcomers.finish()
    await door.settle()
    assert (door.begun, c.close) == (["a", "c"], None)


@pytest.mark.usefixtures("one_at_a_time")
async def test_clients_that_are_sent_away_come_back_one_after_the_other_once_the_waiting_have_had_their_turn() -> None:
    door = Door(most=1000)
    door.newcomers.seconds_each = 0.004
    door.come("first", *map(str, range(1000)))
    refused = door.come(*map(str, range(100)))
    times = [client.after_ms for client in refused]
    assert times == [4000 + round(4 * RETURN_SHARE) * number for number in range(1, 101)]
    assert door.newcomers.refused == {Close.OVERLOADED: 100, Close.DRAINING: 0}
    # Once their time has come, the next ones need not wait for longer than these.
    door.clock.ahead += 60
    [later] = door.come("later")
    assert later.after_ms == times[0]


@pytest.mark.usefixtures("one_at_a_time")
async def test_no_more_wait_than_the_node_takes_in_the_time_that_clients_wait() -> None:
    door = Door()
    door.newcomers.seconds_each = 1.0
    clients = door.come("first", *map(str, range(20)))
    assert [client.close for client in clients].count(None) == 1 + MAX_WAIT_SECONDS
    assert clients[-1].after_ms == 14_000  # after 8 that wait, and half as far apart as the node needs for 12


@pytest.mark.usefixtures("one_at_a_time")
async def test_clients_beyond_the_longest_time_come_at_different_moments_of_its_later_half() -> None:
    door = Door(most=1)
    [_, _, soon] = door.come("first", "second", "third")
    assert 1000 <= (soon.after_ms or 0) <= 1001  # sooner, it would meet the same crowd
    door.newcomers.seconds_each = 1.0
    refused = door.come(*map(str, range(300)))
    times = [(client.after_ms or 0) / 1000 for client in refused]
    assert max(times) <= MAX_AWAY_SECONDS + 1
    late = times[150:]
    assert min(late) >= MAX_AWAY_SECONDS / 2
    assert len(set(late)) > len(late) / 2


@pytest.mark.usefixtures("one_at_a_time")
async def test_clients_that_have_waited_for_too_long_are_sent_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    door = Door()
    early = door.come("a", "b", "c")
    door.clock.ahead += MAX_WAIT_SECONDS / 2
    [late] = door.come("late")
    door.clock.ahead += MAX_WAIT_SECONDS / 2
    with caplog.at_level(logging.WARNING):
        await until(lambda: "newcomers away" in caplog.text)
    assert [client.close for client in early] == [None, Close.OVERLOADED, Close.OVERLOADED]
    assert (late.close, door.newcomers.waiting) == (None, 1)
    assert "sent 2 newcomers away" in caplog.text


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_node_that_drains_sends_all_away_within_its_spread() -> None:
    door = Door()
    _, *waiting = door.come(*map(str, range(50)))
    door.newcomers.drain(2000)
    await door.settle()
    waiting += door.come("after")
    assert {client.close for client in waiting} == {Close.DRAINING}
    assert all(0 <= (client.after_ms or 0) < 2000 for client in waiting)
    assert len({client.after_ms for client in waiting}) > 25
    assert door.begun == ["0"]


async def test_the_node_measures_what_a_client_takes_while_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLES", 2)
    monkeypatch.setattr(module, "MAX_IN_PROGRESS", 1)
    door = Door()
    door.come("a")
    door.clock.ahead += 100  # nothing waits
    door.newcomers.finish()
    door.come(*"bcdefg")
    for _ in range(5):
        door.clock.ahead += 0.01
        door.newcomers.finish()
        await door.settle()
    assert door.begun == list("abcdefg")
    assert 0.009 < door.newcomers.seconds_each < 0.01
    door.clock.ahead += FORGET_SECONDS + 1
    assert door.newcomers.seconds_each > SECONDS_EACH  # what a drain goes by
    door.come("h")  # whatever made the node slow may have passed
    assert door.newcomers.seconds_each == SECONDS_EACH
