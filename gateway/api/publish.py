"""`POST /api/publish`: a service sends a message to rooms, or an event to rooms, users or all."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response

from gateway.api.caller import Caller, SendingCaller
from gateway.api.descriptions import service_refusals
from gateway.api.strict_route import ServiceRoute
from gateway.rooms.service_events import check_event_type
from gateway.store.messages import message_id
from handlers.errors import MessageError
from schemas.api.publish import NamedEvent, NewMessage, Publish, Published, PublishReply
from schemas.services import PUBLISH

router = APIRouter(prefix="/api", tags=["server API"], route_class=ServiceRoute)


async def publish(caller: Caller, data: Publish) -> PublishReply:
    """Send a message or an event to each target. One that is refused stops no other."""
    caller.check(PUBLISH)
    if data.event is not None:
        check_event_type(data.event.type)
    if data.rooms is None:
        caller.check_everywhere(PUBLISH)
    caller.charge(len(data.rooms or data.users or ()) - 1)
    return PublishReply(results=tuple(await asyncio.gather(*_targets(caller, data))))


def _targets(caller: Caller, data: Publish) -> list[Awaitable[Published]]:
    message, event = data.message, data.event
    if message is not None:
        return [_message_or_error(caller, room, message) for room in data.rooms or ()]
    assert event is not None  # noqa: S101 - the schema has checked it
    if data.rooms is not None:
        return [_event_to_room(caller, room, event) for room in data.rooms]
    if data.users is not None:
        return [_event_to_user(caller, user, event) for user in data.users]
    return [_event_to_all(caller, event)]


async def _message_or_error(caller: Caller, room: str, message: NewMessage) -> Published:
    try:
        return await message_to_room(caller, room, message)
    except MessageError as error:
        return Published(room=room, error=error.body())


async def message_to_room(caller: Caller, room: str, message: NewMessage) -> Published:
    """Send a message to a room where the service may speak."""
    caller.auth.check_room(room)
    # Before this, nothing may wait: the items of a batch reach the log in their order.
    written = await caller.rooms.publish_message(
        caller.sender, room, text=message.text, body=message.body, client_id=message.client_id or caller.client_id
    )
    epoch, offset = written.room.epoch, written.message.offset
    return Published(room=room, id=message_id(epoch, offset), epoch=epoch, offset=offset, duplicate=written.unchanged)


async def _event_to_room(caller: Caller, room: str, event: NamedEvent) -> Published:
    try:
        caller.auth.check_room(room)
        await caller.rooms.publish_event(room, event.type, event.data)
    except MessageError as error:
        return Published(room=room, error=error.body())
    return Published(room=room)


async def _event_to_user(caller: Caller, user: str, event: NamedEvent) -> Published:
    try:
        await caller.rooms.publish_to_user(user, event.type, event.data)
    except MessageError as error:
        return Published(user=user, error=error.body())
    return Published(user=user)


async def _event_to_all(caller: Caller, event: NamedEvent) -> Published:
    return Published(all=True, reached=await caller.rooms.publish_to_all(event.type, event.data))


@router.post(
    "/publish",
    summary="Sends a message to rooms, or an event to rooms, users or all.",
    response_model=PublishReply,
    response_model_exclude_none=True,
    responses=service_refusals(body=True),
)
async def post_publish(caller: SendingCaller, data: Publish) -> Response:
    """Send a message to rooms, or an event to rooms, users or all. Each target has its result or its error."""
    # FastAPI would check and copy the answer once more.
    reply = await publish(caller, data)
    return Response(reply.model_dump_json(exclude_none=True), media_type="application/json")
