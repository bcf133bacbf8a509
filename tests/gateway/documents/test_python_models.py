"""`gateway export python`: the models of the built-in messages, and of an application's own."""

import asyncio
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.place import Place
from gateway.documents.python_models import FILE, python
from gateway_client import Refused, connect, messages
from gateway_client.kinds import chunk_as, closing_reply_as, reply_as
from gateway_client.model import to_wire
from handlers.registry import BUILT_IN, Registry
from tests.conftest import OwnGateway
from tests.gateway.documents.odd_messages import WITH_ODD
from tests.gateway.documents.own_types import OWN
from tests.support.client import App
from tests.support.mypy import OPTIONS, mypy

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "clients/python/gateway_client" / FILE


def text_of(registry: Registry) -> str:
    [(name, text)] = python(catalog_of(registry), Place()).items()
    assert name == FILE
    return text


@contextmanager
def made(text: str) -> Iterator[types.ModuleType]:
    """Import a text. pydantic looks for the names in annotations among the imported modules."""
    module = types.ModuleType("made_messages")
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, FILE, "exec"), vars(module))
        yield module
    finally:
        del sys.modules[module.__name__]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(BUILT_IN | OWN)


@pytest.fixture
def own() -> Iterator[types.ModuleType]:
    with made(text_of(BUILT_IN | OWN)) as module:
        yield module


def test_the_client_ships_the_models_of_the_built_in_messages() -> None:
    again = "run: .venv/bin/gateway export python --force -o clients/python/gateway_client"
    assert SHIPPED.read_text() == text_of(BUILT_IN), again
    assert messages.MESSAGES.keys() == BUILT_IN.handlers.keys()
    assert messages.EVENTS.keys() == {event.type for event in BUILT_IN.events}


def test_every_example_goes_through_its_model_unchanged(catalog: Catalog, own: types.ModuleType) -> None:
    for message in catalog.messages:
        model = own.MESSAGES[message.type]
        for example in message.examples:
            assert to_wire(model.read(example)) == example, message.type
        for reply in message.reply_examples:
            closing_reply_as(model, message.type, reply)
    for event in catalog.events:
        for example in event.examples:
            read = own.EVENTS[event.type].read(example)
            assert read.model_dump(mode="json", exclude_unset=True) == example, event.type


def test_a_model_is_strict_where_a_program_makes_it_and_tolerant_where_it_reads(own: types.ModuleType) -> None:
    with pytest.raises(ValidationError, match="texxt"):
        own.SendMessage(room="lobby", texxt="hi")
    with pytest.raises(ValidationError, match="valid string"):
        own.SendMessage(room=7, text="hi")
    with pytest.raises(ValidationError, match="moderator"):
        own.SetRole(room="lobby", user="bob", role="king")
    newer = {"room": "lobby", "user": "bob", "role": "king", "since": {"when": "now"}}
    assert own.RoomRole.read(newer).role == "king"
    with pytest.raises(ValueError, match="role"):
        own.RoomRole.read({"room": "lobby", "user": "bob"})
    assert to_wire(own.SetPresence(room="lobby", state=None)) == {"room": "lobby", "state": None}
    assert to_wire(own.SendMessage(room="lobby", text="hi")) == {"room": "lobby", "text": "hi"}


def test_names_that_python_does_not_allow_get_others_and_keep_their_own_on_the_wire(own: types.ModuleType) -> None:
    odd = own.OddOne(anything=None, with_dash="a", größe="b")
    assert to_wire(odd) == {"anything": None, "with-dash": "a", "größe": "b"}
    assert {own.MESSAGES[name].type for name in OWN.handlers} == set(OWN.handlers)
    assert to_wire(own.MESSAGES["数"](root=[1, 2])) == [1, 2]


def test_recursion_unions_and_streams_are_read(own: types.ModuleType) -> None:
    tree = reply_as(own.Tree, "tree.plant", {"name": "oak", "children": [{"name": "twig", "children": []}]})
    assert tree.children[0].name == "twig"
    zoo = reply_as(own.Zoo, "zoo.open", {"first": {"kind": "dog", "tricks": []}, "others": ["snake", None]})
    assert zoo.others == ["snake", None]
    assert chunk_as(own.StoryTell, "story.tell", "Once ") == "Once "
    assert chunk_as(own.StoryTell, "story.tell", {"name": "oak", "children": []}).name == "oak"
    assert closing_reply_as(own.StoryTell, "story.tell", {"words": 1}).words == 1
    assert reply_as(own.StoryTell, "story.tell", {"words": 1, "items": ["Once "]}).items == ["Once "]


