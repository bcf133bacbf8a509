"""The page as a whole."""

from collections.abc import Iterator

from gateway.documents import frames
from gateway.documents.catalog import Catalog
from gateway.documents.exports import FORMATS
from gateway.documents.markdown import inline_html
from gateway.documents.place import Place
from gateway.documents.plain import plain
from gateway.documents.reference import tables
from gateway.documents.reference.anchors import anchor
from gateway.documents.reference.entries import event_entry, message_entry, object_entry
from gateway.documents.reference.fields import Fields, linked
from gateway.documents.reference.html import Content, Html, tag
from gateway.documents.reference.samples import Sample, card, frame_sample
from gateway.documents.reference.sidebar import sidebar
from gateway.documents.topics import topics_of

_PAGES = (("messages", "Messages"), ("../docs", "HTTP API"), ("../redoc", "Redoc"), ("../", "Console"))


def page(catalog: Catalog, place: Place) -> str:
    """Return the page. Its links are relative, so it works below any path."""
    fields = Fields(catalog.schemas)
    objects = _objects(catalog)
    main = tag(
        "main",
        _start(place, catalog),
        _frames(),
        list(_topics(catalog, fields, place)),
        _section("statuses", "Status codes", _STATUSES, tables.statuses(catalog)),
        _section("closes", "Close codes", _CLOSES, tables.closes(catalog)),
        _section("objects", "Objects", "What messages, replies and events have in common.", None),
        [object_entry(name, catalog.schemas[name], fields) for name in objects],
    )
    body = tag("body", _head(), tag("div", sidebar(catalog, fields, objects), main, class_="shell"))
    return f"<!doctype html>\n{tag('html', _meta(place), body, lang='en')}\n"


_STATUSES = (
    "A status is an HTTP status times 100, plus a number of the gateway's own. An error keeps the connection open."
    " 60000 to 69999 belong to the application."
)
_CLOSES = (
    "Before the gateway closes a connection, it sends the event `bye` with the same code and reason. `reconnect` says"
    " what the client does next."
)
_CONNECTING = (
    "A client opens one WebSocket with an access token of `POST /token`. The first frame of the gateway is `welcome`."
    " Each text frame holds one JSON object. No value is encoded twice, so you can type each message by hand."
)
_PLACES = (
    "The token may come in the header `Authorization: Bearer`, in the subprotocols `gateway.v1, bearer.…`, in the query"
    " parameter `token`, or in a first message `auth`. A ticket of `POST /ws/ticket` goes into the query parameter"
    " `ticket`. With `rooms=1`, `welcome` has the user's rooms."
)


def _objects(catalog: Catalog) -> list[str]:
    """Return the names of objects inside others. What is the data of one message is shown there."""
    data = [*(each.data for each in catalog.messages), *(each.data for each in catalog.events)]
    answers = [answer for each in catalog.messages for answer in (each.reply, each.chunk or {})]
    inside = linked([*catalog.schemas.values(), *(schema for schema in (*data, *answers) if "$ref" not in schema)])
    return sorted(name for name in inside if catalog.schemas.get(name, {}).get("properties"))


def _meta(place: Place) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{place.name}: messages and events"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href="messages.css"),
        tag("script", type="module", src="messages.js"),
    )


def _head() -> Html:
    links = [tag("a", name, href=link, aria_current="page" if link == "messages" else None) for link, name in _PAGES]
    menu = tag("button", "Contents", type="button", popovertarget="contents", class_="menu")
    return tag(
        "header",
        tag("a", "json-gateway", href="#top", class_="brand"),
        tag("nav", links, aria_label="Pages"),
        menu,
        class_="top",
    )


def _start(place: Place, catalog: Catalog) -> Html:
    welcome = [each for each in catalog.events if each.type == "welcome"][:1]
    log_in = Sample("curl", f"curl -sS {place.http_url}/token \\\n  -d username=alice -d password=…")
    cards = [card("Log in", [log_in]), card("Connect", _connecting(place))]
    cards += [
        card("First frame", [frame_sample("JSON", frames.event_frame("welcome", data))])
        for each in welcome
        for data in each.examples[:1]
    ]
    downloads = [
        tag("a", name, href="../asyncapi.json" if name == "asyncapi" else f"export/{name}", title=each.about)
        for name, each in FORMATS.items()
    ]
    words = tag(
        "div",
        tag("h1", "Messages and events"),
        tag("p", _inline(_CONNECTING)),
        tag("p", _inline(_PLACES)),
        tag("p", "For other tools: ", tag("span", downloads, class_="downloads")),
        class_="words",
    )
    return tag("section", words, tag("div", cards, class_="samples"), class_="entry", id="top")


def _connecting(place: Place) -> Iterator[Sample]:
    yield Sample("wscat", f'wscat -c "{place.chat_url}?token=$TOKEN"')
    yield Sample(
        "JavaScript",
        f'import {{ connect }} from "{place.http_url}/client/gateway-client.js";\n\n'
        f'const gateway = connect("{place.http_url}", {{ getToken }});',
    )
    yield Sample(
        "Python",
        "from gateway_client import connect\n\n"
        f'async with connect("{place.http_url}", token=token) as gateway:\n    ...',
    )


def _frames() -> Html:
    return _section(
        "frames",
        "Kinds of frame",
        "A client ignores keys and event types that it does not know.",
        tables.kinds_of_frame(),
    )


def _topics(catalog: Catalog, fields: Fields, place: Place) -> Iterator[Content]:
    for topic in topics_of(catalog):
        yield tag(
            "header",
            tag("h2", topic.name),
            tag("p", _inline(topic.about)),
            class_="topic",
            id=anchor("topic", topic.name),
        )
        yield [message_entry(each, fields, place) for each in topic.messages]
        yield [event_entry(each, fields) for each in topic.events]


def _section(place: str, title: str, about: str, content: Content) -> Html:
    return tag("section", tag("h2", title), tag("p", _inline(about)), content, class_="wide", id=place)


def _inline(text: str) -> Html:
    return Html(inline_html(str(plain(text))))
