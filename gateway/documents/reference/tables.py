"""The tables of the page: kinds of frame, statuses and close codes."""

from typing import Any

from gateway.documents.catalog import Catalog, ErrorDescription
from gateway.documents.frames import error_frame
from gateway.documents.markdown import inline_html
from gateway.documents.plain import plain
from gateway.documents.reference.anchors import anchor
from gateway.documents.reference.html import Content, Html, tag
from gateway.documents.reference.samples import card, frame_sample
from schemas.codes import Reconnect, Status

_NEXT = {
    Reconnect.NEVER: "Do not come back by yourself.",
    Reconnect.NEW_CREDENTIAL: "Get another token first.",
    Reconnect.AFTER_DELAY: "Come back after `after_ms`.",
    Reconnect.WITH_BACKOFF: "Come back after a delay that grows with each failure.",
}

_LONG = {"meaning", "when", "next step", "shape", ""}
"""The columns that have a line of their own on a phone."""
_LABELLED = {"HTTP", "retry"}
"""The columns with their head beside the value there."""

_KINDS = (
    ("message", '{"type": "chat.send", "id": "7", "data": {…}}', "The client sends it, and chooses `id`."),
    (
        "reply",
        '{"type": "reply", "id": "7", "status": 20000, "data": {…}}',
        "Each message with an `id` gets exactly one,",
    ),
    ("error", '{"type": "error", "id": "7", "status": 42200, …}', "or one error in its place."),
    ("chunk", '{"type": "chunk", "id": "7", "seq": 1, "data": …}', "Parts of an answer, for a message with `stream`."),
    ("event", '{"type": "chat.message", "data": {…}}', "The gateway sends it by itself. It has no `id`."),
)


def kinds_of_frame() -> Html:
    """Return the table of the kinds of frame."""
    rows = [(kind, tag("code", shape), _inline(words)) for kind, shape, words in _KINDS]
    return _table(("kind", "shape", ""), rows)


def statuses(catalog: Catalog) -> Html:
    """Return the table of all statuses, the application's own too, with an error as an example."""
    rows = [_status(each) for each in (*catalog.statuses, *catalog.errors)]
    table = _table(("status", "name", "meaning", "HTTP", "retry"), rows, "status")
    wrong = next(each for each in catalog.statuses if each.status == Status.VALIDATION_FAILED)
    details = {"details": [{"field": "data.text", "message": "Field required"}]}
    example = error_frame({**wrong.examples[0], "message": "wrong fields: `data.text`", **details})
    return tag("div", table, tag("div", card("Error", [frame_sample("JSON", example)]), class_="below"))


def _status(status: ErrorDescription) -> tuple[Content, ...]:
    return (
        tag("code", str(status.status)),
        tag("code", status.name),
        _inline(status.summary),
        str(status.http_status),
        "yes" if status.retryable else "no",
    )


def closes(catalog: Catalog) -> Html:
    """Return the table of close codes."""
    rows = [
        (
            tag("code", str(each.code)),
            tag("code", each.reason),
            tag("span", each.reconnect, class_=f"next {each.reconnect}"),
            _inline(each.meaning),
        )
        for each in catalog.closes
    ]
    steps = [(tag("span", each.value, class_=f"next {each.value}"), _inline(words)) for each, words in _NEXT.items()]
    return tag(
        "div", _table(("code", "reason", "reconnect", "when"), rows, "close"), _table(("reconnect", "next step"), steps)
    )


def _table(heads: tuple[str, ...], rows: Any, kind: str = "") -> Html:
    head = tag("tr", [tag("th", words, scope="col") for words in heads])
    seen: set[str] = set()
    body = [tag("tr", [_cell(*each) for each in zip(heads, row, strict=True)], id=_id(kind, row, seen)) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="table", tabindex="0")


def _cell(head: str, cell: Content) -> Html:
    label = head if head in _LABELLED else None
    return tag("td", cell, class_="long" if head in _LONG else None, data_label=label)


def _id(kind: str, row: tuple[Html, ...], seen: set[str]) -> str | None:
    """Return the id of a row: its number, and the name behind it if another row has that number."""
    if not kind:
        return None
    number, name = (cell.removeprefix("<code>").removesuffix("</code>") for cell in row[:2])
    found = anchor(kind, number if number not in seen else f"{number}-{name}")
    seen.add(number)
    return found


def _inline(text: str) -> Html:
    return Html(inline_html(str(plain(text))))
