"""The statements of the writer read what they need, also with a plan that PostgreSQL has made for small tables."""

from functools import partial

import orjson
import pytest
from sqlalchemy import Connection

from gateway.store import rooms, writes
from gateway.store.engine import Database
from gateway.store.postgresql import Postgresql
from tests.support.plans import rows_read_by_kept_plan
from tests.support.postgres import fresh_database
from tests.support.users import add_users

FIRST, MORE = 300, 20_000

ADD = """
    INSERT INTO messages (room_id, "offset", changed, sender_id, text, client_id, sent_at)
    SELECT 1, n, n, (SELECT min(id) FROM users), 'hi', 'id-' || n, 10
    FROM generate_series((SELECT count(*) FROM messages) + 1, (SELECT count(*) FROM messages) + {count}) AS each(n)
"""


def _make_room(connection: Connection) -> str:
    room = rooms.add(connection, name="lobby", now=0)
    [user] = add_users(connection, ["alice"])
    rooms.add_member(connection, room, user.id, "owner", 0)
    assert room.id == 1
    return user.id


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("first", [0, FIRST])
@pytest.mark.parametrize("form", ["one", "many"])
async def test_a_repeat_is_found_by_its_id_with_a_plan_for_a_small_log(
    postgres: str, postgresql_tables: str, form: str, first: int, analyzed: bool
) -> None:
    with fresh_database(postgres, template=postgresql_tables) as url:
        async with Database(url) as database:
            user_id = await database.transact(_make_room)
        connection = await Postgresql(url, 5).connect()
        if analyzed:
            await connection.execute("ANALYZE")
        await connection.execute(ADD.format(count=first))
        asked = [(1, user_id, f"id-{number}") for number in range(10)]
        values = {"items": orjson.dumps(asked).decode(), "item_0": 1, "item_1": user_id, "item_2": "id-1", "after": 0}
        prepared = (writes.SENT.for_one if form == "one" else writes.SENT).for_database("postgresql")
        grow = partial(connection.execute, ADD.format(count=MORE))
        assert await rows_read_by_kept_plan(connection, prepared.sql, prepared.arguments(values), grow) <= 20
        await connection.close()
