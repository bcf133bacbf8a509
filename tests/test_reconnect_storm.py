"""A storm: many clients come at once. Clients in their rooms are served meanwhile, and newcomers in their turn."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.auth.external.app_authorizers import Identity
from gateway.store import engine
from gateway.testing import Gateway, running_gateway, settings_for_tests
from gateway.transport import newcomers
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame
from tests.support.metrics import metrics_of
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.waiting import until
from tests.support.wire import handshake, opened, rest


class SlowService:
    """A service that vouches for its users when a test lets it."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def authorize(self, token: str) -> Identity:
        """Return the user, in time."""
        async with asyncio.timeout(20):
            while not self.answers.is_set():  # noqa: ASYNC110 - it is set in another thread
                await asyncio.sleep(0.005)
        return Identity(user=token)


class Storm:
    """A gateway with one handshake in progress, which has no answer yet, and the clients that wait behind it."""

    def __init__(self, app: App, service: SlowService) -> None:
        self.app = app
        self.service = service
        self.welcomed: list[str] = []
        self.newcomers: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Return how many clients wait."""
        return self.app.gateway.state.newcomers.waiting

    async def come(self, name: str, query: str) -> None:
        """Let a client come, and wait until it waits or is in progress."""
        state = self.app.gateway.state.newcomers
        before = state.waiting + state.in_progress
        self.newcomers.append(asyncio.create_task(self._connect(name, query)))
        await until(lambda: state.waiting + state.in_progress == before + 1)

    async def _connect(self, name: str, query: str) -> None:
        async with self.app.socket(query) as client:
            await client.expect("welcome", user=name)
            self.welcomed.append(name)

    async def send_away(self, token: str) -> dict[str, object]:
        """Come, and return the `bye`."""
        async with self.app.socket(f"?token={token}") as client:
            bye = await client.expect("bye")
            await client.expect_close(int(bye["code"]), str(bye["reason"]))
            return bye

    async def rage(self) -> None:
        """Let the first handshake go on, and wait for all clients."""
        self.service.answers.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*self.newcomers)


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has one handshake in progress at a time."""
    monkeypatch.setattr(newcomers, "MAX_IN_PROGRESS", 1)


@asynccontextmanager
async def held_up(own_gateway: OwnGateway, **settings: object) -> AsyncIterator[Storm]:
    service = SlowService()
    gateway = own_gateway(authorizers={"slow": service}, outside_timeout_seconds=30, **settings)
    async with App(gateway) as app:
        storm = Storm(app, service)
        try:
            yield storm
        finally:
            service.answers.set()
            for task in storm.newcomers:
                task.cancel()
            await asyncio.gather(*storm.newcomers, return_exceptions=True)


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_client_in_its_room_is_served_before_the_newcomers_that_wait(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway) as storm, storm.app.in_room("alice", "lobby") as alice:
        tokens = {name: await storm.app.token(name) for name in ("bob", "carol", "dave")}
        await storm.come("first", "?service=slow&token=first")
        for name, token in tokens.items():
            await storm.come(name, f"?token={token}")
        await alice.ask("ping")
        await alice.say("lobby", "hello")
        assert storm.welcomed == []
        assert (await metrics_of(storm.app))["gateway_newcomers_waiting"] == 3
        await storm.rage()
        assert storm.welcomed == ["first", "bob", "carol", "dave"]
        await alice.expect_nothing()


