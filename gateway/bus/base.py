"""The bus: it rings the bell on every node. The truth is in the store."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.transport.frames import Frame


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event on its way to those whom it concerns, on every node.

    That is the listeners of `room`; or else the connections of `user`, an id; or else all connections.
    """

    frame: Frame
    room: str | None = None
    user: str | None = None
    epoch: str | None = None
    """Which of the rooms that have had this name, where that matters: for what is logged, and for ends."""
    offset: int | None = None
    """Where the room's log is after this event; None for what is not logged."""
    own_user: str | None = None
    own_frame: Frame | None = None
    """What the user of this id is given instead: who sent a message sees its `client_id`."""
    skip_user: str | None = None
    """The id of a user who is not told, since it is about that user."""
    drop_user: str | None = None
    """The id of a user who hears the room no more after this event, having been a member before it."""
    departures: int | None = None
    """With `drop_user`: how many memberships of the room have ended, this one included."""
    drop_all: bool = False
    """Whether nobody hears the room any more after this event."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """Sessions of a user that have ended, so that their connections must, on every node."""

    user_id: str
    sessions: frozenset[str] | None
    """The ids of the sessions; None for every connection of the user, whatever it came in with."""


@dataclass(slots=True)
class BusCounters:
    """What a bus has done since it was started, in messages."""

    published: int = 0
    received: int = 0
    """From other nodes."""
    dropped: int = 0
    """Not published: too much was waiting, or the connection broke."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Not understood, by reason."""
    connects: int = 0
    """How often all that this node hears has been subscribed to: once, and once more each time the bus was away."""


Receive = Callable[[BusEvent], int]
"""Takes an event and returns how many connections it was given to."""

Revoke = Callable[[Revoked], None]
"""Takes the news that sessions have ended."""

Missed = Callable[[str | None], None]
"""Takes the news that events of a room, or of all rooms, may not have come: the store knows what they were."""


class Bus(Protocol):
    """Carries events between nodes.

    What it may do wrong is bounded:

    - an event may be lost, doubled or late: whoever needs all of a room's log compares offsets and reads the store;
      where the bus knows that something may be lost, it says so by `missed`;
    - events of one publisher arrive in order, those of several in any order;
    - publishing never waits for a receiver, nor for the bus itself: this node has the event before `publish` returns,
      the others as soon as may be;
    - a revocation may be lost, doubled or late as well: every node also asks the store.
    """

    @property
    def is_up(self) -> bool:
        """Whether what is published now reaches other nodes."""

    @property
    def is_shared(self) -> bool:
        """Whether there may be other nodes, so that something may be lost between them."""

    @property
    def counters(self) -> BusCounters:
        """What it has done."""

    @property
    def waiting(self) -> int:
        """How many messages wait to be published."""

    async def check(self) -> None:
        """Make sure, before anything is started, that the bus is there; raises `StartError` if not."""

    async def start(self, receive: Receive, revoke: Revoke, missed: Missed) -> None:
        """Begin to give events to `receive` and revocations to `revoke`, those of this node included.

        Raises `StartError` if there is no such bus, or it must be there and is not.
        """

    async def publish(self, event: BusEvent) -> int:
        """Give an event to every node that it concerns; returns how many connections it reached on this one."""

    async def revoke(self, revoked: Revoked) -> None:
        """Tell every node that sessions have ended. Like `publish`, after that has been committed."""

    async def subscribe(self, room: str) -> None:
        """Ask for a room's events; from when this returns, none is missed but for the reasons above.

        No room is asked for again before this has returned. It may raise, and then the room was not asked for.
        """

    def unsubscribe(self, room: str) -> None:
        """Stop asking for a room's events; some may still come.

        What is asked for after this takes effect after it, however long either takes.
        """

    async def close(self) -> None:
        """Stop."""
