"""The catalog as JSON Schema, draft 2020-12: one document with all of it, and a file for each message and event.

Each file stands alone: its references lead to its own `$defs`. `index.json` says which file is about what.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gateway.documents import frames
from gateway.documents.catalog import Catalog, EventDescription, MessageDescription, Schema
from gateway.documents.components import REF, moved, reached
from gateway.documents.names import Names
from gateway.documents.place import Files, Place
from gateway.documents.plain import plain_json

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WHOLE = "gateway.schema.json"
INDEX = "index.json"
DEFS = "#/$defs/"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def json_schema(catalog: Catalog, place: Place) -> Files:
    """Return the files."""
    paths = Names()
    messages = {each.type: _files_of(each, paths) for each in catalog.messages}
    events = {each.type: {"data": (_path("events", each.type, paths), each.data)} for each in catalog.events}
    files = {WHOLE: _text(_whole(catalog, place)), INDEX: _text(_index(catalog, place, messages, events))}
    for type_, parts in [*messages.items(), *events.items()]:
        for part, (path, schema) in parts.items():
            files[path] = _text(_alone(catalog, f"{type_}: {part}", schema))
    return files


Parts = dict[str, tuple[str, Schema]]
"""What there is of a type, such as its `data`: the path of the file, and the schema in it."""


def _files_of(message: MessageDescription, paths: Names) -> Parts:
    schemas = {"data": message.data, "reply": message.reply}
    if message.chunk is not None:
        schemas |= {"whole": message.whole, "chunk": message.chunk}
    folders = {"data": "data", "reply": "replies", "whole": "wholes", "chunk": "chunks"}
    return {part: (_path(folders[part], message.type, paths), schema) for part, schema in schemas.items()}


def _path(folder: str, type: str, paths: Names) -> str:
    name = _UNFIT.sub("-", type).strip("-.") or "type"
    return f"{paths.take(f'{folder}/{name}')}.schema.json"


def _alone(catalog: Catalog, title: str, schema: Schema) -> Schema:
    """Return the schema as a document of its own, with what it refers to."""
    needed = {name: moved(catalog.schemas[name], DEFS) for name in reached(schema, catalog.schemas)}
    found = {"$schema": DIALECT, "title": title, **moved(schema, DEFS)}
    return found | {"$defs": needed} if needed else found


def _whole(catalog: Catalog, place: Place) -> Schema:
    """Return the schema of every frame, with all others in its `$defs`."""
    names = Names(catalog.schemas)
    to_gateway, from_gateway = names.take("FrameToGateway"), names.take("FrameFromGateway")
    return {
        "$schema": DIALECT,
        "title": f"Frames of {place.name} {place.version}",
        "anyOf": [{"$ref": DEFS + to_gateway}, {"$ref": DEFS + from_gateway}],
        "$defs": {
            to_gateway: {"description": "A message from a client.", "oneOf": _from_clients(catalog)},
            from_gateway: {"description": "A reply, a chunk, an error or an event.", "oneOf": _to_clients(catalog)},
            **catalog.schemas_at(DEFS),
        },
    }


def _from_clients(catalog: Catalog) -> list[Schema]:
    return [
        {"description": each.summary} | frames.message_schema(each, moved(each.data, DEFS), frames.CORRELATION_ID)
        for each in catalog.messages
    ]


def _to_clients(catalog: Catalog) -> list[Schema]:
    """Return the frames from the gateway. A reply alone does not say which message it answers."""
    error = catalog.schemas[catalog.error["$ref"].removeprefix(REF)]
    return [
        frames.reply_schema({}, frames.CORRELATION_ID),
        frames.chunk_schema({}, frames.CORRELATION_ID),
        frames.error_schema(moved(error, DEFS), frames.CORRELATION_ID),
        *(
            {"description": each.summary} | frames.event_schema(each.type, moved(each.data, DEFS))
            for each in catalog.events
        ),
    ]


def _index(catalog: Catalog, place: Place, messages: Mapping[str, Parts], events: Mapping[str, Parts]) -> Any:
    """Return what there is, with the path of each file."""
    return {
        "name": place.name,
        "version": place.version,
        "frames": WHOLE,
        "messages": {each.type: _of_message(each, messages[each.type]) for each in catalog.messages},
        "events": {each.type: _of_event(each, events[each.type]) for each in catalog.events},
        "statuses": [asdict(each) for each in (*catalog.statuses, *catalog.errors)],
        "closes": [asdict(each) for each in catalog.closes],
    }


def _of_message(message: MessageDescription, parts: Parts) -> dict[str, Any]:
    return {
        "summary": message.summary,
        "about": message.about,
        "scope": message.scope,
        "ordered": message.ordered,
        "needs_connection": message.needs_connection,
        "files": {part: path for part, (path, _) in parts.items()},
        "examples": list(message.examples),
        "reply_examples": list(message.reply_examples),
    }


def _of_event(event: EventDescription, parts: Parts) -> dict[str, Any]:
    return {
        "summary": event.summary,
        "about": event.about,
        "files": {part: path for part, (path, _) in parts.items()},
        "examples": list(event.examples),
    }


def _text(document: Any) -> str:
    return plain_json(document) + "\n"
