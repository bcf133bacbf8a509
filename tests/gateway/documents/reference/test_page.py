"""The page of messages as HTML: it has everything, and no text of an application breaks it."""

from collections import Counter
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest
from pydantic import create_model

from gateway.documents.catalog import catalog_of
from gateway.documents.place import Place
from gateway.documents.reference.page import page
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.base import MsgHandler
from handlers.registry import BUILT_IN, HANDLERS, Registry
from schemas.base import Wire
from schemas.codes import Close, Status
from tests.gateway.documents.test_asyncapi import ODD_SCHEMAS
from tests.support.own_types import HOSTILE, OWN

LARGEST = 2_000_000
"""Bytes of a page. A schema of any size makes none that is larger."""


class Read(HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def read(registry: Registry = BUILT_IN, place: Place | None = None, routes: tuple[Route, ...] = ()) -> Read:
    return Read(page(catalog_of(registry, routes), place or Place()))


@pytest.fixture(scope="module")
def built_in() -> Read:
    return read()


@pytest.fixture(scope="module")
def own() -> Read:
    """The page of an application with odd and hostile types."""
    routes = tuple(Route(pattern=f"orders.create{n}", data=JsonSchema(each)) for n, each in enumerate(ODD_SCHEMAS))
    return read(OWN, routes=routes)


def test_each_message_event_status_and_close_code_has_its_place(built_in: Read) -> None:
    assert [each for each in built_in.ids if each.startswith("message-")] == [f"message-{each}" for each in HANDLERS]
    events = [each for each in built_in.ids if each.startswith("event-")]
    assert sorted(events) == sorted(f"event-{each.type}" for each in BUILT_IN.events)
    assert {f"status-{int(status)}" for status in Status} <= set(built_in.ids)
    assert {f"close-{close.code}" for close in Close} <= set(built_in.ids)
    for close in Close:
        assert close.meaning.replace("`", "") in built_in.text
    for status in Status:
        assert status.meaning.replace("`", "") in built_in.text


def test_an_entry_says_what_its_message_needs_takes_and_returns(built_in: Read) -> None:
    text = built_in.text
    start = text.index("chat.send message")
    entry = text[start : text.index("chat.append message")]
    for words in (
        "Sends a message to a room.",
        "scope chat:write",
        "1–4000 characters",
        "Exactly one of text, body",
        '"type": "chat.send"',
        'await gateway.call("chat.send", {"room": "lobby", "text": "Hello"});',
        "reply = await gateway.call('chat.send', {'room': 'lobby', 'text': 'Hello'})",
        """--json '{"room": "lobby", "text": "Hello"}'""",
        "http://127.0.0.1:8000/call/chat.send",
        '"status": 20000',
    ):
        assert words in entry, words
    assert "../#try=chat.send" in built_in.links


@pytest.mark.parametrize("whose", ["built_in", "own"])
def test_every_link_leads_somewhere_and_no_place_is_there_twice(whose: str, request: pytest.FixtureRequest) -> None:
    found: Read = request.getfixturevalue(whose)
    assert found.open == []
    assert [name for name, times in Counter(found.ids).items() if times > 1] == []
    for link in found.links:
        if link.startswith("#"):
            assert unquote(link[1:]) in found.ids, link
        elif not link.startswith("https://example.org/"):
            assert not link.startswith(("http", "//", "/", "javascript")), link


def test_texts_of_an_application_are_texts(own: Read, built_in: Read) -> None:
    assert own.tags["script"] == own.tags["link"] - 1 == 1
    assert "img" not in own.tags
    assert own.tags.keys() <= built_in.tags.keys() | {"strong", "em", "ul", "ol", "li", "pre", "i"}
    assert own.attributes <= built_in.attributes | {"rel"}
    assert not [name for name in own.attributes if name.startswith("on") or name == "style"]
    for part in ("<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "</code>", "javascript:alert(3)", "😈"):
        assert part in HOSTILE
        assert part in own.text
    assert "投票.送る" in own.text


def test_types_of_every_kind_have_words(own: Read) -> None:
    for words in (
        "sidesintegerrequired2–100How many sides each of the dice has.",
        "shapeCircle or Square",
        "eitherinteger or array of string",
        "cellsarray of (integer or string or null)",
        "pairarray of integer, string",
        "anythingany JSON",
        "by_nameobject of Circle",
        "branchesarray of Tree",
        "Line or string",
        'kind"circle"',
        "unordered",
        "streams",
    ):
        assert words.replace(" ", "") in own.text.replace(" ", ""), words
    assert "60001" in own.text
    assert "no_dice" in own.text


def test_a_page_about_huge_schemas_stays_small() -> None:
    leaf = create_model("Leaf", __base__=Wire, **{f"f{n}": (int, ...) for n in range(200)})  # type: ignore[call-overload]
    middle = create_model("Middle", __base__=Wire, **{f"m{n}": (leaf, ...) for n in range(200)})  # type: ignore[call-overload]
    top = create_model("Top", __base__=Wire, **{f"t{n}": (middle, ...) for n in range(200)})  # type: ignore[call-overload]

    class HugeHandler(MsgHandler[top, top]):  # type: ignore[valid-type]
        """Takes much."""

        schema = top

        async def handle(self, data: Any) -> Any:
            return data

    written = page(catalog_of(Registry(handlers={"huge": HugeHandler})), Place())
    assert len(written) < LARGEST
    assert "t199" in written
    assert "f199" in written


def test_the_page_knows_where_its_gateway_is() -> None:
    place = Place("https://chat.example.org/rt", "wss://chat.example.org/rt")
    text = read(place=place).text
    assert 'wscat -c "wss://chat.example.org/rt/ws/chat?token=$TOKEN"' in text
    assert "https://chat.example.org/rt/call/chat.send" in text
