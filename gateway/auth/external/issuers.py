"""Tokens of external issuers, checked with their published keys or their shared secret."""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.users import ExternalUsers, Text, bad_token
from gateway.auth.keys.signatures import MAX_KID_LENGTH, BadToken, Key, UnverifiedToken
from gateway.auth.tokens import LEEWAY_SECONDS
from gateway.config.external_services import Issuer
from gateway.core.clock import Clock
from handlers.errors import TokenExpired

# RFC 7515 §4.1.11 and RFC 7797: each changes the signed bytes or their meaning. All other parameters, such as `x5t`
# and `jku`, are hints that the gateway does not follow.
REFUSED_PARAMETERS = frozenset({"crit", "b64", "zip", "cty"})

CLIENT_CLAIMS = ("azp", "client_id", "cid")
"""The claims that name the application, the first of them that is there (OpenID Connect §2, RFC 9068 §2.2, Okta)."""

Time = Annotated[int, Field(ge=0, le=2**53)] | Annotated[float, Field(ge=0, le=2**53, allow_inf_nan=False)]


class ExternalClaims(BaseModel):
    """The checked claims of an external issuer's token (RFC 7519 §4.1). `aud` may be one value or several."""

    model_config = ConfigDict(frozen=True, strict=True)

    iss: Text
    sub: Text
    aud: Text | list[str] = Field(default_factory=list)
    exp: Time
    iat: Time = 0
    nbf: Time = 0


class IssuerKeys(Protocol):
    """The keys of one external issuer."""

    async def find(self, kid: str | None) -> Key | None:
        """Return the key for tokens with this name, or None, or raise `ServiceUnavailable`."""


class SharedSecret:
    """The one key of an issuer that signs with a secret. It needs no name, so the name in a token does not count."""

    def __init__(self, secret: bytes) -> None:
        self._key = Key.from_secret("", secret)

    async def find(self, kid: str | None) -> Key:
        """Return the key."""
        return self._key


class IssuerTokens:
    """Checks the tokens of one external issuer."""

    def __init__(self, described: Issuer, keys: IssuerKeys, users: ExternalUsers, clock: Clock) -> None:
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
            self._check_claims(claims)
            self._check_client(raw)
        except (BadToken, ValidationError):
            raise bad_token() from None
        return await self._users.find_or_create(claims.sub, raw, claims.exp)

    async def _key_of(self, header: Mapping[str, Any]) -> Key:
        self._check_header(header)
        kid = header.get("kid")
        if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH):
            raise BadToken(f"a key's name `kid` that is no text of at most {MAX_KID_LENGTH} characters")
        key = await self._keys.find(kid)
        if key is None:
            raise BadToken("no key's name `kid`" if kid is None else "a key's name `kid` that the issuer does not have")
        return key

    def _check_header(self, header: Mapping[str, Any]) -> None:
        if unfit := REFUSED_PARAMETERS & header.keys():
            raise BadToken(f"a header with `{min(unfit)}`")
        if header.get("alg") not in self._described.algorithms:
            raise BadToken(f"an algorithm `alg` other than {', '.join(self._described.algorithms)}")
        token_type = header.get("typ", "JWT")
        # RFC 7515 §4.1.9: a media type with or without `application/`.
        if not isinstance(token_type, str) or token_type.lower().removeprefix("application/") not in self._types:
            raise BadToken(f"a type `typ` other than {', '.join(self._described.token_types)}")

    def _check_claims(self, claims: ExternalClaims) -> None:
        now = self._clock.wall()
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._described.issuer:
            raise BadToken("another issuer `iss`")
        if self._described.audience is not None and self._described.audience not in audiences:
            raise BadToken("another audience `aud`")
        if max(claims.nbf, claims.iat) > now + LEEWAY_SECONDS:
            raise BadToken("not good yet, by `nbf` or `iat`")
        if claims.exp <= now:
            raise TokenExpired("the token has expired; fetch a new one from where you log in")

    def _check_client(self, claims: Mapping[str, Any]) -> None:
        """Check the application that the token is for; each issuer has its own claim for it."""
        if self._described.client_ids is None:
            return
        client = next((claims[name] for name in CLIENT_CLAIMS if name in claims), None)
        if client not in self._described.client_ids:
            raise BadToken(f"another client `{'`, `'.join(CLIENT_CLAIMS)}`")
