"""Bad services: each costs its message 50200 or 50400, and nothing else."""

import asyncio
import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import IPAddress

from gateway.core import faults
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.certificate import certificate
from tests.support.client import App, ChatClient
from tests.support.upstreams import (
    FORGED,
    LATE,
    WRONG,
    Behaviour,
    Conversation,
    answering,
    answering_before_reading,
    closing_after_each_answer,
    good,
    running_upstream,
    twice,
)
from tests.support.waiting import until

IN_ROOMS: dict[str, Any] = {"service": "orders", "effects": ["publish", "join", "leave"], "rooms": ["order-*"]}
"""What a route may that allows effects."""


async def spoiled(
    app: App, client: ChatClient, caplog: pytest.LogCaptureFixture, status: int, *, times: int = 1
) -> None:
    """Send a message to a bad service, and look at all that the sender gets and the log has."""
    for _ in range(times):
        number = await client.start("orders.create", secret="text-of-the-user")
        pinged = await client.start("ping")
        answers = {(frame := await client.next())["id"]: frame for _ in range(2)}
        assert answers[pinged]["type"] == "reply"
        error = answers[number]
        assert (error["status"], error["retryable"]) == (status, True), error
        assert FORGED not in json.dumps(error)
        assert "route orders.*: msg_" in caplog.text
        assert FORGED not in caplog.text
        assert "text-of-the-user" not in caplog.text


@pytest.mark.parametrize(("kind", "behave"), WRONG.items(), ids=WRONG)
async def test_a_service_that_answers_wrongly(
    own_gateway: OwnGateway,
    tmp_path: Path,
    alice: str,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    behave: Behaviour,
    fresh_faults: None,
) -> None:
    async with (
        running_upstream(behave) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
    ):
        async with app.connect(alice) as client:
            await spoiled(app, client, caplog, 50200, times=2)
            await service.become(good)
            assert (await client.ask("orders.create", after=kind))["got"] == {"after": kind}
            await client.expect_nothing()
            assert faults.counters.total() == 0


@pytest.mark.parametrize(("kind", "behave"), LATE.items(), ids=LATE)
async def test_a_service_that_takes_too_long(
    own_gateway: OwnGateway,
    tmp_path: Path,
    alice: str,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    behave: Behaviour,
) -> None:
    async with running_upstream(behave) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, timeout_seconds=1)) as app:
            async with app.connect(alice) as client:
                await spoiled(app, client, caplog, 50400)
                await service.become(good)
                assert (await client.ask("orders.create", after=kind))["got"] == {"after": kind}


