"""Rooms of others: every type of message that names one, from a stranger and from a user that was kicked."""

from typing import Any

import pytest

from handlers.registry import HANDLERS
from tests.support.client import App, ChatClient

WITHOUT_A_ROOM = {
    *("ping", "echo", "bye", "cancel", "announce", "auth", "auth.refresh"),
    *("room.list", "room.resume", "direct.open", "presence.get"),
}


def messages(room: str, message_id: str, user: str) -> dict[str, dict[str, Any]]:
    """A good message of each type that names a room."""
    return {
        "room.create": {"room": room},
        "room.join": {"room": room},
        "room.leave": {"room": room},
        "room.members": {"room": room},
        "room.invite": {"room": room, "user": user},
        "room.kick": {"room": room, "user": user},
        "room.role": {"room": room, "user": user, "role": "owner"},
        "room.update": {"room": room, "title": "Mine now"},
        "room.delete": {"room": room},
        "chat.send": {"room": room, "text": "Let me in!"},
        "chat.edit": {"room": room, "message_id": message_id, "text": "Something else"},
        "chat.append": {"room": room, "message_id": message_id, "text": " and more"},
        "chat.delete": {"room": room, "message_id": message_id},
        "chat.history": {"room": room},
        "chat.read": {"room": room, "offset": 1},
        "chat.typing": {"room": room},
        "room.signal": {"room": room, "name": "cursor"},
        "presence.set": {"room": room, "state": {"cursor": 1}},
    }


async def listed(client: ChatClient) -> set[str]:
    """The names of all rooms that a user is shown."""
    names: set[str] = set()
    page = await client.ask("room.list", limit=100)
    while True:
        names |= {room["name"] for room in page["rooms"]}
        if page.get("next_cursor") is None:
            return names
        page = await client.ask("room.list", limit=100, cursor=page["next_cursor"])


def test_every_type_of_message_is_looked_at() -> None:
    assert messages("", "", "").keys() | WITHOUT_A_ROOM == HANDLERS.keys()


@pytest.mark.parametrize("was_member", [False, True], ids=["a stranger", "one who was kicked"])
@pytest.mark.parametrize("private", [True, False], ids=["private", "public"])
async def test_in_a_room_of_others_nothing_is_read_changed_or_told(
    app: App, alice: str, bob: str, room: str, was_member: bool, private: bool
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ann.ask("room.create", room=room, private=private)
        await ann.ask("room.join", room=room)
        secret = await ann.say(room, "The secret")
        if was_member:
            await ann.ask("room.invite", room=room, user=bob)
            await ben.expect("room.invited")
            await ben.ask("room.join", room=room)
            await ann.expect("room.joined")
            await ann.ask("room.kick", room=room, user=bob)
            await ann.expect("room.left")
            await ben.expect("room.left")
        if private:
            expected = dict.fromkeys(messages("", "", ""), 40400)
        else:
            # Any user may look at a public room, and join it.
            expected = dict.fromkeys(messages("", "", ""), 40301) | {"room.leave": 20000}
        expected["room.create"] = 40900
        del expected["room.join"]  # see below
        asked = messages(room, secret["id"], alice)
        for type, status in expected.items():
            answer = await ben.until(id=await ben.start(type, **asked[type]))
            assert answer["status"] == status, (type, answer)
            assert "The secret" not in str(answer), type
        assert (room in await listed(ben)) is not private
        await ann.expect_nothing()
        history = await ann.ask("chat.history", room=room)
        assert history["messages"] == [secret]
        assert [member["user"] for member in (await ann.ask("room.members", room=room))["members"]] == [alice]
        if private:
            assert (await ben.refused("room.join", room=room))["status"] == 40400
            await ann.expect_nothing()
        await ann.say(room, "Nobody else hears this.")
        await ben.expect_nothing()


async def test_a_private_room_is_answered_as_one_that_does_not_exist(app: App, alice: str, bob: str, room: str) -> None:
    nowhere = f"{room}-x"
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ann.ask("room.create", room=room, private=True)
        await ann.ask("room.join", room=room)
        secret = await ann.say(room, "The secret")
        for type in messages("", "", "").keys() - {"room.create", "room.join"}:
            there = await ben.refused(type, **messages(room, secret["id"], alice)[type])
            not_there = await ben.refused(type, **messages(nowhere, secret["id"], alice)[type])
            del there["id"], not_there["id"]
            assert str(there).replace(room, "") == str(not_there).replace(nowhere, ""), type


async def test_a_message_of_a_foreign_room_cannot_be_reached_through_ones_own(
    app: App, alice: str, bob: str, room: str
) -> None:
    mine = f"{room}-mine"
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ann.ask("room.create", room=room, private=True)
        await ann.ask("room.join", room=room)
        secret = await ann.say(room, "The secret")
        await ben.ask("room.create", room=mine, private=True)
        await ben.ask("room.join", room=mine)
        for type, data in {
            "chat.edit": {"message_id": secret["id"], "text": "Something else"},
            "chat.append": {"message_id": secret["id"], "text": " and more"},
            "chat.delete": {"message_id": secret["id"]},
            "chat.send": {"text": "As you said:", "reply_to": secret["id"]},
        }.items():
            assert (await ben.refused(type, room=mine, **data))["status"] == 40400, type
        since = {"epoch": secret["epoch"], "offset": 0}
        reply = await ben.ask("room.join", room=mine, since=since)
        assert (reply["recovered"], reply["reason"], reply["messages"]) == (False, "epoch_changed", [])
        await ann.expect_nothing()
        assert (await ann.ask("chat.history", room=room))["messages"] == [secret]


async def test_the_sender_is_the_user_of_the_token(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        for extra in ({"sender": bob}, {"user": bob}, {"id": "x.1"}, {"offset": 7}, {"sent_at": "2020-01-01"}):
            assert (await ann.refused("chat.send", room=room, text="hi", **extra))["status"] == 42200
        assert (await ann.say(room, "hi"))["sender"] == alice
