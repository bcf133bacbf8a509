"""The handler that cancels a message in progress."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.messages.calls import CancelMessage


class CancelHandler(MsgHandler[CancelMessage, Empty]):
    """Cancels an unordered message in progress."""

    schema = CancelMessage
    needs_connection = True

    async def handle(self, data: CancelMessage) -> Empty:
        """Return after the message is answered with 49900."""
        self.session.cancel(data.id)
        return Empty()