async def test_a_service_that_is_gone_and_comes_back(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_upstream(good) as service:
        pass
    async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app, app.connect(alice) as client:
        await spoiled(app, client, caplog, 50200)
        port = int(service.url.split(":")[2].split("/")[0])
        async with running_upstream(good, port=port):
            await client.ask("orders.create")


async def test_a_certificate_that_does_not_verify(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, tls = certificate(tmp_path, IPAddress(IPv4Address("127.0.0.1")))
    async with running_upstream(good, tls) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app, app.connect(alice) as client:
            await spoiled(app, client, caplog, 50200)
            assert service.requests == []
            assert "SSLCertVerificationError" in caplog.text


@pytest.mark.parametrize(
    "effects",
    [
        [{"publish": {"room": "lobby", "text": FORGED}}],
        [{"join": {"room": "lobby"}}],
        [{"leave": {"room": "lobby", "user": "bob"}}],
        [{"publish": {"room": "order-1", "text": "x"}}, {"join": {"room": "lobby"}}],
        [{"publish": {"room": "order-1", "text": "x"}}, {"disconnect": {}}],
        [{"publish": {"room": "order-1"}}],
        [{"publish": {"room": "order-1", "text": "x", "body": {}}}],
        [{"publish": {"room": "order-1", "text": ""}}],
        [{"publish": {"room": "order-1", "text": "x" * 4001}}],
        [{"publish": {"room": "order-1", "body": {"x": "x" * 70_000}}}],
        [{"publish": {"room": "order-1", "event": {"type": "chat.message", "data": {}}}}],
        [{"publish": {"room": "order-1", "event": {"type": "a\nb", "data": {}}}}],
        [{"publish": {"room": "order-1", "event": {"data": {}}}}],
        [{"publish": {"room": "Order-1\n", "text": "x"}}],
        [{"publish": {"room": "order-1", "text": "x", "sender": "alice"}}],
        [{"join": {"room": "order-1", "role": "king"}}],
        [{"join": {"room": "order-1", "user": "Bob:x"}}],
        [{"join": "order-1"}],
        [{"publish": {"room": "order-1", "text": "x"}}] * 33,
    ],
    ids=range(19),
)
async def test_effects_that_may_not_be_are_all_refused(
    own_gateway: OwnGateway,
    tmp_path: Path,
    alice: str,
    bob: str,
    caplog: pytest.LogCaptureFixture,
    effects: list[Any],
) -> None:
    async with running_upstream(answering({"data": {}, "effects": effects})) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **IN_ROOMS)) as app:
            async with app.in_room(bob, "order-1") as other, app.in_room(alice, "lobby") as client:
                await spoiled(app, client, caplog, 50200)
                assert [room["name"] for room in (await client.ask("room.list"))["rooms"] if room.get("role")] == [
                    "lobby"
                ]
                await other.expect_nothing()


async def test_without_its_service_account_a_route_publishes_nothing(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish = answering({"data": {}, "effects": [{"publish": {"room": "order-1", "text": "x"}}]})
    async with running_upstream(publish) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url, **IN_ROOMS)) as app:
            async with app.in_room(alice, "order-1") as client:
                await spoiled(app, client, caplog, 50200)
                assert "expected a service account `orders` to publish as" in caplog.text


@pytest.mark.parametrize("behave", [closing_after_each_answer, answering_before_reading])
async def test_odd_but_right_services_work(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, behave: Behaviour
) -> None:
    async with (
        running_upstream(behave) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
    ):
        async with app.connect(alice) as client:
            for number in range(20):
                await client.ask("orders.create", n=number)


async def test_an_answer_too_many_never_reaches_another_user(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    async with running_upstream(twice({"of": "alice"}, {"of": "alice"})) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
            async with app.connect(alice) as client, app.connect(bob) as other:
                assert await client.ask("orders.create") == {"of": "alice"}
                await service.become(good)
                assert (await other.ask("orders.create"))["user"] == bob


async def test_all_bad_services_at_once_hold_up_no_other_message(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str, room: str
) -> None:
    behaviours = [*LATE.values(), *WRONG.values()][:24]
    statuses: list[int] = []
    chosen = iter(behaviours)

    async def behave_differently(talk: Conversation) -> None:
        await next(chosen)(talk)

    async with running_upstream(behave_differently) as service:
        tables = [table(f"bad{number}.*", service.url, timeout_seconds=60) for number in range(len(behaviours))]
        async with routing(own_gateway, tmp_path, *tables) as app, app.in_room(bob, room) as talker:
            async with app.connect(alice) as first, app.connect(alice) as second, app.connect(alice) as third:
                clients = (first, second, third)
                for number in range(len(behaviours)):
                    await clients[number % 3].start(f"bad{number}.go")
                for number in range(20):
                    await talker.say(room, str(number))
                # The others have not been answered, so no message has waited for them.
                taking = [asyncio.create_task(take_all(client, statuses)) for client in clients]
                wrong = len(behaviours) - len(LATE)
                await until(lambda: len(statuses) == wrong)
                assert set(statuses) == {50200}
                for task in taking:
                    task.cancel()
                await asyncio.gather(*taking, return_exceptions=True)


async def take_all(client: ChatClient, statuses: list[int]) -> None:
    """Take the statuses of all answers, until it is cancelled."""
    while True:
        statuses.append((await client.next())["status"])