def test_types_that_no_source_likes_change_nothing_but_themselves() -> None:
    with made(text_of(WITH_ODD)) as module:
        assert set(module.MESSAGES) == WITH_ODD.handlers.keys()
        assert len({model.__name__ for model in module.MESSAGES.values()}) == len(module.MESSAGES)


def test_schemas_of_routes_that_say_little_or_too_much_become_any() -> None:
    schema = {
        "type": "object",
        "required": ["self", "from"],
        "properties": {
            "self": {"$ref": "#/components/schemas/Loop"},
            "from": {"type": ["string", "null"]},
            "copy": {"enum": [1.5, {"a": 1}]},
            "text": {"allOf": [{"type": "string"}]},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a b": {"const": "x"}}}},
            "model_config": {"not": {}},
            "other": {"$ref": "http://example.com/elsewhere"},
            "_x": True,
            "1": {"type": "integer", "default": 3},
        },
    }
    catalog = catalog_of(BUILT_IN)
    loops = {"Loop": {"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Loop"}}, {"type": "null"}]}}
    [ping] = [each for each in catalog.messages if each.type == "ping"]
    described = replace(
        catalog,
        messages=(replace(ping, type="Any", data=schema, examples=()),),
        events=(),
        schemas={**catalog.schemas, **loops},
    )
    text = python(described, Place())[FILE]
    data = {"self": [[None]], "from": None, "copy": 2, "list": [{"a b": "x"}], "_x": 1, "1": 4}
    assert "Loop: TypeAlias = list[Any] | None" in text
    with made(text) as module:
        model = module.MESSAGES["Any"]
        assert to_wire(model.read(data)) == data
        assert to_wire(model.read({"self": [], "from": "a"})) == {"self": [], "from": "a"}


async def test_odd_types_of_an_application_are_called_by_their_models(
    own_gateway: OwnGateway, own: types.ModuleType
) -> None:
    server = own_gateway(registry=BUILT_IN | OWN)
    async with App(server) as app, asyncio.timeout(20):
        async with connect(server.url, token=await app.token("alice")) as gateway:
            page = await gateway.call(own.MESSAGES["größe/ü"]())
            assert [tree.name for tree in page.items] == ["oak"]
            assert await gateway.call(own.MESSAGES["数"](root=[1, 2])) == 3
            oak = own.Tree(name="oak", children=[own.Tree(name="twig")])
            assert (await gateway.call(oak)).children[0].name == "twig"
            odd = await gateway.call(own.OddOne(anything=[1], with_dash="a", größe="b"))
            assert (odd.with_dash, odd.größe, odd.colour) == ("a", "b", "red")
            with pytest.raises(Refused, match="card"):
                await gateway.call(own.Pay(card="1", cash=1))
            async with gateway.stream(own.StoryTell()) as story:
                assert [chunk async for chunk in story] == ["Once "]
            assert story.reply == own.Told(words=1)


@pytest.mark.server
def test_mypy_takes_the_models_of_every_kind_of_schema(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text_of(BUILT_IN | OWN))
    (tmp_path / "program.py").write_text(
        "from gateway_client import Gateway, connect\n"
        "from messages import MarchenErzahlt, SendMessage, StoryTell, Tree\n\n"
        "async def talk(gateway: Gateway) -> None:\n"
        "    reveal_type(await gateway.call(SendMessage(room='lobby', text='hi')))\n"
        "    reveal_type((await gateway.call(Tree(name='oak'))).children)\n"
        "    reveal_type(await anext(gateway.events(MarchenErzahlt)))\n"
        "    async with gateway.stream(StoryTell()) as story:\n"
        "        reveal_type(await anext(story))\n"
        "    reveal_type(story.reply)\n"
        "    reveal_type(await gateway.call('dice.roll', {'sides': 6}))\n"
        "    SendMessage(room='lobby', texxt='hi')\n"
    )
    found = mypy(tmp_path, *OPTIONS, "program.py").stdout
    revealed = [line.split('"')[1].replace("messages.", "") for line in found.splitlines() if "Revealed" in line]
    assert revealed == ["SendReply", "list[TreePlantTree]", "MarchenErzahlt", "str | TreePlantTree", "Told", "Any"]
    [wrong] = [line for line in found.splitlines() if " error: " in line]
    assert 'Unexpected keyword argument "texxt"' in wrong
