"""The life of a connection: welcome, replies in order, expiry, limits, and the end."""

import asyncio
from typing import Any

import pytest

from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Empty
from tests.conftest import OwnGateway
from tests.support.client import App


async def test_the_first_frame_is_a_welcome_that_says_all_a_client_needs(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        welcome = client.welcome
        assert welcome["user"] == alice
        assert welcome["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
        assert welcome["heartbeat_seconds"] == 25
        assert welcome["max_message_bytes"] == 65536
        assert welcome["protocol"] == 1
        assert welcome["connection"]
        assert welcome["token_expires_at"] > welcome["server_time"]


async def test_replies_come_in_the_order_of_messages_with_the_ids_as_they_came(app: App, alice: str) -> None:
    ids: list[Any] = ["a", 0, -5, 2**60, "x" * 64, "ключ", "1", 1]
    async with app.connect(alice) as client:
        for id in ids:
            await client.send({"type": "ping", "id": id})
        for id in ids:
            frame = await client.next()
            assert (frame["type"], frame["status"]) == ("reply", 20000)
            assert (frame["id"], type(frame["id"])) == (id, type(id))


async def test_a_message_without_an_id_gets_no_reply_but_its_errors(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "ping"})
        await client.send({"type": "ping", "id": None})
        await client.send({"type": "chat.send", "data": {"room": "nowhere-at-all", "text": "hi"}})
        await client.expect("error", status=40400, id=None)
        await client.expect_nothing()


async def test_bye_is_answered_and_then_ends_the_connection(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.ask("bye")
        await client.expect("bye", code=1000, reason="bye", reconnect="never")
        await client.expect_close(1000, "bye")


async def test_messages_after_bye_are_not_handled(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "bye"})
        await client.send({"type": "ping", "id": 1})
        await client.expect("bye", code=1000)
        await client.expect_close(1000, "bye")


class Broken(MsgHandler[Empty, Empty]):
    """Fails, as any handler may one day."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        raise RuntimeError("a secret detail")


async def test_a_handler_that_raises_is_answered_with_a_reference_and_nothing_else(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(own_gateway(registry={**HANDLERS, "broken": Broken})) as app, app.connect("alice") as client:
        error = await client.refused("broken")
        assert (error["status"], error["name"], error["retryable"]) == (50000, "internal_error", False)
        assert "secret detail" not in str(error)
        assert client.welcome["connection"] in error["message"]
        await client.expect_nothing()
    assert "a secret detail" in caplog.text  # with its traceback, for the operator


async def test_a_token_that_is_about_to_end_is_told_and_then_the_connection_ends(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(token_minutes=1.02)
    async with App(gateway) as app, app.connect("alice") as client:
        await client.expect("token.expiring", token_expires_at=client.welcome["token_expires_at"])
        await client.expect_nothing()


async def test_the_connection_of_an_expired_token_ends_after_the_grace(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.chat.session.EXPIRY_GRACE_SECONDS", 0)
    gateway = own_gateway(token_minutes=0.02)
    async with App(gateway) as app, app.connect("alice") as client:
        await client.expect("token.expiring")
        await client.expect("bye", code=4410, reason="token_expired", reconnect="new_credential")
        await client.expect_close(4410, "token_expired")


async def test_one_connection_too_many_of_a_user_is_told_to_come_back_later(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_connections_per_user=2)) as app:
        async with app.connect("alice"), app.connect("alice") as second:
            async with app.socket(f"?token={await app.token('alice')}") as third:
                await third.expect("bye", code=1013, reason="overloaded", reconnect="with_backoff")
                await third.expect_close(1013, "overloaded")
            await second.expect_nothing()
            async with app.connect("bob"):
                pass
        async with app.connect("alice"):
            pass


async def test_connections_of_one_address_are_limited_in_number_and_rate(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_connections_per_address=2, connection_rate=3)
    gateway.clock.stop()
    async with App(gateway) as app:
        async with app.connect("alice"), app.connect("bob"):
            async with app.socket(f"?token={await app.token('carol')}") as third:
                await third.expect("bye", code=1013)
        # The three messages of this second are used up: the refused one counts too.
        async with app.socket(f"?token={await app.token('carol')}") as fourth:
            assert (await fourth.expect("error", status=42900))["message"] == "too many connections from this address"
            await fourth.expect("bye", code=1013, reason="overloaded")
            await fourth.expect_close(1013, "overloaded")
        gateway.clock.ahead += 1
        async with app.connect("carol"):
            pass


async def test_a_gateway_that_stops_says_so_before_it_closes(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        drained = asyncio.create_task(gateway.run(gateway.state.connections.drain(5)))
        for client in (ann, ben):
            bye = await client.expect("bye", code=1012, reason="draining", reconnect="after_delay")
            assert 0 <= bye["after_ms"] < 1004
            await client.expect_close(1012, "draining")
        await drained
