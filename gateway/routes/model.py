"""What the routes file says, once it has been checked.

A route takes the messages of one type, or of all types below a prefix. A hook gets events. `Authorize` names the
service that knows the rights in rooms. docs/routes.md has each key of the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.room_patterns import RoomPatterns
from gateway.routes.json_schema import JsonSchema
from gateway.routes.signatures import Signer

Effect = Literal["publish", "join", "leave", "disconnect"]
"""What a service may ask for beside its answer."""

EventType = Literal[
    "user.connected", "user.offline", "room.occupied", "room.vacated", "message.stored", "message.unseen"
]
"""What a hook may be sent."""

Action = Literal["join", "send", "create"]
"""What the service of `[authorize]` is asked about."""

Format = Literal["webhook", "cloudevents"]

NO_ROOMS = RoomPatterns.parse(())
ALL_ROOMS = RoomPatterns.parse(["*"])


@dataclass(frozen=True)
class Route:
    """Where the messages of a type go: to a URL, signed; or to the workers that serve it, if there is no URL."""

    pattern: str
    """A type such as `orders.create`, or a prefix such as `orders.*`."""
    url: str | None = None
    signer: Signer | None = None
    """It signs what goes to the URL. A route to workers has none."""
    service: str | None = None
    """The service account that speaks in rooms for this route. Of a route to workers, the only one that may serve."""
    timeout_seconds: float = 5
    parallel: int = 64
    """The most messages of this route that are under way at once, on one node."""
    scope: str | None = None
    rate: float = 0
    """Messages of one user a second, or 0 for any number."""
    idempotent: bool = False
    """Whether a message may be sent again after a failure."""
    ordered: bool = False
    """Whether later messages of a connection wait for the answer."""
    claims: tuple[str, ...] = ()
    """The claims of the user's token that go out."""
    data: JsonSchema | None = None
    reply: JsonSchema | None = None
    effects: frozenset[Effect] = frozenset()
    rooms: RoomPatterns = NO_ROOMS
    """The rooms that effects may touch."""

    @property
    def is_for_workers(self) -> bool:
        """Return whether workers serve it, and no URL."""
        return self.url is None

    @property
    def prefix(self) -> str | None:
        """Return the beginning of its types, such as `orders.`, or None if it has one type."""
        return self.pattern[:-1] if self.pattern.endswith(".*") else None


@dataclass(frozen=True)
class Hook:
    """Where events go."""

    name: str
    url: str
    signer: Signer
    types: frozenset[EventType]
    format: Format = "webhook"
    unseen_seconds: float = 30
    """The age of a message at which `message.unseen` goes out."""
    rooms: RoomPatterns = ALL_ROOMS
    """The rooms that the events of rooms and messages are about."""


@dataclass(frozen=True)
class Authorize:
    """The service that is asked whether a user may do something in a room."""

    url: str
    signer: Signer
    actions: frozenset[Action] = frozenset(("join", "send", "create"))
    rooms: RoomPatterns = ALL_ROOMS
    """Only about these rooms it is asked."""
    claims: tuple[str, ...] = ()
    timeout_seconds: float = 1


@dataclass(frozen=True)
class Routes:
    """All that a routes file says."""

    routes: tuple[Route, ...] = ()
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    authorize: Authorize | None = None
    scopes: frozenset[str] = frozenset()
    """The scopes that the file adds to those of the gateway."""
    _exact: Mapping[str, Route] = field(init=False, repr=False, compare=False)
    _by_prefix: Mapping[str, Route] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", {each.pattern: each for each in self.routes if each.prefix is None})
        object.__setattr__(self, "_by_prefix", {each.prefix: each for each in self.routes if each.prefix is not None})

    def find(self, type: str) -> Route | None:
        """Return the route of a message type: its own, or else that of the longest prefix, or None."""
        found = self._exact.get(type)
        end = len(type) - 1  # something must follow the prefix
        while found is None and (end := type.rfind(".", 0, end)) > 0:
            found = self._by_prefix.get(type[: end + 1])
        return found


NO_ROUTES = Routes()
