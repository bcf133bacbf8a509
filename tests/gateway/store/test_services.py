"""Services and their keys in the store."""

import asyncio
from functools import partial

import pytest
from sqlalchemy import Connection, func, select

from gateway.auth import service_keys
from gateway.store import services, users
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.prepared import items_of
from gateway.store.services import ServiceRights, ServiceRow
from gateway.store.tables import login_sessions
from gateway.store.tables import users as users_table


async def add(database: Database, name: str = "orders", **changes: object) -> ServiceRow:
    values = {"name": name, "kind": "service", "scopes": ["server"], "rooms": None, "now": 1000} | changes
    return await database.transact(partial(services.add, **values))  # type: ignore[arg-type]


async def rights_of(database: Database, key_id: str) -> ServiceRights | None:
    rows = await database.fetch(services.RIGHTS_BY_KEY, items=items_of([key_id]))
    return ServiceRights(**rows[0]) if rows else None


async def test_a_service_has_a_user_that_no_list_of_users_shows(database: Database) -> None:
    row = await add(database, rooms=["order-*", "lobby"])
    user = await database.query(partial(users.by_id, user_id=row.user_id))
    assert user is not None
    assert (user.name, user.password_hash, user.scopes) == ("service:orders", "", "server")
    assert await database.query(users.list_all) == []
    assert await database.query(partial(services.find, name="orders")) == row
    assert row.rooms == "order-* lobby"


async def test_a_name_is_taken_until_its_service_is_removed(database: Database) -> None:
    first = await add(database)
    with pytest.raises(NameTaken):
        await add(database)
    with pytest.raises(NameTaken):
        await add(database, kind="hook", room="lobby")
    key = await database.transact(partial(service_keys.issue, service=first, now=1001))
    assert await database.transact(partial(services.remove, user_id=first.user_id, now=1002)) == [key.id]
    assert await database.query(partial(services.find, name="orders")) is None
    rights = await rights_of(database, key.id)
    assert rights is not None
    assert (rights.deleted_at, rights.revoked_at) == (1002, 1002)
    again = await add(database, scopes=["api:rooms"], rooms=["a"], now=1003)
    assert (again.user_id, again.scopes, again.rooms, again.deleted_at) == (first.user_id, "api:rooms", "a", None)
    rights = await rights_of(database, key.id)
    assert rights is not None
    assert rights.revoked_at == 1002  # the old key does not come back with the name


async def test_of_many_that_add_a_name_at_once_one_gets_it(database: Database) -> None:
    results = await asyncio.gather(*(add(database) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(each, ServiceRow) for each in results) == 1
    assert sum(isinstance(each, NameTaken) for each in results) == 4

    def count(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(users_table)).scalar_one()

    assert await database.query(count) == 1


@pytest.mark.both_stores
async def test_keys_that_ended_long_ago_are_removed_and_the_service_stays(database: Database) -> None:
    row = await add(database)
    revoked = await database.transact(partial(service_keys.issue, service=row, now=1001))
    await database.transact(partial(services.revoke_keys, user_id=row.user_id, now=1500))
    old = await database.transact(partial(service_keys.issue, service=row, now=1600))
    new = await database.transact(partial(service_keys.rotate, service=row, now=2000, overlap=500))

    def sessions(connection: Connection) -> set[str]:
        return set(connection.execute(select(login_sessions.c.id)).scalars())

    for before, removed, left in (
        (1500, 0, {revoked.id, old.id, new.id}),
        (1501, 1, {old.id, new.id}),
        (2500, 0, {old.id, new.id}),
        (9**15, 1, {new.id}),
    ):
        assert await database.transact(partial(services.prune_keys, before=before)) == removed
        assert await database.query(sessions) == left
        for key in (revoked, old, new):
            assert (await rights_of(database, key.id) is not None) == (key.id in left)
    await database.transact(partial(services.remove, user_id=row.user_id, now=3000))
    assert await database.transact(partial(services.prune_keys, before=9**15)) == 1
    assert (await add(database, now=4000)).user_id == row.user_id  # its messages have their sender


async def test_a_rotation_shortens_the_other_keys_and_lengthens_none(database: Database) -> None:
    row = await add(database)
    first = await database.transact(partial(service_keys.issue, service=row, now=1001))
    second = await database.transact(partial(service_keys.rotate, service=row, now=2000, overlap=500))
    third = await database.transact(partial(service_keys.rotate, service=row, now=2100, overlap=9000))
    ends = [(await rights_of(database, key.id)) for key in (first, second, third)]
    assert [each.expires_at for each in ends if each is not None] == [2500, 11_100, None]
    listed = partial(services.list_all, kind="service")
    [(_, keys)] = await database.query(partial(listed, now=2400))
    assert [key.id for key in keys] == [first.id, second.id, third.id]
    [(_, keys)] = await database.query(partial(listed, now=2500))
    assert [key.id for key in keys] == [second.id, third.id]
    assert await database.query(partial(services.list_all, kind="hook", now=0)) == []


async def test_a_revocation_ends_the_session_of_the_key_and_no_other(database: Database) -> None:
    row = await add(database)
    one, other = [await database.transact(partial(service_keys.issue, service=row, now=1001)) for _ in range(2)]
    revoke = partial(services.revoke_keys, user_id=row.user_id, now=1002, only=one.id)
    assert await database.transact(revoke) == [one.id]
    assert await database.transact(revoke) == []

    def living(connection: Connection) -> list[str]:
        query = select(login_sessions.c.id).where(login_sessions.c.ended_at.is_(None))
        return list(connection.execute(query).scalars())

    assert await database.query(living) == [other.id]
    elsewhere = await add(database, "billing")
    assert await database.transact(partial(services.revoke_keys, user_id=elsewhere.user_id, now=1, only=other.id)) == []


async def test_a_use_is_recorded_forwards_only(database: Database) -> None:
    row = await add(database)
    key = await database.transact(partial(service_keys.issue, service=row, now=1001))
    for at, stored in ((3000, 3000), (2000, 3000), (4000, 4000)):
        await database.transact(partial(services.record_use, used={key.id: at, "0" * 16: at}))
        [(_, [listed])] = await database.query(partial(services.list_all, kind="service", now=0))
        assert listed.last_used_at == stored
        assert key.hash not in repr(listed)
