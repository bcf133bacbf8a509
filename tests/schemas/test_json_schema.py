"""The JSON Schema of a model takes what the model takes, and nothing else; and what a model sends fits its schema."""

import json
from copy import deepcopy
from typing import Any, Literal

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from handlers.registry import BUILT_IN, HANDLERS
from handlers.reply_types import reply_type
from schemas.api import batch, connections, publish, rooms, users
from schemas.base import ClientMessage, Wire
from schemas.bounded_json import MAX_STATE_BYTES
from schemas.encoding import encode
from schemas.errors import ErrorBody
from schemas.messages.presence import SetPresence
from schemas.messages.rooms import JoinReply, ResumeReply, ResumeRooms, SendSignal
from schemas.messages.services import ServeRoutes

TO_GATEWAY: list[type[BaseModel]] = list(
    dict.fromkeys(
        (
            *(handler.schema for handler in HANDLERS.values()),
            *(ClientMessage, ServeRoutes, batch.Batch, batch.BatchItem, connections.NameConnection),
            *(publish.NewMessage, publish.NamedEvent, publish.Publish, users.NameUser),
            *(rooms.NameRoom, rooms.RoomChange, rooms.MemberRole, rooms.PutMember, rooms.NameMember),
            *(rooms.NameMessage, rooms.MessageContent),
        )
    )
)
FROM_GATEWAY: list[Any] = list(
    dict.fromkeys((*(reply_type(handler) for handler in HANDLERS.values()), *BUILT_IN.events, ErrorBody))
)

LENGTHS = (0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 199, 200, 201, 4000, 4001, 4096, 4097)
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 50, 51, 100, 101, 128, 1000, 1001, 1024, 1025, 2**53, 2**53 + 1, 1.5),
    *("lobby", "Lobby", "lob by", ".a", "a.b-c_d", "alice", "alice\n", "bo", "größe", "x\x00", "owner", "king"),
    *("bc370f0204e466c3", "chat.message", "publish", "member"),
    *({}, {"a": None}, {"epoch": "k3f9", "offset": 57}, {"room": "lobby"}, {"text": "x"}, {"type": "a", "data": 1}),
    *([], [None], ["alice"], ["alice", "bobby"], ["alice", "alice"], [{"room": "lobby"}], [{"room": "A"}], [[]]),
    *(list(range(101)), [f"user{number}" for number in range(100)], [f"user{number}" for number in range(101)]),
]
"""Values at the edges of what a field takes."""

THOROUGH = settings(max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

values = st.one_of(
    st.sampled_from(VALUES),
    st.sampled_from(LENGTHS).map(lambda length: "a" * length),
    st.sampled_from(LENGTHS[1:10]).map(lambda length: "😀" * length),
    st.text(max_size=5),
    st.integers(-2, 130),
).map(deepcopy)


def reader(model: type[BaseModel]) -> Any:
    return jsonschema_rs.Draft202012Validator(model.model_json_schema())


def accepts(model: type[BaseModel], value: Any) -> bool:
    """Whether the gateway takes decoded JSON as the data of a message."""
    try:
        model.__pydantic_validator__.validate_python(value)
    except ValidationError:
        return False
    return True


def examples_of(model: Any) -> list[Any]:
    extra = model.model_config.get("json_schema_extra", {})
    own = getattr(model, "examples", None) or extra.get("examples")
    return list(own or MORE_EXAMPLES.get(model, [{}]))


MORE_EXAMPLES: dict[Any, list[Any]] = {ClientMessage: [{"type": "ping", "id": 1, "stream": True}]}


@st.composite
def near_misses(draw: st.DrawFn, model: Any) -> Any:
    """An example of a model with up to three changes, at any depth."""
    value = deepcopy(draw(st.sampled_from(examples_of(model))))
    names = [*getattr(model, "model_fields", {}), "unknown"]
    for _ in range(draw(st.integers(0, 3))):
        value = changed(draw, value, names)
    return value


@st.composite
def combinations(draw: st.DrawFn, model: Any) -> Any:
    """An object with some of the fields of a model, mostly with good values: for the rules about several fields."""
    shown = [each for each in examples_of(model) if isinstance(each, dict)]
    value = {}
    for name in getattr(model, "model_fields", {}):
        good = [each[name] for each in shown if name in each]
        wanted = [*good * 3, *EDGES] if good else [MISSING, MISSING, *EDGES]
        drawn = draw(st.sampled_from([*wanted, MISSING]))
        if drawn is not MISSING:
            value[name] = deepcopy(drawn)
    return value


MISSING = object()
EDGES: list[Any] = [None, "", "a", 1, True, False]


def changed(draw: st.DrawFn, value: Any, names: list[str]) -> Any:
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        value[place] = changed(draw, value[place], [])
        return value
    if not isinstance(value, dict) or not draw(st.integers(0, 9)):
        return draw(values)
    name = draw(st.sampled_from([*value, *names] or ["unknown"]))
    match draw(st.sampled_from(["drop", "set", "set", "inside"])):
        case "drop":
            value.pop(name, None)
        case "inside" if name in value:
            value[name] = changed(draw, value[name], [])
        case _:
            value[name] = draw(values)
    return value


@pytest.mark.parametrize("model", TO_GATEWAY, ids=lambda model: str(model.__name__))
def test_a_schema_takes_what_its_model_takes_and_nothing_else(model: type[BaseModel]) -> None:
    fits = reader(model).is_valid

    @THOROUGH
    @given(near_misses(model) | combinations(model))
    def agree(value: Any) -> None:
        if not is_beyond_json_schema(model, value):
            assert fits(value) == accepts(model, value), value

    agree()


def is_beyond_json_schema(model: type[BaseModel], value: Any) -> bool:
    """Whether it is a case that JSON Schema has no words for."""
    if model in {SendSignal, SetPresence}:
        return len(json.dumps(value)) > MAX_STATE_BYTES  # the length of the JSON
    return model is ResumeRooms and bool(twice(value))


def twice(value: Any) -> list[str]:
    """The rooms that are in a list more than once."""
    items = value.get("rooms") if isinstance(value, dict) else None
    names = [item.get("room") for item in items or () if isinstance(item, dict)] if isinstance(items, list) else []
    return [name for name in names if isinstance(name, str) and names.count(name) > 1]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("room.resume", {"rooms": [{"room": "lobby"}, {"room": "lobby", "limit": 5}]}),  # one room twice
        ("room.signal", {"room": "lobby", "name": "cursor", "data": "x" * 4096}),  # the length of the JSON
        ("presence.set", {"room": "lobby", "state": {"a": "x" * 1024}}),  # likewise
        ("chat.read", {"room": "lobby", "offset": 1.0}),  # a number without a fraction is an integer there
    ],
)
def test_the_gateway_alone_refuses_what_json_schema_has_no_words_for(kind: str, data: Any) -> None:
    model = HANDLERS[kind].schema
    assert reader(model).is_valid(data)
    assert not accepts(model, data)


