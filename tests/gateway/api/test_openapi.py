"""The description of messages and events in `/openapi.json`: complete, valid, and true."""

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import jsonschema_rs
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, text

from gateway.app import create_app
from gateway.config.settings import Settings
from gateway.testing import settings_for_tests
from handlers import Chunk, Reply
from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import BUILT_IN, HANDLERS, Handlers, Registry
from schemas.base import Empty, Event, Wire
from schemas.messages.chat import Message
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import reload, routing, table
from tests.support.client import App
from tests.support.node import environment, tool
from tests.support.upstreams import good, running_upstream

Document = dict[str, Any]
LONGEST_SUMMARY = 120
"""So that it is a line at `/docs`, and no paragraph."""

NOT_OFFERED = {"bye", "cancel", "auth", "auth.refresh", "presence.set"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for_tests(tmp_path_factory.mktemp("described"))


@pytest.fixture(scope="module")
def document(settings: Settings) -> Document:
    """The description of the built-in messages."""
    return described(settings)


def described(settings: Settings, registry: Registry | Handlers = BUILT_IN) -> Document:
    return create_app(settings, registry=registry).openapi()


def call_of(document: Document, kind: str) -> Document:
    """The operation that calls a type."""
    operation: Document = document["paths"][f"/call/{kind}"]["post"]
    return operation


def data_of(operation: Document) -> Document:
    """The schema of an operation's body."""
    schema: Document = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def reply_of(operation: Document) -> Document:
    schema: Document = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return schema


def examples_of(operation: Document) -> list[Any]:
    content = operation["requestBody"]["content"]["application/json"]
    return [each["value"] for each in content["examples"].values()]


def resolved(document: Document, schema: Document) -> Document:
    """A component that a schema refers to."""
    component: Document = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return component


def fits(document: Document, schema: Document, value: Any) -> bool:
    whole = schema | {"components": document["components"]}
    return bool(jsonschema_rs.Draft202012Validator(whole).is_valid(value))


def operations(document: Document) -> Iterator[Document]:
    for items in (document["paths"], document["webhooks"]):
        for item in items.values():
            yield from item.values()


def texts(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a document with their values."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def test_each_message_that_needs_no_connection_has_a_path_and_each_event_a_webhook(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    calls = [path.removeprefix("/call/") for path in document["paths"] if path.startswith("/call/")]
    assert calls == [kind for kind in HANDLERS if kind not in NOT_OFFERED]
    assert list(document["webhooks"]) == [event.type for event in BUILT_IN.events]


def test_a_path_says_what_its_message_does_takes_and_returns(document: Document) -> None:
    send = call_of(document, "chat.send")
    assert (send["operationId"], send["summary"]) == ("call_chat_send", "Sends a message to a room.")
    assert send["security"] == [{"OAuth2PasswordBearer": ["chat:write"]}]
    assert "`chat:write`" in send["description"]
    assert data_of(send) == {"$ref": "#/components/schemas/SendMessage"}
    assert reply_of(send) == {"$ref": "#/components/schemas/SendReply"}
    assert examples_of(send) == [
        {"room": "lobby", "text": "Hello"},
        {"room": "lobby", "body": {"any": "JSON"}, "client_id": "a1"},
    ]
    assert {"400", "401", "403", "404", "413", "415", "422", "429", "500", "503"} <= send["responses"].keys()
    assert send["requestBody"]["required"] is True
    assert call_of(document, "room.list")["requestBody"]["required"] is False
    assert call_of(document, "ping")["security"] == [{"OAuth2PasswordBearer": []}]
    [flow] = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"].values()
    assert "`chat.send`" in flow["scopes"]["chat:write"]


def test_each_operation_is_in_a_section_and_has_a_summary_in_words(document: Document) -> None:
    sections = [tag["name"] for tag in document["tags"]]
    assert sections == ["log in", "users", "messages", "server API", "incoming webhooks", "health", "events"]
    paths = {**document["paths"], **document["webhooks"]}
    operations = [(f"{method} {path}", each) for path, item in paths.items() for method, each in item.items()]
    assert {section for _, each in operations for section in each["tags"]} == set(sections)
    first = {section: next(name for name, each in operations if section in each["tags"]) for section in sections}
    assert (first["log in"], first["users"]) == ("post /token", "post /users")
    # FastAPI makes a summary of the function's name, such as "Of Users", where there is none.
    assert [name for name, each in operations if not each["summary"].endswith(".")] == []
    assert [name for name, each in operations if len(each["summary"]) > LONGEST_SUMMARY] == []


def test_each_request_of_a_service_shows_what_to_send_and_what_comes_back(document: Document) -> None:
    paths = [path for path in document["paths"] if path.startswith(("/api/", "/hook/"))]
    assert len(paths) > 10
    for path in paths:
        for operation in document["paths"][path].values():
            answers = [answer for status, answer in operation["responses"].items() if status in {"200", "201"}]
            for part in (operation.get("requestBody"), *answers):
                for shown in (part or {}).get("content", {}).values():
                    schema = chosen(document, shown["schema"])
                    found = [shown["example"]] if "example" in shown else schema["examples"]
                    assert found, operation["operationId"]
                    assert all(fits(document, schema, each) for each in found), operation["operationId"]


def chosen(document: Document, schema: Document) -> Document:
    """The component of a schema that may also be null, or the schema itself."""
    found = next(iter(schema.get("anyOf", ())), schema)
    return resolved(document, found) if "$ref" in found else found


def test_a_webhook_is_the_frame_of_its_event(document: Document) -> None:
    operation = document["webhooks"]["chat.typing"]["post"]
    [example] = examples_of(operation)
    assert example == {"type": "chat.typing", "data": {"room": "lobby", "user": "alice", "typing": True}}
    schema = data_of(operation)
    assert fits(document, schema, example)
    assert not fits(document, schema, example | {"type": "chat.read"})
    assert not fits(document, schema, {"type": "chat.typing"})


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("chat.send", {"room": "a", "text": "x"}, {"room": "a"}),
        ("chat.send", {"room": "a", "text": None, "body": [1]}, {"room": "a", "text": "x", "body": [1]}),
        ("chat.send", {"room": "a", "body": 1}, {"room": "a", "body": None}),
        ("chat.edit", {"room": "a", "message_id": "m", "text": "x"}, {"room": "a", "message_id": "m"}),
        ("announce", {"text": "x"}, {}),
        (
            "chat.append",
            {"room": "a", "message_id": "m", "text": "", "done": True},
            {"room": "a", "message_id": "m", "text": ""},
        ),
        ("room.update", {"room": "a", "private": False}, {"room": "a"}),
        ("room.update", {"room": "a", "title": "x", "private": True}, {"room": "a", "title": None}),
        ("chat.history", {"room": "a", "before": 2}, {"room": "a", "before": 2, "after": 1}),
        ("chat.history", {"room": "a", "before": 2, "after": None}, {"room": "A"}),
    ],
)
def test_rules_about_several_fields_are_in_the_schemas(document: Document, kind: str, right: Any, wrong: Any) -> None:
    schema = data_of(call_of(document, kind))
    assert fits(document, schema, right)
    assert not fits(document, schema, wrong)
    HANDLERS[kind].schema.model_validate(right)
    with pytest.raises(ValueError, match=r"."):
        HANDLERS[kind].schema.model_validate(wrong)


