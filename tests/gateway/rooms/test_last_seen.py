"""When users were last seen: many that leave at once are stored in few transactions."""

import asyncio
from functools import partial
from typing import Any

import pytest

from gateway.core.clock import milliseconds
from gateway.rooms.last_seen import MAX_BATCH, LastSeen
from gateway.store import users
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.prepared import Script, items_of
from gateway.testing import MovableClock
from tests.support.users import add_users
from tests.support.waiting import until

CROWD = 2 * MAX_BATCH + 10


class Plans:
    """Counts the transactions of a store that may be unavailable."""

    def __init__(self) -> None:
        self.carried_out = 0
        self.store_is_away = False


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Plans:
    plans, real = Plans(), Database.run_script

    async def counted(database: Database, plan: Script[Any]) -> Any:
        plans.carried_out += 1
        if plans.store_is_away:
            raise StoreUnavailable("store")
        return await real(database, plan)

    monkeypatch.setattr(Database, "run_script", counted)
    return plans


async def stored(database: Database, *names: str) -> dict[str, int]:
    rows = await database.fetch(users.LAST_SEEN, items=items_of(names))
    return {row["name"]: row["last_seen_at"] for row in rows}


@pytest.fixture
async def ids(database: Database) -> dict[str, str]:
    """The ids of a crowd, by name."""
    rows = await database.transact(partial(add_users, names=[f"user-{number}" for number in range(CROWD)]))
    return {row.name: row.id for row in rows}


async def test_a_crowd_that_leaves_at_once_is_stored_in_a_few_transactions(
    database: Database, ids: dict[str, str], plans: Plans
) -> None:
    clock = MovableClock()
    came = milliseconds(clock)
    async with LastSeen(database, clock).running() as last_seen:
        for user_id in ids.values():
            last_seen.record(user_id)
    seen = await stored(database, *ids)
    assert seen.keys() == ids.keys()
    assert min(seen.values()) >= came
    assert plans.carried_out == 3


async def test_what_is_stored_never_goes_back(database: Database, ids: dict[str, str]) -> None:
    clock = MovableClock()
    seen = []
    for ahead in (0, 60, -60):
        clock.ahead = ahead
        async with LastSeen(database, clock).running() as last_seen:
            last_seen.record(ids["user-1"])
        seen.append((await stored(database, "user-1"))["user-1"])
    assert seen[0] < seen[1] == seen[2]
    assert await stored(database, "user-2") == {}


async def test_it_is_stored_soon_without_being_closed(
    database: Database, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.last_seen.GATHER_SECONDS", 0.01)

    async def is_stored(name: str) -> bool:
        return name in await stored(database, name)

    async with LastSeen(database, MovableClock()).running() as last_seen:
        for name in ("user-3", "user-4"):
            last_seen.record(ids[name])
            await until(partial(is_stored, name))


async def test_a_stop_tries_once_while_the_store_is_away_and_says_what_is_lost(
    database: Database, plans: Plans, caplog: pytest.LogCaptureFixture
) -> None:
    plans.store_is_away = True
    async with LastSeen(database, MovableClock()).running() as last_seen:
        for number in range(CROWD):
            last_seen.record(f"user-{number}")
        await asyncio.sleep(0)
    assert plans.carried_out == 1
    assert f"when {CROWD} users were last seen" in caplog.text
