"""The statements of outgoing events: in order, bounded in what they read, and without effect after a take-over."""

import json
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database
from gateway.store.outgoing_events import Failure, Figures, NewEvent, WaitingEvent
from gateway.store.postgresql import Postgresql
from gateway.store.prepared import Statement, items_of
from gateway.store.tables import outgoing_events as table
from gateway.webhooks.dispatcher import in_order
from tests.support.plans import rows_read_by_kept_plan
from tests.support.postgres import fresh_database

MANY = 20_000


def event(number: int, stream: str = "room:lobby", **changes: Any) -> NewEvent:
    return NewEvent("push", stream, f"msg_{number}", "message.stored", "{}", 0, **changes)


async def due(database: Database, now: int = 10, most: int = 100, held: tuple[str, ...] = ()) -> list[WaitingEvent]:
    rows = await database.fetch_long(outgoing_events.NEXT, webhook="push", now=now, most=most, items=items_of(held))
    return outgoing_events.from_rows(rows)


def ids(events: list[WaitingEvent]) -> list[str]:
    return [each.event_id for each in events]


async def settle(database: Database, owner: str = "me", **what: Any) -> bool:
    nothing: dict[str, Any] = {"delivered": [], "failed": [], "later": [], "error": None, "now": 10}
    return await database.run_script(outgoing_events.settle("push", owner, **(nothing | what)))


async def hold(database: Database, owner: str = "me") -> None:
    def work(connection: Connection) -> None:
        webhooks.add(connection, ["push"])
        assert webhooks.take(connection, webhooks.list_all(connection)["push"], owner)

    await database.transact(work)


async def test_events_are_read_in_the_order_in_which_they_were_stored_without_held_streams(database: Database) -> None:
    events = [event(1), event(2, "room:garden"), event(3), event(4, due_at=11), event(5)]
    await database.run_script(outgoing_events.add(events))
    assert ids(await due(database)) == ["msg_1", "msg_2", "msg_3", "msg_5"]
    assert ids(await due(database, most=2)) == ["msg_1", "msg_2"]
    assert ids(await due(database, held=("room:lobby", "room:other"))) == ["msg_2"]
    ready, later = in_order(await due(database))
    assert ids(ready) == ["msg_1", "msg_2", "msg_3"]  # 5 comes after 4, which has its time still before it
    assert [(each.event_id, until) for each, until in later] == [("msg_5", 11)]


async def test_an_event_for_later_is_old_from_the_time_when_it_is_due(database: Database) -> None:
    await database.run_script(outgoing_events.add([event(1, due_at=9_000, offset=1), event(2, due_at=7_000, offset=2)]))
    assert (await database.query(outgoing_events.figures))["push"] == Figures(waiting=2, oldest_at=7_000)
    # One that has failed is due later as well, and has waited since it was stored.
    await database.run_script(outgoing_events.add([event(3, due_at=8_000)]))
    assert (await database.query(outgoing_events.figures))["push"] == Figures(waiting=3, oldest_at=0)


async def test_what_comes_after_a_failed_event_waits_as_long_as_it_does(database: Database) -> None:
    await hold(database)
    await database.run_script(outgoing_events.add([event(number) for number in range(1, 6)]))
    first, *_ = await due(database)
    assert await settle(database, failed=[Failure(first, 50)], error="answered 500")
    ready, later = in_order(await due(database))
    assert (ready, len(later)) == ([], 4)
    assert await settle(database, later=later)
    assert await due(database, 49) == []
    await database.run_script(outgoing_events.add([event(6)]))  # a new one, which is due at once
    ready, later = in_order(await due(database, 50))
    assert ids(ready) == ["msg_1", "msg_2", "msg_3", "msg_4", "msg_5", "msg_6"]
    ready, later = in_order(await due(database, 50, most=3))
    assert ids(ready) == ["msg_1", "msg_2"]  # 6 is read first, and must still wait for 5
    assert [(each.event_id, until) for each, until in later] == [("msg_6", 50)]
    row = (await database.query(webhooks.list_all))["push"]
    assert (row.last_error, row.failed_at) == ("answered 500", 10)


