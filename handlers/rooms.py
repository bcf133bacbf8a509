"""Making, finding, entering and leaving rooms."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.messages.rooms import (
    CreateRoom,
    JoinReply,
    JoinRoom,
    LeaveRoom,
    ListMembers,
    ListRooms,
    MembersReply,
    RoomReply,
    RoomsReply,
)


class CreateRoomHandler(MsgHandler[CreateRoom, RoomReply]):
    """Makes a room that the user owns."""

    schema = CreateRoom
    scope = "rooms:manage"

    async def handle(self, data: CreateRoom) -> RoomReply:
        """Answer with the room."""
        room = await self.session.rooms.create(data.room, title=data.title, private=data.private)
        return RoomReply(room=room)


class JoinRoomHandler(MsgHandler[JoinRoom, JoinReply]):
    """Makes the user a member of a room, and this connection hear it."""

    schema = JoinRoom
    scope = "chat:read"

    async def handle(self, data: JoinRoom) -> JoinReply:
        """Answer with where the room's log stands."""
        return await self.session.rooms.join(data.room)


class LeaveRoomHandler(MsgHandler[LeaveRoom, Empty]):
    """Ends a membership, on all the user's connections."""

    schema = LeaveRoom
    scope = "chat:read"

    async def handle(self, data: LeaveRoom) -> Empty:
        """Answer once the membership has ended."""
        await self.session.rooms.leave(data.room)
        return Empty()


class ListRoomsHandler(MsgHandler[ListRooms, RoomsReply]):
    """Lists the rooms that the user may see."""

    schema = ListRooms
    scope = "chat:read"

    async def handle(self, data: ListRooms) -> RoomsReply:
        """Answer with a page of rooms."""
        return await self.session.rooms.list(cursor=data.cursor, limit=data.limit)


class ListMembersHandler(MsgHandler[ListMembers, MembersReply]):
    """Lists who is in a room."""

    schema = ListMembers
    scope = "chat:read"

    async def handle(self, data: ListMembers) -> MembersReply:
        """Answer with a page of members."""
        return await self.session.rooms.members(data.room, cursor=data.cursor, limit=data.limit)
