"""`POST /call/{type}`: a cron job, a shell script and a phone in the background send and read without a WebSocket."""

from typing import Any

import httpx2

from tests.support.client import App

LOBBY = {"room": "lobby"}


class Caller:
    """A program with a token."""

    def __init__(self, app: App, token: str) -> None:
        self.app = app
        self.token = token

    async def post(self, kind: str, query: str = "", **content: Any) -> httpx2.Response:
        """Call a type with a body of the test's choice."""
        return await self.app.ask("POST", f"/call/{kind}{query}", self.token, **content)

    async def call(self, kind: str, **data: Any) -> dict[str, Any]:
        """Call a type, and return its reply's data."""
        response = await self.post(kind, json=data)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def refused(self, http: int, status: int, kind: str, **content: Any) -> dict[str, Any]:
        """Call a type, and return the error."""
        response = await self.post(kind, **content)
        error: dict[str, Any] = response.json()
        assert (response.status_code, error["status"]) == (http, status), response.text
        return error


async def caller(app: App, name: str) -> Caller:
    return Caller(app, await app.token(name))


async def test_what_is_sent_over_http_reaches_all_sockets_of_the_room_and_of_the_sender(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.heard()
        cron = await caller(app, alice)
        sent = await cron.call("chat.send", room=room, text="The backup is done", client_id="b1")
        assert sent["message"]["sender"] == alice
        assert sent["duplicate"] is False
        assert await ann.expect("chat.message") == sent["message"]  # with the client_id, as its sender's
        heard = await ben.expect("chat.message", text="The backup is done")
        assert "client_id" not in heard
        again = await cron.call("chat.send", room=room, text="The backup is done", client_id="b1")
        assert again == sent | {"duplicate": True}
        await ben.expect_nothing()
        history = await cron.call("chat.history", room=room)
        assert history == {"messages": [sent["message"]], "has_more": False}


async def test_a_join_makes_the_user_a_member_that_is_shown_as_offline_and_hears_nothing(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann:
        ann.ignored = set()
        message = await ann.say(room, "Welcome")
        phone = await caller(app, bob)
        joined = await phone.call("room.join", room=room)
        assert joined == {
            "room": room,
            "epoch": message["epoch"],
            "offset": 1,
            "members": 2,
            "messages": [{key: value for key, value in message.items() if key != "client_id"}],
        }
        assert await ann.expect("room.joined") == {"room": room, "user": bob}
        assert (await ann.ask("presence.get", users=[bob]))["users"] == [{"user": bob, "state": "offline"}]
        await ann.expect_nothing()
        assert app.gateway.state.hub.subscriber_count(room) == 1
        # What came since is in the next call.
        await ann.say(room, "Are you there?")
        since = {"epoch": joined["epoch"], "offset": joined["offset"]}
        missed = await phone.call("room.join", room=room, since=since)
        assert missed["recovered"] is True
        assert [event["data"]["text"] for event in missed["events"]] == ["Are you there?"]
        # And a member over HTTP is a member on a socket.
        async with app.connect(bob) as ben:
            assert (await ben.ask("room.join", room=room))["members"] == 2


async def test_rooms_are_resumed_and_left_without_a_connection(app: App, alice: str, room: str) -> None:
    phone = await caller(app, alice)
    rooms = [f"{room}-{number}" for number in range(20)]
    resumed = await phone.call("room.resume", rooms=[{"room": each} for each in [*rooms, f"{room}.x"]])
    assert [each["room"] for each in resumed["rooms"]] == [*rooms, f"{room}.x"]
    assert resumed["has_more"] is False
    assert {each["members"] for each in resumed["rooms"]} == {1}
    assert app.gateway.state.hub.subscriber_count(rooms[0]) == 0
    assert await phone.call("room.leave", room=rooms[0]) == {}
    await phone.refused(404, 40400, "room.members", json={"room": rooms[0]})


async def test_a_room_that_refuses_is_part_of_the_answer(app: App, alice: str, bob: str, room: str) -> None:
    owner, guest = await caller(app, alice), await caller(app, bob)
    await owner.call("room.create", room=f"{room}-private", private=True)
    await owner.call("room.join", room=room)
    resumed = await guest.call("room.resume", rooms=[{"room": f"{room}-private"}, {"room": room}])
    refused, joined = resumed["rooms"]
    assert refused["error"]["status"] == 40400
    assert joined["members"] == 2


async def test_typing_shows_and_ends_with_the_message(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        phone = await caller(app, bob)
        await phone.call("room.join", room=room)
        await ann.heard()
        assert await phone.call("chat.typing", room=room) == {}
        await ann.expect("chat.typing", room=room, user=bob, typing=True)
        await phone.call("chat.send", room=room, text="Hi")
        await ann.expect("chat.message", text="Hi")
        await ann.expect("chat.typing", room=room, user=bob, typing=False)
