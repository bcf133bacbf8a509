"""The client's copy of a room: its position, and the newest messages in their newest state.

Only the reader's task changes it, and it never waits in between. So no event can come between a reply and the position
that the reply names.
"""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from gateway_client.errors import Refused
from gateway_client.hub import Hub
from gateway_client.messages import Message, Position
from gateway_client.model import LocalEvent

log = logging.getLogger("gateway_client")

State = Literal["idle", "joined", "left", "refused"]
Reason = Literal["epoch_changed", "too_old", "too_many", "position_lost"]

LOGGED = {"chat.message", "chat.edited", "chat.deleted", "chat.appended"}
"""The events that take an offset."""

MOST_KNOWN = 100
"""The messages to remember of a room, in case that their text grows."""


class Gap(LocalEvent):
    """The client's copy of a room has a hole. It goes on from `position`, with the newest `messages`."""

    type: ClassVar[str] = "gap"

    room: str
    reason: Reason | str
    lost: Position
    """The position that could not be resumed."""
    position: Position
    messages: list[Message]


class Changed(LocalEvent):
    """A message of a room is new, or has changed."""

    type: ClassVar[str] = "changed"
    hidden: ClassVar[bool] = True

    message: Message


def changed_message(type: str, data: Any) -> Message | None:
    """Return what a loop over the messages of a room gets."""
    return data.message if type == Changed.type and isinstance(data, Changed) else None


class RoomLog:
    """What the client has of a room."""

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.state: State = "idle"
        self.position: Position | None = None
        self.why: Refused | None = None
        self.hears = False
        """Whether this connection has joined the room. Before that, changes would come out of their order."""
        self.unknown: set[int] = set()
        """The offsets of messages that have grown, and are to be read again."""
        self._lost: Position | None = None
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._hub = hub

    # ---- replies ----

    def adopt(self, reply: Any) -> None:
        """Take the position of a reply that the program reads itself. Raise `ValueError` if it has none."""
        self._begin(reply)
        for message in _objects(reply, "messages"):
            self._know(message)

    def joined(self, reply: Any) -> None:
        """Take a reply, and deliver what was missed. Raise `ValueError` if it has no position."""
        before = self.position or self._lost
        recovered = isinstance(reply, Mapping) and reply.get("recovered") is True and self.position is not None
        if recovered:
            self.state, self.hears = "joined", True
            for event in _objects(reply, "events"):
                self.take(str(event.get("type")), event.get("data"))
        self._begin(reply)
        if before is not None and not recovered:
            self._hole(before, reply)
        for message in _objects(reply, "messages"):
            self._know(message, tell=before is not None)

    def forget_position(self) -> None:
        """Note that the gateway does not know the position. The next reply has a hole before it."""
        self._lost = self.position
        self.position = None

    def refuse(self, refused: Refused) -> None:
        """Note that the room is closed to the user."""
        self.state, self.why = "refused", refused
        self._hub.close_room(self.name, refused)

    def leave(self) -> None:
        """Note that the user is in the room no more."""
        if self.state == "joined":
            self.state = "left"
        self._hub.close_room(self.name, None)

    def _begin(self, reply: Any) -> None:
        epoch, offset = (reply.get("epoch"), reply.get("offset")) if isinstance(reply, Mapping) else (None, None)
        if not isinstance(epoch, str) or not isinstance(offset, int):
            raise ValueError(f"expected the position of the room {self.name}, got {reply!s:.200}")  # noqa: TRY004
        if self.position is not None and self.position.epoch == epoch:
            offset = max(offset, self.position.offset)
        self.state, self.why, self._lost, self.hears = "joined", None, None, True
        self.position = Position(epoch=epoch, offset=offset)

    def _hole(self, before: Position, reply: Mapping[str, Any]) -> None:
        assert self.position is not None  # noqa: S101 - `_begin` has set it
        self._known.clear()
        reason = str(reply.get("reason") or "position_lost")
        messages = [message for message in map(_message, _objects(reply, "messages")) if message is not None]
        gap = Gap(room=self.name, reason=reason, lost=before, position=self.position, messages=messages)
        self._hub.report(gap, self.name)

    # ---- events ----

    def take(self, type: str, data: Any) -> bool:
        """Deliver an event of the room. Return false if the room has to be joined again."""
        if type in LOGGED and not self.hears:
            return True  # the reply to the join brings it
        if type in LOGGED and self.position is not None:
            epoch, changed = (data.get("epoch"), data.get("changed")) if isinstance(data, Mapping) else (None, None)
            if not isinstance(changed, int) or epoch != self.position.epoch:
                return False
            if changed <= self.position.offset:
                return True  # it came before
            self.position = Position(epoch=self.position.epoch, offset=changed)
            self._hub.offer(type, data, self.name)
            self._grow(data) if type == "chat.appended" else self._know(data, tell=True)
        else:
            self._hub.offer(type, data, self.name)
        return True

    def read_again(self, data: Any) -> None:
        """Take a message that was read because its text had grown."""
        known = self._known.get(str(data.get("id")))
        if known is None or known.get("changed", 0) < data.get("changed", 0):
            self._know(data, tell=True)

    def _know(self, data: Mapping[str, Any], *, tell: bool = False) -> None:
        kept = {key: value for key, value in data.items() if key != "at"}
        self._known.pop(str(data.get("id")), None)
        self._known[str(data.get("id"))] = kept
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        if tell:
            self._tell(kept)

    def _grow(self, piece: Mapping[str, Any]) -> None:
        known = self._known.get(str(piece.get("id")))
        text = None if known is None else known.get("text")
        if isinstance(text, str) and len(text) == piece.get("at") and isinstance(piece.get("text"), str):
            grown = {"changed": piece["changed"], "text": text + piece["text"]}
            self._know({**(known or {}), **grown, **({"done": True} if piece.get("done") else {})}, tell=True)
        elif self._hub.has_listeners(self.name, changed_message) and isinstance(piece.get("offset"), int):
            self.unknown.add(piece["offset"])

    def _tell(self, data: Mapping[str, Any]) -> None:
        if (message := _message(data)) is not None:
            self._hub.report(Changed(message=message), self.name)


def _objects(reply: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = reply.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _message(data: Mapping[str, Any]) -> Message | None:
    try:
        return Message.read(data)
    except ValueError as error:
        log.warning("ignored a message that does not fit its model: %s", error)
        return None
