"""The entries of the page: a message or an event, with its fields on one side and its examples on the other."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from gateway.documents import frames
from gateway.documents.catalog import EventDescription, MessageDescription, Schema
from gateway.documents.examples import example_of_schema
from gateway.documents.markdown import inline_html, to_html
from gateway.documents.place import Place
from gateway.documents.plain import plain
from gateway.documents.reference.anchors import anchor, link_to
from gateway.documents.reference.fields import Fields
from gateway.documents.reference.html import Content, Html, tag
from gateway.documents.reference.samples import calls, card, frame_sample

LONGEST_TEXT = 20_000
"""Characters of a docstring that the page shows."""


def message_entry(message: MessageDescription, fields: Fields, place: Place) -> Html:
    """Return the entry of a message."""
    words = [
        _facts(message),
        _part("Data", _shown(message.data, fields, message), "may be left out" if message.may_be_empty else ""),
        None if message.chunk is None else _part("Chunks", fields.of(message.chunk), "with `stream`, before the reply"),
        _part("Reply", _shown(message.reply, fields, message)),
    ]
    return _entry("message", message, words, list(_message_cards(message, place)))


def event_entry(event: EventDescription, fields: Fields) -> Html:
    """Return the entry of an event."""
    examples = [frames.event_frame(event.type, data) for data in event.examples]
    cards = [
        card(_numbered("Event", number, examples), [frame_sample("JSON", frame)])
        for number, frame in enumerate(examples)
    ]
    return _entry("event", event, [_part("Data", _shown(event.data, fields, event))], cards)


def object_entry(name: str, schema: Schema, fields: Fields) -> Html:
    """Return the entry of an object that several messages have."""
    about = schema.get("description", "")
    words = [tag("div", Html(to_html(str(plain(about))[:LONGEST_TEXT])), class_="prose"), fields.own(name)]
    head = tag("h3", tag("a", tag("code", name), href=link_to("object", name)))
    return tag("section", tag("div", head, words, class_="words"), class_="entry", id=anchor("object", name))


def _entry(kind: str, what: MessageDescription | EventDescription, words: Content, cards: list[Html]) -> Html:
    head = tag("h3", tag("a", tag("code", what.type), href=link_to(kind, what.type)), " ", tag("small", kind))
    summary = tag("p", Html(inline_html(str(plain(what.summary))[:LONGEST_TEXT])), class_="summary")
    about = tag("div", Html(to_html(str(plain(what.about))[:LONGEST_TEXT])), class_="prose") if what.about else None
    return tag(
        "section",
        tag("div", head, summary, about, words, class_="words"),
        tag("div", cards, class_="samples"),
        class_="entry",
        id=anchor(kind, what.type),
    )


def _shown(schema: Schema, fields: Fields, owner: MessageDescription | EventDescription) -> Content:
    """Return the fields of a schema, after its description if that is not the one of the whole entry."""
    about = fields.about(schema)[:LONGEST_TEXT]
    is_new = bool(about) and not about.startswith(owner.summary)
    return [tag("div", Html(to_html(about)), class_="prose") if is_new else None, fields.of(schema)]


def _facts(message: MessageDescription) -> Content:
    facts: Iterable[tuple[bool, Content, str]] = (
        (bool(message.scope), ["scope ", tag("code", message.scope)], "The token needs this scope."),
        (not message.ordered, "unordered", "Later messages do not wait for its answer."),
        (message.chunk is not None, "streams", "Its answer may come in chunks."),
        (message.needs_connection, "WebSocket only", "It is not at POST /call."),
    )
    badges = [tag("li", words, title=why) for holds, words, why in facts if holds]
    return tag("ul", badges, class_="facts") if badges else None


def _part(title: str, content: Content, note: str = "") -> Html:
    words = tag("span", Html(inline_html(note)), class_="note") if note else None
    return tag("div", tag("h4", title, " ", words), content, class_="part")


def _message_cards(message: MessageDescription, place: Place) -> Iterable[Html]:
    for number, data in enumerate(message.examples):
        frame = frames.message_frame(message, data)
        asks = {key: value for key, value in frame.items() if key != "data"} | {"stream": True}
        shown = frame if message.chunk is None else asks | {key: frame[key] for key in ("data",) if key in frame}
        tries = (
            tag("a", "Try it", href=f"../#try={quote(str(plain(message.type)), safe='')}", class_="try")
            if not number
            else None
        )
        samples = [frame_sample("JSON", shown), *calls(message, data, place)]
        yield card(_numbered("Message", number, message.examples), samples, tries)
    if message.chunk is not None:
        yield card("Chunk", [frame_sample("JSON", frames.chunk_frame(_chunk_of(message.chunk)))])
    for number, data in enumerate(message.reply_examples):
        yield card(_numbered("Reply", number, message.reply_examples), [frame_sample("JSON", frames.reply_frame(data))])


def _chunk_of(chunk: Schema) -> Any:
    found = example_of_schema(chunk) if chunk else None
    return "text" if found is None else found


def _numbered(title: str, number: int, examples: Any) -> str:
    return f"{title} {number + 1}" if len(examples) > 1 else title
