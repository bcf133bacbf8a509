"""The verbs of a session for its credential."""

from typing import Protocol

from gateway.auth.authorizers import AuthResult, authorize
from gateway.core import costs
from gateway.state import GatewayState
from handlers.errors import Forbidden
from schemas.messages.auth import AuthReply


class Holder(Protocol):
    """A session, as these verbs see it."""

    gateway: GatewayState
    service: str
    user_id: str

    def charge(self, cost: float) -> None:
        """Charge the user's rate with the extra cost of a message, in messages."""

    def renew(self, auth: AuthResult) -> None:
        """Take over another credential of the same user."""


class SessionCredential:
    """The verbs of `handlers.base.CredentialVerbs`, for one session."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    async def refresh(self, token: str) -> AuthReply:
        """Take over another token of the same user. The service of the first token checks it too."""
        holder = self._holder
        holder.charge(costs.READ)
        auth = await authorize(holder.gateway.authorizers, holder.service, token)
        if auth.user_id != holder.user_id:
            raise Forbidden("this token is another user's; open a connection of its own for it")
        holder.renew(auth)
        return auth.to_reply()
