"""The gateway over a real PgBouncer: in session and transaction mode it works, and statement mode is refused."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg  # type: ignore[import-untyped] # it brings no types
import pytest

from gateway.store import engine
from gateway.store.engine import Database, StoreUnavailable
from gateway.testing import Gateway, running_gateway, settings_for_tests
from tests.support.client import App
from tests.support.pgbouncer import PgBouncer, running_pgbouncer
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.waiting import until

pytestmark = pytest.mark.server

PEOPLE = ["alice", "bob", "carol", "dave"]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(server: Postgres) -> Iterator[str]:
    """The name of an empty database."""
    with fresh_database(server.url("postgres")) as url:
        yield url.rpartition("/")[2]


@pytest.fixture(params=["session", "transaction"])
def pooler(request: pytest.FixtureRequest, server: Postgres, database: str) -> Iterator[PgBouncer]:
    # In transaction mode, fewer connections than the gateway has show whether one is left to others as it was.
    size = {"session": 20, "transaction": 2}[request.param]
    with running_pgbouncer(server.port, request.param, size=size) as pooler:
        yield pooler


@pytest.fixture
def gateway(pooler: PgBouncer, database: str, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(settings_for_tests(tmp_path, database_url=pooler.url(database))) as gateway:
        yield gateway


async def test_users_log_in_talk_at_once_and_read_what_was_said(gateway: Gateway) -> None:
    async with App(gateway) as app, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(app.in_room(name, "lobby")) for name in PEOPLE]

        async def talk(name: str) -> None:
            client = clients[PEOPLE.index(name)]
            for number in range(10):
                id = await client.start("chat.send", room="lobby", text=f"{name} {number}")
                assert (await client.until(id=id))["status"] == 20000

        await asyncio.gather(*(talk(name) for name in PEOPLE))
        id = await clients[0].start("chat.history", room="lobby", after=0, limit=100)
        said = (await clients[0].until(id=id))["data"]["messages"]
        assert [message["offset"] for message in said] == list(range(1, 41))
        assert {message["text"] for message in said} == {f"{name} {number}" for name in PEOPLE for number in range(10)}
        assert (await app.http.get("/readyz")).json()["status"] == "ready"


async def test_nothing_is_left_on_connections_that_others_get(
    gateway: Gateway, pooler: PgBouncer, database: str
) -> None:
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "hello")
        await asyncio.gather(*(app.log_in("alice") for _ in range(4)))
        other = await asyncpg.connect(pooler.url(database), statement_cache_size=0, timeout=5)
        try:
            for _ in range(10):
                found = await other.fetchrow(
                    "SELECT current_setting('enable_seqscan') AS seqscan, current_setting('jit') AS jit,"
                    " current_setting('idle_in_transaction_session_timeout') AS timeout,"
                    " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS statements"
                )
                assert dict(found) == {"seqscan": "on", "jit": "on", "timeout": "0", "statements": 0}
        finally:
            await other.close()


@pytest.mark.parametrize("part", ["the pooler", "the server"])
async def test_what_starts_again_between_the_gateway_and_its_rows_holds_nothing_up_for_long(
    part: str, gateway: Gateway, pooler: PgBouncer, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While its server is away, the pooler says nothing.
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
    restarted = pooler if part == "the pooler" else server
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "before")
        restarted.stop()
        try:
            assert (await alice.refused("chat.send", room="lobby", text="lost"))["status"] == 50300
        finally:
            restarted.start()

        async def is_back() -> bool:
            return (await app.log_in("alice")).status_code == 200

        await until(is_back)
        monkeypatch.setattr(engine, "BUSY_SECONDS", 5)
        await alice.say("lobby", "after")


async def test_what_a_hosting_service_prints_is_understood(pooler: PgBouncer, database: str) -> None:
    url = pooler.url(database).replace("postgresql", "postgres+asyncpg")
    store = Database(
        f"{url}?pgbouncer=true&sslmode=prefer&channel_binding=prefer&application_name=chat&connect_timeout=9"
    )
    await store.upgrade()
    await asyncio.gather(*(store.ping() for _ in range(20)))
    assert await store.health.check() is True
    await store.close()


async def test_statement_mode_which_has_no_transactions_is_refused_in_one_line(
    server: Postgres, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_pgbouncer(server.port, "statement") as pooler:
        store = Database(pooler.url(database))
        with pytest.raises(StoreUnavailable):
            await store.upgrade()
        await store.close()
    [line] = caplog.messages
    assert line.startswith("the store is not available: ")
    assert line.endswith("transaction blocks not allowed in statement pooling mode")


@pytest.mark.parametrize("credentials", ["postgres:sWoRdFiSh", "sWoRdFiSh:sWoRdFiSh", "sWoRdFiSh"])
async def test_a_gateway_that_is_not_let_in_says_why_and_no_part_of_the_credentials(
    server: Postgres, database: str, credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running_pgbouncer(server.port, "session", auth="md5") as pooler:
        store = Database(pooler.url(database).replace("postgres@", f"{credentials}@"))
        with pytest.raises(StoreUnavailable):
            await store.upgrade()
        await store.close()
    [line] = caplog.messages
    assert line.startswith("the store is not available: ")
    assert "sWoRdFiSh" not in line
