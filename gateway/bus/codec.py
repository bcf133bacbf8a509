"""Encodes the messages of the bus as bytes, and decodes them.

A message consists of lines:

    jg1 <the sender's node id>
    {"room": "lobby", "epoch": "k3f9", "offset": 58, …}     the head
    {"type": "chat.message", "data": {…}}                   the event, as clients get it
    {"type": "chat.message", "data": {…}}                   the same for its sender, if it differs

A revocation has only a head. A message from one node to another has a head, and one line of JSON: its data. The
gateway writes JSON without raw line breaks, so the event is carried as it is: neither end encodes it a second time, and
the receiver never parses it.

The head is checked, because another version of the gateway, or another client of the server, can publish anything.
A wrong message is refused as a whole, with a reason that quotes nothing. Of the event, only both ends and the
encoding are checked.

During an upgrade, nodes of two versions share a bus. So keys that a head has besides the known ones do not count. A key
that limits the receivers of an event must come with a new `kind`, which an older node refuses: it would ignore the key.
"""

import re
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.bus.base import (
    MAX_NODE_MESSAGE_BYTES,
    MAX_NODE_SECONDS,
    BusEvent,
    Logged,
    MemberJoined,
    MemberLeft,
    MessageTooLong,
    NodeMessage,
    NodeMessageKind,
    OwnForm,
    Revoked,
    RoomEnded,
    ToAll,
    ToRoom,
    ToUser,
)
from gateway.transport.frames import Frame, text_frame

FAMILY = b"jg"
MAGIC = FAMILY + b"1 "
"""A different format gets a different number."""

NODE = re.compile(rb"[!-~]{1,64}")
"""The id of a node."""

