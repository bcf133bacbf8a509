"""Users of external services.

Such a user gets a row at first sight, so that rooms and messages can point to it. Its id is made of the name of the
service and its `sub` there, which never changes. The id has a colon, and no id of our own users has one: so no service
can turn one user into another. The user gets its name once, if the name is free, and keeps it.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.user_names import marked_name, user_name
from gateway.auth.room_rights import RoomRights, either, read_claim, rights_of
from gateway.auth.user_rights import UserRightsReader
from gateway.config.external_services import ClaimPath, ExternalService
from gateway.core.clock import Clock, milliseconds
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.users import UserRights, UserRow
from handlers.errors import AuthenticationFailed, TokenRevoked, Unavailable
from schemas.names import DEFAULT_SCOPES

MAX_CONNECTION_SECONDS = 24 * 3600
"""Seconds that a connection may last on one external token: some tokens are good for years."""

VERIFIED_CLAIMS = ("email_verified", "emailVerified")
"""The claims that say that an address is verified: OpenID Connect §5.1, with some issuers as text, and Better Auth."""

Claims = Mapping[str, Any]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
"""A claim that names an issuer, a user or an audience."""


class Refused(AuthenticationFailed):
    """A refused token, with the reason for the operator. The client sees only the text."""

    def __init__(self, text: str, reason: str, check: str = "user") -> None:
        super().__init__(text)
        self.reason = reason
        self.check = check
        """The name of the check that has failed, for the metrics."""


class NoUserName(Refused):
    """A good token without a usable user name."""


class ServiceUnavailable(Unavailable):
    """The gateway cannot check a credential for now."""

    def __str__(self) -> str:
        return f"the service `{self.part}` cannot be asked for now; try again"


class ExternalUsers:
    """Finds the user of an external service's token, and adds it at first sight."""

    def __init__(
        self,
        service: str,
        described: ExternalService,
        database: Database,
        clock: Clock,
        default_scopes: frozenset[str] = DEFAULT_SCOPES,
        *,
        keep_claims: bool = False,
    ) -> None:
        self._service = service
        self._default_scopes = default_scopes
        self._keep_claims = keep_claims
        self._described = described
        self._database = database
        self._rights = UserRightsReader(database)
        self._clock = clock

    async def find_or_create(
        self,
        subject: str,
        claims: Claims,
        expires_at: float,
        scopes: frozenset[str] | None = None,
        rooms: RoomRights | None = None,
    ) -> AuthResult:
        """Return the user of verified claims; `scopes` and `rooms` count in place of those that the settings map.

        Raises `TokenRevoked` for a disabled user, and `NoUserName` if a new user has no name or a taken one.
        """
        user_id = external_user_id(self._service, subject)
        user = await self._rights.of_id(user_id) or await self._add(user_id, claims)
        if user.disabled:
            raise TokenRevoked("the token's user has been disabled")
        return AuthResult(
            user_id=user.id,
            user=user.name,
            scopes=(self._scopes_of(claims) if scopes is None else scopes) | frozenset(user.scopes.split()),
            expires_at=min(expires_at, self._clock.wall() + MAX_CONNECTION_SECONDS),
            room_rights=either(rooms or rooms_of(self._service, self._described, claims), rights_of(user.room_rights)),
            claims=claims if self._keep_claims else None,
        )

    async def _add(self, user_id: str, claims: Claims) -> UserRow | UserRights:
        name = new_user_name(self._described, user_id, claims)
        try:
            add = partial(users.add_external, user_id=user_id, name=name, now=milliseconds(self._clock))
            return await self._database.transact(add)
        except NameTaken:
            # Two first connections at once are the same user. Otherwise another user has the name.
            if found := await self._rights.of_id(user_id):
                return found
            raise NoUserName(
                f"the user name `{name}` is taken here by another user; ask the operator of this gateway",
                "its user name is taken here by another user",
            ) from None

    def _scopes_of(self, claims: Claims) -> frozenset[str]:
        mapped = scopes_of(self._described, claims)
        return self._default_scopes if mapped is None else mapped


def new_user_name(described: ExternalService, user_id: str, claims: Claims) -> str:
    """Return the name that a user gets at first sight, if it is free, or raise `NoUserName` without one."""
    claim = described.user_claim
    if claim is None:
        return marked_name("", user_id)
    text = claims.get(claim)
    if not isinstance(text, str) or not text:
        raise NoUserName(
            f"the token has no `{claim}`, which is to be the user name here", f"no user name in the claim `{claim}`"
        )
    if claim == "email" and email_is_verified(claims) is False:
        raise NoUserName(
            "the token's `email` is not verified; confirm the address where you log in",
            "an e-mail address that is not verified",
        )
    return user_name(claim, text, user_id)


def email_is_verified(claims: Claims) -> bool | None:
    """Return whether the claims call their e-mail address verified, or None if they say nothing of that."""
    said = [claims[name] for name in VERIFIED_CLAIMS if name in claims]
    return all(each in (True, "true") for each in said) if said else None


def bad_token(reason: str, check: str) -> Refused:
    """Return the one refusal for every bad token of an external service. Only the operator learns the reason."""
    return Refused("the token is not valid for this service; log in there for a new one", reason, check)


def external_user_id(service: str, subject: str) -> str:
    """Return the id of an external service's user: always the same, and no other user's."""
    digest = hashlib.sha256(f"{service}\n{subject}".encode()).hexdigest()
    return f"{service}:{digest[:32]}"


def scopes_of(described: ExternalService, claims: Claims) -> frozenset[str] | None:
    """Return what claims allow here, as the settings of their service map it; None if they map nothing."""
    if described.scopes is None:
        return None
    value = value_at(described.scope_claim, claims)
    theirs = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(ours for each in theirs if isinstance(each, str) for ours in described.scopes.get(each, ()))


def rooms_of(service: str, described: ExternalService, claims: Claims) -> RoomRights | None:
    """Return what claims allow in which rooms; None if the settings name no claim for that.

    A token without the claim allows no room, like one with a claim that cannot be read.
    """
    if described.rooms_claim is None:
        return None
    return read_claim(value_at(described.rooms_claim, claims), service)


def value_at(path: ClaimPath, claims: Claims) -> object:
    """Return the value of a claim, or None without one."""
    value: object = claims
    for name in (path,) if isinstance(path, str) else path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
