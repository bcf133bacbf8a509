"""Who checks a credential, by the name that `?service=` gives."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.auth.tokens import Tokens
from gateway.store import users
from gateway.store.engine import Database
from handlers.errors import AuthenticationFailed, TokenRevoked

OWN = "gateway"
"""The service that checks our own tokens, and the default."""


@dataclass(frozen=True)
class AuthResult:
    """Who a credential stands for, and until when. Times are seconds since 1970."""

    user_id: str
    user: str
    scopes: frozenset[str]
    expires_at: float


class Authorizer(Protocol):
    """Checks credentials of one kind."""

    async def authorize(self, token: str) -> AuthResult:
        """Tell whom the token stands for, or raise `AuthenticationFailed` or one of its kind.

        Raises `Unavailable` where that cannot be known for now.
        """


class OwnTokens:
    """Checks the tokens of our own `POST /token`."""

    def __init__(self, tokens: Tokens, database: Database) -> None:
        self._tokens = tokens
        self._database = database

    async def authorize(self, token: str) -> AuthResult:
        """Verify the token and find its user, who may have been disabled or deleted since."""
        claims = self._tokens.verify(token)
        user = await self._database.look_up(partial(users.found_by_id, user_id=claims.sub))
        if user is None or user.disabled:
            raise TokenRevoked("the token's user has been disabled or deleted")
        # What a user may do can shrink while a token lives.
        scopes = claims.scopes & frozenset(user.scopes.split())
        return AuthResult(user.id, user.name, scopes, float(claims.exp))


async def authorize(authorizers: dict[str, Authorizer], service: str, token: str | None) -> AuthResult:
    """Check a credential with the service named, or raise `AuthenticationFailed` or one of its kind."""
    if token is None:
        raise AuthenticationFailed("no credential; connect with ?token=… or an Authorization: Bearer header")
    authorizer = authorizers.get(service)
    if authorizer is None:
        known = ", ".join(f"`{name}`" for name in authorizers)
        raise AuthenticationFailed(f"unknown service; expected one of {known}")
    return await authorizer.authorize(token)
