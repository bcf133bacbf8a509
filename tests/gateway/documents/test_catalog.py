"""The catalog has everything that documents say, also of an application's own types."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import jsonschema_rs
import pytest
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.exports import FORMATS
from gateway.documents.place import Place
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.codes import Close, Status
from schemas.messages.rooms import CreateRoom, JoinRoom
from tests.gateway.documents.own_types import OWN, Page
from tests.support import own_types

One = TypeVar("One")
Other = TypeVar("Other")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(BUILT_IN | OWN)


def resolved(catalog: Catalog, schema: dict[str, Any]) -> dict[str, Any]:
    return catalog.schemas[schema["$ref"].rpartition("/")[2]]


def test_each_message_event_status_and_close_code_is_there_once(catalog: Catalog) -> None:
    assert [each.type for each in catalog.messages] == [*HANDLERS, *OWN.handlers]
    assert [each.type for each in catalog.events] == [event.type for event in (*BUILT_IN.events, *OWN.events)]
    assert [each.status for each in catalog.statuses] == list(Status)
    assert [(each.code, each.reason) for each in catalog.closes] == [(each.code, each.reason) for each in Close]
    assert [(each.status, each.name, each.summary) for each in catalog.errors] == [
        (60001, "sold_out", "Nothing is left."),
        (60002, "no_cat", "There is no cat."),
    ]


def test_an_application_s_own_types_are_described_as_the_built_in_ones(catalog: Catalog) -> None:
    plant = next(each for each in catalog.messages if each.type == "tree.plant")
    assert (plant.summary, plant.about, plant.scope) == ("Plants a tree.", "", None)
    assert plant.examples == ({"name": "oak", "children": [{"name": "twig"}]},)
    assert plant.reply_examples == ({"name": "text", "children": []},)
    story = next(each for each in catalog.messages if each.type == "story.tell")
    assert (story.ordered, story.may_be_empty) == (False, True)
    assert story.chunk is not None


def test_each_schema_has_a_name_that_every_language_takes(catalog: Catalog) -> None:
    assert [name for name in catalog.schemas if not re.fullmatch("[A-Z][A-Za-z0-9]*", name)] == []
    assert len({name.lower() for name in catalog.schemas}) == len(catalog.schemas)
    # A class that is generic, or has other letters, has a name to recognise.
    assert {"PageTree", "MarchenErzahlt"} <= catalog.schemas.keys()


def pairs() -> type[BaseModel]:
    class Pair(BaseModel, Generic[One, Other]):
        one: One
        other: Other

    class Tree(BaseModel):
        """Not the tree of the module."""

        height: int

    return Pair[Pair[Tree, int], Page[str]]


def test_a_generic_class_has_the_name_of_its_parts() -> None:
    class PairHandler(MsgHandler[BaseModel, BaseModel]):
        """Takes pairs."""

        schema = pairs()

        async def handle(self, data: BaseModel) -> BaseModel:
            raise NotImplementedError

    class AnyPageHandler(MsgHandler[Page, Page]):  # type: ignore[type-arg]
        """Takes a page of anything."""

        schema = Page

        async def handle(self, data: Any) -> Any:
            raise NotImplementedError

    plant, page = OWN.handlers["tree.plant"], AnyPageHandler
    catalog = catalog_of(Registry(handlers={"tree.plant": plant, "pair": PairHandler, "page": page}))
    names = set(catalog.schemas) - set(catalog_of(Registry()).schemas)
    assert {"PairPairTreeIntPageStr", "PairTreeInt", "PageStr", "Page", "Tree", "PairTree"} <= names
    assert catalog.schemas["PairTree"]["properties"].keys() == {"height"}
    [_, pair, _] = catalog.messages
    assert pair.data == {"$ref": "#/components/schemas/PairPairTreeIntPageStr"}


def test_the_name_of_a_generic_class_has_no_words_of_annotations() -> None:
    class Noted(BaseModel, Generic[One]):
        one: One
        note: Any | None = None

    class NotedHandler(MsgHandler[BaseModel, Any]):
        """Takes a note."""

        schema = Noted[Annotated[CreateRoom | JoinRoom, Field(description="a (b), [c]")]]

        async def handle(self, data: BaseModel) -> Any:
            raise NotImplementedError

    catalog = catalog_of(Registry(handlers={"note": NotedHandler}))
    assert catalog.schemas["NotedCreateRoomJoinRoom"]["properties"]["note"] == {}


def test_an_own_class_with_the_name_of_a_built_in_one_takes_nothing_from_it(catalog: Catalog) -> None:
    built_in = catalog_of(BUILT_IN)
    assert {name: catalog.schemas[name] for name in built_in.schemas} == built_in.schemas
    room = next(each for each in catalog.events if each.type == "hotel.room")
    assert room.data == {"$ref": "#/components/schemas/HotelRoomRoom"}


def test_no_schema_has_a_title_that_no_developer_wrote(catalog: Catalog) -> None:
    assert "title" not in {key for schema in catalog.schemas.values() for key in keywords(schema)}


def keywords(schema: Any, names: bool = False) -> list[str]:
    """The keys of a schema but for the names of fields, and for examples."""
    if isinstance(schema, list):
        return [key for item in schema for key in keywords(item)]
    if not isinstance(schema, dict):
        return []
    found = [] if names else list(schema)
    for key, value in schema.items():
        if key not in {"examples", "default", "enum", "const", "mapping"}:
            found += keywords(value, names=not names and key == "properties")
    return found


def test_what_the_gateway_leaves_out_is_optional_and_never_null(catalog: Catalog) -> None:
    room, bye, tree = (catalog.schemas[name] for name in ("Room", "Bye", "TreePlantTree"))
    assert room["properties"]["title"] == {"type": "string"}
    assert "title" not in room["required"]
    assert bye["properties"]["after_ms"] == {"type": "integer"}
    # A default is sent as any other value.
    assert {"private", "direct"} <= set(room["required"])
    assert tree["required"] == ["name", "children"]
    size = catalog.schemas["OddOneSize"]  # a dataclass
    assert (size["required"], size["properties"]["depth"]) == (["width"], {"type": "number"})
    point = catalog.schemas["OddOnePoint"]  # a dictionary with known keys
    assert (point["required"], point["properties"]["note"]) == (["x", "y"], {"type": "string"})
    # A client may send null where it leaves a value out.
    assert {"type": "null"} in catalog.schemas["CreateRoom"]["properties"]["title"]["anyOf"]


def test_a_client_may_get_more_keys_than_it_knows_and_may_not_send_more(catalog: Catalog) -> None:
    send = next(each for each in catalog.messages if each.type == "chat.send")
    assert resolved(catalog, send.data)["additionalProperties"] is False
    assert "additionalProperties" not in resolved(catalog, send.reply)


def test_what_json_schema_cannot_say_is_any_json(catalog: Catalog) -> None:
    assert catalog.schemas["OddOneOdd"]["properties"]["thing"] == {}
    unknown = next(each for each in catalog.messages if each.type == "class")
    assert (unknown.summary, unknown.reply, unknown.reply_examples) == ("class", {}, ({},))


def test_each_schema_has_a_reference_with_any_prefix(catalog: Catalog) -> None:
    schemas = catalog.schemas_at("#/$defs/")
    assert schemas["SendReply"]["properties"]["message"] == {"$ref": "#/$defs/Message"}
    assert schemas["Zoo"]["properties"]["first"]["discriminator"]["mapping"]["cat"] == "#/$defs/Cat"
    for schema in schemas.values():
        jsonschema_rs.meta.validate(schema)


def test_every_example_fits_its_schema(catalog: Catalog) -> None:
    for message in catalog.messages:
        assert message.examples, message.type
        assert message.reply_examples, message.type
        for schema, examples in ((message.data, message.examples), (message.reply, message.reply_examples)):
            for example in examples:
                assert fits(catalog, schema, example), (message.type, example)
    for event in catalog.events:
        assert event.examples, event.type
        for example in event.examples:
            assert fits(catalog, event.data, example), (event.type, example)
    for error in (*catalog.statuses[1:], *catalog.errors):
        assert error.examples, error.status
        for example in error.examples:
            assert fits(catalog, catalog.error, example), example
            assert (example["status"], example["name"]) == (error.status, error.name)


def fits(catalog: Catalog, schema: dict[str, Any], value: Any) -> bool:
    """Whether a value fits a schema, without any key that the schema does not name."""
    closed = {name: closed_off(each) for name, each in catalog.schemas.items()}
    whole = schema | {"components": {"schemas": closed}}
    return bool(jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value))


def closed_off(schema: dict[str, Any]) -> dict[str, Any]:
    return {"additionalProperties": False} | schema if "properties" in schema else schema


OLD_DRAFT = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False},
        "pair": {
            "type": "array",
            "items": [{"type": "string"}, {"$ref": "#/definitions/one"}],
            "additionalItems": False,
        },
        "items": {"enum": [{"items": [1]}]},
        "default": {"$ref": "#"},
    },
    "dependencies": {"count": ["pair"], "pair": {"required": ["items"]}},
    "definitions": {"one": {"enum": [1]}},
}


def test_a_route_s_schema_of_an_older_draft_means_the_same_in_the_newest() -> None:
    catalog = catalog_of(BUILT_IN, (Route("old.one", data=JsonSchema(OLD_DRAFT)),))
    schema = catalog.schemas["OldOneData"]
    jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
    old = jsonschema_rs.Draft4Validator(OLD_DRAFT)
    whole = {"$ref": "#/components/schemas/OldOneData", "components": {"schemas": catalog.schemas}}
    new = jsonschema_rs.Draft202012Validator(whole)
    items = {"items": {"items": [1]}}
    for right in ({}, items, {"count": 9, "pair": ["a", 1], **items}, {"default": {"pair": ["a"], **items}}):
        assert (old.is_valid(right), new.is_valid(right)) == (True, True), right
    wrongs: list[dict[str, Any]] = [
        {"count": 0, "pair": [], **items},
        {"count": 1},
        {"pair": []},
        {"pair": ["a", 2], **items},
        {"pair": ["a", 1, 1], **items},
        {"default": {"pair": [7], **items}},
    ]
    for wrong in wrongs:
        assert (old.is_valid(wrong), new.is_valid(wrong)) == (False, False), wrong


def test_a_route_s_schema_that_is_too_deep_to_read_is_any_json() -> None:
    document: dict[str, Any] = {}
    for _ in range(60):
        document = {"properties": {"inner": document}}
    catalog = catalog_of(BUILT_IN, (Route("deep.one", data=JsonSchema(document)),))
    assert catalog.schemas["DeepOneData"] == {}
    for wanted in FORMATS.values():
        if wanted.make is not None:
            assert wanted.make(catalog, Place())


def test_every_format_takes_an_application_with_odd_types() -> None:
    catalog = catalog_of(own_types.OWN)
    assert catalog.schemas["Nonsense"] == {}
    for name, each in FORMATS.items():
        if each.make is not None:
            files = each.make(catalog, Place())
            assert files, name
            assert not [path for path in files if path.startswith("/") or ".." in path], name


class Broken(BaseModel):
    """A model that describes itself wrongly."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"when": datetime.min}]})  # type: ignore[dict-item]

    n: float = float("nan")
    raw: bytes = b"\xff"
    call: Callable[[int], int] = abs

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        raise RuntimeError("not now")


class BrokenHandler(MsgHandler[Broken, Broken]):
    """Takes what cannot be described."""

    schema = Broken

    async def handle(self, data: Broken) -> Broken:
        return data


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.make is not None])
def test_no_type_of_an_application_breaks_a_document(name: str) -> None:
    kinds = ("broken", "\ud800", "..", "a/../b", "A", "a", "con", "数" * 64, " ", "\n", "*/", "${x}", "{{token}}")
    hostile = Registry(handlers=dict.fromkeys(kinds, BrokenHandler))
    make = FORMATS[name].make
    assert make is not None
    files = make(catalog_of(BUILT_IN | OWN | hostile), Place())
    assert files
    for path, text in files.items():
        text.encode()
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert all(len(part.encode()) < 256 for part in path.split("/"))
