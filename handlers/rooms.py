"""Handlers that make, list, join, change and leave rooms."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.messages.rooms import (
    CreateRoom,
    DeleteRoom,
    InviteUser,
    JoinReply,
    JoinRoom,
    KickUser,
    LeaveRoom,
    ListMembers,
    ListRooms,
    MembersReply,
    OpenDirect,
    ResumeReply,
    ResumeRooms,
    RoomReply,
    RoomsReply,
    SendSignal,
    SetRole,
    UpdateRoom,
)


class CreateRoomHandler(MsgHandler[CreateRoom, RoomReply]):
    """Makes a room that the user owns."""

    schema = CreateRoom
    scope = "rooms:manage"

    async def handle(self, data: CreateRoom) -> RoomReply:
        """Return the room."""
        room = await self.session.rooms.create(data.room, title=data.title, private=data.private, signals=data.signals)
        return RoomReply(room=room)


class JoinRoomHandler(MsgHandler[JoinRoom, JoinReply]):
    """Makes the user a member of a room, and this connection a listener."""

    schema = JoinRoom
    scope = "chat:read"

    async def handle(self, data: JoinRoom) -> JoinReply:
        """Return the position of the room's log, and its newest or missed messages."""
        return await self.session.rooms.join(data.room, since=data.since, limit=data.limit)


class ResumeRoomsHandler(MsgHandler[ResumeRooms, ResumeReply]):
    """Joins many rooms at once, as a client does that comes back."""

    schema = ResumeRooms
    scope = "chat:read"

    async def handle(self, data: ResumeRooms) -> ResumeReply:
        """Return for each room the reply or the error of `room.join`."""
        return await self.session.rooms.resume(data.rooms)


class LeaveRoomHandler(MsgHandler[LeaveRoom, Empty]):
    """Ends a membership on all of the user's connections, or declines an invitation."""

    schema = LeaveRoom
    scope = "chat:read"

    async def handle(self, data: LeaveRoom) -> Empty:
        """Return after the membership has ended."""
        await self.session.rooms.leave(data.room)
        return Empty()


class ListRoomsHandler(MsgHandler[ListRooms, RoomsReply]):
    """Lists the rooms that the user may see."""

    schema = ListRooms
    scope = "chat:read"

    async def handle(self, data: ListRooms) -> RoomsReply:
        """Return a page of rooms."""
        return await self.session.rooms.list(cursor=data.cursor, limit=data.limit)


class ListMembersHandler(MsgHandler[ListMembers, MembersReply]):
    """Lists the members of a room."""

    schema = ListMembers
    scope = "chat:read"

    async def handle(self, data: ListMembers) -> MembersReply:
        """Return a page of members."""
        return await self.session.rooms.members(data.room, cursor=data.cursor, limit=data.limit)


class InviteHandler(MsgHandler[InviteUser, Empty]):
    """Invites another user to a room."""

    schema = InviteUser
    scope = "rooms:manage"

    async def handle(self, data: InviteUser) -> Empty:
        """Return after the invitation is stored."""
        await self.session.rooms.invite(data.room, data.user)
        return Empty()


class KickHandler(MsgHandler[KickUser, Empty]):
    """Ends another user's membership, or takes an invitation back."""

    schema = KickUser
    scope = "rooms:manage"

    async def handle(self, data: KickUser) -> Empty:
        """Return after the membership, or the invitation, has ended."""
        await self.session.rooms.kick(data.room, data.user)
        return Empty()


class SetRoleHandler(MsgHandler[SetRole, Empty]):
    """Changes a member's role."""

    schema = SetRole
    scope = "rooms:manage"

    async def handle(self, data: SetRole) -> Empty:
        """Return after the role is stored."""
        await self.session.rooms.set_role(data.room, data.user, data.role)
        return Empty()


class UpdateRoomHandler(MsgHandler[UpdateRoom, RoomReply]):
    """Changes a room's title, whether it is private, or whether it takes signals."""

    schema = UpdateRoom
    scope = "rooms:manage"

    async def handle(self, data: UpdateRoom) -> RoomReply:
        """Return the room in its new state."""
        room = await self.session.rooms.update(data.room, title=data.title, private=data.private, signals=data.signals)
        return RoomReply(room=room)


class DeleteRoomHandler(MsgHandler[DeleteRoom, Empty]):
    """Deletes a room with all of its messages."""

    schema = DeleteRoom
    scope = "rooms:manage"

    async def handle(self, data: DeleteRoom) -> Empty:
        """Return after the room is deleted."""
        await self.session.rooms.delete(data.room)
        return Empty()


class SignalHandler(MsgHandler[SendSignal, Empty]):
    """Sends a signal to the other listeners of a room."""

    schema = SendSignal
    scope = "chat:write"

    async def handle(self, data: SendSignal) -> Empty:
        """Return after the signal is on its way. The gateway does not store it."""
        await self.session.rooms.signal(data.room, data.name, data.data)
        return Empty()


class OpenDirectHandler(MsgHandler[OpenDirect, RoomReply]):
    """Opens the private room of two users."""

    schema = OpenDirect
    scope = "chat:write"

    async def handle(self, data: OpenDirect) -> RoomReply:
        """Return the room. A client joins it like any other."""
        return RoomReply(room=await self.session.rooms.open_direct(data.user))
