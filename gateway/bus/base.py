"""The bus: it notifies every node of an event, and carries messages from node to node.

The bus may lose an event. The store has the truth.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from gateway.core.histograms import Histogram
from gateway.transport.frames import Frame


@dataclass(frozen=True, slots=True)
class OwnForm:
    """The form of an event for one user: the sender of a message sees its `client_id`."""

    user_id: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class Logged:
    """A change of a room's log, for the room's listeners."""

    frame: Frame
    room: str
    epoch: str
    """Which of the rooms that have had this name."""
    offset: int
    """Where the room's log is after this event."""
    own: OwnForm | None = None


@dataclass(frozen=True, slots=True)
class ToRoom:
    """An event for a room's listeners that no log keeps."""

    frame: Frame
    room: str
    skip_user: str | None = None
    """The id of a user that does not get the event, since it is about that user."""


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """The beginning of a membership, for the room's listeners. The user's own connections do not get it."""

    frame: Frame
    room: str
    epoch: str
    user_id: str
    arrivals: int
    """How many memberships of the room have begun, this one included."""


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """The end of a membership: the room's listeners get the event, and the user's connections hear no more after it."""

    frame: Frame
    room: str
    epoch: str
    user_id: str
    departures: int
    """How many memberships of the room have ended, this one included."""


@dataclass(frozen=True, slots=True)
class RoomEnded:
    """The end of a room: its listeners get the event, and hear no more after it."""

    frame: Frame
    room: str
    epoch: str


@dataclass(frozen=True, slots=True)
class ToUser:
    """An event for all connections of a user."""

    frame: Frame
    user_id: str


@dataclass(frozen=True, slots=True)
class ToAll:
    """An event for all connections."""

    frame: Frame


RoomEvent: TypeAlias = Logged | ToRoom | MemberJoined | MemberLeft | RoomEnded
BusEvent: TypeAlias = RoomEvent | ToUser | ToAll
"""An event on its way to the connections that it concerns, on every node."""


def room_of(event: BusEvent) -> str | None:
    """Return the room of an event; None if it is for a user or for all."""
    return None if isinstance(event, ToUser | ToAll) else event.room


@dataclass(frozen=True, slots=True)
class Revoked:
    """Sessions of a user that have ended, so that every node must close their connections."""

    user_id: str
    sessions: frozenset[str] | None
    """The ids of the sessions. None means every connection of the user, with any credential."""


MAX_NODE_MESSAGE_BYTES = 256 * 1024
"""The longest `data` of a message between nodes, as JSON."""

MAX_NODE_SECONDS = 3600.0
"""The longest time for which a node may wait for another one's answer."""


NodeMessageKind = Literal["ask", "cancel", "part", "answer", "failure", "news"]


@dataclass(frozen=True, slots=True)
class NodeMessage:
    """A message from one node to another, or to all others. `gateway.cluster.node_calls` says what they mean."""

    sender: str
    """The id of the node that has sent it."""
    what: NodeMessageKind
    name: str
    """The subject of a question, or of news."""
    data: dict[str, Any]
    id: int | None = None
    """The number of a question at its sender. Only news has none."""
    seconds: float | None = None
    """How long the sender of a question waits for the answer."""


class MessageTooLong(ValueError):
    """A message for another node is longer than the bus carries."""

    def __init__(self, size: int) -> None:
        super().__init__(f"expected at most {MAX_NODE_MESSAGE_BYTES} bytes for another node, got {size}; send less")


@dataclass(slots=True)
class BusCounters:
    """Counts of messages since the bus was started."""

    published: int = 0
    received: int = 0
    """Messages from other nodes."""
    dropped: int = 0
    """Messages that were not published: too many waited, or the connection broke."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Messages that could not be read, by reason."""
    lag: Histogram = field(default_factory=Histogram)
    """How long some of this node's own messages took until they came back: from `publish` over the server."""
    connects: int = 0
    """How often all subscriptions were complete: once at the start, and once after each failure."""


OnEvent = Callable[[BusEvent], int]
"""A function that handles an event, and returns the number of connections that received it."""

OnRevoked = Callable[[Revoked], None]
"""A function that handles the end of sessions."""

OnNodeMessage = Callable[[NodeMessage], None]
"""A function that handles a message from another node."""

OnMissed = Callable[[str | None], None]
"""A function to call if events of one room, or of all rooms, may be lost. The store has them."""


class Bus(Protocol):
    """Carries events between nodes.

    Its possible failures are limited:

    - An event may be lost, doubled or late. A reader of a room's whole log compares offsets and reads the store. If the
      bus knows of a possible loss, it calls `on_missed`.
    - Events of one publisher arrive in order. Events of several publishers arrive in any order.
    - Publishing never waits for a receiver, nor for the bus itself. This node has the event before `publish` returns,
      and the other nodes as soon as possible.
    - A revocation may be lost, doubled or late too, so every node also asks the store.
    - A message between nodes may be lost, doubled or late as well. So its sender waits for a limited time.
    """

    node: str
    """The id of this node on the bus, as long as its process lives."""

    @property
    def is_up(self) -> bool:
        """Return whether other nodes receive what is published now."""

    @property
    def is_shared(self) -> bool:
        """Return whether there may be other nodes, so that messages between them may be lost."""

    @property
    def counters(self) -> BusCounters:
        """Return the counts of its messages."""

    @property
    def waiting(self) -> int:
        """Return how many messages wait to be published."""

    async def check(self) -> None:
        """Check before the start that the bus is available, or raise `StartError`."""

    async def start(self, on_event: OnEvent, on_revoked: OnRevoked, on_missed: OnMissed) -> None:
        """Start to pass events to `on_event` and revocations to `on_revoked`, including those of this node.

        Raise `StartError` if the bus does not exist, or if it is required but not available.
        """

    async def publish(self, event: BusEvent) -> int:
        """Send an event to every node that it concerns, and return how many connections of this node received it."""

    async def revoke(self, revoked: Revoked) -> None:
        """Notify every node that sessions have ended. Call it, like `publish`, after the commit."""

    def listen(self, on_node_message: OnNodeMessage) -> None:
        """Pass each message from other nodes to this function."""

    def send(self, node: str | None, message: NodeMessage) -> bool:
        """Send a message to another node, or to all others with None. Return whether it is on its way.

        It is not if the bus is down, full or not shared. Raise `MessageTooLong` for a message that no bus carries.
        """

    async def subscribe(self, room: str) -> None:
        """Subscribe to a room's events. After this returns, none is lost, except for the reasons above.

        A room is not requested again before this has returned. If it raises, there is no subscription.
        """

    def unsubscribe(self, room: str) -> None:
        """Unsubscribe from a room's events. Some may still arrive.

        A later subscription takes effect after this, however long either takes.
        """

    async def close(self) -> None:
        """Stop the bus."""
