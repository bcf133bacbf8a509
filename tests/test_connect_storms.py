"""Hundreds of clients that connect at the same moment, each with a session of its own."""

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection
from websockets.asyncio.client import connect

from gateway.auth.authorizers import AuthResult
from gateway.auth.sessions import new_session_id
from gateway.config.external_services import LOCAL
from gateway.core.clock import milliseconds
from gateway.store import engine, login_sessions, postgresql, users
from gateway.store.grouped_reads import MAX_BATCH
from gateway.store.login_sessions import RIGHTS_BY_SESSION, LoginSessionRow
from gateway.store.prepared import Rows, Statement
from gateway.testing import Gateway
from gateway.transport.newcomers import MAX_IN_PROGRESS
from schemas.names import DEFAULT_SCOPES
from tests.conftest import OwnGateway
from tests.gateway.transport.test_handshakes import HANDSHAKE
from tests.support.client import WAIT_SECONDS, App, ChatClient
from tests.support.postgres import fresh_database
from tests.support.proxy import Proxy
from tests.support.waiting import until

CLIENTS = MAX_IN_PROGRESS
"""As many handshakes as may be in progress: the tests let all of them wait at one place."""
FEW = 2
"""Connections to PostgreSQL, far fewer than clients."""


class Gathering:
    """Counts the statements that look sessions up, and holds the first one until all clients have come."""

    def __init__(self, gateway: Gateway, clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements = 0
        self.missing = clients
        self._complete = asyncio.Event()
        self._fetch = gateway.state.database.fetch
        self._authorize = gateway.state.authorizers[LOCAL].authorize
        monkeypatch.setattr(gateway.state.database, "fetch", self.fetch)
        monkeypatch.setitem(gateway.state.authorizers, LOCAL, self)

    async def authorize(self, token: str) -> AuthResult:
        self.missing -= 1
        if not self.missing:
            self._complete.set()
        return await self._authorize(token)

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        if statement is RIGHTS_BY_SESSION:
            self.statements += 1
            await self._complete.wait()
        return await self._fetch(statement, **values)


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "POOL_SIZE", FEW)


@pytest.fixture
def network(postgres: str) -> Iterator[tuple[str, int]]:
    """An empty database, and the port of its server."""
    with fresh_database(postgres) as url:
        yield url, int(url.rpartition("@")[2].partition("/")[0].rpartition(":")[2])


async def tokens(gateway: Gateway, count: int = CLIENTS) -> list[str]:
    """Add users with a session each, and return their access tokens."""
    state = gateway.state
    now = milliseconds(state.clock)
    people = [
        users.new(
            name=f"user-{number}",
            password_hash="",
            full_name=None,
            email=None,
            scopes=DEFAULT_SCOPES,
            disabled=False,
            now=now,
        )
        for number in range(count)
    ]
    sessions = [
        LoginSessionRow(new_session_id(), person.id, person.scopes, now, now, now + 24 * 3600 * 1000)
        for person in people
    ]

    def add(connection: Connection) -> None:
        users.add_all(connection, people)
        for session in sessions:
            login_sessions.add(connection, session)

    await gateway.run(state.database.transact(add))
    return [state.tokens.issue(row.user_id, DEFAULT_SCOPES, session_id=row.id) for row in sessions]


async def outcome(app: App, token: str, leave: asyncio.Event) -> str:
    """Connect, and return how that ends: with a welcome, or with the name of an error and the code of the close."""
    url = f"{app.gateway.ws_url}/ws/chat?token={token}"
    async with asyncio.timeout(2 * WAIT_SECONDS), connect(url, compression=None, proxy=None, open_timeout=None) as ws:
        client = ChatClient(ws)
        frame = await client.next()
        if frame["type"] == "welcome":
            await leave.wait()
            return "welcome"
        assert (frame["type"], frame["retryable"]) == ("error", True)
        bye = await client.expect("bye", reconnect="with_backoff")
        await client.expect_close(bye["code"], bye["reason"])
        return f"{frame['name']}, {bye['code']}"


