"""What a program does wrong: it learns so at once, and the client goes on."""

import asyncio
from typing import Any

import pytest

from gateway_client import Lost, connect
from gateway_client.messages import ChatMessage
from tests.clients.python.scripted import Visit, client_of, scripted

pytestmark = pytest.mark.server


async def answer(visit: Visit) -> None:
    await visit.welcome()
    await visit.serve()


async def test_a_call_before_async_with_does_not_wait_for_ever() -> None:
    gateway = connect("ws://127.0.0.1:1", token="t")
    for early in (gateway.call("echo"), gateway.opened(), gateway.room("lobby").join(), anext(gateway.stream("echo"))):
        with pytest.raises(RuntimeError, match="expected `async with connect"):
            await early
    await gateway.close()
    with pytest.raises(Lost, match="the client has closed the connection"):
        await gateway.call("echo")


async def test_a_call_from_another_event_loop_is_refused() -> None:
    async with scripted(answer) as server, client_of(server) as gateway:

        def call() -> None:
            with pytest.raises(RuntimeError, match="run_coroutine_threadsafe"):
                asyncio.run(gateway.call("echo", {}))

        await asyncio.to_thread(call)


async def test_the_calls_of_a_client_that_closes_end_with_that_reason() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        await visit.expect("echo")
        await visit.serve()

    async with scripted(script) as server:
        async with client_of(server) as gateway:
            call = asyncio.create_task(gateway.call("echo", {}))
            await asyncio.sleep(0)  # `echo` goes first
            await gateway.call("ping")
        with pytest.raises(Lost, match="the client has closed the connection") as lost:
            await call
        assert lost.value.final


def test_events_are_named_by_models_or_by_one_type_and_have_room() -> None:
    gateway = connect("ws://127.0.0.1:1", token="t")
    wrong: list[tuple[Any, ...]] = [("chat.message", "chat.edited"), (ChatMessage, "chat.edited"), (7,)]
    for kinds in wrong:
        with pytest.raises(TypeError, match="expected models of events, or one type"):
            gateway.events(*kinds)
    for most in (0, -1):
        with pytest.raises(ValueError, match="at least one event"):
            gateway.events(most=most)


async def test_on_frame_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fail(direction: str, _: str) -> None:
        raise KeyError(direction)

    async with scripted(answer) as server, client_of(server, on_frame=fail) as gateway:
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
    assert caplog.text.count("on_frame has failed") == 3
