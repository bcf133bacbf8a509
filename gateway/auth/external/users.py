"""Users whom an outside service vouches for.

Such a user gets a row of ours when first seen, so that rooms and messages can point at it. Its id is made of the name
of the service and of what the service calls the user (`sub`, which never changes), and has a colon, which no id of
our own users has: nobody becomes another by what a service says. The name is taken once, if it is free, and stays.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from gateway.auth.authorizers import AuthResult
from gateway.config.external_services import OutsideService
from gateway.core.clock import Clock, milliseconds
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.users import DEFAULT_SCOPES, UserRow
from handlers.errors import AuthenticationFailed, Conflict, TokenRevoked
from schemas.names import UserName

MAX_CONNECTION_SECONDS = 24 * 3600
"""How long a connection may last on one outside token: some are good for years."""

_user_name: TypeAdapter[str] = TypeAdapter(UserName)

Claims = Mapping[str, Any]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
"""A claim of theirs that is a name: of an issuer, a user, an audience."""


class NoUserName(AuthenticationFailed):
    """A good token whose user cannot be named here."""


class Outsiders:
    """Finds the user of a token that an outside service has made, and adds it when first seen."""

    def __init__(self, service: str, described: OutsideService, database: Database, clock: Clock) -> None:
        self._service = service
        self._described = described
        self._database = database
        self._clock = clock

    async def admit(self, subject: str, claims: Claims, expires_at: float) -> AuthResult:
        """Give the user of verified claims.

        Raises `TokenRevoked` for one who is disabled here, and `NoUserName` for a new one whose name is taken, or none.
        """
        user_id = outsider_id(self._service, subject)
        user = await self._find(user_id) or await self._add(user_id, claims)
        if user.disabled:
            raise TokenRevoked("the token's user has been disabled")
        return AuthResult(
            user_id=user.id,
            user=user.name,
            scopes=scopes_of(self._described, claims) | frozenset(user.scopes.split()),
            expires_at=min(expires_at, self._clock.wall() + MAX_CONNECTION_SECONDS),
        )

    async def _find(self, user_id: str) -> UserRow | None:
        found = await self._database.find(users.BY_ID, user_id=user_id)
        return UserRow(**found[0]) if found else None

    async def _add(self, user_id: str, claims: Claims) -> UserRow:
        name = self._name(user_id, claims)
        try:
            async with self._database.write() as connection:
                return await users.add_outsider(connection, user_id=user_id, name=name, now=milliseconds(self._clock))
        except Conflict:
            # Two first connections at once are the same user; anybody else has the name already.
            if found := await self._find(user_id):
                return found
            raise NoUserName(
                f"the user name `{name}` is taken here by another user; ask the operator of this gateway"
            ) from None

    def _name(self, user_id: str, claims: Claims) -> str:
        claim = self._described.user_claim
        if claim is None:
            return f"{self._service}-{user_id[-10:]}"
        name = claims.get(claim)
        if not isinstance(name, str):
            raise NoUserName(f"the token has no `{claim}`, which is to be the user name here")
        try:
            return _user_name.validate_python(name.lower())
        except ValidationError as error:
            raise NoUserName(f"the token's `{claim}` is no user name here: {error.errors()[0]['msg']}") from None


def bad_token() -> AuthenticationFailed:
    """Refuse a token of an outside service, whatever is wrong with it."""
    return AuthenticationFailed("the token is not valid for this service; log in there for a new one")


def outsider_id(service: str, subject: str) -> str:
    """Make the id of a user of an outside service: the same each time, and that of nobody else."""
    digest = hashlib.sha256(f"{service}\n{subject}".encode()).hexdigest()
    return f"{service}:{digest[:32]}"


def scopes_of(described: OutsideService, claims: Claims) -> frozenset[str]:
    """Tell what claims allow here, as the settings of their service map it."""
    if described.scopes is None:
        return DEFAULT_SCOPES
    path = (described.scope_claim,) if isinstance(described.scope_claim, str) else described.scope_claim
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    theirs = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(ours for each in theirs if isinstance(each, str) for ours in described.scopes.get(each, ()))
