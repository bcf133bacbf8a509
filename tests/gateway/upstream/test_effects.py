"""What a service asks for beside its answer."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.metrics import metrics_of
from tests.support.services import add_service
from tests.support.upstreams import Behaviour, Conversation, answering, running_upstream
from tests.support.waiting import until

EVERYTHING: dict[str, Any] = {
    "service": "orders",
    "effects": ["publish", "join", "leave", "disconnect"],
    "rooms": ["order-*"],
}


def asking_for(*effects: Any) -> Behaviour:
    """A service that answers with these effects."""
    return answering({"data": {"done": True}, "effects": list(effects)})


@pytest.mark.both_stores
async def test_effects_follow_the_reply_in_their_order(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    effects = (
        {"join": {"room": "order-1"}},
        {"publish": {"room": "order-1", "text": "welcome"}},
        {"publish": {"room": "order-1", "body": {"paid": True}}},
        {"publish": {"room": "order-1", "event": {"type": "orders.paid", "data": {"sum": 7}}}},
    )
    async with running_upstream(asking_for(*effects)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            await add_service(app.gateway, "orders", "api:publish")
            async with app.in_room(bob, "order-1") as other, app.connect(alice) as client:
                number = await client.start("orders.create")
                assert await client.expect("reply", id=number) == {"done": True}
                added = await client.expect("room.added", by="service:orders")
                assert (added["room"]["name"], added["room"]["role"]) == ("order-1", "member")
                await other.expect("room.joined", user=alice)
                message = await other.expect("chat.message", text="welcome", sender="service:orders", offset=1)
                assert "client_id" not in message
                await other.expect("chat.message", body={"paid": True}, sender="service:orders", offset=2)
                assert await other.expect("orders.paid") == {"sum": 7}
                joined = await client.ask("room.join", room="order-1")
                assert [each["sender"] for each in joined["messages"]] == ["service:orders"] * 2
                counted = 'gateway_upstream_effects_total{effect="publish",outcome="done",route="orders.*"}'
                assert (await metrics_of(app))[counted] == 3


async def test_a_role_another_user_and_the_end_of_a_membership(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with running_upstream(asking_for({"join": {"room": "order-1", "user": bob, "role": "moderator"}})) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.connect(bob) as other, app.in_room(alice, "order-1") as client:
                await client.ask("orders.create")
                assert (await other.expect("room.added"))["room"]["role"] == "moderator"
                await client.until(type="room.role", data={"room": "order-1", "user": bob, "role": "moderator"})
                await service.become(
                    asking_for({"leave": {"room": "order-1", "user": bob}}, {"leave": {"room": "order-1"}})
                )
                await client.ask("orders.cancel")
                await client.expect("room.left", user=bob, by="service:orders")
                assert (await client.expect("room.left", by="service:orders"))["user"] == alice
                for left in (client, other):  # nothing was said in the room, so it has ended
                    assert (await left.refused("room.members", room="order-1"))["status"] == 40400


async def test_disconnect_closes_the_connection_of_the_sender_after_the_reply(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with running_upstream(asking_for({"disconnect": {}})) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.connect(alice) as other, app.connect(alice) as client:
                await client.ask("orders.create")
                await client.expect("bye", code=4403, reason="disconnected", reconnect="never")
                await client.expect_close(4403, "disconnected")
                await other.expect_nothing()
            answer = await app.ask("POST", "/call/orders.create", await app.token(alice), json={})
            assert (answer.status_code, answer.json()) == (200, {"done": True})


async def test_an_error_may_have_effects(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    refusing = answering(
        {
            "error": {"status": 40300, "name": "forbidden", "message": "you are out"},
            "effects": [{"leave": {"room": "order-1"}}],
        }
    )
    async with running_upstream(refusing) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.in_room(alice, "order-1") as client:
                assert (await client.refused("orders.create"))["message"] == "you are out"
                await client.expect("room.left", user=alice)


async def test_an_effect_that_fails_stops_no_other(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    effects = (
        {"publish": {"room": "order-none", "event": {"type": "orders.paid"}}},
        {"join": {"room": "order-1", "user": "no-such-user"}},
        {"publish": {"room": "order-1", "event": {"type": "orders.paid"}}},
    )
    async with running_upstream(asking_for(*effects)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.in_room(alice, "order-1") as client:
                await client.ask("orders.create")
                assert await client.expect("orders.paid") == {}
                await client.expect_nothing()
                assert "route orders.*: the effect publish failed" in caplog.text
                assert "route orders.*: the effect join failed" in caplog.text
                counted = 'gateway_upstream_effects_total{effect="join",outcome="failed",route="orders.*"}'
                assert (await metrics_of(app))[counted] == 1


async def test_effects_happen_also_if_the_sender_is_gone(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    effects = [{"publish": {"room": "order-1", "event": {"type": "orders.paid"}}}, {"disconnect": {}}]
    async with running_upstream(asking_for(*effects)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.in_room(bob, "order-1") as other:
                async with app.connect(alice) as client:
                    await client.start("orders.create")
                    await client.expect("reply")
                    client.ws.transport.abort()
                await other.expect("orders.paid")
                await until(lambda: app.gateway.state.connections.count == 1)


async def test_a_call_that_ends_with_its_connection_has_no_effects(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    gate = asyncio.Event()

    async def slow(client: Conversation) -> None:
        await client.request()
        await gate.wait()
        await client.answer({"data": {}, "effects": [{"publish": {"room": "order-1", "event": {"type": "late"}}}]})

    async with running_upstream(slow) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.in_room(bob, "order-1") as other:
                async with app.connect(alice) as client:
                    await client.start("orders.create")
                    await until(lambda: service.requests)
                await until(lambda: app.gateway.state.connections.count == 1)
                gate.set()
                await other.expect_nothing()


async def test_with_effects_a_route_still_passes_answers_without(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with running_upstream(asking_for()) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **EVERYTHING)) as app:
            async with app.connect(alice) as client:
                assert await client.ask("orders.create") == {"done": True}
