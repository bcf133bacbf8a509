"""Tokens of external issuers, checked with their published keys or their shared secret."""

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.auth.authorizers import AuthResult
from gateway.auth.external.token_checks import ExternalClaims, TokenChecks
from gateway.auth.external.users import ExternalUsers, bad_token
from gateway.auth.keys.signatures import BadToken, Key, UnverifiedToken
from gateway.config.external_services import Issuer
from gateway.core.clock import Clock


class IssuerKeys(Protocol):
    """The keys of one external issuer."""

    async def find(self, kid: str | None) -> Key | None:
        """Return the key for tokens with this name, or None, or raise `ServiceUnavailable`."""

    async def newer_than(self, nameless: Key) -> Key | None:
        """Return the key that has replaced one without a name, or None."""


class SharedSecret:
    """The one key of an issuer that signs with a secret. It needs no name, so the name in a token does not count."""

    def __init__(self, secret: bytes) -> None:
        self._key = Key.from_secret("", secret)

    async def find(self, kid: str | None) -> Key:
        """Return the key."""
        return self._key

    async def newer_than(self, nameless: Key) -> None:
        """Return None: the secret changes with the settings alone."""


class IssuerTokens:
    """Checks the tokens of one external issuer."""

    def __init__(self, described: Issuer, keys: IssuerKeys, users: ExternalUsers, clock: Clock) -> None:
        self._checks = TokenChecks(described)
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
            raw = await self._verified(unverified)
            claims = self._check_claims(raw)
        except BadToken as error:
            raise bad_token(error.reason, error.check) from None
        return await self._users.find_or_create(claims.sub, raw, claims.exp)

    async def _verified(self, token: UnverifiedToken) -> dict[str, Any]:
        """Return the claims, or raise `BadToken` or `ServiceUnavailable`."""
        key = await self._key_of(token.header)
        try:
            return key.verify(token)
        except BadToken:
            newer = None if key.kid else await self._keys.newer_than(key)
            if newer is None:
                raise
            return newer.verify(token)

    async def _key_of(self, header: Mapping[str, Any]) -> Key:
        self._checks.check_header(header)
        self._checks.check_algorithm(header)
        self._checks.check_type(header)
        return await find_key(self._keys, self._checks.key_name(header))

    def _check_claims(self, raw: Mapping[str, Any]) -> ExternalClaims:
        claims = self._checks.read_claims(raw)
        self._checks.check_issuer(raw)
        self._checks.check_audience(raw)
        self._checks.check_client(raw)
        self._checks.check_required(raw)
        self._checks.check_times(claims, self._clock.wall())
        return claims


async def find_key(keys: IssuerKeys, kid: str | None) -> Key:
    """Return the key for tokens with this name, or raise `BadToken`, or `ServiceUnavailable` without an answer."""
    key = await keys.find(kid)
    if key is None:
        reason = "no key's name `kid`" if kid is None else "a key's name `kid` that the issuer does not have"
        raise BadToken(reason, "key")
    return key
