"""Calls the hooks of handlers when a membership or a room has ended."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from gateway.core import faults
from handlers.base import MsgHandler, ends_connection

Hook = Callable[..., Awaitable[None]]


class Hooks:
    """Calls the hooks of all handlers, each class once. One that raises stops no other."""

    def __init__(self, handlers: Iterable[type[MsgHandler[Any, Any]]] = ()) -> None:
        classes = dict.fromkeys(handlers)
        self._member_left = _overridden(MsgHandler.on_member_left, [each.on_member_left for each in classes])
        self._room_deleted = _overridden(MsgHandler.on_room_deleted, [each.on_room_deleted for each in classes])

    async def member_left(self, room: str, user: str, state: object) -> None:
        """Report the end of a membership."""
        for hook in self._member_left:
            await _contained(hook, room, user, state)

    async def room_deleted(self, room: str, state: object) -> None:
        """Report the end of a room."""
        for hook in self._room_deleted:
            await _contained(hook, room, state)


def _overridden(default: Any, hooks: list[Any]) -> list[Hook]:
    return [hook for hook in hooks if hook.__func__ is not default.__func__]


async def _contained(hook: Hook, *about: object) -> None:
    try:
        await hook(*about)
    except BaseException as error:  # a handler of another message must not fail because of it
        if ends_connection(error):
            raise
        faults.record("hooks", error)
