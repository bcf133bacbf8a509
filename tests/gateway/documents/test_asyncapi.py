"""The description of the WebSocket in AsyncAPI 3.0.0: complete, true, and taken by the official parser and a linter."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from gateway.documents import asyncapi_2
from gateway.documents.asyncapi import asyncapi
from gateway.documents.catalog import catalog_of
from gateway.documents.place import Place
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.codes import Close, Status
from tests.support.node import TOOLS, environment, node, tool
from tests.support.own_types import HOSTILE, OWN

Document = dict[str, Any]

WAIT_SECONDS = 120

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "sku": {"$ref": "#/$defs/Sku"},
        "inner": {"$ref": "#"},
        "pair": {"prefixItems": [True], "items": False},
    },
    "required": ["sku"],
    "dependentRequired": {"inner": ["pair"]},
    "$defs": {"Sku": {"type": "integer", "minimum": 1}},
}
ODD_SCHEMAS = (
    ORDER,
    {"$id": "https://example.org/order", "properties": {"x": {"$ref": "#/definitions/y"}}, "definitions": {"y": {}}},
    {"$defs": {"node": {"$dynamicAnchor": "node"}}, "$ref": "#/$defs/node"},
    {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True},
    True,
)


def written(registry: Registry = BUILT_IN, place: Place | None = None, schemas: tuple[Any, ...] = ()) -> Document:
    routes = [
        Route(pattern=f"orders.create{number}", data=JsonSchema(schema), reply=JsonSchema(schema))
        for number, schema in enumerate(schemas)
    ]
    [text] = asyncapi(catalog_of(registry, routes), place or Place()).values()
    document: Document = json.loads(text)
    return document


@pytest.fixture(scope="module")
def document() -> Document:
    return written()


@pytest.fixture(scope="module")
def own() -> Document:
    """The document of an application with odd types, and of routes with odd schemas."""
    return written(OWN, schemas=ODD_SCHEMAS)


def messages(document: Document, kind: str) -> dict[str, Document]:
    """The messages of a kind, by their names."""
    tag = f"#/components/tags/{kind.title()}"
    found = document["components"]["messages"].values()
    return {each["name"]: each for each in found if {"$ref": tag} in each["tags"]}


def at(document: Document, reference: str) -> Any:
    part: Any = document
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def fits(document: Document, message: Document, frame: Any) -> bool:
    whole = {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [message["payload"]]}
    validator = jsonschema_rs.Draft7Validator(whole | {"components": document["components"]}, validate_formats=True)
    return bool(validator.is_valid(frame))


def test_each_message_event_status_and_close_code_is_there(document: Document) -> None:
    assert document["asyncapi"] == "3.0.0"
    operations = document["operations"].values()
    assert [each["title"] for each in operations if each["action"] == "receive"] == list(HANDLERS)
    assert [each["title"] for each in operations if each["action"] == "send"] == [each.type for each in BUILT_IN.events]
    assert list(messages(document, "message")) == list(HANDLERS)
    assert list(messages(document, "reply")) == [f"{type_} reply" for type_ in HANDLERS]
    assert list(messages(document, "event")) == [each.type for each in BUILT_IN.events]
    assert [each["status"] for each in document["x-status-codes"]] == list(Status)
    assert [(each["code"], each["reason"]) for each in document["x-close-codes"]] == [
        (each.code, each.reason) for each in Close
    ]
    assert all(each["meaning"] for each in document["x-close-codes"])


def test_an_operation_has_its_reply_and_its_error_its_scope_and_the_id_that_joins_them(document: Document) -> None:
    send = document["operations"]["receiveChatSend"]
    assert (send["title"], send["summary"]) == ("chat.send", "Sends a message to a room.")
    assert [at(document, each["$ref"])["$ref"] for each in send["reply"]["messages"]] == [
        "#/components/messages/ChatSendReply",
        "#/components/messages/Error",
    ]
    [security] = send["security"]
    scheme = at(document, security["$ref"])
    assert scheme["scopes"] == ["chat:write"]
    assert "chat:write" in scheme["flows"]["password"]["availableScopes"]
    for name in ("ChatSend", "ChatSendReply", "Error"):
        message = document["components"]["messages"][name]
        assert at(document, message["correlationId"]["$ref"])["location"] == "$message.payload#/id"
    assert "correlationId" not in document["components"]["messages"]["WelcomeEvent"]


def test_the_handshake_has_its_parameters_and_each_place_of_a_credential(document: Document) -> None:
    channel = document["channels"]["chat"]
    assert channel["address"] == "/ws/chat"
    assert list(channel["bindings"]["ws"]["query"]["properties"]) == ["token", "ticket", "service", "rooms"]
    schemes = [at(document, each["$ref"]) for each in document["servers"]["gateway"]["security"]]
    assert [(each["type"], each.get("in"), each.get("name")) for each in schemes] == [
        ("http", None, None),
        ("httpApiKey", "header", "Sec-WebSocket-Protocol"),
        ("httpApiKey", "query", "ticket"),
        ("httpApiKey", "query", "token"),
        ("httpApiKey", "cookie", "session"),
        ("oauth2", None, None),
    ]


def test_the_server_is_where_the_gateway_is_also_below_a_prefix() -> None:
    place = Place("https://chat.example.org/rt", "wss://chat.example.org/rt", "shop", "7")
    document = written(place=place)
    server = document["servers"]["gateway"]
    assert (server["protocol"], server["host"], server["pathname"]) == ("wss", "chat.example.org", "/rt")
    assert document["info"]["title"] == "shop"
    flow = document["components"]["securitySchemes"]["password"]["flows"]["password"]
    assert flow["tokenUrl"] == "https://chat.example.org/rt/token"


@pytest.mark.parametrize("whose", ["document", "own"])
def test_every_example_is_a_whole_frame_that_fits_the_schema_of_its_message(
    whose: str, request: pytest.FixtureRequest
) -> None:
    document: Document = request.getfixturevalue(whose)
    for name, message in document["components"]["messages"].items():
        assert message["examples"] or whose == "own", name
        for example in message["examples"]:
            assert fits(document, message, example["payload"]), (name, example)


def test_an_older_reader_gets_the_same_messages_in_2_6(document: Document) -> None:
    older = asyncapi_2.document(catalog_of(BUILT_IN), Place("https://a.example/rt", "wss://a.example/rt"))
    assert older["asyncapi"] == "2.6.0"
    channel = older["channels"]["/ws/chat"]
    published = [at(older, each["$ref"])["name"] for each in channel["publish"]["message"]["oneOf"]]
    heard = [at(older, each["$ref"])["name"] for each in channel["subscribe"]["message"]["oneOf"]]
    assert published == list(HANDLERS)
    assert {*messages(document, "reply"), *messages(document, "event"), "error"} == set(heard)
    assert older["servers"]["gateway"]["url"] == "a.example/rt"
    assert older["components"]["schemas"] == document["components"]["schemas"]
    scopes = older["components"]["securitySchemes"]["password"]["flows"]["password"]["scopes"]
    assert "chat:write" in scopes
    assert older["x-close-codes"] == document["x-close-codes"]


def test_a_wrong_frame_fits_no_schema(document: Document) -> None:
    send = document["components"]["messages"]["ChatSend"]
    right = send["examples"][0]["payload"]
    wrong: tuple[Any, ...] = (
        {"type": "chat.edit"},
        {"id": True},
        {"id": "x" * 65},
        {"id": 2**63},
        {"data": {"room": "lobby"}},
        {"more": 1},
        {"stream": "yes"},
    )
    for change in wrong:
        assert not fits(document, send, right | change), change
    assert fits(document, send, right | {"id": 7, "stream": True})
    without_id = {key: value for key, value in right.items() if key != "id"}
    assert fits(document, send, without_id)
    assert not fits(document, send, without_id | {"stream": True})
    assert not fits(document, send, {"type": "chat.send"})
    assert fits(document, document["components"]["messages"]["RoomList"], {"type": "room.list"})
    welcome = document["components"]["messages"]["WelcomeEvent"]
    assert not fits(document, welcome, welcome["examples"][0]["payload"] | {"data": {}})


def test_an_application_s_own_types_errors_and_routes_are_there(own: Document) -> None:
    roll = own["operations"]["receiveDiceRoll"]
    assert roll["x-scope"] == "dice:roll"
    assert "scopeDiceRoll" in own["components"]["securitySchemes"]
    assert own["x-status-codes"][-1] == {
        "status": 60001,
        "name": "no_dice",
        "summary": "There are no dice.",
        "retryable": False,
        "http_status": 400,
    }
    errors = own["components"]["messages"]["Error"]["examples"]
    assert errors[-2]["payload"]["message"] == "all dice are in use"
    report = own["operations"]["receiveReport"]
    assert [each["$ref"].rpartition("/")[2] for each in report["reply"]["messages"]] == [
        "ReportReply",
        "Error",
        "ReportChunk",
    ]
    assert {"投票.送る", "shape.draw-it", "shape.draw_it", "orders.create0"} <= messages(own, "message").keys()
    order = own["components"]["messages"]["OrdersCreate0"]
    assert fits(
        own, order, {"type": "orders.create0", "data": {"sku": 1, "inner": {"sku": 2, "pair": [1]}, "pair": []}}
    )
    assert not fits(own, order, {"type": "orders.create0", "data": {"sku": 1, "inner": {"sku": 0}, "pair": []}})
    assert not fits(own, order, {"type": "orders.create0", "data": {"sku": 1, "pair": [1, 2]}})


def test_texts_of_an_application_hold_no_html(own: Document) -> None:
    assert "<script>" in HOSTILE
    for message in own["components"]["messages"].values():
        for text in (message["summary"], message.get("description", "")):
            assert "<" not in re.sub("`[^`]*`", "", text)


@pytest.mark.server
def test_the_parser_and_a_linter_take_it_with_odd_types_too(document: Document, own: Document, tmp_path: Path) -> None:
    older = asyncapi_2.document(catalog_of(BUILT_IN), Place())
    *both, oldest = parse([document, own, older])
    for found, each in zip(both, (document, own), strict=True):
        # A newer version exists, which generators refuse.
        assert [each["code"] for each in found["diagnostics"]] == ["asyncapi-latest-version"], found["diagnostics"]
        assert found["operations"] == list(each["operations"])
        assert len(found["messages"]) == len(each["components"]["messages"])
    # We know no contact, and the version is the older one that was asked for.
    assert {each["code"] for each in oldest["diagnostics"]} == {"asyncapi-latest-version", "asyncapi-info-contact"}
    assert len(oldest["messages"]) == len(older["components"]["messages"])
    ours, theirs = tmp_path / "asyncapi.json", tmp_path / "own.json"
    ours.write_text(json.dumps(document))
    theirs.write_text(json.dumps(own))
    assert lint(ours, "recommended-strict") == ""
    # Of its warnings remains one about a word in a docstring, which no reader runs.
    assert lint(theirs, "recommended") == ""


def parse(documents: list[Document]) -> list[Document]:
    """Return what the parser finds in each document."""
    parsed = subprocess.run(
        [node(), str(TOOLS / "asyncapi.mjs")],
        input=json.dumps([json.dumps(each) for each in documents]),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=WAIT_SECONDS,
        check=True,
    )
    found: list[Document] = json.loads(parsed.stdout)
    return found


def lint(document: Path, rules: str) -> str:
    """Return what the linter says if it refuses a document, and nothing if it takes it."""
    command = [tool("redocly"), "lint", str(document), f"--extends={rules}"]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=document.parent,
        env=environment() | {"REDOCLY_TELEMETRY": "off"},
        timeout=WAIT_SECONDS,
        check=False,
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr
