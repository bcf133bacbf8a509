"""`/api/rooms/{room}/members`: a service lists the members of a room, puts users into it and removes them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.pages import Limit, NameCursor
from gateway.api.rooms import RoomPath
from gateway.api.strict_route import ServiceRoute
from gateway.rooms.member_pages import members_page
from schemas.api.rooms import MemberReply, MemberRole, MembersPage, NameMember, PutMember
from schemas.base import Empty
from schemas.names import UserName
from schemas.services import ROOMS

UserPath = Annotated[UserName, Path(description="The name of the user.")]

router = APIRouter(prefix="/api/rooms/{room}/members", tags=["server API"], route_class=ServiceRoute)


async def put_member(caller: Caller, data: PutMember) -> MemberReply:
    """Make a user a member of a room, or change a member's role."""
    caller.check(ROOMS, data.room)
    entered = await caller.rooms.put_member(data.room, data.user, data.role, by=caller.auth.sender)
    role = entered.room.role
    assert role is not None  # noqa: S101 - a member has one
    return MemberReply(room=data.room, user=data.user, role=role, new=entered.is_new)


async def remove_member(caller: Caller, data: NameMember) -> Empty:
    """End a user's membership on all of its connections, or take an invitation back."""
    caller.check(ROOMS, data.room)
    await caller.rooms.remove_member(data.room, data.user, by=caller.auth.sender, state=caller.state.app_state)
    return Empty()


@router.get(
    "", summary="Lists the members of a room.", response_model_exclude_none=True, responses=service_refusals(404)
)
async def list_members(
    caller: CurrentCaller, room: RoomPath, cursor: NameCursor = None, limit: Limit = 100
) -> MembersPage:
    """List the members of a room by name, with their presence."""
    caller.check(ROOMS, room)
    found = await caller.rooms.find(room)
    page = await members_page(caller.state.database, caller.state.presence, found, cursor, limit)
    return MembersPage(members=page.members, next_cursor=page.next_cursor)


@router.put(
    "/{user}",
    summary="Makes a user a member, or changes a member's role.",
    response_model=MemberReply,
    responses=service_refusals(404, 409, body=True)
    | {201: {"description": "The user is a new member.", "model": MemberReply}},
)
async def put(
    caller: CurrentCaller, room: RoomPath, user: UserPath, response: Response, data: MemberRole | None = None
) -> MemberReply:
    """Make a user a member of a room, also of a private one, or change a member's role.

    The user's connections get the event `room.added`. Without a body, a member keeps its role.
    """
    role = None if data is None else data.role
    reply = await put_member(caller, PutMember(room=room, user=user, role=role))
    response.status_code = 201 if reply.new else 200
    return reply


@router.delete(
    "/{user}",
    summary="Ends a membership, or takes an invitation back.",
    status_code=204,
    responses=service_refusals(404),
)
async def delete(caller: CurrentCaller, room: RoomPath, user: UserPath) -> None:
    """End a user's membership on all of its connections, or take an invitation back."""
    await remove_member(caller, NameMember(room=room, user=user))
