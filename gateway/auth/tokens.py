"""Access tokens: JSON Web Tokens (RFC 7519), signed with HMAC-SHA-256. The one module that knows jose.

Before jose sees a token, a gate checks its length, alphabet, encoding and header. jose alone takes several
writings of the same token, ignores `crit`, and lets hostile ones raise what no caller expects.
"""

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import Annotated

from jose import jws
from jose.exceptions import JOSEError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway import strict_json
from gateway.clock import Clock
from handlers.errors import AuthenticationFailed, TokenExpired
from schemas.names import MAX_SCOPES_LENGTH

ALGORITHM = "HS256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 §2.1
MAX_TOKEN_LENGTH = 4096
LEEWAY_SECONDS = 10
MAX_LIFETIME_SECONDS = 24 * 3600

# RFC 7515 §7.1 and RFC 8725 §3.14: three parts, base64url without padding, and nothing else.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

Text = Annotated[str, Field(min_length=1, max_length=128)]
NumericDate = Annotated[int, Field(ge=0, le=2**53)]


class Claims(BaseModel):
    """What an access token says (RFC 9068 §2.2). Every claim is required, and of exactly its type."""

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

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes, of which the claim has one string (RFC 8693 §4.2)."""
        return frozenset(self.scope.split())


@dataclass(frozen=True)
class Tokens:
    """Issues access tokens and verifies them."""

    key: str = field(repr=False)
    issuer: str
    audience: str
    lifetime_seconds: int
    clock: Clock

    def issue(
        self, user_id: str, scopes: frozenset[str], *, session_id: str, lifetime_seconds: int | None = None
    ) -> str:
        """Sign a token for a user, who is named by an id that never changes, and a session of that user."""
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
        return str(jws.sign(claims.model_dump(), self.key, headers={"typ": TOKEN_TYPE}, algorithm=ALGORITHM))

    def verify(self, token: str) -> Claims:
        """Give the claims of a good token, or raise `AuthenticationFailed` or `TokenExpired`.

        What exactly is wrong is not told: it would help only one who tries tokens out.
        """
        _check_form(token)
        try:
            payload = jws.verify(token, self.key, [ALGORITHM])
            claims = Claims.model_validate(strict_json.loads(payload.decode(), max_depth=4))
        except (JOSEError, ValidationError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise _bad_token() from None
        self._check_claims(claims)
        return claims

    def _check_claims(self, claims: Claims) -> None:
        now = self.clock.wall()
        if claims.iss != self.issuer or claims.aud != self.audience:
            raise _bad_token()
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise _bad_token()
        if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_SECONDS:
            raise _bad_token()
        if claims.exp <= now:
            raise TokenExpired("the token has expired; log in again for a new one")


def _bad_token() -> AuthenticationFailed:
    return AuthenticationFailed("the token is not valid; log in for a new one")


def _check_form(token: str) -> None:
    if len(token) > MAX_TOKEN_LENGTH or _COMPACT.fullmatch(token) is None:
        raise _bad_token()
    try:
        header = strict_json.loads(_decode(token.partition(".")[0]).decode(), max_depth=2)
        for part in token.split(".")[1:]:
            _decode(part)
    except ValueError:
        raise _bad_token() from None
    # Exactly ours: so no `crit`, `jwk`, `jku`, `x5u`, `zip` or `b64`, and no algorithm of the sender's choice.
    if header != {"alg": ALGORITHM, "typ": TOKEN_TYPE}:
        raise _bad_token()


def _decode(part: str) -> bytes:
    """Decode base64url, refusing any but the one canonical writing, so that a token has one form only."""
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not the canonical base64url")
    return raw
