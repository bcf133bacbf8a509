"""Sending and reading messages."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from gateway.store.tables import messages, rooms
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient

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


@pytest.mark.both_stores
@pytest.mark.parametrize("text", TEXTS)
async def test_a_text_comes_back_as_it_was_sent(app: App, alice: str, room: str, text: str) -> None:
    async with app.in_room(alice, room) as client:
        sent = (await client.ask("chat.send", room=room, text=text))["message"]
        assert (sent["text"], "body" in sent) == (text, False)
        assert await client.expect("chat.message") == sent
        assert (await client.ask("chat.history", room=room))["messages"] == [sent]


@pytest.mark.both_stores
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


@pytest.mark.both_stores
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


@pytest.mark.both_stores
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


@pytest.mark.both_stores
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


@pytest.mark.both_stores
async def test_who_types_on_is_shown_again_now_and_then(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        for _ in range(2):
            for _ in range(3):
                await ann.ask("chat.typing", room="lobby")
            await ben.expect("chat.typing", typing=True)
            await ben.expect_nothing()
            gateway.clock.ahead += 3


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


async def test_an_edit_reaches_all_as_the_whole_message_and_history_shows_it_where_it_was(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(alice, room) as laptop, app.in_room(bob, room) as ben:
        for client in (ann, laptop):
            await client.expect("room.joined")
        first = await ann.say(room, "Helo")
        second = await ann.say(room, "there")
        for client in (laptop, ben):
            assert [await client.expect("chat.message") for _ in range(2)] == [first, second]

        edited = (await ann.ask("chat.edit", room=room, message_id=first["id"], text="Hello"))["message"]
        assert datetime.fromisoformat(edited["edited_at"]) >= datetime.fromisoformat(first["sent_at"])
        assert edited == first | {"text": "Hello", "changed": 3, "edited_at": edited["edited_at"]}
        for client in (ann, laptop, ben):
            assert await client.expect("chat.edited") == edited
            await client.expect_nothing()
        assert (await ben.ask("chat.history", room=room))["messages"] == [edited, second]
        assert (await ben.ask("room.join", room=room))["messages"] == [edited, second]
        assert (await ben.say(room, "Hi"))["offset"] == 4


async def test_an_edit_turns_a_text_into_a_body_and_back(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        id = (await client.say(room, "text"))["id"]
        content: dict[str, Any]
        for content in ({"body": {"n": [None, 0]}}, {"body": False}, {"text": "again"}, {"text": "and again"}):
            edited = (await client.ask("chat.edit", room=room, message_id=id, **content))["message"]
            assert {key: edited[key] for key in ("text", "body") if key in edited} == content
            assert await client.expect("chat.edited") == edited
            assert (await client.ask("chat.history", room=room))["messages"] == [edited]
        assert edited["changed"] == 5


async def test_a_message_is_edited_only_by_its_author(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        sent = await ben.say(room, "mine")
        await ann.expect("chat.message")
        error = await ann.refused("chat.edit", room=room, message_id=sent["id"], text="hers")  # the owner of the room
        assert (error["status"], error["message"]) == (40300, "only its author may edit a message")
        await ben.expect_nothing()
        assert (await ann.ask("chat.history", room=room))["messages"] == [sent]


async def test_users_that_left_or_were_kicked_edit_delete_and_read_nothing_any_more(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        sent = await ben.say(room, "mine")
        await ann.expect("chat.message")

        async def is_out() -> None:
            for type, data in (
                ("chat.edit", {"message_id": sent["id"], "text": "still mine"}),
                ("chat.delete", {"message_id": sent["id"]}),
                ("chat.send", {"text": "reply", "reply_to": sent["id"]}),
                ("chat.read", {"offset": 1}),
            ):
                assert (await ben.refused(type, room=room, **data))["status"] == 40301, type

        await ben.ask("room.leave", room=room)
        await ben.expect("room.left")
        await is_out()
        await ben.ask("room.join", room=room)
        for type in ("room.left", "room.joined"):
            await ann.expect(type)
        await ann.ask("room.kick", room=room, user=bob)
        for client in (ann, ben):
            await client.expect("room.left", by=alice)
        await is_out()
        assert (await ann.ask("chat.history", room=room))["messages"] == [sent]
        await ann.expect_nothing()


GARBLED = ["x", "1", ".", "….1", "EPOCH", "EPOCH.", "EPOCH.0", "EPOCH.2", "EPOCH.-1", "EPOCH.1 ", "EPOCH.01", "EPOCH.١"]
GARBLED += ["EPOCH.9999999999999999999", "epoch'; --.1", " EPOCH.1", "EPOCH.1.1", "EPOCH.1e0", "%00.1"]


@pytest.mark.both_stores
@pytest.mark.parametrize("garbled", GARBLED)
async def test_a_message_that_is_not_there_is_not_found(app: App, alice: str, room: str, garbled: str) -> None:
    async with app.in_room(alice, room) as client:
        sent = await client.say(room, "the only one")
        id = garbled.replace("EPOCH", sent["epoch"])
        for type, data in (
            ("chat.edit", {"message_id": id, "text": "new"}),
            ("chat.delete", {"message_id": id}),
            ("chat.send", {"reply_to": id, "text": "reply"}),
        ):
            error = await client.refused(type, room=room, **data)
            assert (error["status"], error["message"]) == (40400, "there is no such message in this room"), type
        await client.expect_nothing()
        assert (await client.ask("chat.history", room=room))["messages"] == [sent]


@pytest.mark.parametrize("id", ["", "x" * 65, 1, None, True, ["x"], {}], ids=repr)
async def test_what_cannot_be_an_id_is_refused(app: App, alice: str, room: str, id: Any) -> None:
    async with app.in_room(alice, room) as client:
        assert (await client.refused("chat.edit", room=room, message_id=id, text="new"))["status"] == 42200
        assert (await client.refused("chat.delete", room=room, message_id=id))["status"] == 42200
        if id is not None:
            assert (await client.refused("chat.send", room=room, reply_to=id, text="new"))["status"] == 42200


@pytest.mark.both_stores
async def test_a_message_of_another_room_is_not_found_in_this_one(
    app: App, alice: str, room: str, unique: Callable[[str], str]
) -> None:
    other = unique("room")
    async with app.in_room(alice, room) as client:
        await client.ask("room.join", room=other)
        sent = await client.say(other, "there")
        await client.say(room, "here")
        id = sent["id"]
        for type, data in (
            ("chat.edit", {"message_id": id, "text": "new"}),
            ("chat.delete", {"message_id": id}),
            ("chat.send", {"reply_to": id, "text": "reply"}),
        ):
            assert (await client.refused(type, room=room, **data))["status"] == 40400, type
        await client.expect_nothing()
        assert (await client.ask("chat.history", room=other))["messages"] == [sent]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": ""},
        {"text": "x" * 4001},
        {"text": "a", "body": "b"},
        {"body": None},
        {"text": "a", "reply_to": "b"},
    ],
    ids=["nothing", "an empty text", "4,001 characters", "both", "a null body", "another reply_to"],
)
async def test_an_edit_to_wrong_content_is_refused(app: App, alice: str, room: str, content: dict[str, Any]) -> None:
    async with app.in_room(alice, room) as client:
        sent = await client.say(room, "right")
        assert (await client.refused("chat.edit", room=room, message_id=sent["id"], **content))["status"] == 42200
        assert (await client.ask("chat.history", room=room))["messages"] == [sent]


async def test_a_body_of_any_json_is_kept_as_it_was_sent_and_as_it_was_edited(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        for body in BODIES:
            sent = await client.ask("chat.send", room=room, body=body)
            await client.expect("chat.message", body=body)
            first = await client.ask("chat.send", room=room, text="to be edited", reply_to=sent["message"]["id"])
            await client.expect("chat.message")
            edited = await client.ask("chat.edit", room=room, message_id=first["message"]["id"], body=body)
            assert (await client.expect("chat.edited")) == edited["message"]
            history = await client.ask("chat.history", room=room, after=sent["message"]["offset"] - 1)
            assert [message["body"] for message in history["messages"]] == [body, body]
            assert [type(message["body"]) for message in history["messages"]] == [type(body)] * 2
            assert history["messages"] == [sent["message"], edited["message"]]
        gone = await client.ask("chat.delete", room=room, message_id=edited["message"]["id"])
        assert gone["message"]["deleted"]


BODIES = [
    "hi",
    "",
    "null",
    "5",
    '{"a":1}',
    5,
    0,
    -0.5,
    True,
    False,
    [],
    {},
    [None],
    {"a": [1, {"b": "c"}]},
    2**63 - 1,
    2**64 - 1,
]


@pytest.mark.both_stores
async def test_a_deleted_message_leaves_its_place_and_nothing_of_what_it_said(
    app: App, gateway: Gateway, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        sent = await ann.say(room, "a secret")
        await ann.ask("chat.edit", room=room, message_id=sent["id"], body={"secret": 1})
        await ann.expect("chat.edited")
        for type in ("chat.message", "chat.edited"):
            await ben.expect(type)
        gone = (await ann.ask("chat.delete", room=room, message_id=sent["id"]))["message"]
        assert (gone["offset"], gone["changed"], gone["deleted"]) == (1, 3, True)
        assert not gone.keys() & {"text", "body"}
        for client in (ann, ben):
            assert await client.expect("chat.deleted") == gone
            assert (await client.ask("chat.history", room=room))["messages"] == [gone]
            await client.expect_nothing()
        assert await gateway.run(stored_content(gateway, room)) == [(None, None)]


async def stored_content(gateway: Gateway, room: str) -> list[tuple[Any, Any]]:
    """Return what the store has of a room's messages."""
    query = select(messages.c.text, messages.c.body).join(rooms, rooms.c.id == messages.c.room_id)
    query = query.where(rooms.c.name == room)
    rows = await gateway.state.database.query(lambda connection: connection.execute(query).all())
    return [(row.text, row.body) for row in rows]


