"""`GET /api/presence` and `/api/rooms/{room}/presence`: the presence of users on all nodes, for services."""

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.pages import NameCursor
from gateway.api.rooms import RoomPath
from gateway.api.strict_route import ServiceRoute
from gateway.rooms.connection_directory import MAX_PAGE
from gateway.store import users
from gateway.store.prepared import items_of
from schemas.api.presence import PresencePage
from schemas.messages.presence import PresenceReply, UserPresence
from schemas.names import UserName
from schemas.services import CONNECTIONS

MAX_USERS = 100

router = APIRouter(prefix="/api", tags=["server API"], route_class=ServiceRoute)


@router.get(
    "/presence",
    summary="Returns the presence of users.",
    response_model_exclude_none=True,
    responses=service_refusals(),
)
async def of_users(
    caller: CurrentCaller,
    user: Annotated[
        list[UserName], Query(min_length=1, max_length=MAX_USERS, description="A user; once for each name.")
    ],
) -> PresenceReply:
    """Return the presence of users on all nodes, in the order of the request. An unknown user is offline."""
    caller.check_everywhere(CONNECTIONS)
    return PresenceReply(users=await _of(caller, user))


@router.get(
    "/rooms/{room}/presence",
    summary="Lists the users that hear a room now.",
    response_model_exclude_none=True,
    responses=service_refusals(),
)
async def of_room(
    caller: CurrentCaller,
    room: RoomPath,
    cursor: NameCursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most users of the page.")] = MAX_PAGE,
) -> PresencePage:
    """List the users with a connection that hears a room now, on any node, by name."""
    caller.check(CONNECTIONS, room)
    page = await caller.state.directory.users_in_room(room, cursor or "", limit)
    names = [item["user"] for item in page.items]
    return PresencePage(
        users=await _of(caller, names),
        next_cursor=names[-1] if page.has_more else None,
        missing_nodes=tuple(sorted(page.missing)),
    )


async def _of(caller: Caller, names: list[str]) -> tuple[UserPresence, ...]:
    rows = await caller.state.database.fetch(users.LAST_SEEN, items=items_of(names))
    last_seen = {row["name"]: row["last_seen_at"] for row in rows}
    found = {each.user: each for each in await caller.state.presence.get({name: last_seen.get(name) for name in names})}
    return tuple(found[name] for name in names)
