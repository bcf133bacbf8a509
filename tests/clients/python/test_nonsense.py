"""A server that sends nonsense: the client ignores it, says so in its log, and goes on."""

import asyncio
import logging
from typing import Any

import pytest

from gateway_client import Lost, Refused, UnexpectedReply
from gateway_client.messages import ChatMessage, Ping, SendMessage
from tests.clients.python.scripted import Visit, client_of, scripted
from tests.support.waiting import until

pytestmark = pytest.mark.server

NONSENSE: list[str | bytes] = [
    "",
    "{",
    "[]",
    "7",
    "null",
    '"type"',
    '{"type": 7}',
    '{"data": {}}',
    '{"type": "reply"}',
    '{"type": "reply", "id": 999, "data": {}}',
    '{"type": "reply", "id": "1", "data": {}}',
    '{"type": "reply", "id": true, "data": {}}',
    '{"type": "reply", "id": 1.0, "data": {}}',
    '{"type": "reply", "id": [1], "data": {}}',
    '{"type": "chunk", "id": 999, "seq": 1, "data": "x"}',
    '{"type": "chunk", "id": 1, "seq": 1, "data": "x"}',
    '{"type": "error", "id": {}, "status": "x"}',
    '{"type": "answer", "id": 1}',
    '{"type": "welcome", "data": {}}',
    '{"type": "chat.message"}',
    '{"type": "chat.message", "data": []}',
    '{"type": "chat.message", "data": {"room": 7, "changed": "x"}}',
    '{"type": "chat.message", "data": {"room": "lobby", "epoch": "e", "changed": null}}',
    '{"type": "room.left", "data": {"room": []}}',
    '{"type": "resync", "data": null}',
    '{"type": "token.expiring", "data": 7}',
    '{"type": "tomorrow", "data": {"new": true}}',
    '{"type": "x", "data": NaN}',
    "[" * 100_000,
    '{"a": ' + "9" * 5000 + "}",
    b"",
    b"\x00\x01",
]


async def test_no_frame_ends_a_connection_or_a_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def script(visit: Visit) -> None:
        await visit.say("{before the welcome")
        await visit.send("chat.message", data={})
        await visit.welcome()
        message = await visit.next()
        for frame in NONSENSE:
            await visit.say(frame)
        await visit.reply(message, {"say": "hi"})
        await visit.reply(message, {"say": "again"})
        await visit.refuse(message, 50000)
        await visit.send("chat.message", data=a_message(1))
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        events = gateway.events(ChatMessage)
        assert await gateway.call("echo", {}) == {"say": "hi"}
        assert (await anext(events)).text == "text 1"
        assert await gateway.call("echo", {"still": "here"}) == {"still": "here"}
        assert len(server.visits) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "gateway_client"]
    for part in ("no JSON", "answers no message", "asked for none", "binary", "before the welcome", "second welcome"):
        assert any(part in line for line in said), part
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def a_message(number: int, **parts: Any) -> dict[str, Any]:
    place = {"id": f"e.{number}", "room": "lobby", "epoch": "e", "offset": number, "changed": number}
    rest = {"sender": "bob", "text": f"text {number}", "sent_at": "2026-11-20T23:20:08.804Z", "deleted": False}
    return place | rest | parts


async def test_an_answer_that_does_not_fit_its_model_is_the_callers_alone() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome()
        for answer in ("x", {"server_time": 7}, {"server_time": "now", "newer": 1}):
            await visit.reply(await visit.expect("ping"), answer)
        await visit.reply(await visit.expect("room.join"), {"epoch": 7})
        await visit.refuse(await visit.next(), "x", details=[7, {}], message=None, retry_after_ms=-1)
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        for _ in range(2):
            with pytest.raises(UnexpectedReply, match="the reply to `ping` does not fit"):
                await gateway.call(Ping())
        assert (await gateway.call(Ping())).server_time == "now"
        with pytest.raises(UnexpectedReply, match=r"the reply to `room\.join` makes no sense"):
            await gateway.room("lobby").join()
        with pytest.raises(Refused) as refused:
            await gateway.call("echo", {})
        assert (refused.value.status, refused.value.retry_after_ms) == (0, 0)
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}


async def test_a_first_event_that_is_no_welcome_is_said_to_be_of_no_gateway() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome(server_time="yesterday")
        await visit.serve()

    async with scripted(script) as server:
        with pytest.raises(Lost, match="no gateway, or one of another version"):
            async with client_of(server, open_timeout=0.3):
                pass
    assert len(server.visits) > 1


async def test_a_server_that_never_welcomes_is_left() -> None:
    async def script(visit: Visit) -> None:
        await visit.serve()

    async with scripted(script) as server:
        with pytest.raises(Lost, match=r"no welcome within 0\.3 s; is this a gateway"):
            async with client_of(server, open_timeout=0.8):
                pass


async def test_half_a_frame_and_frames_that_break_the_standard_end_a_connection_and_not_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endings = [
        b"\x81\x7e\x01\x00half",  # of 256 bytes
        b"\x81\x05\xff\xfe\xfd\xfc\xfb",  # no UTF-8
        b"\xf1\x00",  # reserved bits
        b"\x82\x7f\x00\x00\x00\x10\x00\x00\x00\x00",  # 64 GiB
    ]

    async def script(visit: Visit) -> None:
        await visit.welcome()
        if visit.number <= len(endings):
            visit.ws.transport.write(endings[visit.number - 1])
            await asyncio.sleep(0.01)
            visit.drop()
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        await until(lambda: len(server.visits) > len(endings))
        await gateway.opened()
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
    assert len(server.visits) == len(endings) + 1
    assert "the gateway broke the standard of WebSocket: " in caplog.text


async def test_what_json_cannot_say_is_the_callers_mistake() -> None:
    async def script(visit: Visit) -> None:
        await visit.welcome(max_message_bytes=1000)
        await visit.serve()

    async with scripted(script) as server, client_of(server) as gateway:
        for data in ({1, 2}, float("nan"), {"text": "\ud800"}):
            with pytest.raises((TypeError, ValueError)):
                await gateway.call("echo", data)
        with pytest.raises(Refused, match="expected a message of at most 1000 bytes, got 10") as refused:
            await gateway.call(SendMessage(room="lobby", text="x" * 1000))
        assert refused.value.status == 41300
        assert await gateway.call("echo", {"n": 1}) == {"n": 1}
