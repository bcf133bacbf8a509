"""Tokens of external issuers, checked with their published keys."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.published_keys import PublishedKeys
from gateway.auth.external.users import ExternalUsers, Text, bad_token
from gateway.auth.keys.signatures import MAX_KID_LENGTH, BadToken, Key, UnverifiedToken
from gateway.auth.tokens import LEEWAY_SECONDS
from gateway.config.external_services import Issuer
from gateway.core.clock import Clock
from handlers.errors import TokenExpired

# RFC 7515 §4.1.11 and RFC 7797: each changes the signed bytes or their meaning. All other parameters, such as `x5t`
# and `jku`, are hints that the gateway does not follow.
REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "cty"})

Time = Annotated[int, Field(ge=0, le=2**53)] | Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]


class ExternalClaims(BaseModel):
    """The checked claims of an external issuer's token (RFC 7519 §4.1). `aud` may be one value or several."""

    model_config = ConfigDict(frozen=True, strict=True)

    iss: Text
    sub: Text
    aud: Text | list[str]
    exp: Time
    iat: Time = 0
    nbf: Time = 0


class IssuerTokens:
    """Checks the tokens of one external issuer."""

    def __init__(self, described: Issuer, keys: PublishedKeys, users: ExternalUsers, clock: Clock) -> None:
        self._described = described
        self._types = frozenset(name.lower() for name in described.token_types)
        self._keys = keys
        self._users = users
        self._clock = clock

    async def authorize(self, token: str) -> AuthResult:
        """Verify the token and find its user, or add it at first sight.

        Raises `AuthenticationFailed` or a subclass. Raises `ServiceUnavailable` if the issuer does not answer, so that
        its keys are unknown.
        """
        try:
            unverified = UnverifiedToken.parse(token)
            key = await self._key_of(unverified.header)
            raw = key.verify(unverified)
            claims = ExternalClaims.model_validate(raw)
        except (BadToken, ValidationError):
            raise bad_token() from None
        self._check_claims(claims)
        return await self._users.find_or_create(claims.sub, raw, claims.exp)

    async def _key_of(self, header: Mapping[str, Any]) -> Key:
        kid = header.get("kid")
        if not self._is_fit(header) or not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH:
            raise BadToken
        key = await self._keys.find(kid)
        if key is None or key.algorithm != header["alg"]:
            raise BadToken
        return key

    def _is_fit(self, header: Mapping[str, Any]) -> bool:
        if REFUSED_PARAMETERS & header.keys() or header.get("alg") not in self._described.algorithms:
            return False
        token_type = header.get("typ", "JWT")
        if not isinstance(token_type, str):
            return False
        # RFC 7515 §4.1.9: a media type with or without `application/`.
        return token_type.lower().removeprefix("application/") in self._types

    def _check_claims(self, claims: ExternalClaims) -> None:
        now = self._clock.wall()
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._described.issuer or self._described.audience not in audiences:
            raise bad_token()
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise bad_token()
        if claims.exp <= now:
            raise TokenExpired("the token has expired; fetch a new one from where you log in")
