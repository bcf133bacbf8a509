"""`/api/rooms`: a service lists, makes, reads, changes and deletes rooms."""

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.pages import Limit, NameCursor
from gateway.api.strict_route import ServiceRoute
from gateway.rooms.room_pages import read_all_rooms
from schemas.api.rooms import NameRoom, RoomChange, RoomsPage, ServiceRoom
from schemas.base import Empty
from schemas.messages.rooms import CreateRoom, UpdateRoom
from schemas.names import RoomName
from schemas.services import ROOMS

RoomPath = Annotated[RoomName, Path(description="The name of the room.")]

SEARCH_REQUESTS = 50
"""What a page counts of rooms that fit patterns: the store looks at the names of all rooms, 200 ms for 100,000."""

router = APIRouter(prefix="/api/rooms", tags=["server API"], route_class=ServiceRoute)


async def create_room(caller: Caller, data: CreateRoom) -> ServiceRoom:
    """Make a room that stays without members and needs no owner."""
    caller.check(ROOMS, data.room)
    made = await caller.rooms.create(
        caller.sender, data.room, title=data.title, private=data.private, signals=data.signals
    )
    return made.to_service_schema()


async def read_room(caller: Caller, data: NameRoom) -> ServiceRoom:
    """Return a room."""
    caller.check(ROOMS, data.room)
    return (await caller.rooms.find(data.room)).to_service_schema()


async def update_room(caller: Caller, data: UpdateRoom) -> ServiceRoom:
    """Change the title of a room, its privacy, and whether it takes signals."""
    caller.check(ROOMS, data.room)
    changed = await caller.rooms.update(data.room, title=data.title, private=data.private, signals=data.signals)
    return changed.to_service_schema()


async def delete_room(caller: Caller, data: NameRoom) -> Empty:
    """Delete a room with all of its messages."""
    caller.check(ROOMS, data.room)
    await caller.rooms.delete(data.room, state=caller.state.app_state)
    return Empty()


@router.get(
    "", summary="Lists all rooms, also private ones.", response_model_exclude_none=True, responses=service_refusals()
)
async def list_rooms(caller: CurrentCaller, cursor: NameCursor = None, limit: Limit = 100) -> RoomsPage:
    """List all rooms by name, also private and direct ones.

    A service that may use some rooms only gets these. For it, a page counts as 50 requests.
    """
    caller.check(ROOMS)
    if caller.auth.rooms is not None:
        caller.charge(SEARCH_REQUESTS - 1)
    page = await read_all_rooms(caller.state.database, caller.auth.rooms, cursor, limit)
    return RoomsPage(rooms=tuple(row.to_service_schema() for row in page.rooms), next_cursor=page.next_cursor)


@router.post(
    "",
    summary="Makes a room that needs no owner.",
    status_code=201,
    response_model_exclude_none=True,
    responses=service_refusals(409, body=True),
)
async def post_room(caller: CurrentCaller, data: CreateRoom) -> ServiceRoom:
    """Make a room that stays without members and needs no owner."""
    return await create_room(caller, data)


@router.get("/{room}", summary="Returns a room.", response_model_exclude_none=True, responses=service_refusals(404))
async def get_room(caller: CurrentCaller, room: RoomPath) -> ServiceRoom:
    """Return a room."""
    return await read_room(caller, NameRoom(room=room))


@router.patch(
    "/{room}",
    summary="Changes a room's title, whether it is private, or whether it takes signals.",
    response_model_exclude_none=True,
    responses=service_refusals(404, body=True),
)
async def patch_room(caller: CurrentCaller, room: RoomPath, data: RoomChange) -> ServiceRoom:
    """Change the title of a room, its privacy, and whether it takes signals."""
    change = UpdateRoom(room=room, title=data.title, private=data.private, signals=data.signals)
    return await update_room(caller, change)


@router.delete(
    "/{room}", summary="Deletes a room with all of its messages.", status_code=204, responses=service_refusals(404)
)
async def remove_room(caller: CurrentCaller, room: RoomPath) -> None:
    """Delete a room with all of its messages."""
    await delete_room(caller, NameRoom(room=room))
