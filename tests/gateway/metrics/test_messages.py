"""Messages in the metrics: each type with its statuses and its times, and nothing that a client has made up."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import BUILT_IN, Registry
from schemas.base import Empty, Wire
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.waiting import until


class Order(Wire):
    """What to do."""

    outcome: str


class SoldOut(AppError):
    """Nothing is left."""

    status = 60001

    def __str__(self) -> str:
        return "nothing is left"


class OrderHandler(MsgHandler[Order, Empty]):
    """Does as it is told."""

    schema = Order

    async def handle(self, data: Order) -> Empty:
        match data.outcome:
            case "sold out":
                raise SoldOut
            case "broken":
                raise ZeroDivisionError
            case "wait":
                await asyncio.Event().wait()
        return Empty()


class SlowHandler(OrderHandler):
    """The same, while later messages do not wait."""

    ordered: ClassVar[bool] = False


class CountHandler(MsgHandler[Order, Empty]):
    """Streams."""

    schema = Order

    async def handle(self, data: Order) -> AsyncIterator[int]:
        yield 1
        if data.outcome == "sold out":
            raise SoldOut
        yield 2


OWN = BUILT_IN | Registry(
    handlers={"order": OrderHandler, "order.slow": SlowHandler, "count": CountHandler}, errors=(SoldOut,)
)


@pytest.mark.parametrize("kind", ["order", "order.slow", "count"])
async def test_own_handlers_show_each_status_and_their_time(own_gateway: OwnGateway, alice: str, kind: str) -> None:
    async with App(own_gateway(registry=OWN)) as app, app.connect(alice) as client:
        await client.ask(kind, outcome="fine")
        await client.send({"type": kind, "data": {"outcome": "fine"}})  # no answer is wanted, and it counts
        await client.refused(kind, outcome="sold out")
        await client.refused(kind, colour="blue")
        found = await metrics_of(app)
        answers = {status: found[_answers(kind, status)] for status in (20000, 60001, 42200)}
        assert answers == {20000: 2, 60001: 1, 42200: 1}
        assert found[f'gateway_handling_seconds_count{{type="{kind}",way="socket"}}'] == 4
        assert 0 < found[f'gateway_handling_seconds_sum{{type="{kind}",way="socket"}}'] < 4
        assert found[f'gateway_messages_total{{type="{kind}"}}'] == 4


def _answers(kind: str, status: int, way: str = "socket") -> str:
    return f'gateway_answers_total{{status="{status}",type="{kind}",way="{way}"}}'


async def test_a_fault_of_a_handler_counts_as_one(own_gateway: OwnGateway, alice: str) -> None:
    async with App(own_gateway(registry=OWN)) as app, app.connect(alice) as client:
        for kind in ("order", "order.slow"):
            await client.refused(kind, outcome="broken")
            assert (await metrics_of(app))[_answers(kind, 50000)] == 1


async def test_calls_over_http_are_apart(own_gateway: OwnGateway, alice: str) -> None:
    async with App(own_gateway(registry=OWN)) as app:
        token = await app.token(alice)
        for outcome, status in (("fine", 200), ("sold out", 400), ("broken", 500)):
            answer = await app.ask("POST", "/call/order.slow", token, json={"outcome": outcome})
            assert answer.status_code == status
        found = await metrics_of(app)
        answers = {status: found[_answers("order.slow", status, "http")] for status in (20000, 60001, 50000)}
        assert answers == {20000: 1, 60001: 1, 50000: 1}
        assert found['gateway_handling_seconds_count{type="order.slow",way="http"}'] == 3


async def test_frames_that_no_handler_sees_are_counted_by_status_alone(own_gateway: OwnGateway, alice: str) -> None:
    async with App(own_gateway(message_burst=10, message_rate=0.001)) as app, app.connect(alice) as client:
        await client.send("no json")
        await client.expect("error", status=40000)
        await client.refused("made.up.by.a.client")
        for _ in range(20):
            await client.send({"type": "ping"})
        await client.until(type="error", status=42900)
        await until(lambda: _has(app, _answers("unread", 42900), at_least=1))
        found = await metrics_of(app)
        assert found[_answers("unread", 40000)] == 1
        assert found[_answers("refused", 40002)] == 1
        assert "made.up" not in (await app.http.get("/metrics")).text


async def test_a_cancelled_message_shows_it_and_one_whose_client_is_gone_has_status_0(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with App(own_gateway(registry=OWN, max_call_seconds=1)) as app:
        async with app.connect(alice) as client:
            first = await client.start("order.slow", outcome="wait")
            await client.send({"type": "cancel", "data": {"id": first}})
            await client.expect("error", id=first, status=49900)
            late = await client.start("order.slow", outcome="wait")
            await client.expect("error", id=late, status=50400)
            await client.start("order.slow", outcome="wait")
            await client.ask("ping")
        await until(lambda: _has(app, _answers("order.slow", 0), at_least=1))
        found = await metrics_of(app)
        assert {status: found[_answers("order.slow", status)] for status in (0, 20000, 49900, 50400)} == {
            0: 1,
            20000: 0,
            49900: 1,
            50400: 1,
        }


async def _has(app: App, name: str, at_least: float) -> bool:
    return (await metrics_of(app)).get(name, 0) >= at_least
