"""Effects: what a service asks for beside its answer, and what the gateway then does in rooms.

    {"publish": {"room": "order-7", "text": "paid"}}     a message of the route's service, which is kept
    {"publish": {"room": "order-7", "event": {"type": "orders.paid", "data": {}}}}    an event, which is not
    {"join": {"room": "order-7", "user": "bob", "role": "moderator"}}    `user` is the sender if it is left out
    {"leave": {"room": "order-7"}}
    {"disconnect": {}}                                   closes the sender's connection with 4403

All effects of an answer are checked before anything is done. Each may touch only what its route allows.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.config.settings import Settings
from gateway.core.folding import FoldedLog
from gateway.rooms.service_changes import ServiceRooms
from gateway.rooms.service_events import event_frame
from gateway.rooms.service_senders import ServiceSender
from gateway.routes import model
from gateway.routes.model import Route
from gateway.store import services
from gateway.store.engine import Database
from handlers.errors import MessageError, UpstreamFailed
from schemas.messages.rooms import Role
from schemas.names import RoomName, UserName
from schemas.services import SENDER_PREFIX

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 5
"""How often the log gets the same reason why an effect failed."""

MAX_EFFECTS = 32
"""The most effects of one answer."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class OwnEvent(_Part):
    """An event of the service's own type."""

    type: str
    data: dict[str, Any] = Field(default_factory=dict)


class Publish(_Part):
    """A message or an event for a room."""

    kind: ClassVar[model.Effect] = "publish"

    room: RoomName
    text: str | None = None
    body: Any = None
    event: OwnEvent | None = None


class Join(_Part):
    """A membership that begins, or whose role changes."""

    kind: ClassVar[model.Effect] = "join"

    room: RoomName
    user: UserName | None = None
    role: Role | None = None


class Leave(_Part):
    """A membership that ends."""

    kind: ClassVar[model.Effect] = "leave"

    room: RoomName
    user: UserName | None = None


class Disconnect(_Part):
    """The end of the sender's connection."""

    kind: ClassVar[model.Effect] = "disconnect"


Effect: TypeAlias = Publish | Join | Leave | Disconnect

_KINDS: dict[str, type[Effect]] = {each.kind: each for each in (Publish, Join, Leave, Disconnect)}
_effects: TypeAdapter[list[dict[str, dict[str, Any]]]] = TypeAdapter(list[dict[str, dict[str, Any]]])


def read_effects(document: object) -> tuple[Effect, ...]:
    """Return the effects of an answer, or raise `UpstreamFailed` for one that the gateway does not know."""
    try:
        named = _effects.validate_python(document, strict=True)
    except ValidationError:
        raise UpstreamFailed("expected a list of effects, each an object with one key") from None
    if len(named) > MAX_EFFECTS:
        raise UpstreamFailed(f"expected at most {MAX_EFFECTS} effects, got {len(named)}")
    return tuple(_effect(each) for each in named)


def _effect(named: dict[str, dict[str, Any]]) -> Effect:
    if len(named) != 1 or (kind := next(iter(named))) not in _KINDS:
        raise UpstreamFailed(f"expected effects with one key of {', '.join(_KINDS)}")
    try:
        return _KINDS[kind].model_validate(named[kind])
    except ValidationError as error:
        wrong = wrong_fields(_KINDS[kind], error)
        raise UpstreamFailed(f"expected an effect `{kind}` as documented; wrong: {wrong}") from None


def wrong_fields(model: type[BaseModel], error: ValidationError) -> str:
    """Return which fields of a part of an answer are wrong. Names that the service has made up are not among them."""
    found = {item["loc"][0] for item in error.errors(include_input=False, include_url=False) if item["loc"]}
    return ", ".join(f"`{name}`" for name in model.model_fields if name in found) or "its keys"


@dataclass(frozen=True, slots=True)
class Cause:
    """The message that has led to effects."""

    user: str
    app_state: object
    disconnect: Callable[[], None]
    """Close the sender's connection, if there is one."""


class Effects:
    """Checks effects against their route, and carries them out."""

    def __init__(self, rooms: ServiceRooms, database: Database, settings: Settings) -> None:
        self._rooms = rooms
        self._database = database
        self._max_frame_bytes = settings.max_frame_bytes
        self.outcomes: Counter[tuple[str, str, str]] = Counter()
        """How many effects there were, by route, kind and outcome."""
        self._failures = FoldedLog(logger, logging.WARNING, same=LINES_A_MINUTE)

    async def check(self, route: Route, effects: Sequence[Effect]) -> ServiceSender | None:
        """Raise `UpstreamFailed` if an effect cannot be. Return the sender of messages, if there are any."""
        for effect in effects:
            if effect.kind not in route.effects:
                raise UpstreamFailed(f"expected no effect `{effect.kind}`, which the route does not allow")
            if not isinstance(effect, Disconnect) and not route.rooms.matches(effect.room):
                raise UpstreamFailed(f"expected `{effect.kind}` in a room of the route, got another room")
            if isinstance(effect, Publish):
                self._check_content(effect)
        if any(isinstance(effect, Publish) and effect.event is None for effect in effects):
            return await self._sender(route)
        return None

    def _check_content(self, publish: Publish) -> None:
        if sum(part is not None for part in (publish.text, publish.body, publish.event)) != 1:
            raise UpstreamFailed("expected `publish` with one of `text`, `body` and `event`")
        try:
            if publish.event is None:
                self._rooms.check_content(publish.text, publish.body)
            else:
                event_frame(publish.event.type, publish.event.data, self._max_frame_bytes)
        except MessageError as error:
            raise UpstreamFailed(f"expected `publish` with a content that may go out: {error}") from None

    async def _sender(self, route: Route) -> ServiceSender:
        name = route.service
        found = None if name is None else await self._database.query(lambda store: services.find(store, name))
        if found is None or found.kind != "service":
            raise UpstreamFailed(f"expected a service account `{name}` to publish as; add it, or change the route")
        return ServiceSender(found.user_id, found.sender)

    async def carry_out(
        self, route: Route, effects: Sequence[Effect], cause: Cause, sender: ServiceSender | None
    ) -> None:
        """Carry out checked effects in their order. One that fails stops none of the others, and is logged."""
        for effect in effects:
            try:
                await self._carry_out(route, effect, cause, sender)
            except MessageError as error:
                outcome = "failed"
                self._failures.log("route %s: the effect %s failed: %s", route.pattern, effect.kind, error)
            else:
                outcome = "done"
            self.outcomes[route.pattern, effect.kind, outcome] += 1

    async def _carry_out(self, route: Route, effect: Effect, cause: Cause, sender: ServiceSender | None) -> None:
        by = SENDER_PREFIX + (route.service or route.pattern.removesuffix(".*"))
        match effect:
            case Publish(event=OwnEvent() as event):
                await self._rooms.publish_event(effect.room, event.type, event.data)
            case Publish() if sender is not None:
                await self._rooms.publish_message(sender, effect.room, text=effect.text, body=effect.body)
            case Join():
                await self._rooms.put_member(effect.room, effect.user or cause.user, effect.role, by=by)
            case Leave():
                await self._rooms.remove_member(effect.room, effect.user or cause.user, by=by, state=cause.app_state)
            case Disconnect():
                cause.disconnect()
