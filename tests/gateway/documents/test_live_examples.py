"""Each example of the catalog is true: a real gateway takes the data, and what comes back fits the schemas.

One story plays with all messages, built-in ones and an application's own. Each frame that a client of it gets is held
against its schema, without any key that the schema does not name. At the end, each reply, event and error has come.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import jsonschema_rs
from sqlalchemy import Connection, text

from gateway.documents.catalog import Catalog, MessageDescription, Schema, catalog_of
from gateway.documents.frames import CORRELATION_ID, chunk_schema, error_schema, event_schema, reply_schema
from handlers.base import MsgHandler
from handlers.errors import MessageError
from handlers.registry import BUILT_IN, Registry
from schemas.base import Empty, Wire
from schemas.codes import Status
from tests.conftest import OwnGateway
from tests.gateway.chat.verbs.test_rights import with_rooms
from tests.gateway.documents.own_types import OWN, MärchenErzählt, NoCat, Room, SoldOut
from tests.support.client import WAIT_SECONDS, App, ChatClient, Frame
from tests.support.services import add_service

SCOPES = ("admin", "chat:read", "chat:write", "rooms:manage")
EPOCH = "yj4XTlDc"


class WaitHandler(MsgHandler[Empty, Empty]):
    """Waits until its client cancels it."""

    schema = Empty
    ordered = False

    async def handle(self, data: Empty) -> Empty:
        await asyncio.Event().wait()
        return Empty()


class Failure(Wire):
    """An error to raise."""

    status: int


class FailHandler(MsgHandler[Failure, Empty]):
    """Raises the error of a status, for one that a gateway of a test has no reason for."""

    schema = Failure
    examples = ({"status": 40302},)

    async def handle(self, data: Failure) -> Empty:
        own = {60001: SoldOut("no tickets are left"), 60002: NoCat("there is no cat")}
        raise own.get(data.status) or error_of(data.status)


def error_of(status: int) -> MessageError:
    """The error of a built-in status, as the catalog shows it."""
    [example] = next(each.examples for each in catalog_of(BUILT_IN).statuses if each.status == status)
    kind = type("Shown", (MessageError,), {"status": status})
    error: MessageError = kind(example["message"])
    error.retry_after_ms = example.get("retry_after_ms")
    return error


class BrokenHandler(MsgHandler[Empty, Empty]):
    """Fails as no handler should."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        raise RuntimeError("a fault of the test's own")


