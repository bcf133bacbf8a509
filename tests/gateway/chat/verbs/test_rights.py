"""Rights by room, as the claim `rooms` of a token gives them, on both stores."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.testing import Gateway
from gateway.transport.subprotocols import SUBPROTOCOL
from tests.conftest import OwnGateway
from tests.dice.handlers import registry as dice
from tests.gateway.auth.forging import claims_of
from tests.support.client import App, ChatClient

EVERYTHING = ["create", "join", "send"]


def with_rooms(gateway: Gateway, token: str, rooms: object) -> str:
    """Sign a token of the gateway again, with rights by room."""
    claims = claims_of(token) | {"rooms": rooms}
    return gateway.state.tokens.keys.signing_key(time.time()).sign(claims, "at+jwt")


@asynccontextmanager
async def connect(app: App, user: str, rooms: object) -> AsyncIterator[ChatClient]:
    """Connect as a user, with a token that has rights by room."""
    async with app.connect_with(with_rooms(app.gateway, await app.token(user), rooms)) as client:
        yield client


async def refusal(client: ChatClient, type: str, **data: Any) -> str:
    """Expect the refusal of a right, and return its text."""
    error = await client.refused(type, **data)
    assert (error["status"], error["name"]) == (40300, "forbidden")
    text: str = error["message"]
    return text


async def test_a_token_opens_the_rooms_of_its_patterns_and_no_others(app: App, alice: str, bob: str, room: str) -> None:
    other = f"{room}-other"
    async with app.in_room(bob, room) as owner, connect(app, alice, {room: ["join", "send"]}) as client:
        await owner.ask("room.create", room=other)
        await client.ask("room.join", room=room)
        await client.heard()
        await client.say(room, "hello")
        assert "does not have the right `join` in the room" in await refusal(client, "room.join", room=other)
        assert await refusal(client, "room.join", room=f"{room}-none") != ""  # the same for a room that does not exist
        assert await refusal(client, "chat.history", room=other)
        assert await refusal(client, "room.members", room=other)
        await owner.heard()
        await owner.say(room, "welcome")
        await client.expect("chat.message", text="welcome")


@pytest.mark.parametrize(
    ("type", "data", "right"),
    [
        ("chat.send", {"text": "no"}, "send"),
        ("chat.edit", {"text": "no"}, "send"),
        ("chat.delete", {}, "send"),
        ("chat.typing", {}, "send"),
    ],
)
async def test_a_reader_reads_and_changes_nothing(
    app: App, alice: str, room: str, type: str, data: dict[str, Any], right: str
) -> None:
    async with app.in_room(alice, room) as writer:
        message = await writer.say(room, "as a writer")
        if type in {"chat.edit", "chat.delete"}:
            data = data | {"message_id": message["id"]}
        async with connect(app, alice, {"*": ["join"]}) as reader:
            await reader.ask("room.join", room=room)
            assert f"`{right}`" in await refusal(reader, type, room=room, **data)
            (found,) = (await reader.ask("chat.history", room=room))["messages"]
            assert found["text"] == "as a writer"
            await reader.ask("chat.read", room=room, offset=1)
            await reader.expect("chat.read", user=alice)
        await writer.expect("chat.read", user=alice)
        await writer.expect_nothing()


async def test_without_the_right_to_join_a_member_reads_nothing_and_leaves_if_it_likes(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}) as (owner, _):
        await owner.say(room, "secret")
        async with connect(app, alice, {"others": EVERYTHING}) as client:
            messages: dict[str, dict[str, Any]] = {
                "room.join": {},
                "room.members": {},
                "chat.history": {},
                "chat.read": {"offset": 1},
                "room.invite": {"user": bob},
                "room.kick": {"user": bob},
                "room.role": {"user": bob, "role": "owner"},
                "room.update": {"title": "mine"},
                "room.delete": {},
            }
            for type, data in messages.items():
                assert "`join`" in await refusal(client, type, room=room, **data)
            await client.expect_nothing()
            # Its own memberships stay visible, so that an application can say what is closed.
            found, cursor = None, None
            while found is None:
                page = await client.ask("room.list", limit=100, **({"cursor": cursor} if cursor else {}))
                found = next((each for each in page["rooms"] if each["name"] == room), None)
                cursor = page.get("next_cursor")
            assert found["role"] == "owner"
            await owner.expect_nothing()
            await client.ask("room.leave", room=room)
        await owner.until(type="room.left")


async def test_the_right_to_create_is_needed_to_make_a_room_by_name_or_by_joining_it(
    app: App, alice: str, bob: str, room: str
) -> None:
    rooms = {f"{room}-own-*": EVERYTHING, f"{room}-*": ["join", "send"]}
    async with connect(app, alice, rooms) as client:
        assert "`create`" in await refusal(client, "room.create", room=f"{room}-1")
        missing = await client.refused("room.join", room=f"{room}-1")
        assert (missing["status"], missing["message"]) == (40400, f"there is no room `{room}-1`")
        resumed = await client.ask("room.resume", rooms=[{"room": f"{room}-1"}, {"room": f"{room}-own-1"}])
        assert [part.get("error", {}).get("status") for part in resumed["rooms"]] == [40400, None]
        async with app.connect(bob) as other:
            await other.ask("room.create", room=f"{room}-1", private=True)
            # A private room of others cannot be told from one that does not exist.
            hidden = await client.refused("room.join", room=f"{room}-1")
            assert hidden | {"id": missing["id"]} == missing
            await other.ask("room.update", room=f"{room}-1", private=False)
            await client.ask("room.join", room=f"{room}-1")
        await client.ask("room.create", room=f"{room}-own-2")


async def test_a_resumed_room_that_is_not_allowed_costs_its_part_of_the_reply(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, f"{room}-a") as writer, app.in_room(alice, f"{room}-b"):
        rooms = [{"room": f"{room}-a"}, {"room": f"{room}-b"}]
        for _ in range(2):  # the rooms are in memory by now, and nothing may leak from there
            async with connect(app, alice, {f"{room}-a": ["join"]}) as client:
                parts = (await client.ask("room.resume", rooms=rooms))["rooms"]
                assert [part["room"] for part in parts] == [f"{room}-a", f"{room}-b"]
                assert "epoch" in parts[0]
                assert parts[1]["error"]["status"] == 40300
                assert "epoch" not in parts[1]
                assert (await client.refused("room.join", room=f"{room}-b"))["status"] == 40300
        async with connect(app, alice, {f"{room}-*": ["join"]}) as client:
            parts = (await client.ask("room.resume", rooms=rooms))["rooms"]
            assert all("epoch" in part for part in parts)
            await writer.say(f"{room}-a", "heard")
            await client.expect("chat.message", text="heard")


async def test_direct_rooms_need_the_pattern_of_all_direct_rooms(app: App, alice: str, bob: str) -> None:
    await app.register(bob)
    async with connect(app, alice, {"team-*": EVERYTHING}) as client:
        assert "`join`" in await refusal(client, "direct.open", user=bob)
        assert (await client.refused("direct.open", user=f"{bob}-none"))["status"] == 40400
    async with connect(app, alice, {"dm-*": ["join", "send"]}) as client:
        assert "`create`" in await refusal(client, "direct.open", user=bob)
    async with connect(app, alice, {"dm-*": EVERYTHING}) as client:
        room = (await client.ask("direct.open", user=bob))["room"]["name"]
        await client.ask("room.join", room=room)
        await client.say(room, "psst")
    async with connect(app, alice, {"*": ["join"]}) as client:  # it exists by now
        assert (await client.ask("direct.open", user=bob))["room"]["name"] == room
        assert "`send`" in await refusal(client, "chat.send", room=room, text="no")


async def test_a_renewed_token_that_allows_less_ends_what_the_connection_hears(
    app: App, alice: str, bob: str, room: str
) -> None:
    kept, lost = f"{room}-kept", f"{room}-lost"
    async with app.in_room(bob, kept) as other, connect(app, alice, {f"{room}-*": ["join", "send"]}) as client:
        await other.ask("room.join", room=lost)
        for name in (kept, lost):
            await client.ask("room.join", room=name)
            await client.heard()
        await other.heard()
        token = with_rooms(app.gateway, await app.token(alice), {kept: ["join"]})
        await client.ask("auth.refresh", token=token)
        await client.expect("resync", room=lost)
        await other.say(lost, "unheard")
        await other.say(kept, "heard")
        await client.expect("chat.message", text="heard")
        await client.expect_nothing()
        assert "`send`" in await refusal(client, "chat.send", room=kept, text="no")
        assert "`join`" in await refusal(client, "room.join", room=lost)
        # The membership stays, for a token that allows it again.
        members = (await other.ask("room.members", room=lost))["members"]
        assert {member["user"] for member in members} == {alice, bob}
        await client.ask("auth.refresh", token=await app.token(alice))
        await client.ask("room.join", room=lost)


@pytest.mark.parametrize("rooms", [None, [], "*", {"**": EVERYTHING}, {"*": ["all"]}, {"*a*b*c*d*": EVERYTHING}])
async def test_a_claim_that_cannot_be_read_opens_no_room(app: App, alice: str, room: str, rooms: object) -> None:
    async with app.in_room(alice, room), connect(app, alice, rooms) as client:
        for type, data in {"room.join": {}, "room.create": {}, "chat.send": {"text": "no"}}.items():
            assert await refusal(client, type, room=room, **data)


async def test_a_star_opens_every_room_and_no_rights_open_none(app: App, alice: str, room: str) -> None:
    async with connect(app, alice, {"*": EVERYTHING}) as client:
        await client.ask("room.join", room=room)
        await client.heard()
        await client.say(room, "here")
    async with connect(app, alice, {"*": []}) as client:
        await refusal(client, "room.join", room=room)
    async with connect(app, alice, {}) as client:
        await refusal(client, "room.join", room=room)


@pytest.mark.parametrize("place", ["header", "subprotocol", "query", "ticket", "cookie", "first message"])
async def test_the_rights_count_wherever_the_credential_comes(
    own_gateway: OwnGateway, alice: str, room: str, place: str
) -> None:
    gateway = own_gateway(session_cookie="session")
    async with App(gateway) as app:
        token = with_rooms(gateway, await app.token(alice), {room: EVERYTHING})
        query = ""
        options: dict[str, Any] = {}
        if place == "header":
            options = {"additional_headers": {"Authorization": f"Bearer {token}"}}
        elif place == "subprotocol":
            options = {"subprotocols": [SUBPROTOCOL, f"bearer.{token}"]}
        elif place == "query":
            query = f"?token={token}"
        elif place == "ticket":
            query = f"?ticket={(await app.ask('POST', '/ws/ticket', token)).json()['ticket']}"
        elif place == "cookie":
            options = {"additional_headers": {"Cookie": f"session={token}"}, "origin": gateway.url}
        async with app.socket(query, **options) as client:
            if place == "first message":
                await client.ask("auth", token=token)
            await client.expect("welcome", user=alice)
            await client.ask("room.join", room=room)
            await client.heard()
            await refusal(client, "room.join", room=f"{room}-other")


async def test_a_handler_of_an_application_publishes_and_asks_for_roles_with_the_same_rights(
    own_gateway: OwnGateway, alice: str, room: str
) -> None:
    gateway = own_gateway(registry=dice, state=random.Random(1))
    async with App(gateway) as app, app.in_room(alice, room) as owner:
        async with connect(app, alice, {room: ["join"]}) as client:
            assert "`send`" in await refusal(client, "dice.roll", room=room)
        async with connect(app, alice, {room: ["send"]}) as client:
            assert "`join`" in await refusal(client, "dice.roll", room=room)
        async with connect(app, alice, {room: ["join", "send"]}) as client:
            await client.ask("dice.roll", room=room)
        await owner.expect("dice.rolled", user=alice)
        await owner.expect_nothing()


async def test_a_message_over_http_needs_the_same_rights(app: App, alice: str, bob: str, room: str) -> None:
    async def call(token: str, type: str, **data: Any) -> tuple[int, dict[str, Any]]:
        response = await app.ask("POST", f"/call/{type}", token, json=data)
        return response.status_code, response.json()

    async with app.in_room(bob, room) as owner:
        token = with_rooms(app.gateway, await app.token(alice), {room: ["join"]})
        assert (await call(token, "room.join", room=room))[0] == 200
        await owner.until(type="room.joined")
        status, refused = await call(token, "chat.send", room=room, text="no")
        assert (status, refused["status"]) == (403, 40300)
        assert "`send`" in refused["message"]
        assert (await call(token, "room.join", room=f"{room}-2"))[0] == 403
        assert (await call(token, "room.create", room=f"{room}-2"))[0] == 403
        assert (await call(token, "chat.history", room=room))[0] == 200
        status, resumed = await call(token, "room.resume", rooms=[{"room": room}, {"room": f"{room}-2"}])
        assert [part.get("error", {}).get("status") for part in resumed["rooms"]] == [None, 40300]
        await owner.expect_nothing()