async def test_a_parked_event_holds_up_none(database: Database) -> None:
    await hold(database)
    await database.run_script(outgoing_events.add([event(1), event(2)]))
    first, _ = await due(database)
    assert await settle(database, failed=[Failure(first, 50, 10)], error="answered 500")
    ready, _ = in_order(await due(database))
    assert ids(ready) == ["msg_2"]
    assert await database.transact(partial(outgoing_events.retry, webhook="push")) == 1
    assert ids(in_order(await due(database))[0]) == ["msg_1", "msg_2"]


async def test_a_node_without_the_lease_changes_nothing(database: Database) -> None:
    await hold(database)
    await database.run_script(outgoing_events.add([event(1)]))
    [first] = await due(database)
    await hold(database, "other")
    assert not await settle(database, delivered=[first])
    assert not await settle(database, failed=[Failure(first, 50)], error="answered 500")
    assert await due(database) == [first]
    assert not await database.transact(partial(webhooks.beat, name="push", owner="me"))


async def test_a_number_that_is_used_again_belongs_to_another_event(database: Database) -> None:
    await hold(database)
    await database.run_script(outgoing_events.add([event(1)]))
    [first] = await due(database)
    assert await settle(database, delivered=[first])

    def store_with_its_number(connection: Connection) -> None:
        names = ("webhook", "stream", "event_id", "type", "data", "room_id", "offset", "due_at", "created_at", "trace")
        connection.execute(insert(table).values(id=first.id, **dict(zip(names, event(2).values(), strict=True))))

    await database.transact(store_with_its_number)
    assert await settle(database, delivered=[first])  # again, because an answer to the commit was lost
    assert ids(await due(database)) == ["msg_2"]


async def test_of_two_nodes_that_take_a_hook_one_gets_it(database: Database) -> None:
    await hold(database, "gone")
    seen = (await database.query(webhooks.list_all))["push"]
    assert await database.transact(partial(webhooks.take, seen=seen, owner="first"))
    assert not await database.transact(partial(webhooks.take, seen=seen, owner="second"))


GROW = f"""
    INSERT INTO outgoing_events (webhook, stream, event_id, type, data, due_at, created_at)
    SELECT 'push', 'room:' || n % 10, 'msg_' || n, 'message.stored', '{{}}', 0, 0
    FROM generate_series(1, {MANY}) AS each(n)
"""

READ: dict[str, tuple[Statement, dict[str, Any]]] = {
    "next": (outgoing_events.NEXT, {"webhook": "push", "now": 10, "most": 500, "items": items_of(["room:3"])}),
    "data": (outgoing_events.DATA, {"items": items_of(range(100, 200))}),
    "delivered": (outgoing_events.DELETE, {"items": json.dumps([[n, f"msg_{n}"] for n in range(100, 200)])}),
    "failed": (outgoing_events.FAIL, {"items": '[[100, "msg_100"]]', "due_at": 9, "parked_at": None}),
    "later": (
        outgoing_events.POSTPONE,
        {"items": json.dumps([[n, f"msg_{n}"] for n in range(100, 200)]), "due_at": 9},
    ),
    "one delivered": (outgoing_events.DELETE.for_one, {"item_0": 100, "item_1": "msg_100"}),
}


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("name", READ)
async def test_a_full_table_is_read_along_its_indexes_with_a_plan_for_a_small_one(
    postgres: str, postgresql_tables: str, name: str, analyzed: bool
) -> None:
    statement, values = READ[name]
    prepared = statement.for_database("postgresql")
    with fresh_database(postgres, template=postgresql_tables) as url:
        connection = await Postgresql(url, 5).connect()
        if analyzed:
            await connection.execute("ANALYZE")
        grow = partial(connection.execute, GROW)
        assert await rows_read_by_kept_plan(connection, prepared.sql, prepared.arguments(values), grow) <= 1200
        await connection.close()
