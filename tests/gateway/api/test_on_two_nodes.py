"""A backend may ask any node: the clients of all of them see the same."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.testing import Gateway
from tests.gateway.api.conftest import Backend, StartBackend
from tests.support.client import App, ChatClient
from tests.support.nodes import running_nodes
from tests.support.postgres import fresh_database
from tests.support.valkey import running_valkey


@pytest.fixture(scope="module")
def nodes(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """Two gateways that the tests share. Their users and rooms have names of their own."""
    with running_valkey() as valkey, fresh_database(postgres) as url:
        with running_nodes(tmp_path_factory.mktemp("nodes"), url, valkey) as running:
            yield running


Clients = tuple[Backend, Backend, ChatClient, ChatClient]


@asynccontextmanager
async def everywhere(nodes: list[Gateway], backend: StartBackend, alice: str, bob: str) -> AsyncIterator[Clients]:
    """The same backend at both nodes, Alice at the first and Bob at the second."""
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(App(node)) for node in nodes]
        one = await stack.enter_async_context(backend(nodes[0]))
        other = Backend(nodes[1], one.name, one.key)
        await stack.enter_async_context(other.http)
        of_alice = await stack.enter_async_context(here.connect(alice))
        of_bob = await stack.enter_async_context(there.connect(bob))
        yield one, other, of_alice, of_bob


async def test_what_one_node_is_asked_the_clients_of_both_see(
    nodes: list[Gateway], backend: StartBackend, alice: str, bob: str, room: str
) -> None:
    async with everywhere(nodes, backend, alice, bob) as (one, other, of_alice, of_bob):
        await one.ask("POST", "/api/rooms", json={"room": room, "private": True})
        for name, client in ((alice, of_alice), (bob, of_bob)):
            await other.ask("PUT", f"/api/rooms/{room}/members/{name}")
            await client.expect("room.added", by=one.sender)
            await client.ask("room.join", room=room)
        # Bob's node says so, and a request to Alice's node might be faster.
        await of_alice.expect("room.joined", user=bob)
        await one.ask("PUT", f"/api/rooms/{room}/members/{bob}", json={"role": "moderator"})
        for client in (of_alice, of_bob):
            await client.expect("room.role", user=bob, role="moderator")
        await other.publish(rooms=[room], message={"text": "one"})
        await one.publish(rooms=[room], event={"type": "orders.changed", "data": {"id": 7}})
        for client in (of_alice, of_bob):
            heard = {frame["type"] for frame in (await client.next(), await client.next())}
            assert heard == {"chat.message", "orders.changed"}
        # Joins come from memory, which must know of the departure on both nodes.
        await one.ask("DELETE", f"/api/rooms/{room}/members/{bob}")
        for client in (of_alice, of_bob):
            await client.expect("room.left", user=bob, by=one.sender)
        assert (await of_bob.refused("room.join", room=room))["status"] == 40400
        await other.publish(rooms=[room], message={"text": "two"})
        await of_alice.expect("chat.message", text="two", offset=2)
        await of_bob.expect_nothing()
        assert (await of_alice.ask("room.join", room=room))["members"] == 1
        await other.ask("DELETE", f"/api/rooms/{room}")
        await of_alice.expect("room.deleted", room=room)
        assert (await one.refused("GET", f"/api/rooms/{room}"))["status"] == 40400


async def test_a_message_that_goes_to_both_nodes_at_once_is_stored_once(
    nodes: list[Gateway], backend: StartBackend, alice: str, bob: str, room: str
) -> None:
    async with everywhere(nodes, backend, alice, bob) as (one, other, of_alice, of_bob):
        await of_alice.ask("room.join", room=room)
        await of_bob.ask("room.join", room=room)
        await of_alice.expect("room.joined", user=bob)
        headers = {"Idempotency-Key": "order-7"}
        answers = await asyncio.gather(
            *(each.publish(rooms=[room], message={"text": "paid"}, headers=headers) for each in (one, other) * 5)
        )
        assert sorted(result["duplicate"] for [result] in answers) == [False, *[True] * 9]
        assert {result["id"] for [result] in answers} == {answers[0][0]["id"]}
        for client in (of_alice, of_bob):
            await client.expect("chat.message", text="paid")
            await client.expect_nothing()


async def test_an_event_reaches_the_users_of_all_nodes(
    nodes: list[Gateway], backend: StartBackend, alice: str, bob: str
) -> None:
    async with everywhere(nodes, backend, alice, bob) as (one, other, of_alice, of_bob):
        event = {"type": "orders.changed", "data": {"id": 7}}
        await one.publish(users=[bob], event=event)
        await of_bob.expect("orders.changed", id=7)
        await other.publish(all=True, event=event)
        for client in (of_alice, of_bob):
            await client.expect("orders.changed", id=7)
            await client.expect_nothing()
