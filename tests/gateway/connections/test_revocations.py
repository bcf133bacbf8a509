"""Ended sessions end everywhere: at once over the bus, or by a look into the store."""

import asyncio
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from gateway.bus.base import Revoked
from gateway.bus.memory import MemoryBus
from gateway.connections.revocations import RevocationWatcher
from gateway.core.clock import milliseconds
from gateway.store import login_sessions, users
from gateway.store.tables import login_sessions as sessions_table
from gateway.store.tables import users as users_table
from gateway.testing import Gateway
from gateway.transport.frames import text_frame
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Empty
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until


@pytest.fixture
def silent_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lose(bus: MemoryBus, revoked: Revoked) -> None:
        pass

    monkeypatch.setattr(MemoryBus, "revoke", lose)


def sid(client_token: str, gateway: Gateway) -> str:
    return gateway.state.tokens.verify(client_token).sid


@pytest.mark.usefixtures("silent_bus")
async def test_a_session_that_ended_without_a_word_is_found_in_the_store(app: App, alice: str, bob: str) -> None:
    ended, other = await app.grant(alice), await app.grant(alice)
    async with (
        app.connect_with(ended["access_token"]) as one,
        app.connect_with(ended["access_token"]) as two,
        app.connect_with(other["access_token"]) as three,
        app.connect(bob) as four,
    ):
        await app.http.post("/token/revoke", data={"token": ended["refresh_token"]})
        await one.expect_revoked()
        await two.expect_revoked()
        await three.expect_nothing()
        await four.expect_nothing()


@pytest.mark.parametrize("how", ["disabled", "disabled_alone"])
async def test_a_user_that_is_disabled_through_the_store_is_cut_off(
    app: App, gateway: Gateway, alice: str, bob: str, how: str
) -> None:
    now = milliseconds(gateway.clock)

    def disable(connection: Any) -> None:
        user_id = users.set_disabled(connection, alice, now)
        assert user_id is not None
        if how == "disabled":
            login_sessions.end(connection, user_id, now)

    async with app.connect(alice) as one, app.connect(alice) as two, app.connect(bob) as other:
        await gateway.run(gateway.state.database.transact(disable))
        await one.expect_revoked()
        await two.expect_revoked()
        await other.expect_nothing()


async def test_what_another_process_ends_is_closed_here(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as here, App(own_gateway()) as there:  # with one store, and a bus each
        grant = await here.grant("alice")
        async with here.connect_with(grant["access_token"]) as client, here.connect("alice") as other:
            await there.http.post("/token/revoke", data={"token": grant["refresh_token"]})
            await client.expect_revoked()
            await other.expect_nothing()
            await there.ask("DELETE", "/users/me/sessions", await there.token("alice"))
            await other.expect_revoked()
        assert (await here.refresh(grant["refresh_token"])).status_code == 401


@pytest.mark.parametrize("how", ["user deleted", "session deleted", "ended long ago"])
async def test_what_leaves_no_trace_in_the_store_is_found_by_a_look_at_all(
    app: App, gateway: Gateway, alice: str, bob: str, how: str
) -> None:
    mine = select(users_table.c.id).where(users_table.c.name == alice)
    changes = {
        "user deleted": delete(users_table).where(users_table.c.name == alice),
        "session deleted": delete(sessions_table).where(sessions_table.c.user_id.in_(mine)),
        "ended long ago": update(sessions_table).where(sessions_table.c.user_id.in_(mine)).values(ended_at=1),
    }

    async def change_and_look() -> None:
        state = gateway.state
        await state.database.transact(lambda connection: connection.execute(changes[how]))
        await RevocationWatcher(state.database, state.connections, state.clock).close_all_ended()

    async with app.connect(alice) as one, app.connect(alice) as two, app.connect(bob) as other:
        await gateway.run(change_and_look())
        await one.expect_revoked()
        await two.expect_revoked()
        await other.expect_nothing()


async def test_a_session_that_begins_after_others_have_ended_stays(app: App, alice: str) -> None:
    before = await app.grant(alice)
    await app.ask("DELETE", "/users/me/sessions", (await app.grant(alice))["access_token"])
    async with app.connect(alice) as client:  # while the end of the other is looked at again and again
        assert (await app.ask("GET", "/users/me", before["access_token"])).status_code == 401
        await client.expect_nothing()


async def test_the_bus_can_end_all_connections_of_a_user(app: App, gateway: Gateway, alice: str, bob: str) -> None:
    """As another node announces a user with credentials that are not sessions of the gateway."""
    async with app.connect(alice) as one, app.connect(alice) as two, app.connect(bob) as other:
        me = (await app.ask("GET", "/users/me", await app.token(alice))).json()
        await gateway.run(gateway.state.bus.revoke(Revoked(me["id"], None)))
        await one.expect_revoked()
        await two.expect_revoked()
        await other.expect_nothing()


class Waiting(MsgHandler[Empty, Empty]):
    """A slow handler."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        await asyncio.sleep(0.3)
        return Empty()


async def test_what_a_client_has_sent_before_the_end_is_not_handled_after_it(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(registry={**HANDLERS, "wait": Waiting})
    async with App(gateway) as app, app.in_room("bob", "lobby") as witness:
        grant = await app.grant("alice")
        async with app.connect_with(grant["access_token"]) as client:
            await client.ask("room.join", room="lobby")
            await witness.expect("room.joined")
            await client.start("wait")
            await client.start("chat.send", room="lobby", text="too late")
            await app.http.post("/token/revoke", data={"token": grant["access_token"]})
            await client.expect_revoked()
        await until(lambda: gateway.state.connections.count == 1)  # the handler is done
        await witness.expect_nothing()


async def test_who_reads_nothing_is_gone_as_well_when_the_session_ends(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(outbox_frames=100_000, outbox_bytes=64 * 1024 * 1024)
    async with App(gateway) as app, app.in_room("bob", "lobby") as witness:
        grant = await app.grant("alice")
        async with app.connect_with(grant["access_token"]) as deaf:
            await deaf.ask("room.join", room="lobby")
            await witness.expect("room.joined")
            deaf.ws.transport.pause_reading()
            connections = gateway.state.connections
            user_id = gateway.state.tokens.verify(grant["access_token"]).sub
            frame = text_frame(b'"' + b"x" * 250_000 + b'"')
            for _ in range(40):  # far more than the sockets take
                gateway.loop.call_soon_threadsafe(connections.deliver, frame, user_id)
            await app.http.post("/token/revoke", data={"token": grant["access_token"]})
            await until(lambda: connections.count == 1)
            deaf.ws.transport.abort()


async def test_sessions_are_removed_a_day_after_their_end(own_gateway: OwnGateway) -> None:
    day = 24 * 3600 * 1000
    gateway = own_gateway(session_days=2)
    database = gateway.state.database

    def stored(connection: Connection) -> set[str]:
        return set(connection.execute(select(sessions_table.c.id)).scalars())

    async with App(gateway) as app:
        live, ended = await app.grant("alice"), await app.grant("alice")
        await app.http.post("/token/revoke", data={"token": ended["refresh_token"]})
        now = milliseconds(gateway.clock)
        ids = [sid(grant["access_token"], gateway) for grant in (live, ended)]
        for before, left in ((now - 1000, ids), (now + 1000, ids[:1]), (now + 2 * day + 1000, [])):
            await gateway.run(database.transact(partial(login_sessions.prune, before=before)))
            assert await gateway.run(database.query(stored)) == set(left)