class EventsHandler(MsgHandler[Empty, Empty]):
    """Sends the application's events."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        self.session.send_event(MärchenErzählt(title="Fox", pages=3))
        self.session.send_event(Room(number=7))
        return Empty()


REGISTRY = (
    BUILT_IN
    | OWN
    | Registry(
        handlers={"wait": WaitHandler, "fail": FailHandler, "broken": BrokenHandler, "events.send": EventsHandler}
    )
)

HELPING = {"wait", "fail", "broken"}
"""Types with an example without a reply."""


class Frames:
    """The schemas of all frames, and what has come of each kind."""

    def __init__(self, catalog: Catalog) -> None:
        self._schemas = {name: _closed(schema) for name, schema in catalog.schemas.items()}
        error = self._schemas[catalog.error["$ref"].rpartition("/")[2]]
        self._error = self._reader(error_schema(error, CORRELATION_ID))
        self._events = {each.type: self._reader(event_schema(each.type, each.data)) for each in catalog.events}
        self._replies = {each.type: self._reader(reply_schema(each.whole, CORRELATION_ID)) for each in catalog.messages}
        self._closing = {each.type: self._reader(reply_schema(each.reply, CORRELATION_ID)) for each in catalog.messages}
        self._chunks = {
            each.type: self._reader(chunk_schema(each.chunk, CORRELATION_ID))
            for each in catalog.messages
            if each.chunk is not None
        }
        self.replies: set[str] = set()
        self.events: set[str] = set()
        self.errors: dict[int, Frame] = {}

    def _reader(self, schema: Schema) -> Any:
        whole = _closed(schema) | {"components": {"schemas": self._schemas}}
        return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)

    def check(self, frame: Frame, asked: dict[Any, tuple[str, bool]]) -> None:
        """Hold a frame against its schema; `asked` has the messages by their ids."""
        match frame["type"]:
            case "error":
                self._error.validate(frame)
                self.errors[frame["status"]] = frame
            case "reply":
                kind, is_streamed = asked[frame["id"]]
                (self._closing if is_streamed else self._replies)[kind].validate(frame)
                self.replies.add(kind)
            case "chunk":
                self._chunks[asked[frame["id"]][0]].validate(frame)
            case kind:
                self._events[kind].validate(frame)
                self.events.add(kind)


def _closed(schema: Schema) -> Schema:
    return {"additionalProperties": False} | schema if "properties" in schema else schema


class CheckingClient(ChatClient):
    """A client that holds each frame against its schema."""

    def __init__(self, client: ChatClient, frames: Frames) -> None:
        super().__init__(client.ws)
        self.frames = frames
        self.ignored = set()
        self.asked: dict[Any, tuple[str, bool]] = {}
        self.types: set[str] = set()

    async def send(self, frame: Frame | str | bytes) -> None:
        if isinstance(frame, dict):
            self.asked[frame.get("id")] = (frame["type"], frame.get("stream", False))
        await super().send(frame)

    async def next(self) -> Frame:
        frame = await super().next()
        self.frames.check(frame, self.asked)
        self.types.add(frame["type"])
        return frame

    async def answer(self, type: str, data: Any, **more: Any) -> Frame:
        """Send a message, and return its reply or its error; the frames before it are checked."""
        number = f"id-{len(self.asked)}"
        await self.send({"type": type, "id": number, "data": data, **more})
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                frame = await self.next()
                if frame.get("id") == number and frame["type"] in {"reply", "error"}:
                    return frame

    async def must(self, type: str, data: Any, **more: Any) -> Frame:
        """Send a message that must succeed."""
        frame = await self.answer(type, data, **more)
        assert frame["type"] == "reply", (type, data, frame)
        return frame

    async def until_event(self, type: str) -> None:
        """Take frames until an event has come, now or before."""
        async with asyncio.timeout(WAIT_SECONDS):
            while type not in self.types:
                await self.next()


class Story:
    """The story: clients of one gateway, with a check of all frames."""

    def __init__(self, app: App, catalog: Catalog) -> None:
        self.app = app
        self.frames = Frames(catalog)
        self.messages: dict[str, MessageDescription] = {each.type: each for each in catalog.messages}

    @asynccontextmanager
    async def client(self, name: str, *scopes: str) -> AsyncIterator[CheckingClient]:
        """Connect a user, up to the welcome. Ask for the rooms, too."""
        token = await self.app.gateway.token(name, *(scopes or SCOPES))
        async with self.app.socket(f"?rooms=1&token={token}") as plain:
            client = CheckingClient(plain, self.frames)
            await client.expect("welcome", user=name)
            yield client

    async def examples(self, client: CheckingClient, kind: str, **changes: Any) -> None:
        """Send all examples of a type, each of which must succeed."""
        for example in self.messages[kind].examples:
            data = example | changes if isinstance(example, dict) else example
            await client.must(kind, data)


async def test_the_gateway_takes_each_example_and_what_comes_back_fits_its_schema(own_gateway: OwnGateway) -> None:
    # The tokens end a minute and a second after the start, so that the warning comes within the story.
    gateway = own_gateway(registry=REGISTRY, token_minutes=1.02)
    catalog = catalog_of(REGISTRY)
    async with App(gateway) as app:
        story = Story(app, catalog)
        async with AsyncExitStack() as stack:
            carol, alice, bobby = [
                await stack.enter_async_context(story.client(name)) for name in ("carol", "alice", "bobby")
            ]
            await talk(story, carol, alice, bobby)
            await own_messages(story, carol)
            await connection(story, carol)
            await refusals(story, carol, alice)
            await story.examples(carol, "bye")
            await carol.until_event("bye")
            for client in (alice, bobby):
                await client.until_event("token.expiring")
        await log_in(story)
        assert story.messages.keys() - story.frames.replies == HELPING
        assert {each.type for each in catalog.events} - story.frames.events == set()
        described = {each.status: each for each in (*catalog.statuses[1:], *catalog.errors)}
        assert described.keys() - story.frames.errors.keys() == set()
        for status, frame in story.frames.errors.items():
            assert (frame["name"], frame["retryable"]) == (described[status].name, described[status].retryable)


async def talk(story: Story, carol: CheckingClient, alice: CheckingClient, bobby: CheckingClient) -> None:
    """Make rooms, talk in them, and end them."""
    await story.examples(carol, "room.create")
    await story.app.gateway.run(story.app.gateway.state.database.transact(begin_as_the_examples_do))
    await carol.must("room.join", {"room": "lobby"})
    await alice.must("room.join", {"room": "lobby"})
    for kind in ("chat.send", "room.join", "room.resume", "chat.append", "chat.edit", "chat.delete", "chat.read"):
        await story.examples(carol, kind)
    for kind in ("chat.history", "chat.typing", "room.signal", "presence.set", "presence.get", "room.update"):
        await story.examples(carol, kind)
    for kind in ("announce", "room.list", "direct.open", "room.invite"):
        await story.examples(carol, kind)
    await bobby.must("room.join", {"room": "lobby"})
    await story.examples(carol, "presence.set")
    for kind in ("room.role", "room.members", "room.kick"):
        await story.examples(carol, kind)
    await bobby.until_event("room.left")
    await alice.until_event("presence.changed")
    await alice.must("room.leave", {"room": "lobby"})
    await story.examples(carol, "room.leave")
    for client in (carol, alice):
        await client.must("room.join", {"room": "lobby"})
    await added_by_a_service(story, bobby)
    await story.examples(carol, "room.delete")
    await alice.until_event("room.deleted")


def begin_as_the_examples_do(connection: Connection) -> None:
    """Make the next message that of the examples."""
    connection.execute(text('UPDATE rooms SET epoch = :epoch, "offset" = 16'), {"epoch": EPOCH})


async def added_by_a_service(story: Story, bobby: CheckingClient) -> None:
    key = await add_service(story.app.gateway, "orders", "api:rooms")
    response = await story.app.ask("PUT", "/api/rooms/lobby/members/bobby", key, json={})
    assert response.is_success, response.text
    await bobby.until_event("room.added")


async def own_messages(story: Story, carol: CheckingClient) -> None:
    """Send the application's messages, also as streams."""
    for kind in (*OWN.handlers, "ping", "echo", "events.send"):
        await story.examples(carol, kind)
        if story.messages[kind].chunk is not None:
            await carol.must(kind, {}, stream=True)


