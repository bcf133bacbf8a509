"""Which node sends the events of a hook: one at a time, and another one soon after its end."""

from functools import partial

import pytest

from gateway.store import webhooks
from gateway.store.engine import Database
from gateway.testing import MovableClock
from gateway.webhooks.leases import HOLD_SECONDS, LEASE_SECONDS, Leases

pytestmark = pytest.mark.both_stores


class Node:
    """A node with a clock of its own, which is a year behind or ahead of others."""

    def __init__(self, name: str, database: Database, *, is_alone: bool = False) -> None:
        self.clock = MovableClock()
        self.clock.stop()
        self.clock.ahead = 365.0 * 24 * 3600 * (name == "second")
        self.leases = Leases(name, database, self.clock, is_alone=is_alone)
        self._database = database

    async def look(self, after: float = 0) -> bool:
        """Look at the hook, after some seconds, and return whether this node may send."""
        self.clock.ahead += after
        rows = await self._database.query(webhooks.list_all)
        await self.leases.look(list(rows.values()))
        return self.may_send

    @property
    def may_send(self) -> bool:
        return self.leases.seconds_left("push") > 0


@pytest.fixture(autouse=True)
async def hook(database: Database) -> None:
    await database.transact(partial(webhooks.add, names=["push"]))


async def test_the_first_node_sends_as_long_as_it_lives(database: Database) -> None:
    first, second = Node("first", database), Node("second", database)
    assert await first.look()
    for _ in range(20):
        assert not await second.look(1)
        assert await first.look(1)


async def test_another_node_takes_over_when_the_first_has_been_silent_for_a_lease(database: Database) -> None:
    first, second = Node("first", database), Node("second", database)
    assert await first.look()
    assert not await second.look()
    for _ in range(int(LEASE_SECONDS) - 1):
        assert not await second.look(1)
    first.clock.ahead += HOLD_SECONDS
    assert not first.may_send  # by itself, before another one begins
    assert await second.look(1)
    assert not await first.look()
    assert await second.look(1)


async def test_a_node_that_leaves_in_order_is_followed_at_once(database: Database) -> None:
    first, second = Node("first", database), Node("second", database)
    assert await first.look()
    await first.leases.release("push")
    assert not first.may_send
    assert await second.look()


async def test_a_node_without_others_takes_at_its_start_what_a_killed_one_had_and_later_nothing(
    database: Database,
) -> None:
    killed, started = Node("first", database, is_alone=True), Node("second", database, is_alone=True)
    assert await killed.look()
    assert await started.look()
    # It was not dead, but being replaced: it gives way, and does not take the hook back.
    assert not await killed.look(1)
    assert await started.look(1)
    assert not await killed.look(1)
