"""`POST /call/{type}`: a cron job, a shell script and a phone in the background send and read without a WebSocket."""

import asyncio
import json
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from fastapi import FastAPI

from gateway import Identity, attach
from gateway.cli.serve import server_config
from gateway.core import costs
from gateway.testing import settings_for_tests
from gateway.testing.server import serving
from handlers import Reply
from handlers.base import MsgHandler
from handlers.errors import AppError, AuthenticationFailed, NotAMember
from handlers.registry import BUILT_IN, Registry
from schemas.base import Event, Wire
from schemas.codes import Close
from schemas.messages.system import Echo
from tests.conftest import OwnGateway
from tests.support.client import NO_AUTHORITIES, PASSWORD, WAIT_SECONDS, App
from tests.support.metrics import metrics_of
from tests.support.services import add_service
from tests.support.waiting import until

PROTOCOL = (Path(__file__).parents[3] / "docs/protocol.md").read_text()
JSON: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}


class Caller:
    """A program with a token."""

    def __init__(self, app: App, token: str) -> None:
        self.app = app
        self.token = token

    async def post(self, kind: str, query: str = "", **content: Any) -> httpx2.Response:
        """Call a type with a body of the test's choice."""
        headers = {"Authorization": f"Bearer {self.token}"} | content.pop("headers", {})
        return await self.app.http.post(f"/call/{kind}{query}", headers=headers, **content)

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


@pytest.mark.both_stores
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


@pytest.mark.both_stores
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


@pytest.mark.both_stores
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


