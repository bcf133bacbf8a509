"""The handler of the messages that a service behind a route answers."""

from handlers.base import MsgHandler, Session
from schemas.messages.upstream import UpstreamData, UpstreamReply


class UpstreamHandler(MsgHandler[UpstreamData, UpstreamReply]):
    """Pass a message to the service of its route, and the service's answer to the sender."""

    schema = UpstreamData
    ordered = False

    def __init__(self, type: str, session: Session, id: int | str | None, data: object) -> None:
        """Take the type as well, since a route may have all types below a prefix."""
        super().__init__(session, id, data)
        self.type = type

    async def handle(self, data: UpstreamData) -> UpstreamReply:
        """Return the reply of the service, or raise the error that it declares."""
        return await self.session.upstream.call(self.type, data.root, id=self.id)
