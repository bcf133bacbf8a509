"""`ping`, `echo`, `bye` and `announce`."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.codes import Close
from schemas.events.system import Announcement
from schemas.messages.system import Announce, AnnounceReply, Echo, PingReply


class PingHandler(MsgHandler[Empty, PingReply]):
    """Returns the gateway's time."""

    schema = Empty

    async def handle(self, data: Empty) -> PingReply:
        """Return the gateway's time."""
        return PingReply(server_time=self.session.now())


class EchoHandler(MsgHandler[Echo, Echo]):
    """Sends the data back."""

    schema = Echo

    async def handle(self, data: Echo) -> Echo:
        """Return the same data."""
        return data


class ByeHandler(MsgHandler[Empty, Empty]):
    """Closes the connection in order."""

    schema = Empty
    needs_connection = True

    async def handle(self, data: Empty) -> Empty:
        """Close the connection with 1000 after the reply."""
        self.session.close_after_reply(Close.BYE)
        return Empty()


class AnnounceHandler(MsgHandler[Announce, AnnounceReply]):
    """Sends an announcement to every connection."""

    schema = Announce
    scope = "admin"

    async def handle(self, data: Announce) -> AnnounceReply:
        """Return the number of connections that get it."""
        announcement = Announcement(
            sender=self.session.user, text=data.text, body=data.body, sent_at=self.session.now()
        )
        return AnnounceReply(reached=await self.session.publish_to_all(announcement))