@pytest.mark.usefixtures("one_at_a_time")
async def test_beyond_the_bound_newcomers_learn_when_to_come_back_each_at_its_own_moment(
    own_gateway: OwnGateway,
) -> None:
    async with held_up(own_gateway, max_waiting_connections=2) as storm:
        storm.app.gateway.clock.stop()
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        for _ in range(2):
            await storm.come("alice", f"?token={token}")
        byes = [await storm.send_away(token) for _ in range(5)]
        assert {(bye["code"], bye["reason"], bye["reconnect"]) for bye in byes} == {
            (1013, "overloaded", "with_backoff")
        }
        times = [int(str(bye["after_ms"])) for bye in byes]
        assert len(set(times)) >= 3
        assert all(1000 < time < 60_000 for time in times)
        metrics = await metrics_of(storm.app)
        assert metrics['gateway_newcomers_refused_total{reason="overloaded"}'] == 5
        assert metrics["gateway_newcomers_waiting"] == 2
        await storm.rage()  # those that wait lose nothing
        assert storm.welcomed == ["first", "alice", "alice"]
        async with storm.app.socket(f"?token={token}") as client:
            await client.expect("welcome")


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_page_that_offers_subprotocols_learns_the_reason_too(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway, max_waiting_connections=1) as storm:
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        await storm.come("alice", f"?token={token}")
        for offered in (["gateway.v1", f"bearer.{token}"], ["access_token", token]):
            async with connect(f"{storm.app.gateway.ws_url}/ws/chat", subprotocols=offered, proxy=None) as ws:  # type: ignore[arg-type]
                assert ws.subprotocol == offered[0]
                await ChatClient(ws).expect("bye", code=1013)


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_refusal_over_http_says_when_to_come_back(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway, max_waiting_connections=1, handshake_rejection="http") as storm:
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        await storm.come("alice", f"?token={token}")
        with pytest.raises(InvalidStatus) as refused:
            async with storm.app.socket(f"?token={token}"):
                pass
        answer = refused.value.response
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
        error = json.loads(answer.body or b"")
        assert (error["status"], error["name"], error["retryable"]) == (50300, "unavailable", True)
        assert 1000 <= error["retry_after_ms"] <= 1000 * int(answer.headers["Retry-After"])


@pytest.mark.usefixtures("one_at_a_time")
async def test_newcomers_that_vanish_free_their_places(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway, max_waiting_connections=20) as storm:
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        for _ in range(3):
            async with AsyncExitStack() as stack:
                for _ in range(20):
                    await stack.enter_async_context(opened(storm.app.gateway, handshake(token)))
                await until(lambda: storm.waiting == 20)
            await until(lambda: storm.waiting == 0)
        await storm.come("alice", f"?token={token}")
        await storm.rage()
        assert storm.welcomed == ["first", "alice"]
        assert not storm.app.gateway.state.newcomers.refused.total()


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_newcomer_that_does_not_wait_for_its_answer_gets_none(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway) as storm:
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        async with opened(storm.app.gateway, handshake(token)) as (reader, writer):
            await until(lambda: storm.waiting == 1)
            writer.write(b"\x81\x80\0\0\0\0")
            assert (await rest(reader)).startswith(b"HTTP/1.1 400 ")
        await until(lambda: storm.waiting == 0)


@pytest.mark.usefixtures("one_at_a_time")
async def test_newcomers_that_wait_while_the_gateway_drains_are_sent_away_with_the_others(
    own_gateway: OwnGateway,
) -> None:
    async with held_up(own_gateway) as storm, storm.app.connect("alice") as alice:
        token = await storm.app.token("bob")
        await storm.come("first", "?service=slow&token=first")
        away = [asyncio.create_task(storm.send_away(token)) for _ in range(5)]
        await until(lambda: storm.waiting == 5)
        drain = asyncio.create_task(storm.app.gateway.run(storm.app.gateway.state.connections.drain(5)))
        byes = [*await asyncio.gather(*away), await alice.expect("bye")]
        assert {bye["code"] for bye in byes} == {1012}
        assert all(0 <= int(str(bye["after_ms"])) < 1000 + 100 for bye in byes)
        assert len({bye["after_ms"] for bye in byes}) > 3
        await alice.expect_close(1012, "draining")
        async with asyncio.timeout(20):
            await drain


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_newcomer_does_not_wait_for_longer_than_its_patience(own_gateway: OwnGateway) -> None:
    async with held_up(own_gateway) as storm:
        token = await storm.app.token("alice")
        await storm.come("first", "?service=slow&token=first")
        away = asyncio.create_task(storm.send_away(token))
        await until(lambda: storm.waiting == 1)
        storm.app.gateway.clock.ahead += newcomers.MAX_WAIT_SECONDS
        assert (await asyncio.wait_for(away, 20))["code"] == 1013


CLIENTS = 50