async def test_a_call_of_a_user_that_hears_the_room_is_answered_from_memory_and_changes_nothing(
    app: App, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann:
        messages = [await ann.say(room, f"number {number}") for number in range(3)]
        script = await caller(app, alice)
        misses = app.gateway.state.hub.memory.misses
        joined = await script.call("room.join", room=room, limit=2)
        assert joined["messages"] == messages[1:]
        since = {"epoch": joined["epoch"], "offset": 2}
        resumed = await script.call("room.resume", rooms=[{"room": room, "since": since}])
        assert [event["data"] for event in resumed["rooms"][0]["events"]] == messages[2:]
        assert app.gateway.state.hub.memory.misses == misses
        await script.refused(410, 41000, "room.join", json={"room": room, "since": since | {"offset": 9}})
        await ann.say(room, "and I still hear it")
        assert app.gateway.state.hub.subscriber_count(room) == 1


@pytest.mark.both_stores
async def test_rooms_that_do_not_fit_come_with_the_next_call(app: App, alice: str, room: str) -> None:
    phone = await caller(app, alice)
    rooms = [f"{room}-{number}" for number in range(10)]
    for each in rooms:
        await phone.call("room.join", room=each)
        await phone.call("chat.send", room=each, body="x" * 60_000)
    asked = [{"room": each} for each in rooms]
    pages = []
    while asked:
        page = await phone.call("room.resume", rooms=asked)
        pages.append([each["room"] for each in page["rooms"]])
        asked = asked[len(pages[-1]) :]
        assert page["has_more"] is bool(asked)
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [each for page in pages for each in page] == rooms


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


async def test_an_administrator_announces_to_all(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as alice:
        cron = Caller(app, await app.gateway.token("backup", "admin"))
        assert await cron.call("announce", text="Coffee!") == {"reached": 1}
        await alice.expect("announcement", sender="backup", text="Coffee!")


async def test_data_is_any_json_that_the_schema_takes_and_an_empty_body_is_an_empty_object(
    app: App, alice: str
) -> None:
    script = await caller(app, alice)
    for data in ({"a": [1, "zwei", None]}, [1, 2], "text", 7, True, None):
        response = await script.post("echo", content=json.dumps(data), **JSON)
        assert (response.status_code, response.json()) == (200, data)
        assert response.headers["content-type"] == "application/json"
    for content in (b"", b" \n"):
        response = await script.post("ping", content=content, **JSON)
        assert response.status_code == 200, response.text
    assert (await script.post("ping")).status_code == 200
    await script.refused(422, 42200, "ping", content=b"null", **JSON)
    assert (await script.post("echo", json={}, headers={"Content-Type": "application/vnd.api+json"})).json() == {}


WRONG: dict[str, tuple[int, int, str, dict[str, Any]]] = {
    "a form": (415, 41500, "echo", {"data": {"a": "b"}}),
    "plain text": (415, 41500, "echo", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
    "no kind": (415, 41500, "echo", {"content": b"{}"}),
    "no JSON": (400, 40000, "echo", {"content": b"{a}"} | JSON),
    "two values": (400, 40000, "echo", {"content": b"{} {}"} | JSON),
    "NaN": (400, 40000, "echo", {"content": b"NaN"} | JSON),
    "a key twice": (400, 40000, "echo", {"content": b'{"a":1,"a":2}'} | JSON),
    "too deep": (400, 40000, "echo", {"content": b"[" * 40 + b"]" * 40} | JSON),
    "a NUL": (400, 40000, "echo", {"content": b'"\\u0000"'} | JSON),
    "no UTF-8": (400, 40000, "echo", {"content": b'"\xff"'} | JSON),
    "a mark of order": (400, 40000, "echo", {"content": b"\xef\xbb\xbf{}"} | JSON),
    "an unknown type": (400, 40002, "chat.sned", {"json": {}}),
    "a type of slashes": (400, 40002, "a/b//", {"json": {}}),
    "a type in capitals": (400, 40002, "PING", {"json": {}}),
    "a type of 65 letters": (422, 42200, "x" * 65, {"json": {}}),
    "no type": (422, 42200, "", {"json": {}}),
    "bye": (404, 40400, "bye", {}),
    "auth": (404, 40400, "auth", {"json": {"token": "x"}}),
    "auth.refresh": (404, 40400, "auth.refresh", {"json": {"token": "x"}}),
    "a wrong field": (422, 42200, "chat.send", {"json": {"room": "lobby", "text": 7}}),
    "a field too many": (422, 42200, "chat.history", {"json": {"room": "lobby", "type": "x"}}),
    "no object": (422, 42200, "chat.send", {"json": [1]}),
    "another's scope": (403, 40300, "announce", {"json": {"text": "Coffee!"}}),
    "a missing room": (404, 40400, "chat.send", {"json": {"room": "no-such-room", "text": "Hi"}}),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_call_gets_the_error_of_the_socket_with_its_http_status(app: App, alice: str, wrong: str) -> None:
    http, status, kind, content = WRONG[wrong]
    error = await (await caller(app, alice)).refused(http, status, kind, **content)
    assert error["retryable"] is False


async def test_errors_help_as_on_the_socket(app: App, alice: str, bob: str, room: str) -> None:
    script = await caller(app, alice)
    error = await script.refused(400, 40002, "chat.sned", json={})
    assert "`chat.send`" in error["message"]
    error = await script.refused(404, 40400, "bye")
    assert error["message"] == "`bye` needs a connection; send it over the WebSocket"
    error = await script.refused(422, 42200, "chat.send", json={"room": room, "text": ""})
    assert error["details"][0]["field"] == "data.text"
    await script.call("room.create", room=room)
    error = await (await caller(app, bob)).refused(403, 40301, "chat.send", json={"room": room, "text": "Hi"})
    assert error["message"] == str(NotAMember(room))
    await script.refused(409, 40900, "room.create", json={"room": room})
    await script.refused(410, 41000, "chat.read", json={"room": room, "offset": 7})


async def test_a_long_body_is_refused_with_both_sizes(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_message_bytes=1024)) as app:
        script = await caller(app, "alice")
        most = json.dumps("x" * 1022)
        assert (await script.post("echo", content=most, **JSON)).status_code == 200
        error = await script.refused(413, 41300, "echo", content=most + " ", **JSON)
        assert error["message"] == "expected a message of at most 1024 bytes, got 1025"

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(1000):
                yield b" " * 1000

        error = await script.refused(413, 41300, "echo", content=endless(), **JSON)
        assert error["message"].startswith("expected a message of at most 1024 bytes, got ")
        assert (await script.post("ping")).status_code == 200


async def test_only_the_header_counts_as_a_credential(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(allowed_origins="https://app.example")) as app:
        token = await app.token("alice")
        page = {"Origin": "https://app.example", "Cookie": f"session={token}"}
        for query, headers in (
            ("", {}),
            ("", page),
            (f"?token={token}", {}),
            ("", {"Authorization": f"Basic {token}"}),
            ("", {"Authorization": "Bearer x"}),
            ("", {"Sec-WebSocket-Protocol": f"gateway.v1, bearer.{token}"}),
        ):
            response = await app.http.post(f"/call/ping{query}", headers=headers)
            assert (response.status_code, response.json()["status"]) == (401, 40001), headers
            assert response.headers["WWW-Authenticate"] == "Bearer"
        # A page of an allowed origin may send the header, and read the answer.
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        preflight = await app.http.request("OPTIONS", "/call/ping", headers=page | asked)
        assert preflight.status_code == 200
        response = await app.http.post("/call/ping", headers=page | {"Authorization": f"Bearer {token}"})
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
        response = await app.http.request("GET", "/call/ping")
        assert (response.status_code, response.headers["Allow"]) == (405, "POST")


async def test_a_session_that_has_ended_calls_nothing(app: App, alice: str) -> None:
    grant = await app.grant(alice)
    phone = Caller(app, grant["access_token"])
    assert (await phone.post("ping")).status_code == 200
    await app.http.post("/token/revoke", data={"token": grant["refresh_token"]})
    await phone.refused(401, 40102, "ping")


async def test_a_service_is_no_user(app: App, unique: Callable[[str], str]) -> None:
    name = unique("orders")
    key = await add_service(app.gateway, name, "api:publish")
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": key}
    grant = await app.http.post("/token", data=form)
    assert grant.status_code == 200, grant.text
    for credential in (key, grant.json()["access_token"]):
        await Caller(app, credential).refused(403, 40300, "ping")


@pytest.mark.server
async def test_a_message_is_taken_behind_a_prefix_and_inside_another_application(tmp_path: Path) -> None:
    settings = settings_for_tests(tmp_path)
    host = FastAPI()
    attach(host, prefix="/rt", settings=settings)
    with serving(server_config(settings, host)) as running:
        url = f"http://{running.host}:{running.port}/rt"
        async with httpx2.AsyncClient(verify=NO_AUTHORITIES, trust_env=False, timeout=WAIT_SECONDS) as http:
            new = {"username": "alice", "password": PASSWORD}
            await http.post(f"{url}/users", json=new)
            token = (await http.post(f"{url}/token", data=new)).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            assert (await http.post(f"{url}/call/ping", headers=headers)).status_code == 200
            assert (await http.post(f"{url}/call/pong", headers=headers)).json()["status"] == 40002
            document = (await http.get(f"{url}/openapi.json")).json()
            assert document["servers"] == [{"url": "/rt"}]
            assert "/call/chat.send" in document["paths"]


class Badges:
    """Takes badges as credentials."""

    async def authorize(self, token: str) -> Identity:
        if token != "badge-7":
            raise AuthenticationFailed("no such badge")
        return Identity(user="badge7", scopes=frozenset({"chat:read"}))


async def test_the_token_may_be_of_another_service(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(authorizers={"badges": Badges()}, connection_rate=2)) as app:
        app.gateway.clock.stop()
        gate = Caller(app, "badge-7")
        response = await gate.post("room.list", "?service=badges")
        assert (response.status_code, response.json()) == (200, {"rooms": []})
        await gate.refused(401, 40001, "room.list")
        response = await Caller(app, "badge-8").post("room.list", "?service=badges")
        assert response.status_code == 401
        # Another service may have to answer, so it counts as a connection does.
        response = await gate.post("room.list", "?service=badges")
        assert (response.status_code, response.json()["message"]) == (429, "too many connections from this address")
        response = await gate.post("room.list", "?service=nobody")
        assert response.status_code == 429


async def test_calls_and_messages_of_a_user_take_from_the_same_tokens(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(message_rate_per_user=10, message_burst=10)) as app:
        app.gateway.clock.stop()
        async with app.connect("alice") as alice:
            phone = Caller(app, (await app.grant("alice"))["access_token"])
            for _ in range(3):
                assert (await phone.post("ping")).status_code == 200
            assert costs.REQUEST == 3
            await alice.ask("ping")
            error = await alice.refused("ping")
            assert error["status"] == 42900
            response = await phone.post("ping")
            assert response.json()["message"] == "too many messages of this user"
            assert (response.status_code, response.json()["status"]) == (429, 42900)
            assert response.headers["Retry-After"] == "1"
            assert 0 < response.json()["retry_after_ms"] <= 1000
            app.gateway.clock.ahead += 1
            assert (await phone.post("ping")).status_code == 200


async def test_a_call_costs_what_its_message_would_besides_the_request(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(message_rate_per_user=1, message_burst=20)) as app:
        app.gateway.clock.stop()
        phone = await caller(app, "alice")

        async def refused_after(kind: str, **content: Any) -> int:
            """Call until the rate refuses, and return the number of calls before that."""
            app.gateway.clock.ahead += 100
            calls = 0
            while (await phone.post(kind, **content)).status_code == 200:
                calls += 1
            return calls

        assert await refused_after("ping") == 7  # 3 each
        assert await refused_after("echo", json="x" * 32_000) == 3  # 3, 3 for the length and 1 for the long answer
        assert await refused_after("room.list") == 5  # 3, and 2 of which 1 is free


async def test_what_a_call_reads_in_vain_costs_as_much_as_what_it_returns(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(message_rate_per_user=1, message_burst=100)) as app:
        app.gateway.clock.stop()
        phone = await caller(app, "alice")
        rooms = [f"room-{number}" for number in range(8)]
        for each in rooms:
            app.gateway.clock.ahead += 30
            await phone.call("room.join", room=each)
            await phone.call("chat.send", room=each, body="x" * 60_000)
        app.gateway.clock.ahead += 100
        page = await phone.call("room.resume", rooms=[{"room": each} for each in rooms])
        assert len(page["rooms"]) == 4
        # 3 for the request, 2.4 for the rooms of which 1 is free, and 8 rooms of 60 KB at 1 for each 16 KiB.
        pings = 0
        while (await phone.post("ping")).status_code == 200:
            pings += 1
        assert pings == 1 + int(100 - 3 - 1.4 - 8 * 60_000 / 16_384 - 1) // 3


async def test_the_bytes_and_the_joins_of_a_user_are_limited(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(write_bytes_per_user=400, join_rate_per_user=2)) as app:
        app.gateway.clock.stop()
        phone = await caller(app, "alice")
        await phone.call("room.join", room="lobby")
        await phone.call("room.join", room="lobby")
        error = await phone.refused(429, 42900, "room.join", json={"room": "lobby"})
        assert error["message"] == "too many joins of this user"
        await phone.call("chat.send", room="lobby", text="x" * 4000)
        error = await phone.refused(429, 42900, "chat.send", json={"room": "lobby", "text": "x"})
        assert error["message"] == "too many bytes written of this user"


async def test_quotas_hold(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_joined=1, max_stored_bytes_per_user=1000)) as app:
        phone = await caller(app, "alice")
        await phone.call("room.join", room="lobby")
        await phone.refused(403, 40302, "room.join", json={"room": "attic"})
        await phone.refused(403, 40302, "chat.send", json={"room": "lobby", "text": "x" * 2000})


class Opened(Wire):
    """A door is open."""

    by: str


class DoorOpened(Event):
    """A door was opened."""

    type: ClassVar[str] = "door.opened"

    by: str


class Jammed(AppError):
    """The door does not move."""

    status = 60001
    http_status = 503
    retryable = True


class Door(MsgHandler[Echo, Opened, asyncio.Event]):
    """Opens a door, in the way of the data."""

    schema = Echo

    async def handle(self, data: Echo) -> Opened:
        match data.root:
            case "jam":
                raise Jammed("pull harder")
            case "wait":
                await self.session.state.wait()
            case "letter":
                await self.session.state.wait()
                letter: dict[str, Any] = {"text": "I was here", "body": None, "reply_to": None, "client_id": None}
                await self.session.messages.send("lobby", **letter)
            case "room":
                await self.session.rooms.publish("lobby", DoorOpened(by=self.session.user))
            case "event":
                self.session.send_event(DoorOpened(by=self.session.user))
            case "close":
                self.session.close_after_reply(Close.BYE)
            case "refresh":
                await self.session.credential.refresh("x")
            case "long":
                return Opened(by="x" * 300_000)
            case "exit":
                raise SystemExit(1)
            case "cancelled":
                raise asyncio.CancelledError
        return Opened(by=self.session.user)


class Bell(Door):
    """Needs the visitor on the line."""

    needs_connection = True


DOOR = BUILT_IN | Registry(handlers={"door.open": Door, "door.ring": Bell}, events=(DoorOpened,), errors=(Jammed,))


@pytest.fixture
def doors(own_gateway: OwnGateway) -> OwnGateway:
    """A gateway with doors, whose state ends the wait at one."""
    return lambda **options: own_gateway(registry=DOOR, **options)


async def test_a_handler_of_an_application_works_over_http(doors: OwnGateway) -> None:
    async with App(doors()) as app, app.in_room("bob", "lobby") as bob:
        phone = await caller(app, "alice")
        assert (await phone.post("door.open")).json() == {"by": "alice"}
        await phone.refused(403, 40301, "door.open", json="room")
        await phone.call("room.join", room="lobby")
        assert (await phone.post("door.open", json="room")).status_code == 200
        await bob.until(type="door.opened")
        error = await phone.refused(503, 60001, "door.open", json="jam")
        assert error == {"status": 60001, "name": "jammed", "message": "pull harder", "retryable": True}
        await phone.refused(404, 40400, "door.ring")


@pytest.mark.parametrize(
    ("way", "verb"), [("event", "send_event"), ("close", "close_after_reply"), ("refresh", "credential.refresh")]
)
async def test_a_verb_that_needs_a_connection_says_what_to_set(
    doors: OwnGateway, caplog: pytest.LogCaptureFixture, way: str, verb: str
) -> None:
    async with App(doors()) as app:
        phone = await caller(app, "alice")
        response = await phone.post("door.open", json=way, headers={"X-Request-ID": "visit-0001"})
        assert (response.status_code, response.json()["status"]) == (500, 50000)
        assert "visit-0001" in response.json()["message"]
        assert response.headers["X-Request-ID"] == "visit-0001"
        [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == (
            f"expected a connection for `{verb}`, but this message came over HTTP;"
            " set `needs_connection = True` on the class of its handler"
        )
        assert verb not in response.text


@pytest.mark.parametrize("way", ["long", "exit", "cancelled"])
async def test_a_fault_of_a_handler_is_one_answer_and_the_gateway_goes_on(doors: OwnGateway, way: str) -> None:
    async with App(doors()) as app:
        phone = await caller(app, "alice")
        await phone.refused(500, 50000, "door.open", json=way)
        assert (await phone.post("door.open")).status_code == 200


async def test_as_many_calls_of_a_user_wait_as_connections_may_be_open(doors: OwnGateway) -> None:
    gate = asyncio.Event()
    async with App(doors(max_connections_per_user=2, state=gate)) as app:
        phone, other = await caller(app, "alice"), await caller(app, "bob")
        waiting = [asyncio.create_task(phone.post("door.open", json="wait")) for _ in range(2)]
        await until(lambda: app.gateway.state.counters.handled[Door] == 2)
        error = await phone.refused(429, 42900, "ping")
        assert error["message"] == "too many calls of this user at a time, the limit is 2"
        assert (await other.post("ping")).status_code == 200
        app.gateway.loop.call_soon_threadsafe(gate.set)
        assert [(await each).status_code for each in waiting] == [200, 200]
        assert (await phone.post("ping")).status_code == 200


async def test_what_a_handler_writes_for_a_client_that_is_gone_stays_written(doors: OwnGateway) -> None:
    gate = asyncio.Event()
    async with App(doors(state=gate)) as app, app.in_room("alice", "lobby") as alice:
        token = await app.token("alice")
        async with open_request(app, "door.open", token, "letter") as writer:
            await until(lambda: app.gateway.state.counters.handled[Door] == 1)
            writer.close()
        app.gateway.loop.call_soon_threadsafe(gate.set)
        await alice.expect("chat.message", text="I was here")
        assert (await (await caller(app, "alice")).post("ping")).status_code == 200


async def test_a_body_that_ends_early_is_no_message(doors: OwnGateway, caplog: pytest.LogCaptureFixture) -> None:
    async with App(doors()) as app, app.in_room("alice", "lobby") as alice:
        message = {"room": "lobby", "text": "Half"}
        async with open_request(app, "chat.send", await app.token("alice"), message, lacking=1) as writer:
            writer.write_eof()
        await alice.expect_nothing()
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@asynccontextmanager
async def open_request(
    app: App, kind: str, token: str, data: Any, lacking: int = 0
) -> AsyncIterator[asyncio.StreamWriter]:
    """Send a call without its last bytes, and then wait for the end of the connection."""
    body = json.dumps(data).encode()
    head = (
        f"POST /call/{kind} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
    writer.write(head.encode() + body[: len(body) - lacking])
    yield writer
    async with asyncio.timeout(WAIT_SECONDS):
        await reader.read()
    writer.close()


async def test_calls_are_counted_as_messages(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        await (await caller(app, "alice")).call("ping")
        assert (await metrics_of(app))['gateway_messages_total{type="ping"}'] == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_sends_and_reads(app: App, alice: str, room: str) -> None:
    token = await app.token(alice)

    async def curl(kind: str, data: Any) -> Any:
        command = (
            "curl",
            "-sS",
            "--fail-with-body",
            "-H",
            f"Authorization: Bearer {token}",
            "--json",
            json.dumps(data),
        )
        process = await asyncio.create_subprocess_exec(
            *command, f"{app.gateway.url}/call/{kind}", stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(WAIT_SECONDS):
            output, _ = await process.communicate()
        return process.returncode, json.loads(output)

    assert (await curl("room.join", {"room": room}))[0] == 0
    code, sent = await curl("chat.send", {"room": room, "text": "The backup is done"})
    assert (code, sent["duplicate"]) == (0, False)
    _, history = await curl("chat.history", {"room": room})
    assert history["messages"] == [sent["message"]]
    code, error = await curl("chat.send", {"room": room})
    assert (code, error["status"]) == (22, 42200)


class Count(Wire):
    """How far to count."""

    most: int


class CountHandler(MsgHandler[Count, Count]):
    """Counts."""

    schema = Count

    async def handle(self, data: Count) -> AsyncIterator[str | Reply]:
        for number in range(1, data.most + 1):
            yield f"{number} "
        yield Reply(data)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_commands_of_the_documents_work(own_gateway: OwnGateway) -> None:
    commands, stream = re.findall(r"^```sh\n([^`]*?/call/[^`]*?)^```$", PROTOCOL, re.MULTILINE)
    async with App(own_gateway(registry=BUILT_IN | Registry(handlers={"count": CountHandler}))) as app:

        async def output_of(command: str) -> str:
            process = await asyncio.create_subprocess_shell(
                command.replace("http://localhost:8000", app.gateway.url),
                env=os.environ | {"TOKEN": await app.token("alice")},
                stdout=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(WAIT_SECONDS):
                output, _ = await process.communicate()
            return output.decode()

        joined, sent = (await output_of(commands)).replace("}{", "}\n{").splitlines()
        assert json.loads(joined)["members"] == 1
        assert json.loads(sent)["message"]["text"] == "The backup is done"
        answer = await output_of(stream)
        assert f"```sh\n{stream}```\n\n```\n{answer}".rstrip() + "\n```\n" in PROTOCOL
