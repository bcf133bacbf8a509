"""The list of all entries, with a search."""

from collections.abc import Iterable, Iterator

from gateway.documents.catalog import Catalog, EventDescription, MessageDescription
from gateway.documents.markdown import plain_text
from gateway.documents.plain import plain
from gateway.documents.reference.anchors import link_to
from gateway.documents.reference.fields import Fields
from gateway.documents.reference.html import Html, tag
from gateway.documents.topics import topics_of

LONGEST_WORDS = 400
"""Characters that the search looks at, of each entry."""


def sidebar(catalog: Catalog, fields: Fields, objects: Iterable[str]) -> Html:
    """Return the sidebar."""
    search = tag(
        "input",
        type="search",
        id="filter",
        placeholder="Search",
        aria_label="Search",
        autocomplete="off",
        spellcheck="false",
        autocapitalize="none",
    )
    groups = [
        _group(
            "Overview", [("top", "Connecting", ""), ("frames", "Kinds of frame", "message reply error chunk event")]
        ),
        *_topics(catalog, fields),
        _group(
            "Codes", [("statuses", "Status codes", _statuses(catalog)), ("closes", "Close codes", _closes(catalog))]
        ),
        _group("Objects", [(link_to("object", name)[1:], name, "") for name in objects], is_code=True),
    ]
    empty = tag("p", "Nothing has these words.", id="nothing", hidden=True)
    return tag(
        "nav",
        tag("div", search, tag("kbd", "/"), class_="search"),
        groups,
        empty,
        id="contents",
        popover=True,
        aria_label="Contents",
    )


def _topics(catalog: Catalog, fields: Fields) -> Iterator[Html]:
    for topic in topics_of(catalog):
        entries = [
            *(_link("message", each, fields) for each in topic.messages),
            *(_link("event", each, fields) for each in topic.events),
        ]
        yield tag("details", tag("summary", topic.name), tag("ul", entries), open=True)


def _link(kind: str, what: MessageDescription | EventDescription, fields: Fields) -> Html:
    scope = what.scope if isinstance(what, MessageDescription) else None
    words = " ".join(filter(None, (kind, plain_text(str(plain(what.summary))), scope, *fields.names(what.data))))
    mark = tag("span", "↓" if kind == "event" else "↑", class_=f"kind {kind}", title=kind)
    link = tag("a", mark, tag("code", what.type), href=link_to(kind, what.type), data_words=words[:LONGEST_WORDS])
    return tag("li", link)


def _group(title: str, links: Iterable[tuple[str, str, str]], *, is_code: bool = False) -> Html:
    items = [
        tag("li", tag("a", tag("code", name) if is_code else name, href=f"#{place}", data_words=words))
        for place, name, words in links
    ]
    return tag("details", tag("summary", title), tag("ul", items), open=not is_code)


def _statuses(catalog: Catalog) -> str:
    return " ".join(f"{each.status} {each.name}" for each in (*catalog.statuses, *catalog.errors))


def _closes(catalog: Catalog) -> str:
    return " ".join(f"{each.code} {each.reason}" for each in catalog.closes)
