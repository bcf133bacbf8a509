"""Publishes events from the gateway's own process: from a route, a background task or a lifespan."""

import asyncio
import re
from collections.abc import Iterable
from functools import partial

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

from gateway.bus.base import ToAll, ToRoom, ToUser
from gateway.chat.fast_route import FastWebSocketApp
from gateway.state import GatewayState
from gateway.store import rooms, users
from gateway.transport import frames
from gateway.transport.frames import Frame
from handlers.errors import NotFound
from schemas.base import Event
from schemas.names import ROOM_NAME, USER_NAME


class Publisher:
    """Publishes events in the name of the application, independent of any user's rights.

    An event is checked like a handler's. It is not stored: a client without a connection misses it.
    """

    def __init__(self, app: FastWebSocketApp) -> None:
        self._app = app

    async def to_room(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to every connection that has joined the room, on all nodes, or raise `NotFound`.

        If a client reads too slowly, droppable events are dropped first.
        """
        gateway = self._running()
        frame = _frame(gateway, event, droppable=droppable)
        await _check_room(gateway, room)
        await gateway.bus.publish(ToRoom(frame, room))

    async def to_users(self, names: Iterable[str], event: Event) -> None:
        """Send an event to all connections of these users, on all nodes.

        Raises `NotFound` if one of the users does not exist; then none gets the event.
        """
        gateway = self._running()
        frame = _frame(gateway, event)
        for user_id in await _ids_of(gateway, [names] if isinstance(names, str) else list(names)):
            await gateway.bus.publish(ToUser(frame, user_id))

    async def to_all(self, event: Event) -> int:
        """Send an event to every connection, on all nodes, and return how many there are."""
        gateway = self._running()
        here = await gateway.bus.publish(ToAll(_frame(gateway, event)))
        return here + await gateway.connections.remote_count()

    def _running(self) -> GatewayState:
        running = self._app.running
        if running is None:
            raise RuntimeError(
                "the gateway does not run: publish between its start and its end, such as in a route or in a lifespan"
            )
        if running.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "expected the event loop that the gateway runs in; from a thread, use asyncio.run_coroutine_threadsafe"
            )
        return running.state


def publisher_of(app: FastAPI) -> Publisher:
    """Return the publisher of a gateway, or of the gateway that `attach` has put into an application.

    Raise `TypeError` if there is none, or more than one. Then pass the application that `attach` has returned.
    """
    if isinstance(app, FastWebSocketApp):
        return Publisher(app)
    found = [gateway for each in app.routes if isinstance(gateway := _gateway_of(each), FastWebSocketApp)]
    if len(found) != 1:
        raise TypeError(
            f"expected a gateway, or an application with one attached gateway, got one with {len(found)};"
            " pass the gateway that `attach` has returned"
        )
    return Publisher(found[0])


def _gateway_of(route: BaseRoute) -> object:
    return getattr(route.app, "gateway", None) if isinstance(route, Mount) else None


def _frame(gateway: GatewayState, event: Event, *, droppable: bool = False) -> Frame:
    if not isinstance(event, Event):
        raise TypeError(f"expected an `Event`, got {event!r}")
    return frames.bounded(frames.event(event, droppable=droppable), gateway.settings.max_frame_bytes)


async def _check_room(gateway: GatewayState, room: str) -> None:
    # A database may fail on a text that is no room's name.
    is_name = re.fullmatch(ROOM_NAME, room) is not None
    if not is_name or await gateway.database.query(partial(rooms.by_name, name=room)) is None:
        raise NotFound(f"there is no room `{room}`")


async def _ids_of(gateway: GatewayState, names: list[str]) -> list[str]:
    valid = [name for name in names if re.fullmatch(USER_NAME, name)]
    ids = await gateway.database.query(partial(users.ids_of, names=valid))
    for name in names:
        if name not in ids:
            raise NotFound(f"there is no user `{name}`")
    return [ids[name] for name in dict.fromkeys(names)]
