"""Tickets: bought with a token, good for one connection, on both stores."""

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection, func, select

from gateway.auth.authorizers import AuthResult
from gateway.store import users
from gateway.store.tables import tickets
from gateway.testing import Gateway
from handlers.errors import AuthenticationFailed
from tests.conftest import OwnGateway
from tests.support.client import App


async def buy(app: App, token: str) -> httpx2.Response:
    return await app.http.post("/ws/ticket", headers={"Authorization": f"Bearer {token}"})


async def a_ticket(app: App, token: str) -> str:
    ticket: str = (await buy(app, token)).json()["ticket"]
    return ticket


async def refused(app: App, ticket: str, status: int = 40001) -> dict[str, Any]:
    async with app.socket(f"?ticket={ticket}") as client:
        return await client.expect("error", status=status)


async def test_a_ticket_costs_a_token_and_opens_one_connection(app: App, alice: str) -> None:
    token = await app.token(alice)
    response = await buy(app, token)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json().keys() == {"ticket", "expires_in"}
    assert response.json()["expires_in"] == 30
    ticket = response.json()["ticket"]
    async with app.socket(f"?ticket={ticket}") as client:
        await client.expect("welcome", user=alice)
        assert "POST /ws/ticket" in (await refused(app, ticket))["message"]
        await client.expect_nothing()
    await refused(app, ticket)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}])
async def test_nobody_gets_a_ticket_without_a_token(app: App, headers: dict[str, str]) -> None:
    response = await app.http.post("/ws/ticket", headers=headers)
    assert (response.status_code, response.json()["name"]) == (401, "authentication_failed")


async def test_of_100_that_use_a_ticket_at_once_one_gets_in(app: App, alice: str) -> None:
    redeem = app.gateway.state.tickets.redeem
    ticket = await a_ticket(app, await app.token(alice))

    async def work() -> list[AuthResult | BaseException]:
        return await asyncio.gather(*(redeem(ticket) for _ in range(100)), return_exceptions=True)

    outcomes = await app.gateway.run(work())
    assert [outcome.user for outcome in outcomes if isinstance(outcome, AuthResult)] == [alice]
    assert sum(isinstance(outcome, AuthenticationFailed) for outcome in outcomes) == 99


async def test_tickets_that_are_used_at_once_each_open_their_own_users_connection_and_only_one(
    app: App, alice: str, bob: str
) -> None:
    redeem = app.gateway.state.tickets.redeem
    held = {name: [await a_ticket(app, await app.token(name)) for _ in range(2)] for name in (alice, bob)}
    uses = 5 * [(name, ticket) for name, tickets in held.items() for ticket in tickets]

    async def use(name: str, ticket: str) -> str:
        try:
            return "right" if (await redeem(ticket)).user == name else "wrong"
        except AuthenticationFailed:
            return "refused"

    async def work() -> list[str]:
        return await asyncio.gather(*(use(name, ticket) for name, ticket in uses))

    assert Counter(await app.gateway.run(work())) == {"right": 4, "refused": 16}


async def test_of_100_connections_with_one_ticket_one_gets_in(app: App, alice: str) -> None:
    ticket = await a_ticket(app, await app.token(alice))

    async def first_frame() -> str:
        async with app.socket(f"?ticket={ticket}") as client:
            type: str = (await client.next())["type"]
            return type

    frames = await asyncio.gather(*(first_frame() for _ in range(100)))
    assert sorted(frames) == ["error"] * 99 + ["welcome"]