async def connection(story: Story, carol: CheckingClient) -> None:
    """Change the token, cancel a message, and lose a right."""
    app = story.app
    token = await app.token("carol")
    await story.examples(carol, "auth.refresh", token=token)
    [example] = story.messages["cancel"].examples
    await carol.send({"type": "wait", "id": example["id"]})
    await story.examples(carol, "cancel")
    await carol.must("room.join", {"room": "attic"})
    await carol.must("auth.refresh", {"token": with_rooms(app.gateway, token, {"lobby": ["join"]})})
    await carol.until_event("resync")
    await carol.must("auth.refresh", {"token": token})


async def refusals(story: Story, carol: CheckingClient, alice: CheckingClient) -> None:
    """Provoke each error of the tables."""
    await carol.send("[]")
    await carol.send(json.dumps({"type": "echo", "id": 1, "data": "x" * 70_000}))
    for kind, data in (
        ("chat.sned", {}),
        ("auth", {"token": "header.payload.signature"}),
        ("room.create", {"room": "dm-carol"}),
        ("room.members", {"room": "no-such-attic"}),
        ("chat.read", {"room": "attic", "offset": 1000}),
        ("chat.send", {"room": "attic"}),
        ("auth.refresh", {"token": "header.payload.signature"}),
        ("broken", {}),
        *(("fail", {"status": status}) for status in (40302, 42900, 50200, 50300, 50400, 60001, 60002)),
    ):
        assert (await carol.answer(kind, data))["type"] == "error", (kind, data)
    assert (await alice.answer("chat.send", {"room": "attic", "text": "x"}))["status"] == Status.NOT_A_MEMBER


async def log_in(story: Story) -> None:
    """Log in with the first message, and with credentials that no longer hold."""
    app = story.app
    token = await app.token("carol")
    async with app.socket() as plain:
        client = CheckingClient(plain, story.frames)
        await story.examples(client, "auth", token=token)
    sessions = (await app.ask("GET", "/users/me/sessions", token)).json()["sessions"]
    [current] = [each["id"] for each in sessions if each["current"]]
    assert (await app.ask("DELETE", f"/users/me/sessions/{current}", token)).status_code == 204
    await refused(story, token, Status.TOKEN_REVOKED)
    token = await app.token("carol")
    app.gateway.clock.ahead += 120
    await refused(story, token, Status.TOKEN_EXPIRED)


async def refused(story: Story, token: str, status: Status) -> None:
    async with story.app.socket(f"?token={token}") as plain:
        client = CheckingClient(plain, story.frames)
        await client.expect("error", status=status)
        await client.expect("bye")
