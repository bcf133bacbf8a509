"""Users of external services in the store: each exists once, even after simultaneous log-ins."""

import asyncio
from functools import partial

import pytest

from gateway.auth.external.users import ExternalUsers, NoUserName, external_user_id
from gateway.config.external_services import ExternalService
from gateway.core.clock import SystemClock
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.tables import users as users_table


async def test_first_connections_at_once_are_one_user_and_a_taken_name_is_refused(database: Database) -> None:
    await database.transact(partial(users.add, name="alice", password_hash="x", now=0))
    outsiders = ExternalUsers("acme", ExternalService(), database, SystemClock())
    claims = {"preferred_username": "carol"}
    admitted = await asyncio.gather(*(outsiders.find_or_create("7", claims, 2e9) for _ in range(10)))
    assert {(each.user_id, each.user) for each in admitted} == {(external_user_id("acme", "7"), "carol")}
    for name in ("alice", "carol"):
        with pytest.raises(NoUserName, match=f"`{name}` is taken"):
            await outsiders.find_or_create("8", {"preferred_username": name}, 2e9)
    assert [user.name for user in await database.query(users.list_all)] == ["alice", "carol"]


async def test_the_same_subject_of_two_services_is_two_users(database: Database) -> None:
    described = ExternalService(user_claim=None)
    first, second = (ExternalUsers(service, described, database, SystemClock()) for service in ("acme", "legacy"))
    assert (await first.find_or_create("7", {}, 2e9)).user_id != (await second.find_or_create("7", {}, 2e9)).user_id


async def test_what_was_granted_here_by_name_is_added_to_what_the_service_gives(database: Database) -> None:
    described = ExternalService(scopes={"talk": ("chat:read",)})
    outsiders = ExternalUsers("acme", described, database, SystemClock())
    claims = {"preferred_username": "carol", "scope": "talk admin"}
    assert (await outsiders.find_or_create("7", claims, 2e9)).scopes == {"chat:read"}
    await database.transact(lambda connection: connection.execute(users_table.update().values(scopes="admin")))
    assert (await outsiders.find_or_create("7", claims, 2e9)).scopes == {"admin", "chat:read"}
