"""What one client sees of a room, as the protocol has it, and whether it is a true slice of the room's log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Frame = dict[str, Any]

EVENTS = frozenset({"chat.message", "chat.edited", "chat.deleted"})
"""The events with a whole message."""

MOST_MISSED = 300
"""How many messages a resume brings. Those of the proofs are small, so that many always fit into a frame."""

MOST_LINES = 40
"""How many faults are kept in words. All are counted."""


@dataclass(frozen=True)
class Seen:
    """A message in one of its states. The state has the number `changed` of its last change."""

    offset: int
    changed: int
    sender: str
    text: str | None
    deleted: bool = False

    @classmethod
    def of(cls, message: Frame) -> "Seen":
        """Return the state that a message of the protocol shows."""
        deleted = message.get("deleted", False)
        return cls(message["offset"], message["changed"], message["sender"], message.get("text"), deleted)


@dataclass
class Sightings:
    """What all clients have seen together: each change must have been the same for all of them."""

    states: dict[tuple[str, int], Seen] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, room: str, seen: Seen) -> None:
        """Record a state, which must be that of all others that saw the same change."""
        known = self.states.setdefault((room, seen.changed), seen)
        if known != seen:
            self.complain("different", f"{room} {seen.changed}: one client saw {known}, another {seen}")

    def complain(self, kind: str, line: str) -> None:
        """Count a fault, and keep the first ones in words."""
        self.counts[kind] += 1
        if len(self.wrong) < MOST_LINES:
            self.wrong.append(f"{kind}: {line}")


class View:
    """One client's knowledge of one room: the messages, and the position up to which it knows all changes."""

    def __init__(self, user: str, room: str, sightings: Sightings) -> None:
        self._user = user
        self.room = room
        self._sightings = sightings
        self.epoch = ""
        self.position = 0
        self.messages: dict[int, Seen] = {}
        self._start = 1
        """The first offset of which it lacks no message."""
        self._is_stale = True
        """Whether it must join before the next event."""

    @property
    def since(self) -> Frame:
        """Return the part of `room.join` that says where to resume."""
        return {"since": {"epoch": self.epoch, "offset": self.position}} if self.epoch else {}

    @property
    def is_stale(self) -> bool:
        """Return whether the gateway has said that it lost something for this client."""
        return self._is_stale and bool(self.epoch)

    def joined(self, reply: Frame) -> None:
        """Take the reply of `room.join`."""
        self._is_stale = False
        if reply.get("recovered"):
            self._recover(reply)
        else:
            self._begin(reply)
        self.epoch, self.position = reply["epoch"], reply["offset"]

    def forget(self) -> None:
        """Forget everything, as a new client that knows nothing."""
        self.epoch, self.position, self.messages, self._start = "", 0, {}, 1
        self._is_stale = True

    def take(self, event: Frame) -> None:
        """Take an event of this room."""
        data = event["data"]
        if event["type"] == "resync":
            self._sightings.counts["resync"] += 1
            self._is_stale = True
        elif self._is_stale:
            return  # the next join has it
        elif event["type"] in EVENTS:
            self._follow(Seen.of(data))
        elif event["type"] == "chat.appended":
            self._grow(data)

    def compare(self, log: Mapping[int, Seen], top: int) -> None:
        """Complain if this is no true slice of the log, which ends at `top`."""
        if self.position != top:
            self._complain("behind", f"it is at {self.position}, and the log ends at {top}")
            return
        for offset, message in log.items():
            if offset in self.messages or offset >= self._start:
                self._compare(message, self.messages.get(offset))
        for offset in self.messages.keys() - log.keys():
            self._complain("different", f"it has {self.messages[offset]}, which the log lacks")

    def _compare(self, expected: Seen, found: Seen | None) -> None:
        if found is None:
            self._complain("missed", f"it lacks {expected}")
        elif found != expected:
            self._complain("different", f"it has {found}, and the log has {expected}")

    def _begin(self, reply: Frame) -> None:
        """Begin anew with the newest messages."""
        reason = reply.get("reason", "")
        if self.epoch:
            self._sightings.counts[f"not recovered: {reason}"] += 1
        missed = reply["offset"] - self.position
        # Nothing is removed from these rooms.
        is_wrong = reason in {"epoch_changed", "too_old"} or (reason == "too_many" and missed <= MOST_MISSED)
        if is_wrong or missed < 0:
            self._complain("lost", f"it was at {self.position}, and is told {reason}, {reply['offset']}")
        self.messages = {message["offset"]: Seen.of(message) for message in reply["messages"]}
        for message in self.messages.values():
            self._sightings.note(self.room, message)
        self._start = min(self.messages, default=reply["offset"] + 1)

    def _recover(self, reply: Frame) -> None:
        """Take the changes since the position: each message once, in the order of the changes."""
        self._sightings.counts["recovered"] += 1
        last, offsets = self.position, set()
        for event in reply["events"]:
            seen = Seen.of(event["data"])
            if not last < seen.changed <= reply["offset"] or seen.offset in offsets:
                self._complain("disorder", f"after {last}, a resume to {reply['offset']} brought {seen}")
            last = seen.changed
            offsets.add(seen.offset)
            self._keep(seen)

    def _follow(self, seen: Seen) -> None:
        """Take the next change."""
        if self._is_later(seen.changed, str(seen)):
            self._keep(seen)

    def _grow(self, piece: Frame) -> None:
        """Take a piece."""
        held = self.messages.get(piece["offset"])
        if not self._is_later(piece["changed"], str(piece)):
            return
        if held is None:
            # Older than the newest messages, with which this client began.
            if piece["offset"] >= self._start:
                self._complain("missed", f"it lacks the message of {piece}")
        elif held.text is None or len(held.text) != piece["at"]:
            self._complain("missed", f"it has {held}, which {piece} does not fit")
        else:
            self._keep(replace(held, text=held.text + piece["text"], changed=piece["changed"]))

    def _is_later(self, changed: int, what: str) -> bool:
        """Return whether a change follows those that are known: another one is a fault.

        A node that has missed changes reads them as a resume does. Then later changes have overtaken some of them.
        """
        if changed <= self.position:
            self._complain("doubled", f"it is at {self.position}, and comes is {what}")
            return False
        self._sightings.counts["overtaken"] += changed - self.position - 1
        self.position = changed
        return True

    def _keep(self, seen: Seen) -> None:
        self.messages[seen.offset] = seen
        self._sightings.note(self.room, seen)

    def _complain(self, kind: str, what: str) -> None:
        self._sightings.complain(kind, f"{self._user} in {self.room}: {what}")
