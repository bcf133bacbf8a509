"""The handlers of the messages that a service behind a route answers."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from handlers.base import MsgHandler, Session
from handlers.streaming import Chunk
from schemas.messages.upstream import UpstreamData, UpstreamReply


class UpstreamHandler(MsgHandler[UpstreamData, UpstreamReply]):
    """Pass a message to the service of its route, and the service's answer to the sender."""

    schema = UpstreamData
    ordered = False

    def __init__(self, type: str, session: Session, id: int | str | None, data: object) -> None:
        """Take the type as well, since a route may have all types below a prefix."""
        super().__init__(session, id, data)
        self.type = type

    async def handle(self, data: UpstreamData) -> AsyncIterator[Chunk]:
        """Yield what the service streams and its reply, or raise the error that it declares."""
        parts = self.session.upstream.stream(self.type, data.root, id=self.id, asks_for_stream=self.stream)
        async with aclosing(parts):
            async for part in parts:
                yield part


class OrderedUpstreamHandler(UpstreamHandler):
    """Do the same for an ordered route: all messages that follow on a connection wait for the answer."""

    ordered = True
