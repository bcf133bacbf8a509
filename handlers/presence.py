"""Who is there."""

from handlers.base import MsgHandler
from schemas.messages.presence import GetPresence, PresenceReply


class GetPresenceHandler(MsgHandler[GetPresence, PresenceReply]):
    """Tells whether users are there."""

    schema = GetPresence
    scope = "chat:read"

    async def handle(self, data: GetPresence) -> PresenceReply:
        """Answer with one entry per user, in the order asked."""
        return PresenceReply(users=await self.session.presence.of(data.users))
