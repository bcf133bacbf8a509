"""The catalog as AsyncAPI 3.0.0: the one document with all that goes over the WebSocket.

3.0.0 and not 3.1.0, which only adds the binding of ROS 2 and which generators of code refuse. The document is written
from the gateway's side: it receives what clients send, and it sends events.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from gateway.documents import frames, handshake
from gateway.documents.catalog import Catalog, ErrorDescription, EventDescription, MessageDescription, Schema
from gateway.documents.draft07 import draft07, draft07_of, has_reference
from gateway.documents.examples import example_of_schema
from gateway.documents.markdown import safe_markdown
from gateway.documents.names import Names, pascal_case
from gateway.documents.place import Files, Place
from gateway.documents.plain import plain_json
from gateway.documents.topics import topic_of, topics_of

VERSION = "3.0.0"

_SCHEMAS = "#/components/schemas/"
_TAGS = "#/components/tags/"
_CHANNEL = "chat"
_IN_CHANNEL = {"$ref": f"#/channels/{_CHANNEL}"}
_ABOUT = (
    "Each text frame of the WebSocket holds one JSON object. **Receive** operations are what a client sends, each with"
    " its reply; **send** operations are events, which come without a question. A message with an `id` gets exactly one"
    " reply or error with the same `id`. Clients ignore keys and event types that they do not know."
    " `x-status-codes` has the statuses of errors, and `x-close-codes` what a client does after a close."
)
_KINDS = {
    "message": "A client sends it.",
    "reply": "It answers a message, with the `id` of the message.",
    "chunk": "A part of an answer, before its reply, for a client that asks for a stream.",
    "error": "It takes the place of a reply.",
    "event": "The gateway sends it by itself. It has no `id`.",
}
"""The kinds of frame, as tags."""


def asyncapi(catalog: Catalog, place: Place) -> Files:
    """Return the document as a file."""
    return {"asyncapi.json": plain_json(document(catalog, place)) + "\n"}


def document(catalog: Catalog, place: Place) -> dict[str, Any]:
    """Return the document."""
    parts = _Parts(catalog)
    return {
        "asyncapi": VERSION,
        "info": {
            "title": place.name,
            "version": place.version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"$ref": _TAGS + name} for name in parts.tags],
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": handshake.server(place)},
        "channels": {_CHANNEL: handshake.channel() | {"messages": _of_channel(parts.messages)}},
        "operations": parts.operations,
        "components": {
            "messages": parts.messages,
            "schemas": parts.schemas,
            "securitySchemes": handshake.security_schemes(place, parts.scopes),
            "tags": parts.tags,
            "correlationIds": {
                "id": {"description": "The `id` of a message and of its answer.", "location": "$message.payload#/id"}
            },
        },
        "x-status-codes": [_status(each) for each in (*catalog.statuses, *catalog.errors)],
        "x-close-codes": [asdict(each) for each in catalog.closes],
    }


def _of_channel(messages: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}


class _Parts:
    """The parts of a document that grow with the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self.schemas: Schema = draft07(catalog.schemas, _SCHEMAS)
        self.messages: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.scopes = handshake.Scopes()
        self._schema_names = Names(self.schemas)
        self._message_names = Names()
        self._operation_names = Names()
        self.tags: dict[str, dict[str, str]] = {}
        self._tag_names = Names()
        self._tag_of = {name: self._add_tag(name, about) for name, about in _KINDS.items()}
        for topic in topics_of(catalog):
            if topic.name not in _KINDS:
                self._tag_of[topic.name] = self._add_tag(topic.name, topic.about)
        self._id = self._add_schema("CorrelationId", frames.CORRELATION_ID)
        self._error = self._add_error(catalog)
        for message in catalog.messages:
            self._add_call(message)
        for event in catalog.events:
            self._add_event(event)

    def _add_error(self, catalog: Catalog) -> str:
        payload = frames.error_schema(self._resolved(catalog.error), frames.CORRELATION_ID)
        examples = [
            _example(each.name, frames.error_frame(example), each.summary)
            for each in (*catalog.statuses, *catalog.errors)
            for example in each.examples
        ]
        return self._add_message("Error", "error", "error", payload, examples, summary=_KINDS["error"])

    def _add_call(self, message: MessageDescription) -> None:
        key = pascal_case(message.type, "Message")
        call = self._add_call_frame(key, message)
        answers = [self._add_reply(key, message), self._error]
        if message.chunk is not None:
            answers.append(self._add_chunk(key, message, message.chunk))
        security = {"security": [self.scopes.reference(message.scope)]} if message.scope else {}
        self.operations[self._operation_names.take(f"receive{key}")] = {
            "action": "receive",
            "channel": _IN_CHANNEL,
            "title": message.type,
            **_texts(message.summary, _details(message)),
            "tags": self._tags_of("message", message.type),
            **security,
            "messages": _references([call]),
            "reply": {"channel": _IN_CHANNEL, "messages": _references(answers)},
            **_facts(message),
        }

    def _add_call_frame(self, key: str, message: MessageDescription) -> str:
        return self._add_message(
            key,
            message.type,
            "message",
            frames.message_schema(message, self._written(message.data), self._id),
            _examples(frames.message_frame(message, data) for data in message.examples),
            **_texts(message.summary, _details(message)),
            **_facts(message),
        )

    def _add_reply(self, key: str, message: MessageDescription) -> str:
        data = self._written(message.reply)
        if message.chunk is not None and message.whole != message.reply:
            data = {"anyOf": [data, self._written(message.whole)]}
        return self._add_message(
            f"{key}Reply",
            f"{message.type} reply",
            "reply",
            frames.reply_schema(data, self._id),
            _examples(frames.reply_frame(data) for data in message.reply_examples),
            summary=f"The reply to `{message.type}`.",
        )

    def _add_chunk(self, key: str, message: MessageDescription, chunk: Schema) -> str:
        example = example_of_schema(chunk) if chunk else None
        return self._add_message(
            f"{key}Chunk",
            f"{message.type} chunk",
            "chunk",
            frames.chunk_schema(self._written(chunk), self._id),
            _examples([frames.chunk_frame("text" if example is None else example)]),
            summary=f"A part of the answer to `{message.type}`, for a message with `stream`.",
        )

    def _add_event(self, event: EventDescription) -> None:
        key = pascal_case(event.type, "Event")
        name = self._add_message(
            f"{key}Event",
            event.type,
            "event",
            frames.event_schema(event.type, self._written(event.data)),
            _examples(frames.event_frame(event.type, data) for data in event.examples),
            **_texts(event.summary, event.about),
        )
        self.operations[self._operation_names.take(f"send{key}")] = {
            "action": "send",
            "channel": _IN_CHANNEL,
            "title": event.type,
            **_texts(event.summary, event.about),
            "tags": self._tags_of("event", event.type),
            "messages": _references([name]),
        }

    def _add_message(
        self, key: str, name: str, kind: str, payload: Schema, examples: list[dict[str, Any]], **more: Any
    ) -> str:
        """Add a message with its frame's schema, and return its key."""
        key = self._message_names.take(key)
        self.messages[key] = {
            "name": name,
            "title": name,
            "contentType": "application/json",
            **more,
            "tags": self._tags_of(kind, name if kind in {"message", "event"} else None),
            **({} if kind == "event" else {"correlationId": {"$ref": "#/components/correlationIds/id"}}),
            "payload": self._add_schema(f"{key}Frame", payload),
            "examples": examples,
        }
        return key

    def _add_tag(self, name: str, about: str) -> dict[str, str]:
        key = self._tag_names.take(pascal_case(name))
        self.tags[key] = {"name": name, "description": safe_markdown(about)}
        return {"$ref": _TAGS + key}

    def _tags_of(self, kind: str, type: str | None) -> list[dict[str, str]]:
        names = [kind] if type is None else [kind, topic_of(type)]
        return [self._tag_of[name] for name in dict.fromkeys(names)]

    def _add_schema(self, wanted: str, schema: Schema) -> Schema:
        name = self._schema_names.take(wanted)
        self.schemas[name] = schema
        return {"$ref": _SCHEMAS + name}

    def _written(self, schema: Schema) -> Schema:
        return draft07_of(schema, self.schemas, _SCHEMAS)

    def _resolved(self, schema: Schema) -> Schema:
        name = schema.get("$ref", "").removeprefix(_SCHEMAS)
        found: Schema = self.schemas.get(name, schema)
        return found


