"""The exported JSON Schemas stand alone, and hold what a client and the gateway send."""

import json
from typing import Any

import jsonschema_rs
import pytest

from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.frames import error_frame, event_frame, message_frame, reply_frame
from gateway.documents.json_schema import json_schema
from gateway.documents.place import Place
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.registry import BUILT_IN
from tests.gateway.documents.own_types import OWN

ROUTES = (
    Route(
        "orders.create", data=JsonSchema({"type": "object", "required": ["sku"], "properties": {"me": {"$ref": "#"}}})
    ),
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(BUILT_IN | OWN, ROUTES)


@pytest.fixture(scope="module")
def documents(catalog: Catalog) -> dict[str, Any]:
    files = json_schema(catalog, Place(name="shop", version="1.2.3"))
    return {path: json.loads(text) for path, text in files.items()}


@pytest.fixture(scope="module")
def index(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = documents["index.json"]
    return found


def fits(document: Any, value: Any) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(document, offline=True).is_valid(value))


def test_each_file_but_the_index_is_a_schema_that_needs_no_other(documents: dict[str, Any]) -> None:
    schemas = {path: each for path, each in documents.items() if path != "index.json"}
    assert len(schemas) > 2 * len(BUILT_IN.handlers) + len(BUILT_IN.events)
    for path, schema in schemas.items():
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema", path
        jsonschema_rs.meta.validate(schema)
        jsonschema_rs.Draft202012Validator(schema, offline=True)


def test_the_index_leads_to_the_schemas_of_each_type(
    catalog: Catalog, documents: dict[str, Any], index: dict[str, Any]
) -> None:
    assert list(index["messages"]) == [each.type for each in catalog.messages]
    assert list(index["events"]) == [each.type for each in catalog.events]
    assert index["messages"]["chat.send"]["files"] == {
        "data": "data/chat.send.schema.json",
        "reply": "replies/chat.send.schema.json",
    }
    assert index["messages"]["story.tell"]["files"].keys() == {"data", "reply", "whole", "chunk"}
    named = [
        path for each in (*index["messages"].values(), *index["events"].values()) for path in each["files"].values()
    ]
    assert sorted([*named, "index.json", "gateway.schema.json"]) == sorted(documents)
    assert len({path.lower() for path in named}) == len(named)
    assert {each["status"] for each in index["statuses"]} >= {40400, 60001}
    assert {each["code"] for each in index["closes"]} >= {1012, 4508}


def test_the_schema_of_each_type_takes_its_examples(documents: dict[str, Any], index: dict[str, Any]) -> None:
    for kind, message in index["messages"].items():
        assert all(fits(documents[message["files"]["data"]], each) for each in message["examples"]), kind
        assert all(fits(documents[message["files"]["reply"]], each) for each in message["reply_examples"]), kind
    for kind, event in index["events"].items():
        assert all(fits(documents[event["files"]["data"]], each) for each in event["examples"]), kind
    send = documents["data/chat.send.schema.json"]
    assert not fits(send, {"room": "lobby"})
    assert not fits(send, {"room": "lobby", "text": "x", "body": 1})


def test_a_type_with_any_letters_has_a_file_on_any_system(index: dict[str, Any]) -> None:
    paths = {kind: index["messages"][kind]["files"]["data"] for kind in OWN.handlers}
    assert paths["größe/ü"] == "data/gr-e.schema.json"
    assert paths["数"] == "data/type.schema.json"
    assert paths["__proto__"] == "data/__proto__.schema.json"


def test_the_schema_of_all_frames_knows_each_kind(catalog: Catalog, documents: dict[str, Any]) -> None:
    whole = documents["gateway.schema.json"]
    assert whole["title"] == "Frames of shop 1.2.3"
    frames = jsonschema_rs.Draft202012Validator(whole, offline=True)
    for message in catalog.messages:
        for example in message.examples:
            assert frames.is_valid(message_frame(message, example)), message.type
        assert frames.is_valid(reply_frame(message.reply_examples[0])), message.type
    for event in catalog.events:
        assert frames.is_valid(event_frame(event.type, event.examples[0])), event.type
    for error in (*catalog.statuses[1:], *catalog.errors):
        assert frames.is_valid(error_frame(error.examples[0])), error.name
    for wrong in (
        {},
        {"type": "chat.sned", "data": {}},
        {"type": "chat.send", "data": {"room": "lobby"}},
        {"type": "chat.send", "data": {"room": "lobby", "text": "x"}, "stream": True},
        {"type": "ping", "id": ""},
        {"type": "ping", "id": True},
        {"type": "ping", "more": 1},
        {"type": "chat.typing", "data": {"room": "lobby", "user": "alice"}},
        {"type": "reply", "id": 1, "status": 40400, "data": {}},
        {"type": "error", "id": 1, "status": 40400},
    ):
        assert not frames.is_valid(wrong), wrong