@pytest.mark.both_stores
async def test_deleting_twice_is_fine_and_is_not_announced_again(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        id = (await ben.say(room, "oops"))["id"]
        await ann.expect("chat.message")
        gone = (await ben.ask("chat.delete", room=room, message_id=id))["message"]
        for client in (ann, ben):
            await client.expect("chat.deleted")
        for client in (ann, ben):
            assert (await client.ask("chat.delete", room=room, message_id=id))["message"] == gone
        for client in (ann, ben):
            await client.expect_nothing()
        assert (await ann.ask("room.join", room=room))["offset"] == 2
        error = await ben.refused("chat.edit", room=room, message_id=id, text="never mind")
        assert (error["status"], error["name"]) == (40900, "conflict")
        assert (await ann.say(room, "next"))["offset"] == 3


@pytest.mark.parametrize("role", ["owner", "moderator", "author"])
async def test_a_message_is_deleted_by_its_author_a_moderator_or_an_owner(
    app: App, alice: str, bob: str, carol: str, room: str, role: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben, app.in_room(carol, room) as cat:
        await ben.heard()
        sent = await ben.say(room, "mine", client_id="1")
        await ann.heard()
        if role != "author":
            await ann.ask("room.role", room=room, user=carol, role=role)
        for client in (ann, ben, cat):
            await client.heard()
        deleting = ben if role == "author" else cat
        gone = (await deleting.ask("chat.delete", room=room, message_id=sent["id"]))["message"]
        assert gone["deleted"]
        assert gone.get("client_id") == ("1" if role == "author" else None)
        for client in (ann, ben, cat):
            event = await client.expect("chat.deleted", id=sent["id"])
            assert event.get("client_id") == ("1" if client is ben else None)
            await client.expect_nothing()


async def test_a_member_does_not_delete_what_another_said(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        sent = await ann.say(room, "mine")
        await ben.expect("chat.message")
        error = await ben.refused("chat.delete", room=room, message_id=sent["id"])
        assert error["status"] == 40300
        assert error["message"] == "only its author, a moderator or an owner may delete a message"
        await ann.expect_nothing()
        assert (await ann.ask("chat.history", room=room))["messages"] == [sent]


@pytest.mark.both_stores
async def test_an_edit_and_a_deletion_at_once_end_deleted_for_all(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as phone, app.in_room(alice, room) as laptop, app.in_room(bob, room) as ben:
        for _ in range(10):
            everyone = (phone, laptop, ben)
            for client in everyone:
                await client.heard()
            id = (await phone.ask("chat.send", room=room, text="?"))["message"]["id"]
            edit = await phone.start("chat.edit", room=room, message_id=id, text="!")
            delete = await laptop.start("chat.delete", room=room, message_id=id)
            assert (await phone.until(id=edit))["status"] in (20000, 40900)
            assert (await laptop.until(id=delete))["status"] == 20000
            for client in everyone:
                assert (await client.until(type="chat.deleted"))["data"]["id"] == id
                await client.expect_nothing()
            [last] = (await ben.ask("chat.history", room=room, limit=1))["messages"]
            assert last["deleted"]
            assert not last.keys() & {"text", "body"}


async def test_a_reply_names_the_message_that_it_answers_also_when_that_is_deleted_later(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        question = await ann.say(room, "Tea?")
        await ben.expect("chat.message")
        answer = await ben.say(room, "Yes", reply_to=question["id"])
        assert answer["reply_to"] == question["id"]
        assert await ann.expect("chat.message") == answer
        gone = (await ann.ask("chat.delete", room=room, message_id=question["id"]))["message"]
        for client in (ann, ben):
            assert await client.expect("chat.deleted") == gone
            assert (await client.ask("chat.history", room=room))["messages"] == [gone, answer]
        edited = (await ben.ask("chat.edit", room=room, message_id=answer["id"], text="Yes, please"))["message"]
        assert edited["reply_to"] == question["id"]


@pytest.mark.both_stores
async def test_a_message_that_is_sent_again_is_stored_once_and_heard_once(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as phone, app.in_room(alice, room) as laptop, app.in_room(bob, room) as ben:
        for client in (phone, laptop):
            await client.expect("room.joined")
        first = await phone.ask("chat.send", room=room, text="once", client_id="c-1")
        assert (first["duplicate"], first["message"]["client_id"]) == (False, "c-1")
        assert await phone.expect("chat.message") == first["message"]
        assert await laptop.expect("chat.message") == first["message"]
        for client, text in ((phone, "once"), (laptop, "once"), (laptop, "something else")):
            again = await client.ask("chat.send", room=room, text=text, client_id="c-1")
            assert again == {"message": first["message"], "duplicate": True}
        seen_by_others = {key: value for key, value in first["message"].items() if key != "client_id"}
        assert await ben.expect("chat.message") == seen_by_others
        for client in (phone, laptop, ben):
            await client.expect_nothing()
            reply = await client.ask("room.join", room=room)
            expected = seen_by_others if client is ben else first["message"]
            assert reply["messages"] == (await client.ask("chat.history", room=room))["messages"] == [expected]
            assert reply["offset"] == 1


@pytest.mark.both_stores
async def test_twenty_repeats_at_once_on_four_connections_are_one_message(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with AsyncExitStack() as stack:
        ben = await stack.enter_async_context(app.in_room(bob, room))
        phones = [await stack.enter_async_context(app.in_room(alice, room)) for _ in range(4)]
        asked = [
            (phone, await phone.start("chat.send", room=room, text=f"try {number}", client_id="same"))
            for number in range(5)
            for phone in phones
        ]
        replies = [(await phone.until(type="reply", id=id))["data"] for phone, id in asked]
        assert sorted(reply["duplicate"] for reply in replies) == [False] + [True] * 19
        assert all(reply["message"] == replies[0]["message"] for reply in replies)
        assert [frame["type"] for frame in await ben.heard()] == ["room.joined", "chat.message"]
        assert len((await ben.ask("chat.history", room=room))["messages"]) == 1


async def test_a_client_id_is_the_users_own_and_the_rooms_own(
    app: App, alice: str, bob: str, room: str, unique: Callable[[str], str]
) -> None:
    other = unique("room")
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.heard()
        await ann.ask("room.join", room=other)
        ids = [(await ann.say(place, "alice's", client_id="c"))["id"] for place in (room, other)]
        await ben.expect("chat.message")
        ids.append((await ben.say(room, "bob's", client_id="c"))["id"])
        assert len(set(ids)) == 3
        own = [message.get("client_id") for message in (await ben.ask("chat.history", room=room))["messages"]]
        assert own == [None, "c"]


async def test_a_repeat_is_answered_with_the_message_as_it_is_now(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        id = (await ann.say(room, "Helo", client_id="c"))["id"]
        edited = (await ann.ask("chat.edit", room=room, message_id=id, text="Hello"))["message"]
        assert edited["client_id"] == "c"
        assert await ann.expect("chat.edited") == edited
        repeat = {"room": room, "text": "Helo", "client_id": "c"}
        assert await ann.ask("chat.send", **repeat) == {"message": edited, "duplicate": True}
        gone = (await ann.ask("chat.delete", room=room, message_id=id))["message"]
        assert await ann.expect("chat.deleted") == gone
        assert await ann.ask("chat.send", **repeat) == {"message": gone, "duplicate": True}
        assert gone["client_id"] == "c"
        events = await ben.heard()
        assert [event["type"] for event in events] == ["chat.message", "chat.edited", "chat.deleted"]
        assert not any("client_id" in event["data"] for event in events)


@pytest.mark.both_stores
async def test_a_client_id_may_be_used_again_after_24_hours(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        ids = []
        for wait in (0, 23 * 3600, 3600 - 60, 61, 23 * 3600):
            gateway.clock.ahead += wait
            async with app.in_room("alice", "lobby") as client:  # a token that has ended meanwhile
                reply = await client.ask("chat.send", room="lobby", text="daily", client_id="c")
                ids.append((reply["message"]["offset"], reply["duplicate"]))
        assert ids == [(1, False), (1, True), (1, True), (2, False), (2, True)]


@pytest.mark.parametrize("client_id", ["", "x" * 65, 0, 1, True, [], {}], ids=repr)
async def test_a_wrong_client_id_is_refused_and_nothing_is_stored(
    app: App, alice: str, room: str, client_id: Any
) -> None:
    async with app.in_room(alice, room) as client:
        error = await client.refused("chat.send", room=room, text="hi", client_id=client_id)
        assert error["status"] == 42200
        assert (await client.ask("chat.history", room=room))["messages"] == []


@pytest.mark.parametrize("client_id", ["0", "x" * 64, "😀" * 64, " ", "'; --"])
async def test_a_right_client_id_comes_back(app: App, alice: str, room: str, client_id: str) -> None:
    async with app.in_room(alice, room) as client:
        assert (await client.say(room, "hi", client_id=client_id))["client_id"] == client_id
        assert (await client.ask("chat.send", room=room, text="hi", client_id=client_id))["duplicate"]


async def unread(client: ChatClient, room: str) -> int:
    """Return how much a user has not read of a room."""
    cursor = room[:-1] + chr(ord(room[-1]) - 1)  # the name just before
    listed = (await client.ask("room.list", cursor=cursor, limit=100))["rooms"]
    [count] = [each["unread"] for each in listed if each["name"] == room]
    assert isinstance(count, int)
    return count


@pytest.mark.both_stores
async def test_unread_is_what_others_have_said_and_not_taken_back_since_one_has_read(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.connect(bob) as ben:
        await ann.say(room, "before bob came")
        await ben.ask("room.join", room=room)
        assert await unread(ben, room) == 0
        await ann.expect("room.joined")
        ids = [(await ann.say(room, str(number)))["id"] for number in range(4)]
        await ben.heard()
        await ben.say(room, "bob's own")
        await ann.expect("chat.message")
        assert (await unread(ben, room), await unread(ann, room)) == (4, 1)
        await ann.ask("chat.delete", room=room, message_id=ids[3])
        await ann.expect("chat.deleted")
        await ben.expect("chat.deleted")
        assert await unread(ben, room) == 3

        await ben.ask("chat.read", room=room, offset=3)
        for client in (ann, ben):
            await client.expect("chat.read", room=room, user=bob, offset=3)
        assert await unread(ben, room) == 1
        await ann.ask("chat.edit", room=room, message_id=ids[0], text="an edit is nothing new")
        await ann.expect("chat.edited", changed=8)
        await ben.expect("chat.edited")
        assert await unread(ben, room) == 1
        await ben.ask("chat.read", room=room, offset=8)
        for client, left in ((ann, 1), (ben, 0)):
            await client.expect("chat.read", offset=8)
            assert await unread(client, room) == left


async def test_reading_back_is_ignored_and_is_not_announced(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined")
        for number in range(3):
            await ann.say(room, str(number))
            await ben.expect("chat.message")
        await ben.ask("chat.read", room=room, offset=2)
        for client in (ann, ben):
            await client.expect("chat.read", offset=2)
        for offset in (2, 1, 0):
            await ben.ask("chat.read", room=room, offset=offset)
            for client in (ann, ben):
                await client.expect_nothing()
        assert await unread(ben, room) == 1


async def test_what_was_not_said_yet_cannot_be_read(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client:
        await client.say(room, "hi")
        for offset in (2, 2**53):
            error = await client.refused("chat.read", room=room, offset=offset)
            assert (error["status"], error["name"]) == (41000, "position_lost")
        for wrong in (-1, 2**53 + 1, 1.0, "1", True, None):
            assert (await client.refused("chat.read", room=room, offset=wrong))["status"] == 42200, wrong
        await client.expect_nothing()


async def test_a_room_that_is_deleted_while_others_send_answers_each_and_begins_anew(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben, app.in_room(carol, room) as cat:
        epoch = (await cat.say(room, "hi"))["epoch"]

        async def talk(client: ChatClient) -> list[int]:
            asked = [await client.start("chat.send", room=room, text=str(number)) for number in range(60)]
            return [(await client.until(id=id))["status"] for id in asked]

        async def delete() -> None:
            for _ in range(20):
                await ann.until(type="chat.message")
            assert (await ann.until(id=await ann.start("room.delete", room=room)))["status"] == 20000

        *statuses, _ = await asyncio.gather(talk(ben), talk(cat), delete())
        assert {*statuses[0], *statuses[1]} == {20000, 40400}
        for each in statuses:
            assert each == sorted(each)  # what was taken first, and nothing after it
        for client in (ann, ben, cat):
            await client.heard()
            assert (await client.refused("chat.send", room=room, text="anybody?"))["status"] == 40400
        made = await ben.ask("room.join", room=room)
        assert (made["offset"], made["members"], made["messages"]) == (0, 1, [])
        assert made["epoch"] != epoch
        assert (await ben.say(room, "me"))["offset"] == 1
        for client in (ann, cat):
            await client.expect_nothing()


@pytest.mark.both_stores
async def test_whoever_resumes_gets_each_message_once_as_it_is_now(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.connect(bob) as ben:
        first = await ann.say(room, "first", client_id="1")
        second = await ann.say(room, "second")
        third = await ann.say(room, "third", client_id="3")
        edited = (await ann.ask("chat.edit", room=room, message_id=first["id"], text="the first"))["message"]
        await ann.expect("chat.edited")
        gone = (await ann.ask("chat.delete", room=room, message_id=second["id"]))["message"]
        await ann.expect("chat.deleted")
        reply = await ann.ask("room.join", room=room, since={"epoch": first["epoch"], "offset": 1})
        assert (reply["recovered"], reply["offset"], "messages" in reply) == (True, 5, False)
        assert reply["events"] == [
            {"type": "chat.message", "data": third},
            {"type": "chat.edited", "data": edited},
            {"type": "chat.deleted", "data": gone},
        ]
        for_ben = await ben.ask("room.join", room=room, since={"epoch": first["epoch"], "offset": 1})
        assert for_ben["events"] == [
            {**event, "data": {key: value for key, value in event["data"].items() if key != "client_id"}}
            for event in reply["events"]
        ]


@pytest.mark.parametrize("scope", ["chat:read", "chat:write"])
async def test_reading_and_writing_need_a_scope_each(app: App, alice: str, bob: str, room: str, scope: str) -> None:
    async with app.in_room(alice, room) as ann, app.connect(bob):
        sent = await ann.say(room, "hi")
        token = (await app.log_in(alice, scope=scope)).json()["access_token"]
        uses: dict[str, dict[str, Any]] = {
            "chat:write": {
                "chat.send": {"room": room, "text": "hi"},
                "chat.edit": {"room": room, "message_id": sent["id"], "text": "ho"},
                "chat.delete": {"room": room, "message_id": sent["id"]},
                "direct.open": {"user": bob},
            },
            "chat:read": {"chat.history": {"room": room}, "chat.read": {"room": room, "offset": 1}},
        }
        async with app.socket(f"?token={token}") as client:
            await client.expect("welcome", scopes=[scope])
            for needed, types in uses.items():
                for type, data in types.items():
                    if needed == scope:
                        await client.ask(type, **data)
                        continue
                    error = await client.refused(type, **data)
                    assert error["status"] == 40300
                    assert f"`{needed}`" in error["message"]
