"""A program that talks with a gateway."""

import asyncio
import json

import pytest

from gateway_client import AnyEvent, Lost, Refused, connect, traceparent
from gateway_client.messages import ChatMessage, SendMessage, SendReply
from tests.support.client import App

WAIT_SECONDS = 20


async def test_a_task_names_the_trace_of_its_messages(app: App, alice: str) -> None:
    span, frames = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", list[str]()

    async def traced() -> None:
        traceparent.set(span)
        await gateway.call("echo", {"is": "traced"})

    def keep(direction: str, text: str) -> None:
        if direction == "out":
            frames.append(text)

    async with asyncio.timeout(WAIT_SECONDS):
        async with connect(app.gateway.url, token=await app.token(alice), on_frame=keep) as gateway:
            await asyncio.create_task(traced())
            await gateway.call("echo", {"is": "not"})
    sent = {frame["data"]["is"]: frame for frame in map(json.loads, frames) if frame["type"] == "echo"}
    assert sent["traced"]["traceparent"] == span
    assert "traceparent" not in sent["not"]


async def test_a_program_sends_and_hears_with_models_or_without(app: App, alice: str, room: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS), connect(app.gateway.url, token=await app.token(alice)) as gateway:
        assert (gateway.state, gateway.user) == ("open", alice)
        await gateway.call("room.join", {"room": room})
        typed, named = gateway.events(ChatMessage), gateway.events("chat.message")
        reply = await gateway.call(SendMessage(room=room, text="hi"))
        assert isinstance(reply, SendReply)
        assert (reply.message.text, reply.message.sender) == ("hi", alice)
        async for event in typed:
            assert (event.text, event.client_id) == ("hi", reply.message.client_id)
            # A call inside a loop over events: its reply comes behind the events.
            assert await gateway.call("echo", {"say": [1, None]}) == {"say": [1, None]}
            break
        assert await anext(named) == AnyEvent(type="chat.message", data=reply.message.model_dump(exclude_unset=True))
        with pytest.raises(Refused, match="no handler for this type") as refused:
            await gateway.call("dice.roll", {})
        assert (refused.value.status, refused.value.name, refused.value.retryable) == (40002, "unknown_type", False)
    assert gateway.state == "closed"
    assert [event async for event in named] == []
    with pytest.raises(Lost, match="the client has closed the connection"):
        await gateway.call("ping")
