"""The verbs of a session for its credential."""

from gateway.auth.authorizers import authorize
from gateway.chat.verbs.context import ConnectionContext
from gateway.core import costs
from handlers.errors import Forbidden
from schemas.messages.auth import AuthReply


class SessionCredential:
    """The verbs of `handlers.base.CredentialVerbs`, for one session."""

    def __init__(self, session: ConnectionContext) -> None:
        self._session = session

    async def refresh(self, token: str) -> AuthReply:
        """Take over another token of the same user. The service of the first token checks it too."""
        session = self._session
        session.charge(costs.READ)
        auth = await authorize(session.gateway.authorizers, session.service, token)
        if auth.user_id != session.user_id:
            raise Forbidden("this token is another user's; open a connection of its own for it")
        session.renew(auth)
        return auth.to_reply()
