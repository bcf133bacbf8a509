"""What a session can do with its credential."""

from typing import Protocol

from gateway.auth.authorizers import AuthResult, authorize
from gateway.core import costs
from gateway.state import Services
from handlers.errors import Forbidden
from schemas.messages.auth import AuthReply


class Holder(Protocol):
    """A session, as these verbs see it."""

    services: Services
    service: str
    user_id: str

    def charge(self, cost: float) -> None:
        """Take what a message costs beyond being one, in messages, from what the user may do in a second."""

    def renew(self, auth: AuthResult) -> None:
        """Go on with another credential of the same user."""


class SessionCredential:
    """Verbs for the credential, as `handlers.base.CredentialVerbs` promises them."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    async def refresh(self, token: str) -> AuthReply:
        """Go on with another token of the same user, which the same service checks as the first one."""
        holder = self._holder
        holder.charge(costs.READ)
        auth = await authorize(holder.services.authorizers, holder.service, token)
        if auth.user_id != holder.user_id:
            raise Forbidden("this token is another user's; open a connection of its own for it")
        holder.renew(auth)
        return auth.granted()
