"""Answers of services that stream: chunk by chunk to a client that asks, as one reply to all others, and each lie."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.metrics import metrics_of
from tests.support.streams import answer_of, start
from tests.support.upstreams import (
    DONE,
    FORGED,
    JSONL,
    LATE_STREAMS,
    WRONG_STREAMS,
    Conversation,
    answering,
    events,
    good,
    lines,
    repeating,
    running_upstream,
    streaming,
)
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("write", "content_type"),
    [(events, "Text/Event-Stream; charset=UTF-8"), (lines, JSONL), (lines, "application/jsonl")],
)
async def test_chunks_come_as_the_service_writes_them(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, write: Any, content_type: str
) -> None:
    gate = asyncio.Event()
    behave = streaming(write("one ", {"two": 2}), gate, write(False, [3], reply=DONE), type=content_type)
    async with (
        running_upstream(behave) as service,
        routing(own_gateway, tmp_path, table("orders.*", service.url)) as app,
    ):
        async with app.connect(alice) as client:
            await start(client, 7)
            assert await client.next() == {"type": "chunk", "id": 7, "seq": 1, "data": "one "}
            assert await client.next() == {"type": "chunk", "id": 7, "seq": 2, "data": {"two": 2}}
            await client.expect_nothing()
            gate.set()
            assert await client.next() == {"type": "chunk", "id": 7, "seq": 3, "data": False}
            assert await client.next() == {"type": "chunk", "id": 7, "seq": 4, "data": [3]}
            assert await client.expect("reply", id=7) == {"done": True}
            await start(client, 8)
            assert (await answer_of(client, 8))[0] == ["one ", {"two": 2}, False, [3]]
            request = service.requests[0]
            assert request.json["stream"] is True
            assert request.headers["accept"] == "application/json, text/event-stream, application/x-ndjson"
            assert service.connections == 1


async def test_a_client_that_does_not_ask_gets_the_whole(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with (
        running_upstream(streaming(events("Hel", "lo", reply=DONE))) as texts,
        running_upstream(streaming(events("one", 2, reply={"data": {"items": "win"}}))) as items,
        running_upstream(streaming(events(reply=DONE))) as none,
        running_upstream(streaming(events("x" * 200_000, "y" * 200_000, reply=DONE))) as long,
    ):
        tables = [
            table("texts.*", texts.url),
            table("items.*", items.url),
            table("none.*", none.url),
            table("long.*", long.url),
        ]
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            assert await client.ask("texts.go") == {"text": "Hello", "done": True}
            assert await client.ask("items.go") == {"items": "win"}
            assert await client.ask("none.go") == {"done": True}
            assert (await client.refused("long.go"))["status"] == 50000
            assert "stream" not in texts.requests[0].json
            called = await app.ask("POST", "/call/texts.go", await app.token(alice), json={})
            assert called.json() == {"text": "Hello", "done": True}
            token, accept = await app.token(alice), {"Accept": "text/event-stream"}
            headers = {"Authorization": f"Bearer {token}", **accept}
            streamed = (await app.http.post("/call/texts.go", headers=headers, json={})).text
            assert streamed.startswith('data: "Hel"\n\ndata: "lo"\n\nevent: reply\n'), streamed
            assert texts.requests[-1].json["stream"] is True
            await client.expect_nothing()


async def test_a_service_that_does_not_stream_answers_as_ever(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    error = {"error": {"status": 60001, "name": "sold_out", "message": "no tea"}}
    async with running_upstream(good) as service, running_upstream(answering(error)) as refusing:
        tables = table("orders.*", service.url), table("tea.*", refusing.url)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            chunks, reply = await answer_of(client, await start(client, 1, sku=1))
            assert (chunks, reply["data"]["got"]) == ([], {"sku": 1})
            chunks, refused = await answer_of(client, await start(client, 2, "tea.order"))
            assert (chunks, refused["status"]) == ([], 60001)


async def test_a_stream_may_end_with_an_error_that_the_service_declares(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    error = {"error": {"status": 40900, "name": "conflict", "message": "too late"}}
    async with running_upstream(streaming(events("one", reply=error))) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app, app.connect(alice) as client:
            chunks, refused = await answer_of(client, await start(client, 1))
            assert (chunks, refused["status"], refused["message"]) == (["one"], 40900, "too late")
            assert (await client.refused("orders.create"))["status"] == 40900
            assert (await metrics_of(app))['gateway_upstream_calls_total{outcome="error",route="orders.*"}'] == 2


async def test_the_effects_of_a_stream_follow_its_reply(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    reply = {**DONE, "effects": [{"disconnect": {}}]}
    async with running_upstream(streaming(events("one", reply=reply))) as service:
        route = table("orders.*", service.url, effects=["disconnect"])
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            assert (await answer_of(client, await start(client, 1)))[0] == ["one"]
            await client.expect("bye", code=4403)


async def test_every_stream_that_lies_costs_its_message_and_nothing_else(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, caplog: pytest.LogCaptureFixture, fresh_faults: None
) -> None:
    async with running_upstream(good) as service, routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
        async with app.connect(alice) as client:
            for number, (kind, behave) in enumerate(WRONG_STREAMS.items(), start=1):
                await service.become(behave)
                chunks, error = await answer_of(client, await start(client, number))
                assert (error["status"], error["retryable"]) == (50200, True), kind
                assert chunks in ([], ["one"]), kind
                assert FORGED not in json.dumps(error), kind
                assert (await client.refused("orders.create"))["status"] == 50200, kind
                await client.expect_nothing()
            await service.become(good)
            assert (await client.ask("orders.create", after=1))["got"] == {"after": 1}
            assert FORGED not in caplog.text
            assert app.gateway.state.upstreams.figures["orders.*"].in_progress == 0


async def test_every_stream_that_is_late_costs_its_message_its_time(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with running_upstream(good) as service:
        route = table("orders.*", service.url, timeout_seconds=0.3)
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            for number, (kind, behave) in enumerate(LATE_STREAMS.items(), start=1):
                await service.become(behave)
                chunks, error = await answer_of(client, await start(client, number))
                assert error["status"] == 50400, kind
                assert chunks in ([], ["one"]), kind
                await until(lambda: not service.open)


@pytest.mark.parametrize(("sign", "content_type"), [(b":\n\n", "text/event-stream"), (b"\n", JSONL)])
async def test_a_service_that_thinks_keeps_its_stream_alive(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, sign: bytes, content_type: str
) -> None:
    enough = asyncio.Event()
    seen = 0

    async def think(client: Conversation) -> None:
        nonlocal seen
        await client.request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n"
        await client.write(head % content_type.encode())
        while not enough.is_set():
            seen += 1
            await client.write(b"%x\r\n%b\r\n" % (len(sign), sign))
            await asyncio.sleep(0.1)
        text = (events if content_type == "text/event-stream" else lines)("at last", reply=DONE)
        await client.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text))

    async with running_upstream(think) as service:
        route = table("orders.*", service.url, timeout_seconds=1)
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            await start(client, 1)
            await until(lambda: seen > 13)
            enough.set()
            assert (await answer_of(client, 1))[0] == ["at last"]


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_stream_without_an_end_is_bounded(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, ordered: bool
) -> None:
    async with running_upstream(repeating(events("on and on"), 0.01)) as service:
        route = table("orders.*", service.url, ordered=ordered)
        async with routing(own_gateway, tmp_path, route, max_call_seconds=0.5) as app, app.connect(alice) as client:
            chunks, error = await answer_of(client, await start(client, 1))
            assert error["status"] == 50400
            assert set(chunks) == {"on and on"}
            await until(lambda: not service.open)


async def test_only_a_message_without_a_chunk_goes_out_again(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    attempts = 0

    async def fail_first(client: Conversation) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            await client.request()
            client.reset()
        else:
            await streaming(events(f"attempt {attempts}"), ends=attempts == 2)(client)

    async with running_upstream(fail_first) as service:
        route = table("orders.*", service.url, idempotent=True)
        async with routing(own_gateway, tmp_path, route) as app, app.connect(alice) as client:
            chunks, error = await answer_of(client, await start(client, 1))
            assert (chunks, error["status"]) == (["attempt 2"], 50200)
            assert attempts == 2


async def test_a_client_that_goes_away_ends_its_stream_at_the_service(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with running_upstream(repeating(events("on and on"), 0.02)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
            async with app.connect(alice) as client:
                await start(client, 1)
                await client.expect("chunk")
            await until(lambda: not service.open)
            assert app.gateway.state.upstreams.figures["orders.*"].in_progress == 0
            assert (await metrics_of(app))['gateway_upstream_calls_total{outcome="cancelled",route="orders.*"}'] == 1


async def test_a_cancelled_stream_ends_at_the_service_too(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with running_upstream(repeating(events("on and on"), 0.02)) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app, app.connect(alice) as client:
            await start(client, 1)
            await client.expect("chunk", id=1)
            await client.send({"type": "cancel", "id": 2, "data": {"id": 1}})
            assert (await client.until(type="error", id=1))["status"] == 49900
            await client.expect("reply", id=2)
            await until(lambda: not service.open)
            await client.expect_nothing()
            assert (await metrics_of(app))['gateway_upstream_calls_total{outcome="cancelled",route="orders.*"}'] == 1


async def test_messages_of_an_ordered_route_and_all_that_follow_wait_for_its_answer(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    gate = asyncio.Event()
    async with (
        running_upstream(streaming(events("one"), gate, events("two", reply=DONE))) as slow,
        running_upstream(good) as quick,
    ):
        tables = table("orders.*", slow.url, ordered=True), table("stock.*", quick.url)
        async with routing(own_gateway, tmp_path, *tables) as app, app.connect(alice) as client:
            await start(client, 1)
            for number in (2, 3):
                await client.send({"type": "orders.create", "id": number, "data": {}})
            await client.send({"type": "stock.list", "id": 4, "data": {}})
            await client.send({"type": "ping", "id": 5, "data": {}})
            await client.expect("chunk", id=1, seq=1)
            assert len(slow.requests) == 1
            assert not quick.requests
            gate.set()
            await client.expect("chunk", id=1, seq=2)
            await client.expect("reply", id=1)
            for number in (2, 3):
                assert await client.expect("reply", id=number) == {"text": "onetwo", "done": True}
            # A route that is not ordered waits for those before it, and those after it do not wait for it.
            last = {(await client.next())["id"] for _ in range(2)}
            assert last == {4, 5}


async def test_a_client_that_does_not_read_stops_the_service_and_no_other_client(
    own_gateway: OwnGateway, tmp_path: Path, alice: str, bob: str
) -> None:
    written = 0

    async def flood(client: Conversation) -> None:
        nonlocal written
        await client.request()
        await client.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = events({"x": "x" * 6000}) * 10
        while True:
            await client.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            written += len(piece)

    async with running_upstream(flood) as service:
        async with routing(own_gateway, tmp_path, table("orders.*", service.url)) as app:
            async with app.connect(bob) as other, app.connect(alice) as client:
                client.ws.transport.pause_reading()
                await start(client, 1)
                seen = -1
                while seen != written:  # until nothing more goes anywhere
                    seen = written
                    await asyncio.sleep(0.3)
                    await other.ask("ping")
                assert written < 50_000_000
                client.ws.transport.resume_reading()
                while written < seen + 1_000_000:  # it reads again, so the service goes on
                    await client.expect("chunk", id=1)
                client.ws.transport.abort()
            await until(lambda: not service.open)