@pytest.mark.parametrize("model", FROM_GATEWAY, ids=lambda model: str(model.__name__))
def test_what_a_model_sends_fits_its_schema(model: Any) -> None:
    schema = model.model_json_schema(mode="serialization")
    parts = {name: closed(each) for name, each in schema.get("$defs", {}).items()}
    fits = jsonschema_rs.Draft202012Validator(closed(schema) | {"$defs": parts}).is_valid

    @THOROUGH
    @given(near_misses(model) | combinations(model))
    def agree(value: Any) -> None:
        try:
            sent = model.model_validate_json(json.dumps(value))
        except (ValidationError, UnicodeEncodeError):
            return
        data = json.loads(encode(sent))
        if follows_its_rules(model, data):
            assert fits(data), data

    agree()


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"additionalProperties": False} | schema if "properties" in schema else schema


def follows_its_rules(model: Any, data: Any) -> bool:
    """Whether it is something that the gateway makes. It checks no rules of what it sends itself."""
    if model is ResumeReply:
        return all(follows_its_rules(JoinReply, each) for each in data["rooms"] if "error" not in each)
    if model is JoinReply:
        return ("events" in data) if data.get("recovered") else ("messages" in data)
    return model.__name__ != "Announcement" or ("text" in data) != ("body" in data)


class Inner(Wire):
    """A part of a model."""

    note: str | None = None


def test_a_subclass_of_wire_has_no_titles_that_pydantic_makes_up() -> None:
    class Own(Wire):
        inner: Inner
        some_name: str

    schema = Own.model_json_schema()
    assert "title" not in json.dumps(schema)
    assert schema["required"] == ["inner", "some_name"]


def test_a_title_that_a_developer_chooses_stays() -> None:
    class Own(Wire, title="My own"):
        name: str

    assert Own.model_json_schema()["title"] == "My own"


def test_a_field_of_any_kind_is_described_as_it_is_sent() -> None:
    class Own(Wire):
        model_config = ConfigDict(json_schema_extra=with_odd_fields)

        anything: Any
        maybe: Literal["a", None] = None
        one: Literal[1] = 1
        either: int | str | None = Field(default=None, description="Either of two")
        inner: Inner | None = None
        hidden: int = Field(default=0, exclude_if=lambda value: value == 0)

    schema = Own.model_json_schema(mode="serialization")
    assert schema["required"] == ["one"]
    assert schema["properties"]["maybe"] == {"enum": ["a"]}
    assert schema["properties"]["either"] == {
        "description": "Either of two",
        "anyOf": [{"type": "integer"}, {"type": "string"}],
    }
    assert schema["properties"]["inner"] == {"$ref": "#/$defs/Inner"}
    assert json.loads(encode(Own(anything=None))) == {"one": 1}


def with_odd_fields(schema: dict[str, Any]) -> None:
    """Add fields as only a developer writes them."""
    schema["properties"] |= {"open": True, "closed": False}
