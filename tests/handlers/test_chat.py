"""Sending and reading messages."""

import asyncio
import json
from typing import Any

import pytest

from tests.client import App
from tests.conftest import OwnGateway

TEXTS = ["x", "x" * 4000, "😀" * 4000, "'; DROP TABLE messages; --", "<b>&amp;</b>", "\u202e\u0007\x1b[31m", " ", "\n"]

BODIES: list[Any] = [
    {"a": [1, None, {"b": "c"}], "": 0.1},
    [],
    "text",
    0,
    False,
    1e300,
    9007199254740993,
    {"text": "not the text"},
]


@pytest.mark.parametrize("text", TEXTS)
async def test_a_text_comes_back_as_it_was_sent(app: App, alice: str, room: str, text: str) -> None:
    async with app.in_room(alice, room) as client:
        sent = (await client.ask("chat.send", room=room, text=text))["message"]
        assert (sent["text"], "body" in sent) == (text, False)
        assert await client.expect("chat.message") == sent
        assert (await client.ask("chat.history", room=room))["messages"] == [sent]


@pytest.mark.parametrize("body", BODIES, ids=repr)
async def test_a_body_comes_back_as_it_was_sent(app: App, alice: str, room: str, body: Any) -> None:
    async with app.in_room(alice, room) as client:
        sent = (await client.ask("chat.send", room=room, body=body))["message"]
        assert (sent["body"], "text" in sent) == (body, False)
        assert await client.expect("chat.message") == sent
        assert (await client.ask("chat.history", room=room))["messages"] == [sent]


@pytest.mark.parametrize(
    "content",
    [{}, {"text": ""}, {"text": "x" * 4001}, {"text": "a", "body": "b"}, {"text": None}, {"text": 7}, {"body": None}],
    ids=["nothing", "an empty text", "4,001 characters", "both", "null", "a number", "a null body"],
)
async def test_wrong_content_is_refused_and_nothing_is_stored(
    app: App, alice: str, room: str, content: dict[str, Any]
) -> None:
    async with app.in_room(alice, room) as client:
        error = await client.refused("chat.send", room=room, **content)
        assert (error["status"], error["name"]) == (42200, "validation_failed")
        assert await client.ask("chat.history", room=room) == {"messages": [], "has_more": False}


@pytest.mark.parametrize("field", ["id", "sender", "offset", "changed", "epoch", "sent_at"])
async def test_what_is_the_gateways_cannot_be_claimed(app: App, alice: str, room: str, field: str) -> None:
    async with app.in_room(alice, room) as client:
        error = await client.refused("chat.send", room=room, text="hi", **{field: "mine"})
        assert [detail["field"] for detail in error["details"]] == [f"data.{field}"]


async def test_the_reply_comes_before_the_event_on_the_connection_that_sent(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as phone, app.in_room(alice, room) as laptop, app.in_room(bob, room) as ben:
        for client in (phone, laptop):
            await client.expect("room.joined", user=bob)
        for number in range(20):
            await phone.send({"type": "chat.send", "id": number, "data": {"room": room, "text": str(number)}})
            await ben.send({"type": "chat.send", "data": {"room": room, "text": "meanwhile"}})
        seen: dict[Any, list[int]] = {phone: [], laptop: [], ben: []}
        replied: set[int] = set()
        for client, offsets in seen.items():
            while len(offsets) < 40:
                frame = await client.next()
                if frame["type"] == "reply":
                    replied.add(frame["data"]["message"]["offset"])
                elif frame["type"] == "chat.message":
                    offset = frame["data"]["offset"]
                    offsets.append(offset)
                    if client is phone and frame["data"]["sender"] == alice:
                        assert offset in replied
        assert all(offsets == list(range(1, 41)) for offsets in seen.values())


async def test_many_senders_leave_a_log_without_gaps_that_all_see_alike(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, asyncio.timeout(20):
        async with app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
            await ann.expect("room.joined")

            async def talk(client: Any, name: str) -> list[int]:
                for number in range(50):
                    await client.send({"type": "chat.send", "data": {"room": "lobby", "text": f"{name} {number}"}})
                return [(await client.expect("chat.message"))["offset"] for _ in range(100)]

            in_order = list(range(1, 101))
            assert tuple(await asyncio.gather(talk(ann, "a"), talk(ben, "b"))) == (in_order, in_order)
            history = await ann.ask("chat.history", room="lobby", limit=100)
            assert [message["offset"] for message in history["messages"]] == list(range(1, 101))


async def test_history_comes_in_pages_in_both_directions(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        for number in range(1, 11):
            await client.ask("chat.send", room=room, text=str(number))
            await client.expect("chat.message")

        async def read(**data: Any) -> tuple[list[int], bool]:
            reply = await client.ask("chat.history", room=room, **data)
            return [message["offset"] for message in reply["messages"]], reply["has_more"]

        assert await read(limit=3) == ([8, 9, 10], True)
        assert await read(limit=3, before=8) == ([5, 6, 7], True)
        assert await read(limit=4, before=5) == ([1, 2, 3, 4], False)
        assert await read(before=1) == ([], False)
        assert await read(limit=3, after=0) == ([1, 2, 3], True)
        assert await read(limit=3, after=7) == ([8, 9, 10], False)
        assert await read(after=10) == ([], False)
        assert await read(after=2**53) == ([], False)
        assert await read() == (list(range(1, 11)), False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "5"},
        {"limit": True},
        {"before": 0},
        {"before": 1.5},
        {"after": -1},
        {"after": 2**64},
        {"before": 5, "after": 1},
    ],
    ids=repr,
)
async def test_a_page_that_cannot_be_is_refused(app: App, alice: str, room: str, wrong: dict[str, Any]) -> None:
    async with app.in_room(alice, room) as client:
        assert (await client.refused("chat.history", room=room, **wrong))["status"] == 42200


async def test_a_page_of_large_messages_stays_below_256_kib_and_the_rest_follows(
    app: App, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as client:
        for number in range(10):
            await client.ask("chat.send", room=room, body=[number, "ж" * 30_000])
            await client.expect("chat.message")
        seen: list[int] = []
        has_more = True
        while has_more:
            await client.send({"type": "chat.history", "id": 0, "data": {"room": room, "after": len(seen)}})
            raw = await client.ws.recv(decode=False)
            assert len(raw) < 256 * 1024
            data = json.loads(raw)["data"]
            assert data["messages"]
            seen += [message["body"][0] for message in data["messages"]]
            has_more = data["has_more"]
        assert seen == list(range(10))


async def test_typing_is_shown_to_the_others_once_and_ends_with_the_message(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        await ann.ask("chat.typing", room=room)
        await ann.ask("chat.typing", room=room)
        await ben.expect("chat.typing", room=room, user=alice, typing=True)
        await ann.ask("chat.send", room=room, text="done")
        await ben.expect("chat.message", text="done")
        await ben.expect("chat.typing", room=room, user=alice, typing=False)
        await ben.expect_nothing()


async def test_typing_ends_by_itself(
    app: App, alice: str, bob: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.typing.TYPING_SECONDS", 1)
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        await ann.ask("chat.typing", room=room)
        await ben.expect("chat.typing", typing=True)
        await ben.expect("chat.typing", typing=False)
        await ann.expect_nothing()
