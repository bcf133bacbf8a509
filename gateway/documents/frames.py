"""Frames as documents show them: their schemas, in words that all drafts of JSON Schema have, and whole examples."""

from typing import Any

from gateway.documents.catalog import MessageDescription, Schema
from schemas.base import TRACEPARENT_SCHEMA
from schemas.codes import Status

ID = "7"
"""The `id` in examples. The client chooses it, and the gateway returns it."""

CORRELATION_ID: Schema = {
    "description": "The client chooses it, and the gateway returns it unchanged in the answer.",
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 64},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    ],
}


def message_schema(message: MessageDescription, data: Schema, correlation: Schema) -> Schema:
    """Return the schema of the frame that a client sends."""
    required = ["type"] if message.may_be_empty else ["type", "data"]
    stream = {
        "type": "boolean",
        "default": False,
        "description": "Whether the answer comes in chunks, if the type streams. True needs an `id`.",
    }
    trace = {"type": "string", "description": TRACEPARENT_SCHEMA["description"]}
    asked = {"required": ["stream"], "properties": {"stream": {"const": True}}}
    optional = {"stream": stream, "traceparent": trace}
    return _frame(message.type, {"id": correlation, "data": data, **optional}, required, closed=True) | {
        "anyOf": [{"not": asked}, {"required": ["id"], "properties": {"id": {}}}]
    }


def reply_schema(data: Schema, correlation: Schema) -> Schema:
    """Return the schema of a reply."""
    status = {"type": "integer", "const": int(Status.OK)}
    return _frame("reply", {"id": correlation, "status": status, "data": data}, ["type", "id", "status", "data"])


def chunk_schema(data: Schema, correlation: Schema) -> Schema:
    """Return the schema of a part of an answer."""
    seq = {"type": "integer", "minimum": 1, "description": "Counts the chunks of an answer from 1."}
    return _frame("chunk", {"id": correlation, "seq": seq, "data": data}, ["type", "id", "seq", "data"])


def event_schema(type: str, data: Schema) -> Schema:
    """Return the schema of an event."""
    return _frame(type, {"data": data}, ["type", "data"])


def error_schema(error: Schema, correlation: Schema) -> Schema:
    """Return the schema of an error; `error` is that of its keys beside `type` and `id`."""
    nullable = {**correlation, "anyOf": [*correlation.get("anyOf", [correlation]), {"type": "null"}]}
    properties = {"type": {"type": "string", "const": "error"}, "id": nullable, **error.get("properties", {})}
    return {
        "type": "object",
        "description": error.get("description", ""),
        "properties": properties,
        "required": ["type", "id", *error.get("required", ())],
    }


def _frame(type: str, properties: Schema, required: list[str], *, closed: bool = False) -> Schema:
    frame = {
        "type": "object",
        "properties": {"type": {"type": "string", "const": type}, **properties},
        "required": required,
    }
    return frame | {"additionalProperties": False} if closed else frame


def message_frame(message: MessageDescription, data: Any) -> dict[str, Any]:
    """Return a frame that a client may send."""
    frame = {"type": message.type, "id": ID}
    return frame if message.may_be_empty and data == {} else frame | {"data": data}


def reply_frame(data: Any) -> dict[str, Any]:
    """Return a reply."""
    return {"type": "reply", "id": ID, "status": int(Status.OK), "data": data}


def chunk_frame(data: Any) -> dict[str, Any]:
    """Return the first chunk of an answer."""
    return {"type": "chunk", "id": ID, "seq": 1, "data": data}


def error_frame(error: dict[str, Any]) -> dict[str, Any]:
    """Return an error."""
    return {"type": "error", "id": ID, **error}


def event_frame(type: str, data: Any) -> dict[str, Any]:
    """Return an event."""
    return {"type": type, "data": data}