def _references(messages: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"{_IN_CHANNEL['$ref']}/messages/{name}"} for name in messages]


def _status(status: ErrorDescription) -> dict[str, Any]:
    return {key: value for key, value in asdict(status).items() if key != "examples"}


def _details(message: MessageDescription) -> str:
    """Return what a reader must know besides the summary."""
    lines = [message.about, f"The token needs the scope `{message.scope}`." if message.scope else ""]
    if not message.ordered:
        lines.append("Later messages do not wait for its answer.")
    if message.needs_connection:
        lines.append("It works on a WebSocket only, and not over HTTP.")
    return "\n\n".join(filter(None, lines))


def _facts(message: MessageDescription) -> dict[str, Any]:
    facts = {"x-ordered": message.ordered, "x-streams": message.chunk is not None}
    return facts | ({"x-scope": message.scope} if message.scope else {})


def _texts(summary: str, description: str) -> dict[str, str]:
    texts = {"summary": summary, "description": description}
    return {key: safe_markdown(text) for key, text in texts.items() if text}


def _examples(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    usable = (frame for frame in found if not has_reference(frame))
    return [_example(f"example {number}", frame) for number, frame in enumerate(usable, 1)]


def _example(name: str, frame: dict[str, Any], summary: str = "") -> dict[str, Any]:
    return {"name": name} | _texts(summary, "") | {"payload": frame}
