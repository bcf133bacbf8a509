"""Resuming: the client gets what it missed, in order and once, or nothing."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import App, ChatClient, Frame


@pytest.fixture
async def ann(app: App, alice: str, room: str) -> AsyncIterator[ChatClient]:
    """Alice, a member of the room that writes."""
    async with app.in_room(alice, room) as client:
        yield client


async def say(client: ChatClient, room: str, *texts: str) -> list[Frame]:
    said = []
    for text in texts:
        said.append((await client.ask("chat.send", room=room, text=text))["message"])
        await client.expect("chat.message")
    return said


async def edit(client: ChatClient, room: str, message: Frame, text: str) -> Frame:
    edited: Frame = (await client.ask("chat.edit", room=room, message_id=message["id"], text=text))["message"]
    await client.expect("chat.edited")
    return edited


async def delete(client: ChatClient, room: str, message: Frame) -> Frame:
    deleted: Frame = (await client.ask("chat.delete", room=room, message_id=message["id"]))["message"]
    await client.expect("chat.deleted")
    return deleted


async def test_whoever_comes_back_gets_what_was_said_meanwhile_and_nothing_else(
    app: App, ann: ChatClient, bob: str, room: str
) -> None:
    async with app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        [first] = await say(ann, room, "one")
        await ben.expect("chat.message")
    said = await say(ann, room, "two", "three")
    async with app.connect(bob) as ben:
        since = {"epoch": first["epoch"], "offset": 1}
        reply = await ben.ask("room.join", room=room, since=since)
        assert (reply["recovered"], reply["offset"], "messages" in reply) == (True, 3, False)
        assert reply["events"] == [{"type": "chat.message", "data": message} for message in said]
        await ben.expect_nothing()
        [fourth] = await say(ann, room, "four")
        assert await ben.expect("chat.message") == fourth


async def test_whoever_has_missed_nothing_gets_nothing(app: App, ann: ChatClient, bob: str, room: str) -> None:
    [first] = await say(ann, room, "one")
    async with app.connect(bob) as ben:
        reply = await ben.ask("room.join", room=room, since={"epoch": first["epoch"], "offset": 1})
        assert (reply["recovered"], reply["events"]) == (True, [])


async def test_a_changed_message_comes_once_as_it_is_now_at_the_place_of_its_last_change(
    app: App, ann: ChatClient, bob: str, room: str
) -> None:
    one, two, three, four = await say(ann, room, "one", "two", "three", "four")
    await edit(ann, room, two, "two, once more")
    one = await edit(ann, room, one, "one, once more")
    two = await edit(ann, room, two, "two, at last")
    four = await delete(ann, room, four)
    async with app.connect(bob) as ben:
        reply = await ben.ask("room.join", room=room, since={"epoch": one["epoch"], "offset": 0})
        assert [(event["type"], event["data"]["changed"]) for event in reply["events"]] == [
            ("chat.message", 3),
            ("chat.edited", 6),
            ("chat.edited", 7),
            ("chat.deleted", 8),
        ]
        assert [event["data"] for event in reply["events"]] == [three, one, two, four]
        assert (two["offset"], two["text"], four["deleted"], "text" in four) == (2, "two, at last", True, False)


async def test_a_room_made_anew_is_another_one(app: App, ann: ChatClient, bob: str, room: str) -> None:
    [first] = await say(ann, room, "one")
    await ann.ask("room.delete", room=room)
    await ann.expect("room.deleted", room=room)
    await ann.ask("room.join", room=room)
    [other] = await say(ann, room, "another one")
    async with app.connect(bob) as ben:
        reply = await ben.ask("room.join", room=room, since={"epoch": first["epoch"], "offset": 1})
        assert (reply["recovered"], reply["reason"], "events" in reply) == (False, "epoch_changed", False)
        assert reply["messages"] == [other]
        assert reply["epoch"] == other["epoch"] != first["epoch"]


async def test_who_has_missed_more_than_300_gets_the_newest_50_and_never_a_part(
    app: App, ann: ChatClient, bob: str, room: str
) -> None:
    for number in range(1, 302):
        await ann.send({"type": "chat.send", "data": {"room": room, "text": str(number)}})
        await ann.expect("chat.message", offset=number)
    epoch = (await ann.ask("room.join", room=room))["epoch"]
    async with app.connect(bob) as ben:
        reply = await ben.ask("room.join", room=room, since={"epoch": epoch, "offset": 0})
        assert (reply["recovered"], reply["reason"]) == (False, "too_many")
        assert [message["offset"] for message in reply["messages"]] == list(range(252, 302))
        reply = await ben.ask("room.join", room=room, since={"epoch": epoch, "offset": 1})
        assert reply["recovered"]
        assert [event["data"]["offset"] for event in reply["events"]] == list(range(2, 302))


async def test_who_has_missed_more_than_fits_into_a_frame_gets_the_newest_that_do(
    app: App, ann: ChatClient, bob: str, room: str
) -> None:
    for number in range(1, 7):
        await ann.send({"type": "chat.send", "data": {"room": room, "body": "x" * 60_000}})
        await ann.expect("chat.message", offset=number)
    epoch = (await ann.ask("room.join", room=room))["epoch"]
    async with app.connect(bob) as ben:
        reply = await ben.ask("room.join", room=room, since={"epoch": epoch, "offset": 0})
        assert (reply["recovered"], reply["reason"]) == (False, "too_many")
        assert [message["offset"] for message in reply["messages"]] == [3, 4, 5, 6]
        reply = await ben.ask("room.join", room=room, since={"epoch": epoch, "offset": 2})
        assert [event["data"]["offset"] for event in reply["events"]] == [3, 4, 5, 6]


async def test_a_position_beyond_the_top_of_the_log_is_lost(app: App, ann: ChatClient, room: str) -> None:
    [first] = await say(ann, room, "one")
    error = await ann.refused("room.join", room=room, since={"epoch": first["epoch"], "offset": 2})
    assert (error["status"], error["name"], error["retryable"]) == (41000, "position_lost", False)
    # The refused join has changed nothing: the room's events continue.
    await say(ann, room, "two")
    await ann.expect_nothing()


WRONG: list[Any] = [
    {"epoch": "x"},
    {"offset": 1},
    {"epoch": "x", "offset": -1},
    {"epoch": "x", "offset": 1.5},
    {"epoch": "x", "offset": "1"},
    {"epoch": "", "offset": 1},
    {"epoch": 7, "offset": 1},
    {"epoch": "x", "offset": 2**60},
    {"epoch": "x", "offset": 1, "more": 1},
    "x",
    7,
]


@pytest.mark.parametrize("since", WRONG, ids=repr)
async def test_a_position_that_is_none_is_refused_with_the_field(ann: ChatClient, room: str, since: Any) -> None:
    error = await ann.refused("room.join", room=room, since=since)
    assert error["status"] == 42200
    assert all(detail["field"].startswith("data.since") for detail in error["details"])


async def test_only_the_sender_sees_its_client_id_when_it_comes_back(
    app: App, alice: str, bob: str, room: str, ann: ChatClient
) -> None:
    sent = (await ann.ask("chat.send", room=room, text="one", client_id="c-1"))["message"]
    await ann.expect("chat.message", client_id="c-1")
    since = {"epoch": sent["epoch"], "offset": 0}
    async with app.connect(alice) as laptop, app.connect(bob) as ben:
        mine = (await laptop.ask("room.join", room=room, since=since))["events"][0]["data"]
        theirs = (await ben.ask("room.join", room=room, since=since))["events"][0]["data"]
        assert mine == sent
        assert "client_id" not in theirs
