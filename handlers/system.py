"""`ping`, `echo`, `bye` and `announce`."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.codes import Close
from schemas.events.system import Announcement
from schemas.messages.system import Announce, AnnounceReply, Echo, PingReply


class PingHandler(MsgHandler[Empty, PingReply]):
    """Tells the time."""

    schema = Empty

    async def handle(self, data: Empty) -> PingReply:
        """Answer with the gateway's clock."""
        return PingReply(server_time=self.session.now())


class EchoHandler(MsgHandler[Echo, Echo]):
    """Sends back what came."""

    schema = Echo

    async def handle(self, data: Echo) -> Echo:
        """Answer with the same data."""
        return data


class ByeHandler(MsgHandler[Empty, Empty]):
    """Ends the connection, politely."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        """Close with 1000 after the reply."""
        self.session.hang_up(Close.BYE)
        return Empty()


class AnnounceHandler(MsgHandler[Announce, AnnounceReply]):
    """Tells every connection something."""

    schema = Announce
    scope = "admin"

    async def handle(self, data: Announce) -> AnnounceReply:
        """Answer with the number of connections that were told."""
        announcement = Announcement(
            sender=self.session.user, text=data.text, body=data.body, sent_at=self.session.now()
        )
        return AnnounceReply(reached=await self.session.tell_everyone(announcement))
