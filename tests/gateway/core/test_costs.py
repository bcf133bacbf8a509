"""The costs of messages: one user can cause a limited load, and is refused before the work is done."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pydantic import field_validator
from websockets.exceptions import ConnectionClosed

from gateway.config.settings import Settings
from gateway.core import costs
from gateway.testing import Gateway
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from schemas.base import Empty, Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame

LIMITS = {
    name: Settings.model_fields[name].default
    for name in (
        *("message_rate", "message_rate_per_user", "message_rate_per_address", "write_bytes_per_user"),
        *("join_rate", "join_rate_per_user", "connection_rate_per_user"),
    )
}
BURST = Settings.model_fields["message_burst"].default
LONG = "x" * 60_000


@asynccontextmanager
async def at_default_limits(own_gateway: OwnGateway, **changes: Any) -> AsyncIterator[tuple[Gateway, App]]:
    """Start a gateway with its default limits and a clock that stands still."""
    gateway = own_gateway(**(LIMITS | changes))
    gateway.clock.stop()
    async with App(gateway) as app:
        yield gateway, app


async def let_through(client: ChatClient, type: str, at_most: int = 150, **data: Any) -> tuple[int, Frame]:
    """Repeat a request until it is refused for its rate. Return how many replies came, and the refusal."""
    for number in range(at_most):
        answer = await client.until(id=await client.start(type, **data))
        if answer["status"] == 42900:
            return number, answer
    raise AssertionError("it was never refused")


def most(each: float) -> int:
    """Return how many of a cost are accepted at once: while one token is left, and the last one owes the rest."""
    return int((BURST - 1) / each) + 1


def test_a_plain_message_costs_one_and_a_long_one_by_its_bytes() -> None:
    assert costs.of_text('{"type":"ping"}') == costs.of_text("x" * costs.MESSAGE_BYTES) == 1
    assert costs.of_text("x" * 65536) == costs.of_text("ж" * 32768) == 8


async def test_as_many_plain_messages_as_ever_are_let_through(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway) as (gateway, app), app.in_room("alice", "lobby") as client:
        gateway.clock.ahead += 10  # the join's cost has been refilled
        assert (await let_through(client, "chat.send", room="lobby", text="hello"))[0] == BURST


async def test_long_messages_count_as_many_and_say_when_the_next_may_come(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway) as (gateway, app), app.connect("alice") as client:
        answered, error = await let_through(client, "echo", text=LONG)
        each = 60_000 / costs.MESSAGE_BYTES + 60_000 / costs.ANSWER_BYTES - costs.INCLUDED
        assert answered == most(each)
        assert (error["message"], error["retryable"]) == ("too many messages on this connection", True)
        gateway.clock.ahead += (error["retry_after_ms"] - 20) / 1000
        await client.refused("ping")
        gateway.clock.ahead += 0.021
        await client.ask("ping")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (json.dumps({"type": "chat.send", "data": {f"{number:x}": 1 for number in range(5900)}}), 42200),
        (json.dumps({"type": "echo", "data": {}, **{f"{number:x}": 1 for number in range(6000)}}), 42200),
        ("[" * 60_000, 40000),
        ('{"type":"echo","data":[' + "[]," * 20_000 + "[]]]", 40000),
        ("x" * 60_000, 40000),
        ("x" * 70_000, 41300),
    ],
    ids=["unknown fields", "unknown keys", "nested", "broken at its end", "no JSON", "too long"],
)
async def test_what_is_refused_costs_what_it_would_have_otherwise(
    own_gateway: OwnGateway, text: str, status: int
) -> None:
    async with at_default_limits(own_gateway) as (_, app), app.connect("alice") as client:
        for _ in range(most(costs.of_text(text))):
            await client.send(text)
            assert len(json.dumps(await client.expect("error", status=status))) < 12_000
        await client.send(text)
        await client.expect("error", status=42900)


async def test_pages_cost_what_is_read_for_them(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway, write_bytes_per_user=0) as (gateway, app):
        async with app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
            await ann.expect("room.joined")
            for _ in range(12):
                await ann.ask("chat.send", room="lobby", body=LONG)
                await ann.expect("chat.message")
                gateway.clock.ahead += 1
            page = await ben.until(id=await ben.start("chat.history", room="lobby", limit=100))
            assert len(page["data"]["messages"]) == 4
            gateway.clock.ahead += 10
            pages, _ = await let_through(ben, "chat.history", room="lobby", limit=100)
            assert pages == most(240_000 / costs.ANSWER_BYTES + costs.READ + costs.PAGE)
            gateway.clock.ahead += 10
            lists, _ = await let_through(ben, "presence.get", users=[f"user-{number}" for number in range(100)])
            assert lists == most(costs.READ + 1)


async def test_what_goes_to_many_costs_more(own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "DELIVERIES", 0.5)
    async with at_default_limits(own_gateway) as (gateway, app), app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby"):
            await ann.expect("room.joined")
            gateway.clock.ahead += 10
            # Two connections receive it, so it takes four tokens, one of them for the message itself.
            assert (await let_through(ann, "chat.send", room="lobby", text="hi"))[0] == most(4)
            gateway.clock.ahead += 10
            # A state that is set a thousand times a second is stopped by the same rate.
            refused_after, _ = await let_through(ann, "presence.set", room="lobby", state={"in_call": True})
            assert refused_after == most(costs.READ + 4)


async def test_a_user_writes_so_many_bytes_on_all_connections_and_all_that_was_accepted_is_there(
    own_gateway: OwnGateway,
) -> None:
    async with at_default_limits(own_gateway, write_bytes_per_user=30_000) as (gateway, app):
        async with app.in_room("alice", "lobby") as phone, app.in_room("alice", "lobby") as tab:
            sent = 0
            for _ in range(10):
                for client in (phone, tab):
                    number = await client.start("chat.send", room="lobby", body=LONG)
                    sent += (answer := await client.until(id=number))["status"] == 20000
                    if answer["status"] != 20000:
                        assert answer["message"] == "too many bytes written of this user"
                gateway.clock.ahead += 1
            # 300,000 at once, and as many in the ten seconds; the last one owes the rest.
            assert sent == 10
            gateway.clock.ahead += 10
            offsets: list[int] = []
            while len(offsets) < sent:
                after = offsets[-1] if offsets else 0
                page = await phone.until(id=await phone.start("chat.history", room="lobby", after=after))
                offsets += [message["offset"] for message in page["data"]["messages"]]
                gateway.clock.ahead += 1
            assert offsets == list(range(1, sent + 1))


async def test_a_flood_of_long_messages_ends_sooner_than_one_of_short_ones(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway) as (_, app), app.connect("alice") as client:
        with suppress(ConnectionClosed):
            for number in range(200):
                await client.send({"type": "echo", "id": number, "data": LONG})
        refused = []
        while (frame := await client.next())["type"] != "bye":
            refused += [frame] if frame.get("status") == 42900 else []
        assert frame["data"] == {"code": 4429, "reason": "rate_abuse", "reconnect": "after_delay", "after_ms": 10_000}
        # Each counts as seven and a bit. The first ones are told by their ids; later, nothing is looked into.
        assert 1000 / 8 < len(refused) <= 1000 / 7
        assert [error["id"] is None for error in refused] == sorted(error["id"] is None for error in refused)
        assert refused[0]["id"] is not None
        assert refused[-1]["id"] is None


async def test_a_user_sent_away_for_a_flood_comes_back_once_a_second(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway) as (gateway, app):
        token = await app.token("alice")
        for _ in range(2):
            async with app.connect_with(token) as client:
                with suppress(ConnectionClosed):
                    for _ in range(200):
                        await client.send("x" * 60_000)
                await client.until(type="bye")
        async with app.socket(f"?token={token}") as client:
            await client.expect("bye", code=1013)
        async with app.connect("bob"):
            pass
        gateway.clock.ahead += 2
        async with app.connect_with(token):
            pass


class Slow(MsgHandler[Empty, Empty]):
    """Works for a while."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        self.session.charge(10)
        return Empty()


