"""An application's own checks of credentials, by the name that `?service=` gives.

Such a check says what its service calls the user. The gateway does the rest as for every other external service: it
adds the user's row, makes a user name of what the check has said, and bounds the time of the check.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from pydantic import TypeAdapter, ValidationError

from gateway.auth.authorizers import Authorizer, AuthResult
from gateway.auth.external.user_names import small_letters
from gateway.auth.external.users import ExternalUsers, ServiceUnavailable, bad_token
from gateway.auth.room_rights import RoomRights
from gateway.config.external_services import ExternalService, ServiceName
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.core.start_error import StartError
from gateway.store.engine import Database
from handlers.errors import TokenExpired
from schemas.messages.auth import MAX_TOKEN_LENGTH
from schemas.names import ScopeName

MAX_SUBJECT_LENGTH = 1024

_DESCRIBED = ExternalService(user_claim="user")

_service_name: TypeAdapter[str] = TypeAdapter(ServiceName)
_scopes: TypeAdapter[frozenset[str]] = TypeAdapter(frozenset[ScopeName])


@dataclass(frozen=True)
class Identity:
    """The user of a credential that an own check has found good."""

    user: str
    """What the user's name here is made of, such as an e-mail address; it counts when the user first comes."""
    subject: str | None = None
    """What never changes of the user and is no other user's; without it, the name is that."""
    scopes: frozenset[str] | None = None
    """What the credential allows; None stands for `GATEWAY_DEFAULT_SCOPES`."""
    expires_at: float | None = None
    """When the credential ends, in seconds since 1970; without it, the connection lasts for `GATEWAY_TOKEN_MINUTES`."""
    rooms: Mapping[str, Collection[str]] | None = None
    """What it allows in which rooms, such as `{"team-*": ["join", "send"]}`; None limits the user to no rooms."""
    claims: Mapping[str, Any] | None = None
    """What upstream services may learn of the user, in values of JSON."""

    def __post_init__(self) -> None:
        """Raise `TypeError` or `ValueError` for a mistake of the check, as opposed to a user without a name."""
        said = vars(self)  # untyped: an application may not be type-checked
        if not isinstance(said["user"], str) or not isinstance(said["subject"], str | None):
            raise TypeError(f"expected text as the user and the subject, got {self.user!r} and {self.subject!r}")
        if self.scopes is not None:
            object.__setattr__(self, "scopes", _scopes.validate_python(self.scopes))
        if self.expires_at is not None and not 0 <= self.expires_at < float("inf"):
            raise ValueError(f"expected `expires_at` in seconds since 1970, got {self.expires_at!r}")
        if self.rooms is not None:
            RoomRights.parse(self.rooms)
        if self.claims is not None:
            orjson.dumps(self.claims)


class AppAuthorizer(Protocol):
    """Checks the credentials of one service of an application's own."""

    async def authorize(self, token: str) -> Identity:
        """Return the user that the credential stands for, or raise `AuthenticationFailed` or one of its kind.

        Raises `Unavailable` if the check cannot be made for now. All else that it raises is answered with 50000.
        """


class AppTokens:
    """Has an application's own check look at each credential, and finds its user."""

    def __init__(
        self, service: str, check: AppAuthorizer, users: ExternalUsers, settings: Settings, clock: Clock
    ) -> None:
        self._service = service
        self._check = check
        self._outsiders = users
        self._clock = clock
        self._timeout = settings.outside_timeout_seconds
        self._lifetime_seconds = settings.token_minutes * 60

    async def authorize(self, token: str) -> AuthResult:
        """Check the credential and return its user, which is added when first seen.

        Raises `AuthenticationFailed` or one of its kind, and `ServiceUnavailable` if the check takes too long.
        """
        if not 0 < len(token) <= MAX_TOKEN_LENGTH:
            raise bad_token(f"expected 1 to {MAX_TOKEN_LENGTH} characters", "form")
        identity = await self._identity_of(token)
        now = self._clock.wall()
        expires_at = now + self._lifetime_seconds if identity.expires_at is None else identity.expires_at
        if expires_at <= now:
            raise TokenExpired("the credential has expired; fetch a new one from where you log in")
        claims = {**(identity.claims or {}), "user": identity.user}
        rooms = None if identity.rooms is None else RoomRights.parse(identity.rooms)
        return await self._outsiders.find_or_create(_subject_of(identity), claims, expires_at, identity.scopes, rooms)

    async def _identity_of(self, token: str) -> Identity:
        try:
            async with asyncio.timeout(self._timeout):
                identity = await self._check.authorize(token)
        except TimeoutError:
            raise ServiceUnavailable(self._service) from None
        if not isinstance(identity, Identity):
            raise TypeError(f"{type(self._check).__name__}.authorize: expected an `Identity`, got {identity!r}")
        return identity


def _subject_of(identity: Identity) -> str:
    subject = small_letters(identity.user) if identity.subject is None else identity.subject
    if not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not _is_unicode(subject):
        raise bad_token(
            f"expected a subject of 1 to {MAX_SUBJECT_LENGTH} characters from the application's own check", "user"
        )
    return subject


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def check_authorizers(authorizers: Mapping[str, AppAuthorizer], settings: Settings) -> None:
    """Raise `StartError` for a name that is none, or taken, and `TypeError` for what checks nothing."""
    for name, check in authorizers.items():
        try:
            _service_name.validate_python(name)
        except ValidationError as error:
            raise StartError(
                f"authorizers: expected 1 to 20 of a-z 0-9 - as the name of a service, got {name!r}"
                f" ({error.errors()[0]['msg']})"
            ) from None
        for setting, taken in (("ISSUERS", settings.issuers), ("INTROSPECTION", settings.introspection)):
            if name in taken:
                raise StartError(f"authorizers: expected another name than `{name}`, which GATEWAY_{setting} has")
        if isinstance(check, type) or not callable(getattr(check, "authorize", None)):
            raise TypeError(f"authorizers: expected an object with `authorize` for {name!r}, got {check!r}")


def app_authorizers(
    authorizers: Mapping[str, AppAuthorizer], settings: Settings, database: Database, clock: Clock
) -> Iterator[tuple[str, Authorizer]]:
    """Build the authorizer of each own check."""
    for name, check in authorizers.items():
        users = ExternalUsers(
            name, _DESCRIBED, database, clock, settings.default_scopes, keep_claims=settings.routes is not None
        )
        yield name, AppTokens(name, check, users, settings, clock)