Reason = Literal["foreign", "version", "head", "channel", "text"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Rejected(Exception):
    """A message that is not for the gateway, or that it cannot read."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


Name = Annotated[str, Field(min_length=1, max_length=256)]


class _Head(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _EventHead(_Head):
    kind: Literal["event"]
    room: Name | None = None
    user: Name | None = None
    epoch: Name | None = None
    offset: Annotated[int, Field(ge=1)] | None = None
    own_user: Name | None = None
    skip_user: Name | None = None
    new_user: Name | None = None
    arrivals: Annotated[int, Field(ge=1)] | None = None
    drop_user: Name | None = None
    departures: Annotated[int, Field(ge=0)] | None = None
    drop_all: bool = False
    droppable: bool = False


class _RevokedHead(_Head):
    kind: Literal["revoked"]
    user: Name
    sessions: frozenset[Name] | None


class _NodeHead(_Head):
    kind: Literal["node"]
    what: NodeMessageKind
    name: Name
    id: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0, le=MAX_NODE_SECONDS, allow_inf_nan=False)] | None = None


_HEAD: TypeAdapter[_EventHead | _RevokedHead | _NodeHead] = TypeAdapter(
    Annotated[_EventHead | _RevokedHead | _NodeHead, Field(discriminator="kind")]
)


def signature(node: str) -> bytes:
    """Return the beginning of each message of a node."""
    return b"%b%b\n" % (MAGIC, node.encode())


def pack(signed: bytes, event: BusEvent) -> bytes:
    """Encode an event, after a node's `signature`."""
    own = b""
    if isinstance(event, Logged) and event.own is not None:
        own = b"\n" + event.own.frame.texts[0]
    return b"%b%b\n%b%b" % (signed, orjson.dumps(_head(event)), event.frame.texts[0], own)


def _head(event: BusEvent) -> dict[str, object]:
    """Return the head of an event: each kind has parts of its own."""
    head: dict[str, object] = {"kind": "event", **_parts(event)}
    if event.frame.droppable:
        head["droppable"] = True
    return head


def _parts(event: BusEvent) -> dict[str, object]:
    match event:
        case Logged(room=room, epoch=epoch, offset=offset, own=None):
            return {"room": room, "epoch": epoch, "offset": offset}
        case Logged(room=room, epoch=epoch, offset=offset, own=OwnForm(user_id=user_id)):
            return {"room": room, "epoch": epoch, "offset": offset, "own_user": user_id}
        case ToRoom(room=room, skip_user=None):
            return {"room": room}
        case ToRoom(room=room, skip_user=user_id):
            return {"room": room, "skip_user": user_id}
        case MemberJoined(room=room, epoch=epoch, user_id=user_id, arrivals=arrivals):
            return {"room": room, "epoch": epoch, "new_user": user_id, "arrivals": arrivals}
        case MemberLeft(room=room, epoch=epoch, user_id=user_id, departures=departures):
            return {"room": room, "epoch": epoch, "drop_user": user_id, "departures": departures}
        case RoomEnded(room=room, epoch=epoch):
            return {"room": room, "epoch": epoch, "drop_all": True}
        case ToUser(user_id=user_id):
            return {"user": user_id}
    return {}


def pack_revoked(signed: bytes, revoked: Revoked) -> bytes:
    """Encode a revocation, after a node's `signature`."""
    sessions = None if revoked.sessions is None else sorted(revoked.sessions)
    return signed + orjson.dumps({"kind": "revoked", "user": revoked.user_id, "sessions": sessions})


def pack_node_message(signed: bytes, message: NodeMessage) -> bytes:
    """Encode a message between nodes, after a node's `signature`, or raise `MessageTooLong`."""
    head: dict[str, object] = {"kind": "node", "what": message.what, "name": message.name}
    if message.id is not None:
        head["id"] = message.id
    if message.seconds is not None:
        head["seconds"] = message.seconds
    data = orjson.dumps(message.data)
    if len(data) > MAX_NODE_MESSAGE_BYTES:
        raise MessageTooLong(len(data))
    return b"%b%b\n%b" % (signed, orjson.dumps(head), data)


def unpack(data: bytes, room: str | None, *, is_own: bool = False) -> BusEvent | Revoked | NodeMessage:
    """Decode a message, or raise `Rejected`.

    It comes from a room's channel, or from the one of all nodes, or from this node's own if `is_own`.
    """
    if not data.startswith(MAGIC):
        raise Rejected("version" if data.startswith(FAMILY) else "foreign")
    signed, _, rest = data.partition(b"\n")
    head_text, *texts = rest.split(b"\n")
    try:
        head = _HEAD.validate_json(head_text)
    except ValidationError:
        raise Rejected("head") from None
    if isinstance(head, _NodeHead):
        return _node_message(signed, head, texts, from_room=room is not None, is_own=is_own)
    if is_own:
        raise Rejected("channel")
    if isinstance(head, _RevokedHead):
        if texts:
            raise Rejected("text")
        if room is not None:
            raise Rejected("channel")
        return Revoked(head.user, head.sessions)
    if head.room != room:
        raise Rejected("channel")
    return _event(head, texts)


def _node_message(signed: bytes, head: _NodeHead, texts: list[bytes], *, from_room: bool, is_own: bool) -> NodeMessage:
    sender = signed.removeprefix(MAGIC)
    is_question, is_news = head.what == "ask", head.what == "news"
    if not NODE.fullmatch(sender) or (head.id is None) != is_news or (head.seconds is not None) != is_question:
        raise Rejected("head")
    # News is for all nodes, a question for one or for all, and all else for one.
    if from_room or (is_own and is_news) or not (is_own or is_question or is_news):
        raise Rejected("channel")
    return NodeMessage(sender.decode(), head.what, head.name, _data(texts), head.id, head.seconds)


def _data(texts: list[bytes]) -> dict[str, Any]:
    if len(texts) != 1 or len(texts[0]) > MAX_NODE_MESSAGE_BYTES:
        raise Rejected("text")
    try:
        data = orjson.loads(texts[0])
    except orjson.JSONDecodeError:
        raise Rejected("text") from None
    if not isinstance(data, dict):
        raise Rejected("text")
    return data


def _event(head: _EventHead, texts: list[bytes]) -> BusEvent:
    if len(texts) != (1 if head.own_user is None else 2):
        raise Rejected("text")
    frame = _frame(texts[0], droppable=head.droppable)
    own = None if head.own_user is None else OwnForm(head.own_user, _frame(texts[1]))
    event = _kind_of(head, frame, own)
    if _head(event) != head.model_dump(exclude_none=True, exclude_defaults=True):
        raise Rejected("head")  # some of its parts belong to another kind of event
    return event


def _kind_of(head: _EventHead, frame: Frame, own: OwnForm | None) -> BusEvent:
    """Return the event that the head describes, so far as its parts belong together."""
    match head:
        case _EventHead(room=str(room), epoch=str(epoch), drop_all=True):
            return RoomEnded(frame, room, epoch)
        case _EventHead(room=str(room), epoch=str(epoch), new_user=str(user_id), arrivals=int(arrivals)):
            return MemberJoined(frame, room, epoch, user_id, arrivals)
        case _EventHead(room=str(room), epoch=str(epoch), drop_user=str(user_id), departures=int(departures)):
            return MemberLeft(frame, room, epoch, user_id, departures)
        case _EventHead(room=str(room), epoch=str(epoch), offset=int(offset)):
            return Logged(frame, room, epoch, offset, own)
        case _EventHead(room=str(room)):
            return ToRoom(frame, room, head.skip_user)
        case _EventHead(user=str(user_id)):
            return ToUser(frame, user_id)
    return ToAll(frame)


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
