"""Answers that come in chunks."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway_client import ClientMessage, Lost, Overflowed, Refused, StreamingMessage, UnexpectedReply, connect, stream
from gateway_client.model import Wire
from handlers import BUILT_IN, Chunk, MsgHandler, Registry, Reply
from schemas.base import Wire as GatewayWire
from tests.clients.python.scripted import Visit, client_of, scripted
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until

pytestmark = pytest.mark.server


class CountData(GatewayWire):
    """How far to count, and whether to end then."""

    most: int
    ends: bool = True


class CountHandler(MsgHandler[CountData, CountData]):
    """Counts, a number at a time."""

    schema = CountData
    cancelled = 0

    async def handle(self, data: CountData) -> AsyncIterator[Chunk]:
        for number in range(1, data.most + 1):
            yield {"n": number}
        try:
            if not data.ends:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            type(self).cancelled += 1
            raise
        yield Reply(data)


class Number(Wire):
    """A chunk."""

    n: int


class Counted(Wire):
    """The closing reply."""

    most: int
    ends: bool


class Count(StreamingMessage[dict[str, Any], Counted, Number]):
    """Count."""

    type = "count"

    most: int
    ends: bool = True


async def test_a_program_reads_chunks_and_then_the_reply_or_leaves_and_cancels(
    own_gateway: OwnGateway, alice: str
) -> None:
    server = own_gateway(registry=BUILT_IN | Registry(handlers={"count": CountHandler}))
    async with App(server) as app, asyncio.timeout(20):
        async with connect(server.url, token=await app.token(alice)) as gateway:
            async with gateway.stream(Count(most=3)) as counting:
                with pytest.raises(RuntimeError, match="after the last chunk"):
                    _ = counting.reply
                # A call within the loop: its answer comes between the chunks.
                assert [(chunk, await gateway.call("echo", {"n": 1}))[0].n async for chunk in counting] == [1, 2, 3]
            assert counting.reply == Counted(most=3, ends=True)
            assert await gateway.call(Count(most=1)) == {"items": [{"n": 1}], "most": 1, "ends": True}

            async with gateway.stream("count", {"most": 1, "ends": False}) as endless:
                assert await anext(endless) == {"n": 1}
            await until(lambda: CountHandler.cancelled == 1)
            assert [chunk async for chunk in endless] == []

            async for chunk in gateway.stream(Count(most=1, ends=False)):
                assert chunk.n == 1
                break
            gc.collect()
            await until(lambda: CountHandler.cancelled == 2)

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await gateway.call(Count(most=1, ends=False))
            await until(lambda: CountHandler.cancelled == 3)

            # A type that does not stream just replies.
            async with gateway.stream("echo", {"say": 1}) as echo:
                assert [chunk async for chunk in echo] == []
            assert echo.reply == {"say": 1}
            with pytest.raises(Refused, match="no handler"):
                await anext(gateway.stream("nothing"))


async def test_strange_chunks_are_ignored_and_a_lost_stream_is_not_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "MOST_CHUNKS", 3)

    async def script(visit: Visit) -> None:
        await visit.welcome()
        message = await visit.expect("story")
        if visit.number == 1:
            for seq, data in ((1, "Once "), (1, "Once "), (0, "x"), ("2", "x"), (2, "upon "), (4, "a "), (5, "time")):
                await visit.send("chunk", id=message["id"], seq=seq, data=data)
            await visit.reply(message)
            message = await visit.expect("story")
            for seq in range(1, 6):
                await visit.send("chunk", id=message["id"], seq=seq, data={"n": seq})
            await visit.expect("cancel")
            message = await visit.expect("story")
            await visit.send("chunk", id=message["id"], seq=1, data="half")
            visit.drop()
        await visit.reply(message, {"odd": 1})
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        async with gateway.stream("story") as story:
            await asyncio.sleep(0.05)
            # The texts that do not fit are joined.
            assert [chunk async for chunk in story] == ["Once ", "upon ", "a time"]
        assert "chunk 1, which came twice" in caplog.text
        assert "chunk 4 follows chunk 2" in caplog.text

        async with gateway.stream("story") as story:
            await asyncio.sleep(0.05)
            assert [await anext(story) for _ in range(3)] == [{"n": 1}, {"n": 2}, {"n": 3}]
            with pytest.raises(Overflowed):
                await anext(story)

        halves = gateway.stream("story")
        assert await anext(halves) == "half"
        with pytest.raises(Lost):
            await anext(halves)

        class Story(ClientMessage[Number]):
            """Ask for a story."""

            type = "story"

        odd = gateway.stream(Story())
        with pytest.raises(UnexpectedReply, match="`story`"):
            await anext(odd)


async def test_a_stream_that_is_left_before_its_error_complains_to_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.refuse(await visit.expect("story"), 40300)
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        async with gateway.stream("story") as story:
            await asyncio.sleep(0)  # `story` goes first
            await gateway.call("echo", {})
        del story
        gc.collect()
        await asyncio.sleep(0)
    assert "never retrieved" not in caplog.text


async def test_a_stream_that_waits_for_a_connection_can_be_cancelled() -> None:
    async def script(visit: Visit) -> None:
        if visit.number == 1:
            await visit.welcome()
            await visit.expect("echo")
            await visit.bye(1012, "draining", "after_delay", after_ms=60_000)

    async with scripted(script) as server, client_of(server) as gateway:
        with pytest.raises(Lost):
            await gateway.call("echo", {})
        async with gateway.stream("story") as story:
            await asyncio.sleep(0)
            await story.cancel()
            with pytest.raises(Refused, match="before it went out") as refused:
                await anext(story)
        assert refused.value.name == "cancelled"
