"""The checks of credentials, by the name of `?service=`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from gateway.auth.room_rights import CLAIM, RoomRights, both, read_claim, rights_of
from gateway.auth.service_keys import looks_like_key
from gateway.auth.tokens import Claims, Tokens, WrongToken
from gateway.auth.user_rights import UserRightsReader
from gateway.config.external_services import LOCAL
from gateway.store.users import UserRights
from handlers.errors import AuthenticationFailed, Forbidden, TokenExpired, TokenRevoked
from schemas.base import timestamp
from schemas.messages.auth import AuthReply
from schemas.services import is_service

NO_USER = "this is for users, and the credential is a service's; a service uses /api and /ws/service"


@dataclass(frozen=True)
class AuthResult:
    """The user of a credential, and its end. Times are seconds since 1970."""

    user_id: str
    user: str
    scopes: frozenset[str]
    expires_at: float
    sid: str | None = None
    """The session of the credential, if it belongs to one of ours."""
    service: str = LOCAL
    """The service that has checked it."""
    stored: UserRights | None = field(default=None, repr=False, compare=False)
    """The user, if the check has found it in the store."""
    room_rights: RoomRights | None = field(default=None, repr=False)
    """What it allows in which rooms; None stands for no restriction."""
    claims: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What its maker says about the user, for upstream services; None if no upstream service is set."""

    def to_reply(self) -> AuthReply:
        """Return the part that the client gets."""
        return AuthReply(
            token_expires_at=timestamp(int(self.expires_at * 1000)),
            scopes=tuple(sorted(self.scopes)),
        )


class Authorizer(Protocol):
    """Checks credentials of one kind."""

    async def authorize(self, token: str) -> AuthResult:
        """Return the user of the token, or raise `AuthenticationFailed` or a subclass.

        Raises `Unavailable` if the check is not possible for now.
        """


class LocalTokens:
    """Checks the tokens of our own `POST /token`."""

    def __init__(
        self, tokens: Tokens, rights: UserRightsReader, refused: Counter[tuple[str, str]], *, keep_claims: bool = False
    ) -> None:
        """Count in `refused` the tokens that do not hold, by `LOCAL` and the check."""
        self._tokens = tokens
        self._rights = rights
        self._refused = refused
        self._keep_claims = keep_claims

    async def authorize(self, token: str) -> AuthResult:
        """Verify the token and find its user. The session or the user may have ended since its issue.

        Raises `Forbidden` for the token of a service, which is no user.
        """
        try:
            claims = self._tokens.verify(token)
            found = await current_authorization_of(self._rights, claims)
        except AuthenticationFailed as error:
            self._refused[LOCAL, _check_of(error)] += 1
            raise
        if is_service(found.user):
            raise Forbidden(NO_USER)
        return replace(found, claims=claims.model_dump(exclude_unset=True)) if self._keep_claims else found


def _check_of(error: AuthenticationFailed) -> str:
    if isinstance(error, WrongToken):
        return error.check
    return "expired" if isinstance(error, TokenExpired) else "revoked"


async def current_authorization_of(rights: UserRightsReader, claims: Claims) -> AuthResult:
    """Return the current rights of a verified token of ours, or raise `TokenRevoked`."""
    rooms = read_claim(claims.rooms, LOCAL) if CLAIM in claims.model_fields_set else None
    return await current_authorization(
        rights, user_id=claims.sub, scopes=claims.scopes, expires_at=float(claims.exp), sid=claims.sid, rooms=rooms
    )


async def current_authorization(
    rights: UserRightsReader,
    *,
    user_id: str,
    scopes: frozenset[str],
    expires_at: float,
    sid: str | None,
    service: str = LOCAL,
    rooms: RoomRights | None = None,
) -> AuthResult:
    """Return the current rights of a credential that was good once, or raise `TokenRevoked`."""
    if service != LOCAL:
        user = await rights.of_id(user_id)
    else:
        user = None if sid is None else await rights.of_session(sid, user_id)
    if user is None or user.disabled:
        raise TokenRevoked("the session has ended, or the user has been disabled or deleted; log in again")
    if service == LOCAL:
        # A user's scopes and rooms can shrink while a token lives. Those of an external service stay.
        scopes = _allowed(scopes, user.scopes)
        rooms = both(rooms, rights_of(user.room_rights))
    return AuthResult(user.id, user.name, scopes, expires_at, sid, service, user, rooms)


@lru_cache(maxsize=1024)
def _allowed(scopes: frozenset[str], of_user: str) -> frozenset[str]:
    # Most users have the same scopes, so most connections share one set.
    return scopes & frozenset(of_user.split())


async def authorize(authorizers: dict[str, Authorizer], service: str, token: str) -> AuthResult:
    """Check a credential with the named service, or raise `AuthenticationFailed` or a subclass.

    Raises `Forbidden` for the key or the token of one of our own services, which is no user.
    """
    if looks_like_key(token):  # no external service may see it
        raise Forbidden(NO_USER)
    authorizer = authorizers.get(service)
    if authorizer is None:
        known = ", ".join(f"`{name}`" for name in authorizers)
        raise AuthenticationFailed(f"unknown service; expected one of {known}")
    found = await authorizer.authorize(token)
    return found if found.service == service else replace(found, service=service)
