"""PostgreSQL fails over under a running gateway: it finds the server that accepts writes, and reports the failure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped] # it brings no types
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.store import postgresql, write_health
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.postgres import Postgres, fresh_database, query, running_postgres
from tests.support.waiting import until

pytestmark = pytest.mark.server

READ_ONLY = "SET default_transaction_read_only = on"
WRITABLE = "RESET default_transaction_read_only"
TRIES = 4
"""The mode of new sessions from now on. Open ones keep theirs."""


async def readiness(app: App) -> tuple[int, str]:
    answer = await app.http.get("/readyz")
    return answer.status_code, answer.json()["store"]


@pytest.fixture(autouse=True)
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the store at each question of a test."""
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def gateway(server: Postgres, tmp_path: Path) -> Iterator[Gateway]:
    with fresh_database(server.url("postgres")) as url:
        with running_gateway(settings_for_tests(tmp_path, database_url=url)) as running:
            yield running


async def from_now_on(server: Postgres, gateway: Gateway, sessions: str) -> None:
    name = (gateway.settings.database_url or "").rpartition("/")[2]
    await query(server.url("postgres"), f"ALTER DATABASE {name} {sessions}")


async def end_sessions(server: Postgres) -> None:
    await query(
        server.url("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'gateway%'"
    )


async def use_all_connections(gateway: Gateway) -> None:
    """Make the pool notice which of its connections have ended, and open others."""
    await gateway.run(_ping_often(gateway))


async def _ping_often(gateway: Gateway) -> None:
    await asyncio.gather(*(gateway.state.database.ping() for _ in range(32)), return_exceptions=True)


async def test_sessions_that_take_no_writes_are_dropped_and_the_next_log_in_works(
    gateway: Gateway, server: Postgres
) -> None:
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await from_now_on(server, gateway, READ_ONLY)
        await end_sessions(server)
        await use_all_connections(gateway)
        refused = await app.log_in("alice")
        assert (refused.status_code, refused.json()["name"]) == (503, "unavailable")
        assert (await alice.refused("chat.send", room="lobby", text="lost?"))["status"] == 50300
        assert (await alice.ask("chat.history", room="lobby"))["messages"] == []
        assert await readiness(app) == (503, "down")
        assert (await metrics_of(app))["gateway_store_writable"] == 0

        await from_now_on(server, gateway, WRITABLE)
        await until(lambda: _is_ready(app))
        assert (await metrics_of(app))["gateway_store_writable"] == 1
        for name in ("alice", "bob", "carol"):
            await app.register(name)
            assert (await app.log_in(name)).status_code == 200
        assert (await alice.say("lobby", "kept"))["offset"] == 1


async def _is_ready(app: App) -> bool:
    return await readiness(app) == (200, "up")


@pytest.mark.parametrize("way", ["a log-in", "a message", "a look-up"])
async def test_one_refusal_is_enough_for_all_connections_to_be_new(
    gateway: Gateway, server: Postgres, way: str
) -> None:
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await from_now_on(server, gateway, READ_ONLY)
        await end_sessions(server)
        await use_all_connections(gateway)
        await from_now_on(server, gateway, WRITABLE)
        tries: dict[str, Callable[[], Awaitable[Any]]] = {
            "a log-in": lambda: app.log_in("alice"),
            "a message": lambda: alice.refused("chat.send", room="lobby", text="lost?"),
            "a look-up": lambda: app.http.get("/readyz"),
        }
        await tries[way]()
        assert (await app.log_in("alice")).status_code == 200
        assert (await alice.say("lobby", "kept"))["offset"] == 1
        assert await readiness(app) == (200, "up")


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("an aborted transaction", "BEGIN; SELECT 1 / 0"),
        ("forgotten statements", "DEALLOCATE ALL"),
        ("a session that ends", "SELECT pg_terminate_backend(pg_backend_pid())"),
        ("a role that may do nothing", "SET ROLE pg_monitor"),
    ],
)
async def test_what_spoils_a_connection_costs_one_try_at_most(
    gateway: Gateway, what: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "RENEWAL_SECONDS", 0)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        # A connection that was in use was not spoiled, and may serve some tries before a spoiled one fails.
        await gateway.run(_spoil_all_connections(gateway, statement))
        statuses = [(await app.log_in("alice")).status_code for _ in range(TRIES)]
        assert statuses.count(200) >= TRIES - 1
        await gateway.run(_spoil_all_connections(gateway, statement))
        replies = []
        for _ in range(TRIES):
            id = await alice.start("chat.send", room="lobby", text="maybe", client_id="1")
            replies.append(await alice.until(id=id))
        kept = [reply["data"]["message"]["offset"] for reply in replies if reply["status"] == 20000]
        assert len(kept) >= TRIES - 1, replies
        assert set(kept) == {1}


async def _spoil_all_connections(gateway: Gateway, statement: str) -> None:
    """Leave each connection of the pool in a state that nothing of the gateway ends."""
    engine: AsyncEngine = gateway.state.database._driver.engine  # type: ignore[attr-defined] # it is PostgreSQL's
    count = max(1, engine.pool.checkedin())  # type: ignore[attr-defined] # of a pool of this kind
    together = asyncio.Barrier(count)

    async def spoil() -> None:
        async with engine.connect() as pooled:
            await together.wait()
            connection: Any = (await pooled.get_raw_connection()).driver_connection
            with suppress(asyncpg.PostgresError):
                await connection.execute(statement)

    await asyncio.gather(*(spoil() for _ in range(count)))


async def test_when_the_primary_dies_its_copy_goes_on_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    with running_postgres() as primary, running_postgres(primary=primary) as copy:
        await query(primary.url("postgres"), "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await query(primary.url("postgres"), "SELECT pg_reload_conf()")
        url = f"postgresql://postgres@127.0.0.1:{copy.port},127.0.0.1:{primary.port}/postgres"
        with running_gateway(settings_for_tests(tmp_path, database_url=url)) as gateway:
            async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
                for number in range(1, 11):
                    assert (await alice.say("lobby", str(number)))["offset"] == number
                primary.stop()
                assert (await alice.refused("chat.send", room="lobby", text="11"))["status"] == 50300
                assert await readiness(app) == (503, "down")
                await copy.promote()
                await until(lambda: _is_ready(app))
                assert (await alice.say("lobby", "11"))["offset"] == 11
                history = (await alice.ask("chat.history", room="lobby", after=0, limit=20))["messages"]
                assert [message["text"] for message in history] == [str(number) for number in range(1, 12)]
                assert (await app.log_in("alice")).status_code == 200


async def test_a_gateway_on_a_copy_that_takes_no_writes_is_not_ready_until_the_copy_is_promoted(
    server: Postgres, tmp_path: Path
) -> None:
    with fresh_database(server.url("postgres")) as url:
        with running_gateway(settings_for_tests(tmp_path, database_url=url)) as gateway:
            async with App(gateway) as app:
                await app.register("alice")
        with running_postgres(primary=server) as copy:
            there = copy.url(url.rpartition("/")[2])
            with running_gateway(settings_for_tests(tmp_path, database_url=there)) as gateway:
                async with App(gateway) as app:
                    assert await readiness(app) == (503, "down")
                    assert (await app.log_in("alice")).status_code == 503
                    assert (await app.http.get("/healthz")).status_code == 200
                    await copy.promote()
                    await until(lambda: _is_ready(app))
                    assert (await app.log_in("alice")).status_code == 200
