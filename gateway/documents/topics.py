"""The topics of messages and events: the first part of their types, such as `chat` of `chat.send`."""

from dataclasses import dataclass

from gateway.documents.catalog import Catalog, EventDescription, MessageDescription


@dataclass(frozen=True)
class Topic:
    """The messages and events of one topic."""

    name: str
    about: str
    messages: tuple[MessageDescription, ...]
    events: tuple[EventDescription, ...]


CONNECTION = "connection"
OTHER = "other"

_ABOUT = {
    CONNECTION: "The connection itself: the log-in, its end, and small questions to the gateway.",
    "room": "Rooms and their members: making, joining, inviting, roles and signals.",
    "direct": "Rooms of two users.",
    "chat": "Messages of a room, its history, read marks and typing.",
    "presence": "Presence: which users are there, and in which state.",
    OTHER: "Types without a dot.",
}
_OF_THE_CONNECTION = {"announce", "announcement", "auth", "bye", "cancel", "echo", "ping", "resync", "token", "welcome"}


def topic_of(type: str) -> str:
    """Return the name of a type's topic."""
    first, dot, _ = type.partition(".")
    if first in _OF_THE_CONNECTION:
        return CONNECTION
    return first if first and dot else OTHER


def topics_of(catalog: Catalog) -> tuple[Topic, ...]:
    """Return the topics in the order of the catalog."""
    types = [*(each.type for each in catalog.messages), *(each.type for each in catalog.events)]
    return tuple(
        Topic(
            name=name,
            about=_ABOUT.get(name, f"The messages and events with a type that begins with `{name}.`"),
            messages=tuple(each for each in catalog.messages if topic_of(each.type) == name),
            events=tuple(each for each in catalog.events if topic_of(each.type) == name),
        )
        for name in dict.fromkeys(map(topic_of, types))
    )