async def test_a_handler_of_ones_own_says_what_it_costs(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(registry={**HANDLERS, "slow": Slow}, **LIMITS)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as client:
        assert (await let_through(client, "slow"))[0] == BURST / 10


class Charged(Wire):
    """The declared cost of a message."""

    cost: str


class Mistaken(MsgHandler[Charged, Empty]):
    """Charges an invalid cost."""

    schema = Charged

    async def handle(self, data: Charged) -> Empty:
        self.session.charge(float(data.cost))
        return Empty()


@pytest.mark.parametrize("cost", ["inf", "nan", "-inf", "-1000"])
async def test_a_handler_that_charges_no_number_of_tokens_fails_alone(own_gateway: OwnGateway, cost: str) -> None:
    gateway = own_gateway(registry={**HANDLERS, "mistaken": Mistaken}, **LIMITS)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as client:
        assert (await client.refused("mistaken", cost=cost))["status"] == 50000
        assert (await let_through(client, "ping"))[0] == BURST - 1


class Quoting(Wire):
    """Quotes the input, as an application's own schema may."""

    words: list[str]

    @field_validator("words")
    @classmethod
    def _refuse(cls, words: list[str]) -> list[str]:
        raise ValueError(f"expected other words than {words}")


class QuotingHandler(MsgHandler[Quoting, Empty]):
    """Never runs."""

    schema = Quoting

    async def handle(self, data: Quoting) -> Empty:
        return Empty()


async def test_details_of_an_error_are_bounded_in_number_and_size(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(registry={**HANDLERS, "quote": QuotingHandler})
    async with App(gateway) as app, app.connect("alice") as client:
        [detail] = (await client.refused("quote", words=["x" * 50_000]))["details"]
        assert len(detail["message"]) == 256
        error = await client.refused("ping", **{f"{number:x}" * 20: 1 for number in range(1000)})
        assert len(error["details"]) == 20
        assert len(json.dumps(error)) < 12_000


async def test_each_transaction_costs_what_it_takes_whatever_it_finds(own_gateway: OwnGateway) -> None:
    async with at_default_limits(own_gateway) as (gateway, app), app.in_room("alice", "lobby") as client:
        for type, data, each in (
            ("room.members", {"room": "lobby", "limit": 1}, costs.READ),
            ("room.list", {"limit": 1}, costs.READ),
            ("presence.get", {"users": ["alice"]}, costs.READ),
            ("chat.typing", {"room": "lobby"}, costs.READ),
            ("chat.history", {"room": "lobby", "limit": 1}, costs.READ + costs.PAGE),
            ("chat.read", {"room": "lobby", "offset": 0}, 1),
            ("direct.open", {"user": "nobody"}, costs.WRITE),
            ("room.create", {"room": "lobby"}, costs.WRITE),
            ("room.leave", {"room": "nowhere"}, costs.WRITE),
            ("auth.refresh", {"token": "x"}, costs.READ),
        ):
            gateway.clock.ahead += 10
            answered, _ = await let_through(client, type, **data)
            assert abs(answered - most(each)) <= 1, type
