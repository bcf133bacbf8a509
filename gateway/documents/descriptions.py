"""What documents say of each message, event, error and close code."""

from dataclasses import dataclass
from typing import Any

from gateway.documents.components import Schema


@dataclass(frozen=True)
class MessageDescription:
    """A message type: its purpose, its scope, and the schemas of its data and its answer."""

    type: str
    summary: str
    about: str
    scope: str | None
    data: Schema
    reply: Schema
    """Of the reply's data; if the answer comes in chunks, that of the closing reply."""
    whole: Schema
    """Of the answer as one reply, for a client that asks for no chunks."""
    chunk: Schema | None = None
    """Of each chunk, or None for a type that never streams."""
    examples: tuple[Any, ...] = ()
    """Examples of `data`; there is always one."""
    reply_examples: tuple[Any, ...] = ()
    """Examples of the reply's data; there is always one."""
    ordered: bool = True
    """Whether later messages of the connection wait for the answer."""
    needs_connection: bool = False
    """Whether the type works on a WebSocket only, and not at `POST /call/{type}`."""
    may_be_empty: bool = False
    """Whether `data` may be left out, which stands for `{}`."""


@dataclass(frozen=True)
class EventDescription:
    """An event type: when it comes, and the schema of its data."""

    type: str
    summary: str
    about: str
    data: Schema
    examples: tuple[Any, ...] = ()
    """Examples of `data`; there is always one."""


@dataclass(frozen=True)
class ErrorDescription:
    """A status that answers a message: one of the gateway's table, or an application's own."""

    status: int
    name: str
    summary: str
    retryable: bool
    http_status: int
    examples: tuple[dict[str, Any], ...] = ()
    """Examples of the error, without the `type` and the `id` of its frame. Only 20000, which is no error, has none."""


@dataclass(frozen=True)
class CloseDescription:
    """A reason for which the gateway closes a connection, and the client's next step."""

    code: int
    reason: str
    reconnect: str
    meaning: str
