"""Publishes events and messages from the gateway's own process: from a route, a background task or a lifespan."""

import asyncio
import re
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount

from gateway.bus.base import ToAll, ToRoom, ToUser
from gateway.chat.fast_route import FastWebSocketApp
from gateway.rooms.growth import NewPiece
from gateway.rooms.service_senders import ServiceSender
from gateway.state import GatewayState
from gateway.store import rooms, users
from gateway.transport import frames
from gateway.transport.frames import Frame
from handlers.errors import NotFound
from schemas.base import Event
from schemas.messages.chat import AppendReply, Message
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
        gateway = self.running()
        frame = _frame(gateway, event, droppable=droppable)
        await _check_room(gateway, room)
        await gateway.bus.publish(ToRoom(frame, room))

    async def to_users(self, names: Iterable[str], event: Event) -> None:
        """Send an event to all connections of these users, on all nodes.

        Raises `NotFound` if one of the users does not exist; then none gets the event.
        """
        gateway = self.running()
        frame = _frame(gateway, event)
        for user_id in await _ids_of(gateway, [names] if isinstance(names, str) else list(names)):
            await gateway.bus.publish(ToUser(frame, user_id))

    async def to_all(self, event: Event) -> int:
        """Send an event to every connection, on all nodes, and return how many there are."""
        gateway = self.running()
        here = await gateway.bus.publish(ToAll(_frame(gateway, event)))
        return here + await gateway.connections.remote_count()

    def sender(self, name: str) -> "MessageSender":
        """Return the verbs for messages that have `service:NAME` as their sender, such as `service:assistant`.

        The service of this name is added when it speaks for the first time. It needs no key.
        """
        return MessageSender(self, name)

    def running(self) -> GatewayState:
        """Return the running gateway, or raise `RuntimeError` if none runs in this event loop."""
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


class MessageSender:
    """Sends and changes messages in the name of a service, in any room. Each verb returns when its change is durable.

    Each raises `NotFound` for a room or a message that does not exist, and `ValidationFailed` for a wrong content.
    """

    def __init__(self, publisher: Publisher, name: str) -> None:
        self._publisher = publisher
        self._name = name

    async def send(
        self,
        room: str,
        *,
        text: str | None = None,
        body: Any = None,
        reply_to: str | None = None,
        client_id: str | None = None,
    ) -> Message:
        """Store a message, send it to the room and return it. For a `client_id` used before, return the first one."""
        gateway, sender = await self._speaking()
        written = await gateway.service_rooms.publish_message(
            sender, room, text=text, body=body, reply_to=reply_to, client_id=client_id
        )
        return written.message.to_schema(written.room, sender.user_id)

    async def append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> AppendReply:
        """Add text to the end of a message that this service has sent. It raises what `messages.append` does."""
        return await (await self.begin_append(room, message_id, text, at=at, done=done))

    async def begin_append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> Awaitable[AppendReply]:
        """Do what `append` does, and return before the piece is durable. Await the result for the outcome."""
        gateway, sender = await self._speaking()
        return gateway.service_rooms.begin_append(sender, room, message_id, NewPiece(text, at, done))

    async def edit(self, room: str, message_id: str, *, text: str | None = None, body: Any = None) -> Message:
        """Change the content of a message that this service has sent."""
        gateway, sender = await self._speaking()
        written = await gateway.service_rooms.edit_message(sender, room, message_id, text=text, body=body)
        return written.message.to_schema(written.room, sender.user_id)

    async def delete(self, room: str, message_id: str) -> None:
        """Delete a message of any sender."""
        gateway, sender = await self._speaking()
        await gateway.service_rooms.delete_message(sender, room, message_id)

    async def _speaking(self) -> tuple[GatewayState, ServiceSender]:
        gateway = self._publisher.running()
        return gateway, await gateway.app_senders.get(self._name)


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
