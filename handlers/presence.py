"""The handlers of presence."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.messages.presence import GetPresence, PresenceReply, SetPresence


class GetPresenceHandler(MsgHandler[GetPresence, PresenceReply]):
    """Returns the presence of users."""

    schema = GetPresence
    scope = "chat:read"

    async def handle(self, data: GetPresence) -> PresenceReply:
        """Return one entry per user, in the given order."""
        return PresenceReply(users=await self.session.presence.get(data.users))


class SetPresenceHandler(MsgHandler[SetPresence, Empty]):
    """Shows the others in a room a state of the user's own."""

    schema = SetPresence
    scope = "chat:write"
    needs_connection = True

    async def handle(self, data: SetPresence) -> Empty:
        """Return at once; the room learns of a change within 50 ms."""
        await self.session.presence.set(data.room, data.state)
        return Empty()