async def storm(app: App, those: list[str], admitted: int) -> Counter[str]:
    """Connect with all tokens at once. All that are admitted stay until there are as many as expected."""
    leave = asyncio.Event()
    connections = app.gateway.state.connections
    coming = [asyncio.create_task(outcome(app, token, leave)) for token in those]
    await until(lambda: connections.count == admitted and sum(task.done() for task in coming) == len(those) - admitted)
    leave.set()
    found = Counter(await asyncio.gather(*coming))
    await until(lambda: connections.count == 0)
    return found


@pytest.mark.both_stores
async def test_hundreds_that_connect_at_once_share_a_few_statements_and_none_is_refused(
    own_gateway: OwnGateway, few_connections: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = own_gateway(max_connections_per_address=0, connection_rate=0)
    those = await tokens(gateway)
    gathering = Gathering(gateway, CLIENTS, monkeypatch)
    async with App(gateway) as app:
        assert await storm(app, those, CLIENTS) == {"welcome": CLIENTS}
    assert gathering.statements <= 1 + math.ceil((CLIENTS - 1) / MAX_BATCH)  # several may come before the first


@pytest.mark.both_stores
async def test_in_a_storm_a_session_that_has_ended_is_refused_among_those_that_live(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(max_connections_per_address=0, connection_rate=0)
    those = await tokens(gateway, 60)
    ended = those[::3]
    state = gateway.state
    for token in ended:
        claims, now = state.tokens.verify(token), milliseconds(state.clock)
        await gateway.run(state.database.transact(partial(login_sessions.end, user_id=claims.sub, now=now)))
    refused: Counter[str] = Counter()

    async def connect_with(app: App, token: str) -> None:
        async with app.socket(f"?token={token}") as client:
            frame = await client.next()
            refused[frame["type"] if token not in ended else f"ended: {frame.get('name')}"] += 1

    async with App(gateway) as app:
        await asyncio.gather(*(connect_with(app, token) for token in those))
    assert refused == {"welcome": 40, "ended: token_revoked": 20}


async def test_clients_that_connect_and_vanish_at_once_leave_nothing_behind_and_no_error_in_the_log(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = own_gateway(max_connections_per_address=0, connection_rate=0)
    *those, last = await tokens(gateway)
    gathering = Gathering(gateway, CLIENTS, monkeypatch)
    async with App(gateway) as app:
        tasks = await gateway.run(_count_of_tasks())
        writers = await asyncio.gather(*(_vanishing(app, token) for token in those))
        await until(lambda: gathering.missing == 1)
        for writer in writers:
            writer.transport.abort()
        async with app.connect_with(last) as client:
            await client.ask("ping")
            await until(lambda: gateway.state.connections.count == 1)
            await until(lambda: _has_few_tasks(gateway, tasks))
    assert [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


async def _vanishing(app: App, token: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
    writer.write(HANDSHAKE.replace("/ws/chat", f"/ws/chat?token={token}").encode() + b"\r\n")
    await writer.drain()
    return writer


@pytest.mark.server
async def test_a_store_that_hangs_in_the_middle_of_a_storm_refuses_all_that_wait_and_serves_again_later(
    network: tuple[str, int],
    start_gateway: OwnGateway,
    few_connections: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, port = network
    async with Proxy(port) as proxy:
        url = url.replace(f":{port}/", f":{proxy.port}/")
        gateway = await asyncio.to_thread(
            start_gateway, database_url=url, max_connections_per_address=0, connection_rate=0
        )
        those = await tokens(gateway)
        async with App(gateway) as app:
            assert await storm(app, those[:50], 50) == {"welcome": 50}
            tasks = await gateway.run(_count_of_tasks())
            monkeypatch.setattr(engine, "BUSY_SECONDS", 0.5)
            proxy.swallows = True
            assert await storm(app, those, 0) == {"unavailable, 1013": CLIENTS}
            proxy.swallows = False
            monkeypatch.setattr(engine, "BUSY_SECONDS", 5)
            await until(lambda: _is_ready(app))
            await until(lambda: _has_few_tasks(gateway, tasks))
            assert await storm(app, those, CLIENTS) == {"welcome": CLIENTS}


async def _count_of_tasks() -> int:
    return len(asyncio.all_tasks())


async def _has_few_tasks(gateway: Gateway, most: int) -> bool:
    return await gateway.run(_count_of_tasks()) <= most + 2


async def _is_ready(app: App) -> bool:
    return (await app.http.get("/readyz")).status_code == 200