async def test_a_ticket_of_one_node_opens_a_connection_to_another_once(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as here, App(own_gateway()) as there:
        ticket = await a_ticket(here, await here.token("alice"))
        async with there.socket(f"?ticket={ticket}") as client:
            await client.expect("welcome", user="alice")
        await refused(here, ticket)


async def test_a_ticket_gives_what_the_token_gave_and_ends_when_that_ends(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        await app.register("alice")
        token = (await app.log_in("alice", scope="chat:read")).json()["access_token"]
        async with app.socket(f"?token={token}") as client:
            welcome = await client.expect("welcome")
        gateway.clock.ahead += 100
        async with app.socket(f"?ticket={await a_ticket(app, token)}") as client:
            with_ticket = await client.expect("welcome", scopes=["chat:read"])
            assert with_ticket["token_expires_at"] == welcome["token_expires_at"]
        gateway.clock.ahead += 790
        ticket = await a_ticket(app, token)
        gateway.clock.ahead += 11  # the ticket would live for longer, and the token does not
        await refused(app, ticket, 40101)


async def test_a_ticket_runs_out_after_30_seconds(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        token = await app.token("alice")
        early, late = await a_ticket(app, token), await a_ticket(app, token)
        gateway.clock.ahead += 29
        async with app.socket(f"?ticket={early}") as client:
            await client.expect("welcome")
        gateway.clock.ahead += 1
        await refused(app, late)


async def test_a_user_may_hold_so_many_tickets_and_those_that_ran_out_are_swept(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_tickets_per_user=3)
    async with App(gateway) as app:
        token = await app.token("alice")
        held = [await a_ticket(app, token) for _ in range(3)]
        response = await buy(app, token)
        assert (response.status_code, response.json()["name"]) == (429, "rate_limited")
        assert response.headers["Retry-After"] == "30"
        assert (await buy(app, await app.token("bob"))).status_code == 200
        async with app.socket(f"?ticket={held[0]}") as client:
            await client.expect("welcome")
        assert (await buy(app, token)).status_code == 200  # one is used, so there is room for another
        assert await stored(gateway) == 4
        gateway.clock.ahead += 30
        assert (await buy(app, token)).status_code == 200
        assert await stored(gateway) == 1


async def stored(gateway: Gateway) -> int:
    def count(connection: Connection) -> int:
        return connection.execute(select(func.count()).select_from(tickets)).scalar_one()

    return await gateway.run(gateway.state.database.query(count))


async def test_two_nodes_that_are_asked_at_once_sell_no_more_than_a_user_may_hold(own_gateway: OwnGateway) -> None:
    one, other = (own_gateway(max_tickets_per_user=5) for _ in range(2))
    async with App(one) as here, App(other) as there:
        token = await here.token("alice")
        answers = await asyncio.gather(*(buy(app, token) for _ in range(15) for app in (here, there)))
        assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 25}


async def test_a_user_that_was_disabled_meanwhile_does_not_get_in(app: App, alice: str) -> None:
    ticket = await a_ticket(app, await app.token(alice))
    disable = partial(users.set_disabled, name=alice, disabled_at=1)
    await app.gateway.run(app.gateway.state.database.transact(disable))
    await refused(app, ticket, 40102)


class Vouching:
    """An authorizer of an application, with one user under one word, and that user's scopes."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    async def authorize(self, token: str) -> AuthResult:
        if token != "the word":
            raise AuthenticationFailed("not the word")
        return AuthResult(self.user_id, "carol", frozenset({"chat:read", "admin"}), time.time() + 600)


async def test_a_ticket_may_be_bought_with_the_token_of_another_service(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        carol = (await app.register("carol")).json()
        gateway.state.authorizers["corp"] = Vouching(carol["id"])
        headers = {"Authorization": "Bearer the word"}
        response = await app.http.post("/ws/ticket?service=corp", headers=headers)
        assert response.status_code == 200
        async with app.socket(f"?ticket={response.json()['ticket']}") as client:
            await client.expect("welcome", user="carol", scopes=["admin", "chat:read"])
            await client.ask("auth.refresh", token="the word")
            assert (await client.refused("auth.refresh", token=await app.token("carol")))["status"] == 40001
        for query in ("", "?service=gateway", "?service=nobody"):
            assert (await app.http.post(f"/ws/ticket{query}", headers=headers)).status_code == 401


async def test_whoever_reads_the_database_finds_no_ticket_in_it(app: App, alice: str) -> None:
    ticket = await a_ticket(app, await app.token(alice))

    def read(connection: Connection) -> str:
        return str(connection.execute(select(tickets)).all())

    rows = await app.gateway.run(app.gateway.state.database.query(read))
    assert "chat:read" in rows
    assert not [ticket[start : start + 20] for start in range(len(ticket) - 20) if ticket[start : start + 20] in rows]
