"""The handler of presence."""

from handlers.base import MsgHandler
from schemas.messages.presence import GetPresence, PresenceReply


class GetPresenceHandler(MsgHandler[GetPresence, PresenceReply]):
    """Returns the presence of users."""

    schema = GetPresence
    scope = "chat:read"

    async def handle(self, data: GetPresence) -> PresenceReply:
        """Return one entry per user, in the given order."""
        return PresenceReply(users=await self.session.presence.get(data.users))
