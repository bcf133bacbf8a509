"""Handlers that log a connection in and keep it logged in."""

from handlers.base import MsgHandler
from handlers.errors import Conflict
from schemas.messages.auth import Authenticate, AuthReply, RefreshAuth


class AuthHandler(MsgHandler[Authenticate, AuthReply]):
    """Refuses a second log-in. A first message `auth` never reaches this handler: the handshake reads it."""

    schema = Authenticate
    needs_connection = True

    async def handle(self, data: Authenticate) -> AuthReply:
        """Raise `Conflict`; the connection stays as it is."""
        raise Conflict("this connection is logged in already; send `auth.refresh` to go on with another token")


class RefreshHandler(MsgHandler[RefreshAuth, AuthReply]):
    """Keeps a connection beyond the end of its token."""

    schema = RefreshAuth
    needs_connection = True

    async def handle(self, data: RefreshAuth) -> AuthReply:
        """Return the scopes and the end of the new token. A refused token changes nothing."""
        return await self.session.credential.refresh(data.token)
