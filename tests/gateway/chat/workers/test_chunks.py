"""Chunks of a worker: each reaches its message, and nothing wrong in them reaches another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gateway.routes.model import Route
from gateway.testing import Gateway
from gateway.upstream import open_message
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.streams import LastPart
from handlers.errors import UpstreamFailed, UpstreamTimeout
from tests.conftest import OwnGateway
from tests.support.services import add_service
from tests.support.workers import LONG, ORDERS, call, parts_of, use_routes, worker


@pytest.fixture
def gateway(own_gateway: OwnGateway) -> Gateway:
    """A gateway with a route for workers."""
    gateway = own_gateway()
    use_routes(gateway, ORDERS)
    return gateway


async def test_chunks_come_before_the_answer_each_with_its_own_message(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answers = [asyncio.create_task(parts_of(gateway, number=number)) for number in range(2)]
        ids = {body["number"]: id_ for id_, body in [await orders.message() for _ in answers]}
        for piece in ("über ", {"x": [1, None]}, False, 0, ""):
            for number, id_ in ids.items():
                await orders.chunk(id_, [number, piece])
        for number, id_ in ids.items():
            await orders.reply(id_, data={"of": number})
        for number, answer in enumerate(answers):
            *chunks, last = await answer
            assert chunks == [[number, piece] for piece in ("über ", {"x": [1, None]}, False, 0, "")]
            assert last == {"data": {"of": number}}
        await orders.expect_nothing()


WRONG_CHUNKS: dict[str, dict[str, Any]] = {
    "null": {"data": None},
    "nothing": {},
    "something new": {"data": 1, "mood": "hunter2"},
    "effects": {"data": 1, "effects": []},
}


@pytest.mark.parametrize("parts", WRONG_CHUNKS.values(), ids=WRONG_CHUNKS)
async def test_a_chunk_with_wrong_keys_fails_its_message_at_once(gateway: Gateway, parts: dict[str, Any]) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.chunk(id_, "right")
        await orders.send({"type": "chunk", "id": id_, **parts})
        error = await orders.expect("error", id=id_, status=42200)
        await orders.expect("route.cancel", id=id_)
        assert "any JSON but null" in error["details"][0]["message"]
        with pytest.raises(UpstreamFailed):
            await answer
        answer = asyncio.create_task(call(gateway))
        await orders.answer_one(right=True)
        assert await answer == {"data": {"right": True}}


async def test_a_chunk_is_shorter_than_a_frame(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.chunk(id_, "x" * 261_000)
        await orders.chunk(id_, "x" * 261_700)
        await orders.expect("error", id=id_, status=41300)
        await orders.expect("route.cancel", id=id_)
        with pytest.raises(UpstreamFailed):
            await answer


async def test_a_chunk_for_any_other_call_is_refused_and_reaches_none(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, "orders.*", key=key) as orders, worker(gateway, "orders.*", key=key) as liar:
        answers = [asyncio.create_task(parts_of(gateway, number=number)) for number in range(2)]
        (of_orders, _), (of_liar, _) = await orders.message(), await liar.message()
        wrong: tuple[Any, ...] = (of_orders, of_liar + "0", "", "1", 1, None, ["x"], {})
        for id_ in wrong:
            await liar.send({"type": "chunk", "id": id_, "data": "a lie"})
            await liar.expect("error", status=40400)
        await orders.reply(of_orders, data="right")
        await liar.reply(of_liar, data="right")
        assert [await answer for answer in answers] == [[{"data": "right"}]] * 2
        for frame in ({"type": "chunk", "data": "after the reply"}, {"type": "reply", "data": "again"}):
            await orders.send({"id": of_orders, **frame})
            await orders.expect("error", id=of_orders, status=40900)


async def test_chunks_after_a_cancellation_are_refused_and_cost_nothing(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=10)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(call(gateway))
        id_, _ = await orders.message()
        await orders.chunk(id_, "in time")
        answer.cancel()
        await orders.expect("route.cancel", id=id_)
        for _ in range(30):
            await orders.chunk(id_, "too late")
            await orders.expect("error", id=id_, status=40900)
        await orders.reply(id_, data={})
        await orders.expect("error", id=id_, status=40900)
        await orders.expect_nothing()


async def test_chunks_cost_a_worker_nothing(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=10)
    use_routes(gateway, ORDERS)
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(parts_of(gateway))
        id_, _ = await orders.message()
        for number in range(200):
            await orders.chunk(id_, number)
        await orders.reply(id_, data="done")
        assert await answer == [*range(200), {"data": "done"}]
        await orders.expect_nothing()


async def test_a_worker_that_falls_silent_in_the_middle_costs_its_message_its_time(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(parts_of(gateway, seconds=0.3))
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        with pytest.raises(UpstreamTimeout):
            await answer
        await orders.expect("route.cancel", id=id_)


async def test_a_worker_that_goes_away_in_the_middle_costs_its_message_at_once(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(parts_of(gateway))
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        orders.ws.transport.abort()
        with pytest.raises(UpstreamFailed) as failed:
            await asyncio.wait_for(answer, LONG / 4)
        assert failed.value.reason == "the worker has gone away"


async def unread(gateway: Gateway, route: Route, gate: asyncio.Event) -> list[Any]:
    """Take the first chunk of an answer, and nothing more before the gate opens."""

    async def ask() -> list[Any]:
        parts = gateway.state.workers.transport(route).stream(b"{}", "msg_1", {}, Deadlines(now() + LONG, LONG))
        async with aclosing(parts):
            return [part async for part in slowly(parts)]

    async def slowly(parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for part in parts:
            yield part
            while not gate.is_set():  # noqa: ASYNC110 - it is set in the loop of the test
                await asyncio.sleep(0.01)

    return await gateway.run(ask())


async def test_a_worker_that_floods_a_slow_client_loses_that_message_and_no_other(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_message, "MAX_UNREAD_BYTES", 100_000)
    gate = asyncio.Event()
    async with worker(gateway, "orders.*", max_queue=None) as orders:
        slow = asyncio.create_task(unread(gateway, ORDERS, gate))
        flooded, _ = await orders.message()
        quick = asyncio.create_task(parts_of(gateway))
        other, _ = await orders.message()
        await orders.chunk(other, "one")
        for _ in range(200):
            await orders.chunk(flooded, "x" * 1000)
        await orders.expect("route.cancel", id=flooded)
        await orders.chunk(other, "two")
        await orders.reply(other, data="done")
        assert await quick == ["one", "two", {"data": "done"}]
        gate.set()
        with pytest.raises(UpstreamFailed) as failed:
            await slow
        assert "came faster than they could be sent on" in failed.value.reason


async def test_a_burst_of_chunks_reaches_a_client_that_reads(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_message, "MAX_UNREAD_BYTES", 100_000)
    async with worker(gateway, "orders.*") as orders:
        answer = asyncio.create_task(parts_of(gateway))
        id_, _ = await orders.message()
        frame = f'{{"type":"chunk","id":"{id_}","data":"{"x" * 100}"}}'
        await asyncio.gather(*(orders.send(frame) for _ in range(2000)))
        await orders.reply(id_, data="done")
        *chunks, last = await answer
        assert (len(chunks), last) == (2000, {"data": "done"})


def test_chunks_that_were_read_free_their_part_of_the_bound() -> None:
    async def fill() -> None:
        parts = open_message.Parts()
        size = open_message.MAX_UNREAD_BYTES // 10
        for _ in range(100):
            assert parts.take_chunk("x", size)
            assert await parts.next(now() + LONG) == "x"
        assert [parts.take_chunk("x", size) for _ in range(10)] == [True] * 9 + [False]
        assert len(list(parts.chunks_nowait(5 * size))) == 4
        parts.take_answer(b"{}")
        assert len(list(parts.chunks_nowait(10 * open_message.MAX_UNREAD_BYTES))) == 5
        assert await parts.next(now() + LONG) == LastPart(b"{}")

    asyncio.run(fill())
