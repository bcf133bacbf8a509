"""Frames: encoded once, then shared by everyone who gets them."""

from dataclasses import dataclass

import orjson
from pydantic import BaseModel

from schemas.base import Event
from schemas.codes import Close, Status
from schemas.errors import ErrorBody
from schemas.events.system import Bye


@dataclass(frozen=True, slots=True)
class Frame:
    """One JSON text, ready to send. A droppable one is the first to go when its reader is slow."""

    text: str
    droppable: bool = False

    @property
    def size(self) -> int:
        """How much it counts against an outbox: characters, so at least a quarter of its bytes."""
        return len(self.text)


def reply(id: int | str, data: BaseModel) -> Frame:
    """Encode the reply to a message."""
    body = data.model_dump_json(exclude_none=True)
    return Frame(f'{{"type":"reply","id":{_id(id)},"status":{Status.OK:d},"data":{body}}}')


def error(id: int | str | None, body: ErrorBody) -> Frame:
    """Encode an error: in place of the reply to a message, or for a frame that had no readable id."""
    return Frame(f'{{"type":"error","id":{_id(id)},{body.model_dump_json(exclude_none=True)[1:]}')


def event(event: Event, *, droppable: bool = False) -> Frame:
    """Encode an event."""
    return Frame(f'{{"type":"{event.type}","data":{event.model_dump_json(exclude_none=True)}}}', droppable)


def bye(close: Close, after_ms: int | None = None) -> Frame:
    """Encode the last frame before a close."""
    return event(Bye(code=close.code, reason=close.reason, reconnect=close.reconnect, after_ms=after_ms))


def _id(id: int | str | None) -> str:
    return orjson.dumps(id).decode()
