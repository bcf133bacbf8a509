"""A program that talks with a gateway."""

import asyncio

import pytest

from gateway_client import AnyEvent, Lost, Refused, connect
from gateway_client.messages import ChatMessage, SendMessage, SendReply
from tests.support.client import App

WAIT_SECONDS = 20


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
