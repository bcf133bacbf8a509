"""Encodes the messages of the bus as bytes, and decodes them.

A message consists of lines:

    jg1 <the sender's node id>
    {"room": "lobby", "epoch": "k3f9", "offset": 58, …}     the head
    {"type": "chat.message", "data": {…}}                   the event, as clients get it
    {"type": "chat.message", "data": {…}}                   the same for its sender, if it differs

A revocation has only a head. The gateway writes JSON without raw line breaks, so the event is carried as it is: neither
end encodes it a second time, and the receiver never parses it.

The head is checked, because another version of the gateway, or another client of the server, can publish anything.
A wrong message is refused as a whole, with a reason that quotes nothing. Of the event, only both ends and the
encoding are checked.
"""

from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.bus.base import BusEvent, Revoked
from gateway.transport.frames import Frame, text_frame

FAMILY = b"jg"
MAGIC = FAMILY + b"1 "
"""A different format gets a different number."""

Reason = Literal["foreign", "version", "head", "channel", "text"]


class Rejected(Exception):
    """A message that is not for the gateway, or that it cannot read."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Head(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _EventHead(_Head):
    kind: Literal["event"]
    room: Name | None = None
    user: Name | None = None
    epoch: Name | None = None
    offset: Annotated[int, Field(ge=1)] | None = None
    own_user: Name | None = None
    skip_user: Name | None = None
    drop_user: Name | None = None
    departures: Annotated[int, Field(ge=0)] | None = None
    drop_all: bool = False
    droppable: bool = False


class _RevokedHead(_Head):
    kind: Literal["revoked"]
    user: Name
    sessions: frozenset[Name] | None


_HEAD: TypeAdapter[_EventHead | _RevokedHead] = TypeAdapter(
    Annotated[_EventHead | _RevokedHead, Field(discriminator="kind")]
)


def signature(node: str) -> bytes:
    """Return the beginning of each message of a node."""
    return b"%b%b\n" % (MAGIC, node.encode())


def pack(signed: bytes, event: BusEvent) -> bytes:
    """Encode an event, after a node's `signature`."""
    head: dict[str, object] = {"kind": "event"}
    for name in _PARTS:
        if (value := getattr(event, name)) is not None:
            head[name] = value
    if event.drop_all:
        head["drop_all"] = True
    if event.frame.droppable:
        head["droppable"] = True
    own = b"" if event.own_frame is None else b"\n" + event.own_frame.texts[0]
    return b"%b%b\n%b%b" % (signed, orjson.dumps(head), event.frame.texts[0], own)


_PARTS = ("room", "user", "epoch", "offset", "own_user", "skip_user", "drop_user", "departures")


def pack_revoked(signed: bytes, revoked: Revoked) -> bytes:
    """Encode a revocation, after a node's `signature`."""
    sessions = None if revoked.sessions is None else sorted(revoked.sessions)
    return signed + orjson.dumps({"kind": "revoked", "user": revoked.user_id, "sessions": sessions})


def unpack(data: bytes, room: str | None) -> BusEvent | Revoked:
    """Decode a message from a room's channel, or from the channel of all nodes, or raise `Rejected`."""
    if not data.startswith(MAGIC):
        raise Rejected("version" if data.startswith(FAMILY) else "foreign")
    _, _, rest = data.partition(b"\n")
    head_text, *texts = rest.split(b"\n")
    try:
        head = _HEAD.validate_json(head_text)
    except ValidationError:
        raise Rejected("head") from None
    if isinstance(head, _RevokedHead):
        if texts:
            raise Rejected("text")
        if room is not None:
            raise Rejected("channel")
        return Revoked(head.user, head.sessions)
    if head.room != room:
        raise Rejected("channel")
    return _event(head, texts)


def _event(head: _EventHead, texts: list[bytes]) -> BusEvent:
    if (head.offset is not None and head.epoch is None) or (head.epoch is not None and head.room is None):
        raise Rejected("head")
    if len(texts) != (1 if head.own_user is None else 2):
        raise Rejected("text")
    return BusEvent(
        _frame(texts[0], droppable=head.droppable),
        room=head.room,
        user=head.user,
        epoch=head.epoch,
        offset=head.offset,
        own_user=head.own_user,
        own_frame=None if head.own_user is None else _frame(texts[1]),
        skip_user=head.skip_user,
        drop_user=head.drop_user,
        departures=head.departures,
        drop_all=head.drop_all,
    )


def _frame(text: bytes, *, droppable: bool = False) -> Frame:
    # Bytes that are not UTF-8 would make every client close its connection (RFC 6455 §8.1).
    if not (text.startswith(b'{"type":"') and text.endswith(b"}")):
        raise Rejected("text")
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Rejected("text") from None
    return text_frame(text, droppable=droppable)