@pytest.mark.both_stores
async def test_clients_that_join_and_vanish_at_once_leave_nothing_behind(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_connections_per_user=0)
    rooms = [f"room-{number}" for number in range(5)]
    async with App(gateway) as app, app.in_room("alice", "room-0") as alice:
        token = await app.token("bob")

        async def flash() -> None:
            async with app.socket(f"?token={token}") as client:
                for room in rooms:
                    await client.start("room.join", room=room)
                client.ws.transport.abort()

        await asyncio.gather(*(flash() for _ in range(CLIENTS)))
        await until(lambda: gateway.state.connections.count == 1)
        alice.ignored |= {"room.joined"}
        await alice.say("room-0", "hello")
        assert gateway.state.hub.subscriber_count("room-0") == 1
        assert gateway.state.turns.waiting == gateway.state.newcomers.waiting == 0


@pytest.mark.both_stores
async def test_a_storm_that_the_store_can_take_is_refused_nothing(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    rooms = [f"room-{number}" for number in range(5)]
    async with App(gateway) as app:
        tokens = [await gateway.token(f"user-{number}") for number in range(CLIENTS)]

        async def come(token: str) -> None:
            async with app.connect_with(token) as client:
                client.ignored |= {"room.joined"}
                numbers = [await client.start("room.join", room=room) for room in rooms]
                for number in numbers:
                    assert (await client.until(id=number))["type"] == "reply"
                client.ws.transport.abort()  # it would not close before it has read all events

        async with asyncio.timeout(60):
            await asyncio.gather(*map(come, tokens))
        assert not gateway.state.newcomers.refused.total()


@pytest.fixture
def freezable() -> Iterator[Postgres]:
    """A PostgreSQL that this test may freeze."""
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def on_freezable(freezable: Postgres, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that stores in that PostgreSQL."""
    with fresh_database(freezable.url("postgres")) as url:
        try:
            with running_gateway(settings_for_tests(tmp_path, database_url=url)) as running:
                yield running
        finally:
            freezable.thaw()


@pytest.mark.server
async def test_while_the_store_hangs_in_a_storm_clients_in_their_rooms_are_served_and_all_others_are_told_to_wait(
    on_freezable: Gateway, freezable: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 1)
    async with App(on_freezable) as app, app.in_room("alice", "lobby") as alice:
        tokens = [await on_freezable.token(f"user-{number}") for number in range(30)]
        joining = [asyncio.create_task(_join_at_last(app, token)) for token in tokens]
        await asyncio.sleep(0)
        freezable.freeze()
        for _ in range(20):
            alice.ignored |= {"room.joined"}
            await alice.ask("ping")
        late = [asyncio.create_task(_join_at_last(app, token)) for token in tokens]
        refused = await alice.refused("chat.history", room="lobby")
        assert refused["status"] == 50300
        freezable.thaw()
        async with asyncio.timeout(60):
            seen = [*await asyncio.gather(*joining), *await asyncio.gather(*late)]
        assert set().union(*seen) <= {"bye 1013", 50300}
        await until(lambda: on_freezable.state.turns.waiting == on_freezable.state.newcomers.waiting == 0)
        alice.ws.transport.abort()


async def _join_at_last(app: App, token: str) -> set[object]:
    """Connect and join, again and again, and return the refusals."""
    seen: set[object] = set()
    while True:
        with contextlib.suppress(ConnectionClosed):
            async with app.socket(f"?token={token}") as client:
                frame = await client.next()
                while frame["type"] == "error":
                    seen.add(frame["status"])
                    frame = await client.next()
                if frame["type"] == "bye":
                    seen.add(f"bye {frame['data']['code']}")
                    assert frame["data"]["reconnect"] == "with_backoff", json.dumps(frame)
                    await asyncio.sleep(0.05)
                    continue
                client.ignored |= {"room.joined"}
                while (answer := await client.until(id=await client.start("room.join", room="lobby")))[
                    "type"
                ] == "error":
                    seen.add(answer["status"])
                    await asyncio.sleep(0.05)
                client.ws.transport.abort()
                return seen


async def _answer_to_join(client: ChatClient) -> Frame:
    return await client.until(id=await client.start("room.join", room="lobby"))
