"""`/api/connections`: the connections of all nodes, listed and closed."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import StringConstraints

from gateway.api.caller import Caller, CurrentCaller
from gateway.api.descriptions import service_refusals
from gateway.api.strict_route import ServiceRoute
from gateway.api.user_ids import user_id_of
from gateway.core.client_info import network_of
from gateway.rooms.connection_directory import MAX_PAGE, ConnectionFilter
from handlers.errors import NotFound
from schemas.api.connections import CONNECTION_ID, ConnectionsReply, ConnectionView, NameConnection
from schemas.base import Empty
from schemas.names import RoomName, UserName
from schemas.services import CONNECTIONS

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="The most connections of the page.")]
ConnectionId = Annotated[str, Path(pattern=CONNECTION_ID)]
Cursor = Annotated[
    Annotated[str, StringConstraints(pattern=CONNECTION_ID)] | None,
    Query(description="The `next_cursor` of the page before."),
]

router = APIRouter(prefix="/api/connections", tags=["server API"], route_class=ServiceRoute)


async def close_connection(caller: Caller, data: NameConnection) -> Empty:
    """Close a connection of any node."""
    caller.check_everywhere(CONNECTIONS)
    if not await caller.state.directory.close(data.connection):
        raise NotFound("there is no such connection")
    caller.audit("connection_closed", connection=data.connection)
    return Empty()


@router.get(
    "", summary="Lists the connections of all nodes.", response_model_exclude_none=True, responses=service_refusals(404)
)
async def list_connections(
    caller: CurrentCaller,
    user: Annotated[UserName | None, Query(description="Only those of this user.")] = None,
    room: Annotated[RoomName | None, Query(description="Only those that hear this room.")] = None,
    address: Annotated[str | None, Query(max_length=64, description="Only those from this address.")] = None,
    cursor: Cursor = None,
    limit: Limit = MAX_PAGE,
) -> ConnectionsReply:
    """List the connections of all nodes by id: of a user, in a room, from an address, or all."""
    if room is None:
        caller.check_everywhere(CONNECTIONS)
    else:
        caller.check(CONNECTIONS, room)
    user_id = None if user is None else await user_id_of(caller.state, user)
    which = ConnectionFilter(user_id, room, None if address is None else network_of(address))
    page = await caller.state.directory.list_page(which, cursor or "", limit)
    views = tuple(ConnectionView(**item | {"scopes": tuple(item["scopes"])}) for item in page.items)
    return ConnectionsReply(
        connections=views,
        next_cursor=views[-1].connection if page.has_more else None,
        missing_nodes=tuple(sorted(page.missing)),
    )


@router.delete("/{id}", summary="Closes a connection.", status_code=204, responses=service_refusals(404))
async def delete(id: ConnectionId, caller: CurrentCaller) -> None:
    """Close a connection of any node with 4403. Its client does not come back by itself, but its token stays good."""
    await close_connection(caller, NameConnection(connection=id))
