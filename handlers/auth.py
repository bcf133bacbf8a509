"""Logging a connection in, and keeping it logged in."""

from handlers.base import MsgHandler
from handlers.errors import Conflict
from schemas.messages.auth import Authenticate, AuthReply, RefreshAuth


class AuthHandler(MsgHandler[Authenticate, AuthReply]):
    """Answers those who log in twice. The first message of a connection without a credential does not come here."""

    schema = Authenticate

    async def handle(self, data: Authenticate) -> AuthReply:
        """Refuse: the connection stays as it is."""
        raise Conflict("this connection is logged in already; send `auth.refresh` to go on with another token")


class RefreshHandler(MsgHandler[RefreshAuth, AuthReply]):
    """Keeps a connection beyond the end of its token."""

    schema = RefreshAuth

    async def handle(self, data: RefreshAuth) -> AuthReply:
        """Answer with what the new token allows; a refused one leaves everything as it was."""
        return await self.session.credential.refresh(data.token)
