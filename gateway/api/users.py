"""`/api/users`: a user, its connections and its sessions, for services."""

from typing import Annotated

from fastapi import APIRouter, Path

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.strict_route import ServiceRoute
from gateway.api.user_ids import user_of
from schemas.api.users import Disconnected, NameUser, SessionsEnded, UserView
from schemas.base import timestamp
from schemas.names import UserName
from schemas.services import USERS

UserPath = Annotated[UserName, Path(description="The name of the user.")]

router = APIRouter(prefix="/api/users/{user}", tags=["server API"], route_class=ServiceRoute)


async def read_user(caller: Caller, data: NameUser) -> UserView:
    """Return a user, with its presence on all nodes."""
    caller.check_everywhere(USERS)
    user = await user_of(caller.state, data.user)
    [presence] = await caller.state.presence.get({user.name: user.last_seen_at})
    return UserView(
        user=user.name,
        id=user.id,
        full_name=user.full_name,
        email=user.email,
        scopes=tuple(user.scopes.split()),
        disabled=user.disabled,
        created_at=timestamp(user.created_at),
        state=presence.state,
        last_seen=presence.last_seen,
    )


async def disconnect_user(caller: Caller, data: NameUser) -> Disconnected:
    """Close all connections of a user, on all nodes."""
    caller.check_everywhere(USERS)
    user = await user_of(caller.state, data.user)
    closed = await caller.state.directory.disconnect(user.id)
    caller.audit("user_disconnected", of_user=user.name, closed=closed)
    return Disconnected(closed=closed)


async def end_user_sessions(caller: Caller, data: NameUser) -> SessionsEnded:
    """End all sessions of a user, with their tokens and connections."""
    caller.check_everywhere(USERS)
    user = await user_of(caller.state, data.user)
    ended = await caller.state.login_sessions.end(user.id, caller.client, "session_ended")
    caller.audit("user_sessions_ended", of_user=user.name, ended=len(ended))
    return SessionsEnded(ended=len(ended))


@router.get("", summary="Returns a user.", response_model_exclude_none=True, responses=service_refusals(404))
async def get(user: UserPath, caller: CurrentCaller) -> UserView:
    """Return a user, with its presence on all nodes."""
    return await read_user(caller, NameUser(user=user))


@router.post("/disconnect", summary="Closes all connections of a user.", responses=service_refusals(404))
async def post_disconnect(user: UserPath, caller: CurrentCaller) -> Disconnected:
    """Close all connections of a user, on all nodes, with 4403. Its tokens stay good."""
    return await disconnect_user(caller, NameUser(user=user))


@router.delete("/sessions", summary="Ends all sessions of a user.", responses=service_refusals(404))
async def delete_sessions(user: UserPath, caller: CurrentCaller) -> SessionsEnded:
    """End all sessions of a user: its tokens are no longer good, and their connections close with 4411."""
    return await end_user_sessions(caller, NameUser(user=user))
