"""The user's rooms for the welcome: what an application needs to draw its list, and to come back into them."""

from gateway.chat.verbs.context import SessionContext
from gateway.core import costs
from gateway.rooms.room_pages import RoomPage, read_own_rooms
from schemas.messages.rooms import MAX_RESUMED, RoomsReply


async def own_rooms(session: SessionContext) -> RoomsReply:
    """Return the user's first rooms and invitations by name, as `room.list` shows them, and charge them."""
    session.charge(costs.READ)
    return charged_reply(session, await read_own_rooms(session.gateway.database, session.user_id, MAX_RESUMED))


def charged_reply(session: SessionContext, page: RoomPage) -> RoomsReply:
    """Charge a page of rooms, and return it as a reply."""
    session.charge(costs.of_rows(len(page.rooms), counted=page.searched))
    return RoomsReply(rooms=tuple(row.to_schema() for row in page.rooms), next_cursor=page.next_cursor)