def test_no_schema_has_a_title_that_is_made_of_a_name(document: Document) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if "title" in schema] == []
    fields = [field for schema in schemas.values() for field in schema.get("properties", {}).values()]
    assert len(fields) > 100
    assert [field for field in fields if "title" in field] == []


def test_every_reference_leads_somewhere_and_no_name_comes_twice(document: Document) -> None:
    references = {value for key, value in texts(document) if key == "$ref" and isinstance(value, str)}
    for reference in references:
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
    names = [operation["operationId"] for operation in operations(document)]
    assert len(set(names)) == len(names)
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


@pytest.mark.server
def test_redocly_finds_no_fault(document: Document, settings: Settings, tmp_path: Path) -> None:
    streams = described(settings, BUILT_IN | Registry(handlers={"report": ReportHandler, "any": AnyChunksHandler}))
    for name, each in {"openapi.json": document, "streams.json": streams}.items():
        (tmp_path / name).write_text(json.dumps(each | {"servers": [{"url": "https://chat.acme.test"}]}))
    done = subprocess.run(
        [
            tool("redocly"),
            "lint",
            "openapi.json",
            "streams.json",
            "--extends=recommended-strict",
            "--skip-rule=info-license",
        ],
        cwd=tmp_path,
        env=environment() | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_example_fits_its_schema(document: Document) -> None:
    checked = [
        fits(document, data_of(operation), example)
        for operation in operations(document)
        if operation["operationId"].startswith(("call_", "event_"))
        for example in examples_of(operation)
    ]
    assert len(checked) > len(BUILT_IN.events) + len(HANDLERS) - len(NOT_OFFERED)
    assert all(checked)


IN_ORDER = (
    *("ping", "echo", "announce", "room.create", "chat.send", "room.join", "room.list", "room.update", "room.resume"),
    *("chat.append", "chat.edit", "chat.delete", "chat.read", "chat.history", "chat.typing", "room.signal"),
    *("direct.open", "presence.get", "room.invite", "room.role", "room.members", "room.kick"),
    *("room.leave", "room.delete"),
)
"""The types in an order in which each finds what it needs."""


async def test_the_gateway_accepts_every_example(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app:
        document = (await app.http.get("/openapi.json")).json()
        assert {f"/call/{kind}" for kind in IN_ORDER} == {path for path in document["paths"] if "/call/" in path}
        bobby, carol = await app.token("bobby"), await app.gateway.token("carol", *SCOPES)

        async def call(kind: str, data: Any, token: str = carol) -> None:
            response = await app.ask("POST", f"/call/{kind}", token, json=data)
            assert response.status_code == 200, (kind, data, response.text)
            schema = reply_of(call_of(document, kind))
            assert fits(document, schema, response.json()), (kind, response.text)

        for kind in IN_ORDER:
            if kind == "room.role":
                await call("room.join", {"room": "lobby"}, bobby)  # as the example before has invited him
            if kind == "room.delete":
                await call("room.join", {"room": "lobby"})  # the example before has left it
            for example in examples_of(call_of(document, kind)):
                await call(kind, example)
            if kind == "room.create":
                await app.gateway.run(app.gateway.state.database.transact(set_epoch))


SCOPES = ("admin", "chat:read", "chat:write", "rooms:manage")


def set_epoch(connection: Connection) -> None:
    """Make the next message that of the examples."""
    connection.execute(text("UPDATE rooms SET epoch = 'yj4XTlDc', \"offset\" = 16"))


class Vote(Wire):
    """A vote."""

    choice: int


class Item(BaseModel):
    """An item, which looks different to its reader."""

    name: str
    note: str | None = Field(default=None, validation_alias="remark", serialization_alias="annotation")
    price: int | None


Content = TypeVar("Content", bound=BaseModel)


class Page(BaseModel, Generic[Content]):
    """A page of anything."""

    items: list[Content]


class VoteHandler(MsgHandler[Vote, Page[Item]]):
    """Count a vote.

    A later vote replaces it.
    """

    schema = Vote
    scope = "polls:vote"

    async def handle(self, data: Vote) -> Page[Item]:
        return Page(items=[])


class ItemHandler(MsgHandler[Item, Message]):
    """Store an item."""

    schema = Item

    async def handle(self, data: Item) -> Message:
        raise NotImplementedError


class SlashHandler(VoteHandler):
    """Have a type with other letters."""


class SlashesHandler(VoteHandler):
    """Have one that looks the same as a name."""


class PollClosed(AppError):
    """The poll takes no more votes."""

    status = 60001
    http_status = 418


def events() -> tuple[type[Event], ...]:
    class Vote(Event):
        """A vote was counted."""

        type: ClassVar[str] = "poll.voted"

        voters: list[str]

    return (Vote,)


def test_an_application_has_its_own_types_errors_and_events_there(settings: Settings) -> None:
    registry = BUILT_IN | Registry(
        handlers={"poll.vote": VoteHandler, "item.store": ItemHandler, "a/b ü": SlashHandler, "a.b..": SlashesHandler},
        events=events(),
        errors=(PollClosed,),
    )
    document = described(settings, registry)
    vote = call_of(document, "poll.vote")
    assert (vote["summary"], vote["operationId"]) == ("Count a vote.", "call_poll_vote")
    assert vote["description"] == "A later vote replaces it.\n\nThe token needs the scope `polls:vote`."
    assert examples_of(vote) == [{"choice": 0}]
    refused = document["components"]["responses"]["Refused418"]
    assert refused["description"] == "60001 poll_closed: The poll takes no more votes."
    assert "418" in vote["responses"]
    # A type may be any text. A path is not, and a name of an operation is there once.
    names = [call_of(document, kind)["operationId"] for kind in ("a%2Fb%20%C3%BC", "a.b..")]
    assert names == ["call_a_b__", "call_a_b___2"]
    # Two classes with the same name have two components, and each reference leads to its own.
    assert resolved(document, data_of(vote))["properties"].keys() == {"choice"}
    event = data_of(document["webhooks"]["poll.voted"]["post"])["properties"]["data"]
    assert resolved(document, event)["properties"].keys() == {"voters"}
    assert (reference_of(data_of(vote)), reference_of(event)) == ("Vote", "PollVotedVote")
    # A model that looks different in both directions has two as well.
    store = call_of(document, "item.store")
    assert resolved(document, data_of(store))["properties"].keys() == {"name", "remark", "price"}
    page = resolved(document, reply_of(vote))
    item = resolved(document, page["properties"]["items"]["items"])
    assert item["properties"].keys() == {"name", "annotation", "price"}
    # The gateway leaves out what is null.
    assert item["required"] == ["name"]
    assert reference_of(page["properties"]["items"]["items"]) == "PollVoteItem"
    assert reference_of(reply_of(store)) == "Message"
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in document["components"]["schemas"])
    assert not any("__" in name for name in document["components"]["schemas"])


def reference_of(schema: Document) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


class NewUser(Wire):
    """Not the gateway's own model of that name."""

    nickname: str


class Greeting(Wire):
    """Has that model inside."""

    user: NewUser


class GreetHandler(MsgHandler[Greeting, Message]):
    """Greet a user."""

    schema = Greeting

    async def handle(self, data: Greeting) -> Message:
        raise NotImplementedError


def test_models_of_routes_and_messages_with_the_same_name_both_stay(settings: Settings) -> None:
    registry = Registry(handlers={"user.greet": GreetHandler})
    app = create_app(settings, registry=registry)
    add_route(app)
    document = app.openapi()
    assert resolved(document, {"$ref": "/NewUser"})["properties"].keys() > {"username"}
    greeting = resolved(document, data_of(call_of(document, "user.greet")))
    assert reference_of(greeting["properties"]["user"]) == "UserGreetNewUser"
    # The same model in a route and in a message is there once, in FastAPI's form.
    assert [name for name in document["components"]["schemas"] if name.endswith("Message")] == ["Message", "NewMessage"]


def add_route(app: FastAPI) -> None:
    @app.get("/newest")
    async def newest() -> Message:
        raise NotImplementedError


class Silence(Wire):
    silent: bool = True


class Unwritable(BaseModel):
    """No JSON Schema says what this takes."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    thing: range


class Line(Wire):
    """A line of a report."""

    text: str


class Report(Wire):
    """What the last reply says."""

    lines: int
    note: str | None = None


class ReportHandler(MsgHandler[Vote, Report]):
    """Write a report."""

    schema = Vote

    async def handle(self, data: Vote) -> AsyncIterator[Line | str | Reply]:
        yield "Report"


class AnyChunksHandler(MsgHandler[Vote, Empty]):
    """Stream anything."""

    schema = Vote

    async def handle(self, data: Vote) -> AsyncIterator[Chunk]:
        yield 1


ERROR = {"status": 50000, "name": "x", "message": "x", "retryable": False}


def test_a_streaming_type_has_its_whole_and_its_chunks_there(settings: Settings) -> None:
    document = described(settings, BUILT_IN | Registry(handlers={"report": ReportHandler, "any": AnyChunksHandler}))
    reply = reply_of(call_of(document, "report"))
    for whole in ({"text": "Report", "lines": 1}, {"items": ["Report", {"text": "1"}], "lines": 2, "note": "x"}):
        assert fits(document, reply, whole)
    assert not fits(document, reply, {"text": "Report"})
    assert not fits(document, reply, {"items": [1], "lines": 1})
    content = call_of(document, "report")["responses"]["200"]["content"]["text/event-stream"]
    data = content["schema"]["items"]["properties"]["data"]["contentSchema"]
    for event in ("Report", {"text": "1"}, {"lines": 1}, ERROR):
        assert fits(document, data, event)
    assert not fits(document, data, 7)
    assert fits(document, reply_of(call_of(document, "any")), {"items": [1, "2"]})
    assert "text/event-stream" not in call_of(document, "ping")["responses"]["200"]["content"]


class OddHandler(MsgHandler[Unwritable, Unwritable]):
    """Take something odd."""

    schema = Unwritable

    async def handle(self, data: Unwritable) -> Unwritable:
        raise NotImplementedError


class SilentHandler(MsgHandler):  # type: ignore[type-arg]
    schema = Silence

    async def handle(self, data):  # type: ignore[no-untyped-def]
        raise NotImplementedError


def test_what_json_schema_cannot_say_is_any_json(settings: Settings) -> None:
    registry = Registry(handlers={"odd": OddHandler, "silent": SilentHandler, "poll.vote": VoteHandler})
    document = described(settings, registry)
    odd = call_of(document, "odd")
    assert resolved(document, data_of(odd))["properties"] == {"thing": {}}
    assert resolved(document, reply_of(odd))["properties"] == {"thing": {}}
    assert examples_of(odd) == [{"thing": None}]
    silent = call_of(document, "silent")
    assert (silent["summary"], reply_of(silent)) == ("silent", {})
    assert reference_of(data_of(call_of(document, "poll.vote"))) == "Vote"


ORDER = {
    "type": "object",
    "properties": {"sku": {"$ref": "#/$defs/Sku"}, "inner": {"$ref": "#"}},
    "required": ["sku"],
    "$defs": {"Sku": {"type": "integer", "minimum": 1}},
}


async def test_the_messages_of_routes_are_there_as_the_file_says_them_now(
    own_gateway: OwnGateway, tmp_path: Path
) -> None:
    async with running_upstream(good) as service:
        tables = (
            table("orders.create", service.url, scope="orders:write", data=ORDER, reply={"type": "object"}),
            table("orders.list", service.url),
            table("bills.*", service.url),
        )
        async with routing(own_gateway, tmp_path, *tables, scopes=["orders:write"]) as app:
            document = (await app.http.get("/openapi.json")).json()
            create = call_of(document, "orders.create")
            assert create["operationId"] == "call_orders_create"
            assert create["security"] == [{"OAuth2PasswordBearer": ["orders:write"]}]
            assert (create["requestBody"]["required"], examples_of(create)) == (True, [{"sku": 1}])
            assert fits(document, data_of(create), {"sku": 7, "inner": {"sku": 8}})
            assert not fits(document, data_of(create), {"sku": 7, "inner": {"sku": 0}})
            assert data_of(call_of(document, "orders.list")) == {"type": "object"}
            assert set(create["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
            assert not any("bills" in path for path in document["paths"])
            # The example works, and the document follows the file.
            token = await app.gateway.token("alice", "orders:write")
            response = await app.ask("POST", "/call/orders.create", token, json=examples_of(create)[0])
            assert response.status_code == 200, response.text
            # The other documents have them too, and the page at `/` offers the same example.
            websocket = (await app.http.get("/asyncapi.json")).json()["operations"]
            assert websocket["receiveOrdersCreate"]["x-scope"] == "orders:write"
            assert "message-orders.create" in (await app.http.get("/docs/messages")).text
            offered = {each["type"]: each for each in (await app.http.get("/examples.json")).json()}
            assert offered["orders.create"]["data"] == {"sku": 1}
            (tmp_path / "routes.toml").write_text(table("orders.drop", service.url))
            await reload(app)
            document = (await app.http.get("/openapi.json")).json()
            assert "/call/orders.drop" in document["paths"]
            assert "/call/orders.create" not in document["paths"]
            assert "receiveOrdersCreate" not in (await app.http.get("/asyncapi.json")).json()["operations"]


def test_the_document_is_made_when_it_is_asked_for_and_only_once(settings: Settings) -> None:
    app = create_app(settings)
    assert app.openapi_schema is None
    assert app.openapi() is app.openapi()
    assert json.loads(json.dumps(app.openapi())) == app.openapi()
