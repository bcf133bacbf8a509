"""The end of a key counts at once for requests, and within a second for connections, on every node."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from gateway.auth import service_keys
from gateway.auth.services import USE_SECONDS
from gateway.connections.revocations import RevocationWatcher
from gateway.core.clock import milliseconds
from gateway.store import services
from gateway.store.tables import service_keys as service_keys_table
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.nodes import running_nodes
from tests.support.services import add_service
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import worker

pytestmark = pytest.mark.both_stores

SOON = 5.0
"""Far more than a second, because the machine may be busy; far less than the 60 s of the look at all connections."""


@pytest.fixture
def nodes(valkey: Valkey, store_url: str, tmp_path: Path) -> Iterator[list[Gateway]]:
    with running_nodes(tmp_path, store_url, valkey) as running:
        yield running


def user_id_of(connection: Connection, name: str) -> str:
    found = services.find(connection, name)
    assert found is not None
    return found.user_id


async def status_of(app: App, credential: str) -> int:
    return (await app.ask("POST", "/token/introspect", credential, data={"token": "x"})).status_code


async def token_of(app: App, name: str, key: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": key}
    token: str = (await app.http.post("/token", data=form)).json()["access_token"]
    return token


@pytest.mark.parametrize("how", ["the command", "its holder", "the service is removed"])
async def test_a_revoked_key_ends_everywhere(nodes: list[Gateway], how: str) -> None:
    key = await add_service(nodes[0], "orders", "server", "api:serve")
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        token = await token_of(there, "orders", key)
        for app in (here, there):
            assert [await status_of(app, each) for each in (key, token)] == [200, 200]

        def end(connection: Connection) -> None:
            now = milliseconds(nodes[0].clock)
            user_id = user_id_of(connection, "orders")
            revoke = services.remove if how == "the service is removed" else services.revoke_keys
            assert len(revoke(connection, user_id, now)) == 1

        async with (
            worker(nodes[0], key=key) as one,
            worker(nodes[1], key=token) as two,
            there.connect("alice") as client,
        ):
            if how == "its holder":
                assert (await here.http.post("/token/revoke", data={"token": key})).status_code == 200
            else:
                await nodes[0].run(nodes[0].state.database.transact(end))  # as another process, without the bus
            ended_at = time.monotonic()
            for app in (here, there):
                assert [await status_of(app, each) for each in (key, token)] == [401, 401]
            for connected in (one, two):
                await connected.expect("bye", code=4411, reason="token_revoked")
                await connected.expect_close(4411, "token_revoked")
            assert time.monotonic() - ended_at < SOON
            await client.expect_nothing()


async def test_without_the_scope_for_it_no_worker_goes_on(nodes: list[Gateway]) -> None:
    key = await add_service(nodes[0], "orders", "server", "api:serve")
    other = await add_service(nodes[0], "other", "api:serve")

    def narrow(connection: Connection) -> None:
        row = services.find(connection, "orders")
        assert row is not None
        services.change(connection, row, scopes=["server"], rooms=None)

    async with (
        worker(nodes[0], key=key) as one,
        worker(nodes[1], key=key) as two,
        worker(nodes[1], key=other, service="other") as third,
    ):
        await nodes[0].run(nodes[0].state.database.transact(narrow))
        for connected in (one, two):
            await connected.expect("bye", code=4411, reason="token_revoked")
        await third.expect_nothing()
    async with App(nodes[1]) as app:
        assert await status_of(app, key) == 200  # the key itself is good


async def test_the_end_of_an_overlap_ends_connections_and_tokens(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    key = await add_service(gateway, "orders", "server", "api:serve")

    def rotate(connection: Connection) -> str:
        found = services.find(connection, "orders")
        assert found is not None
        return service_keys.rotate(connection, found, milliseconds(gateway.clock), 60_000).text

    async with App(gateway) as app:
        token = await token_of(app, "orders", key)
        async with worker(gateway, key=key) as old:
            new = await gateway.run(gateway.state.database.transact(rotate))
            bought_later = await token_of(app, "orders", key)
            async with worker(gateway, key=new) as fresh:
                assert [await status_of(app, each) for each in (key, token, new)] == [200, 200, 200]
                gateway.clock.ahead += 61
                for ended in (key, token, bought_later):
                    assert await status_of(app, ended) == 401
                await old.expect("bye", code=4411)
                assert await status_of(app, new) == 200
                await fresh.expect_nothing()


async def test_a_look_at_all_finds_a_key_whose_end_was_missed(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, key=key) as connected:

        def expire_long_ago(connection: Connection) -> None:
            services.expire_keys(connection, user_id_of(connection, "orders"), 1, but="")

        state = gateway.state
        await gateway.run(state.database.transact(expire_long_ago))
        await gateway.run(RevocationWatcher(state.database, state.connections, state.clock).close_all_ended())
        await connected.expect("bye", code=4411)


async def test_the_last_use_is_stored_once_a_minute(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    key = await add_service(gateway, "orders", "server")
    parsed = service_keys.parse(key)
    assert parsed is not None

    async def last_used() -> int | None:
        listing = partial(services.list_all, kind="service", now=0)
        [(_, [row])] = await gateway.run(gateway.state.database.query(listing))
        return row.last_used_at

    async with App(gateway) as app:
        assert await last_used() is None
        assert await status_of(app, key[:-1] + ("A" if key[-1] != "A" else "B")) == 401
        first = milliseconds(gateway.clock)
        await asyncio.gather(*(status_of(app, key) for _ in range(10)))
        await until(last_used)
        used = await last_used()
        assert used is not None
        assert used >= first
        gateway.clock.ahead += USE_SECONDS / 2
        assert await status_of(app, key) == 200
        assert await last_used() == used
        gateway.clock.ahead += USE_SECONDS / 2 + 1
        assert await status_of(app, key) == 200

        async def is_later() -> bool:
            now = await last_used()
            return now is not None and now >= used + USE_SECONDS * 1000

        await until(is_later)


async def test_a_key_is_forgotten_a_day_after_its_end_and_the_service_stays(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    state, key = gateway.state, await add_service(gateway, "orders", "server")

    def rotate(connection: Connection) -> str:
        row = services.find(connection, "orders")
        assert row is not None
        return service_keys.rotate(connection, row, milliseconds(gateway.clock), 0).text

    def stored(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(service_keys_table)).scalar_one()

    async def is_forgotten() -> bool:
        return await state.database.query(stored) == 1

    async def remove_old() -> None:
        async with RevocationWatcher(state.database, state.connections, gateway.clock).running():
            await until(is_forgotten)

    new = await gateway.run(state.database.transact(rotate))
    async with App(gateway) as app:
        assert await status_of(app, key) == 401
        assert not await gateway.run(is_forgotten())
        gateway.clock.ahead += 2 * 24 * 3600
        await gateway.run(remove_old())
        assert [await status_of(app, each) for each in (key, new)] == [401, 200]
