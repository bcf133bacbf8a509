"""Access tokens: JSON Web Tokens (RFC 7519) with a signature of one of our keys."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.keys.key_files import SECRET_KID
from gateway.auth.keys.key_ring import KeyRing
from gateway.auth.keys.signatures import BadToken, Key, UnverifiedToken
from gateway.auth.room_rights import CLAIM, RoomRights
from gateway.config.settings import MAX_TOKEN_MINUTES
from gateway.core.clock import Clock
from handlers.errors import AuthenticationFailed, TokenExpired
from schemas.messages.auth import MAX_TOKEN_LENGTH
from schemas.names import MAX_SCOPES_LENGTH

logger = logging.getLogger(__name__)

TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 §2.1
LEEWAY_SECONDS = 10
MAX_LIFETIME_SECONDS = MAX_TOKEN_MINUTES * 60
"""The longest life of a token that is accepted, so that one signed with a stolen key cannot last for years."""

Text = Annotated[str, Field(min_length=1, max_length=128)]
NumericDate = Annotated[int, Field(ge=0, le=2**53)]


class Claims(BaseModel):
    """The claims of an access token (RFC 9068 §2.2). Each but `rooms` is required, and of exactly its type."""

    model_config = ConfigDict(frozen=True, strict=True)

    iss: Text
    sub: Text
    aud: Text
    exp: NumericDate
    iat: NumericDate
    nbf: NumericDate
    jti: Text
    sid: Text
    scope: Annotated[str, Field(max_length=MAX_SCOPES_LENGTH)]
    rooms: Any = None
    """The rights by room, unread. A token without them has no such field set."""

    @property
    def scopes(self) -> frozenset[str]:
        """Return the scopes, which the claim holds as one string (RFC 8693 §4.2)."""
        return frozenset(self.scope.split())


class WrongToken(AuthenticationFailed):
    """A token that one check refuses. The client does not learn which."""

    def __init__(self, check: str) -> None:
        super().__init__("the token is not valid; log in for a new one")
        self.check = check
        """The name of the check, for the metrics."""


@dataclass(frozen=True)
class Tokens:
    """Issues access tokens and verifies them."""

    keys: KeyRing
    issuer: str
    audience: str
    lifetime_seconds: int
    clock: Clock

    def issue(
        self,
        user_id: str,
        scopes: frozenset[str],
        *,
        session_id: str,
        lifetime_seconds: int | None = None,
        rooms: RoomRights | None = None,
    ) -> str:
        """Return a signed token for a user, by the id that never changes, and a session of that user.

        It has the claim `rooms`, unless it would be longer than a token may be: see `MAX_ROOMS_LENGTH`.
        """
        now = int(self.clock.wall())
        claims = Claims(
            iss=self.issuer,
            sub=user_id,
            aud=self.audience,
            exp=now + (self.lifetime_seconds if lifetime_seconds is None else lifetime_seconds),
            iat=now,
            nbf=now,
            jti=secrets.token_urlsafe(16),
            sid=session_id,
            scope=" ".join(sorted(scopes)),
        )
        key, content = self.keys.signing_key(now), claims.model_dump(exclude_unset=True)
        if rooms is None:
            return key.sign(content, TOKEN_TYPE)
        token = key.sign(content | {CLAIM: rooms.claim}, TOKEN_TYPE)
        if len(token) <= MAX_TOKEN_LENGTH:
            return token
        # The gateway takes the rights from the store as well, so that it allows no more without the claim.
        logger.warning("the token of a user has no room for its claim `%s`; use a shorter key, or fewer scopes", CLAIM)
        return key.sign(content, TOKEN_TYPE)

    def verify(self, token: str) -> Claims:
        """Return the claims of a good token, or raise `AuthenticationFailed` or `TokenExpired`.

        The error does not say what is wrong, since that would only help an attacker.
        """
        try:
            unverified = UnverifiedToken.parse(token)
            claims = Claims.model_validate(self._key_of(unverified.header).verify(unverified))
        except BadToken as error:
            raise WrongToken(error.check) from None
        except ValidationError:
            raise WrongToken("claims") from None
        self._check_claims(claims)
        return claims

    def _key_of(self, header: Mapping[str, Any]) -> Key:
        # Few services that sign with the secret give it a name.
        kid = header.get("kid", SECRET_KID)
        key = self.keys.find(kid, self.clock.wall()) if isinstance(kid, str) else None
        # Accept only our own header: no `crit`, `jwk`, `jku`, `x5u`, `zip` or `b64`, and no algorithm of the sender's.
        if key is None or {"kid": kid, **header} != {"alg": key.algorithm, "typ": TOKEN_TYPE, "kid": kid}:
            raise BadToken("no key of this name, or a header that the gateway does not write", "key")
        return key

    def _check_claims(self, claims: Claims) -> None:
        now = self.clock.wall()
        if claims.iss != self.issuer:
            raise WrongToken("issuer")
        if claims.aud != self.audience:
            raise WrongToken("audience")
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise WrongToken("times")
        if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_SECONDS:
            raise WrongToken("times")
        if claims.exp <= now:
            raise TokenExpired("the token has expired; log in again for a new one")
