"""`?rooms=1`: the welcome brings the user's rooms, so that an app can draw its list and come back into them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from gateway.chat import own_rooms
from gateway.chat.verbs.context import SessionContext
from gateway.config.settings import Settings
from gateway.rooms import room_pages
from handlers.errors import Unavailable
from schemas.codes import Close
from schemas.events.system import Announcement
from schemas.messages.rooms import RoomsReply
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame


@pytest.fixture
def names(unique: Callable[[str], str]) -> list[str]:
    """Rooms for this test."""
    base = unique("room")
    return [f"{base}.{letter}" for letter in "abc"]  # no room of another test comes between them by name


async def welcome(app: App, token: str, query: str = "&rooms=1") -> Frame:
    async with app.socket(f"?token={token}{query}") as client:
        found = await client.expect("welcome")
        await client.expect_nothing()
        return found


@pytest.mark.both_stores
async def test_the_welcome_lists_ones_rooms_and_invitations_as_room_list_does(
    app: App, alice: str, bob: str, names: list[str]
) -> None:
    mine, private, offered = sorted(names)
    async with app.in_room(alice, mine) as ann, app.connect(bob) as ben:
        ben.ignored |= {"room.joined"}
        await ann.ask("room.create", room=private, private=True, title="The Cave")
        await ben.ask("room.create", room=offered, private=True)
        await ben.ask("room.invite", room=offered, user=alice)
        await ann.expect("room.invited")
        await ben.ask("room.create", room=f"{offered}-of-ben")
        await ben.ask("room.join", room=mine)
        await ann.expect("room.joined")
        await ann.say(mine, "my own")
        await ben.expect("chat.message")
        await ben.say(mine, "not read")
        await ann.expect("chat.message")
        listed = await all_rooms(ann)
        found = await welcome(app, await app.token(alice))
        assert found["rooms"] == [room for room in listed if "role" in room or "invited" in room]
        assert [room["name"] for room in found["rooms"]] == [mine, private, offered]
        assert [room.get("unread") for room in found["rooms"]] == [1, 0, None]
        assert "next_cursor" not in found


async def all_rooms(client: ChatClient) -> list[Frame]:
    listed: list[Frame] = []
    page: Frame = {"next_cursor": ""}
    while "next_cursor" in page:
        page = await client.ask("room.list", cursor=page["next_cursor"], limit=100)
        listed += page["rooms"]
    return listed


async def test_a_client_comes_back_into_all_of_them_with_one_message(
    app: App, alice: str, bob: str, names: list[str]
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        ann.ignored |= {"room.joined"}
        for room in names:
            await ann.ask("room.join", room=room)
            await ben.ask("room.join", room=room)
        found = (await welcome(app, await app.token(bob)))["rooms"]
        said = await ann.say(names[1], "missed")
        since = [{"room": room["name"], "since": {"epoch": room["epoch"], "offset": room["offset"]}} for room in found]
        async with app.connect(bob) as phone:
            results = (await phone.ask("room.resume", rooms=since))["rooms"]
            missed = {result["room"]: [event["data"] for event in result["events"]] for result in results}
            assert missed == {room: [said] if room == names[1] else [] for room in names}


async def test_other_values_and_none_bring_no_rooms(app: App, alice: str, room: str) -> None:
    token = await app.token(alice)
    async with app.in_room(alice, room):
        for query in ("", "&rooms", "&rooms=", "&rooms=0", "&rooms=true", "&rooms=11", "&rooms=1&rooms=0"):
            assert welcome_keys(await welcome(app, token, query)) == set(), query
        assert welcome_keys(await welcome(app, token)) == {"rooms"}


def welcome_keys(found: Frame) -> set[str]:
    return found.keys() & {"rooms", "next_cursor"}


async def test_every_place_of_a_credential_may_ask_for_them(app: App, alice: str, room: str) -> None:
    token = await app.token(alice)
    ticket = (await app.ask("POST", "/ws/ticket", token)).json()["ticket"]
    in_header = {"additional_headers": {"Authorization": f"Bearer {token}"}}
    in_subprotocol = {"subprotocols": ["gateway.v1", f"bearer.{token}"]}
    connections: list[AbstractAsyncContextManager[ChatClient]] = [
        app.socket(f"?rooms=1&ticket={ticket}"),
        app.socket("?rooms=1", **in_header),
        app.socket("?rooms=1", **in_subprotocol),
    ]
    async with app.in_room(alice, room), app.socket("?rooms=1") as late:
        await late.send({"type": "auth", "id": 1, "data": {"token": token}})
        await late.expect("reply", id=1)
        assert [each["name"] for each in (await late.expect("welcome"))["rooms"]] == [room]
        for connection in connections:
            async with connection as client:
                assert [each["name"] for each in (await client.expect("welcome"))["rooms"]] == [room]


async def test_a_user_without_rooms_has_an_empty_list(app: App, alice: str) -> None:
    assert (await welcome(app, await app.token(alice)))["rooms"] == []


@pytest.mark.both_stores
async def test_unread_messages_are_counted_in_many_rooms_and_many_of_them_in_a_thread(
    app: App, alice: str, bob: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_pages, "ROWS_AT_ONCE", 3)
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        ben.ignored |= {"chat.deleted"}
        for number, room in enumerate(names, 1):
            await ann.ask("room.join", room=room)
            await ben.ask("room.join", room=room)
            await ann.expect("room.joined")
            said = [await ben.say(room, str(number)) for _ in range(2 * number)]
            await ben.ask("chat.delete", room=room, message_id=said[-1]["id"])
            await ann.heard()
            await ann.ask("chat.send", room=room, text="my own")
            await ann.expect("chat.message")
            await ben.expect("chat.message")
        await ann.ask("chat.read", room=names[2], offset=3)
        await ann.expect("chat.read")
        found = {room["name"]: room["unread"] for room in (await welcome(app, await app.token(alice)))["rooms"]}
        assert found == dict(zip(names, (1, 3, 2), strict=True))


async def test_of_many_the_first_come_with_the_cursor_of_the_next(
    app: App, alice: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_rooms, "MAX_RESUMED", 2)
    first, second, third = sorted(names)
    async with app.in_room(alice, third) as ann:
        await ann.ask("room.create", room=second, private=True)
        assert "next_cursor" not in await welcome(app, await app.token(alice))
        await ann.ask("room.create", room=first)
        found = await welcome(app, await app.token(alice))
        assert ([room["name"] for room in found["rooms"]], found["next_cursor"]) == ([first, second], second)
        page = await ann.ask("room.list", cursor=found["next_cursor"], limit=1)
        assert page["rooms"][0]["name"] == third


async def test_a_token_without_the_scope_gets_a_welcome_without_rooms(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room):
        token = (await app.log_in(alice, scope="chat:write")).json()["access_token"]
        assert welcome_keys(await welcome(app, token)) == set()


async def test_a_user_over_its_rate_gets_a_welcome_without_rooms(own_gateway: OwnGateway) -> None:
    rates = {name: Settings.model_fields[name].default for name in ("message_rate", "message_rate_per_user")}
    gateway = own_gateway(**rates)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as ann:
        token = await app.token("alice")
        asked = 0
        while True:
            async with app.socket(f"?token={token}&rooms=1") as client:
                if welcome_keys(await client.expect("welcome")) == set():
                    break
            asked += 1
        assert 20 < asked < 100
        assert (await ann.refused("ping"))["status"] == 42900
        gateway.clock.ahead += 1
        assert welcome_keys(await welcome(app, token)) == {"rooms"}


async def test_while_the_store_is_down_the_welcome_comes_without_rooms(
    app: App, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: SessionContext) -> RoomsReply:
        raise Unavailable("store")

    token = await app.token(alice)
    monkeypatch.setattr("gateway.chat.session.own_rooms", fail)
    assert welcome_keys(await welcome(app, token)) == set()


async def test_what_happens_while_they_are_read_comes_after_the_welcome(
    app: App, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(session: Any) -> RoomsReply:
        session.send_event(Announcement(sender="admin", text="first", sent_at=session.now()))
        session.close_after_reply(Close.DRAINING, 5)
        return await own_rooms.own_rooms(session)

    token = await app.token(alice)
    monkeypatch.setattr("gateway.chat.session.own_rooms", read)
    async with app.socket(f"?token={token}&rooms=1") as client:
        await client.expect("welcome", rooms=[])
        await client.expect("announcement", text="first")
        await client.expect("bye", code=1012, after_ms=5)
        await client.expect_close(1012, "draining")
