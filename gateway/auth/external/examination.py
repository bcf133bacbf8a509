"""All checks of one token, with the result of each: for an operator that looks for a mistake in the settings.

`IssuerTokens` ends at the first failed check. An examination goes on, also with claims that no signature proves, and
never adds a user. Its texts may quote the token's claims, and never the token.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.auth.external.issuers import IssuerKeys, find_key
from gateway.auth.external.token_checks import ExternalClaims, TokenChecks, client_claim
from gateway.auth.external.users import (
    ServiceUnavailable,
    external_user_id,
    new_user_name,
    scopes_of,
    value_at,
)
from gateway.auth.keys.signatures import MAX_PAYLOAD_DEPTH, BadToken, Key, UnverifiedToken
from gateway.auth.room_rights import RoomRights
from gateway.config.external_services import Issuer
from gateway.core import strict_json
from handlers.errors import AuthenticationFailed, TokenExpired
from schemas.base import timestamp

MAX_SHOWN = 120
"""Characters of a claim that are shown."""


class Result(StrEnum):
    """How a check has ended."""

    OK = "ok"
    FAILED = "failed"
    WARNING = "warning"
    """The token is refused now, or allows nothing, and the settings may be right."""
    SKIPPED = "-"


@dataclass(frozen=True)
class Finding:
    """The result of one check, and its reason in one line."""

    check: str
    result: Result
    text: str


class Examination:
    """Makes all checks of one issuer, in their order. `now` is in seconds since 1970."""

    def __init__(
        self, service: str, described: Issuer, keys: IssuerKeys, default_scopes: frozenset[str], now: float
    ) -> None:
        self._service = service
        self._described = described
        self._checks = TokenChecks(described)
        self._keys = keys
        self._default_scopes = default_scopes
        self._now = now

    async def examine(self, token: str) -> list[Finding]:
        """Return the result of each check that is possible."""
        try:
            parts = UnverifiedToken.parse(token)
        except BadToken as error:
            return [Finding("form", Result.FAILED, error.reason)]
        found = [Finding("form", Result.OK, f"three parts of base64url, {len(token)} characters")]
        found.extend(self._of_header(parts.header))
        key, of_key = await self._find_key(parts.header)
        claims, of_signature = _verify(key, parts)
        found.extend((of_key, of_signature))
        if claims is not None:
            found.extend(self._of_claims(claims))
        return found

    def _of_header(self, header: Mapping[str, Any]) -> Iterator[Finding]:
        names = f"has {', '.join(map(shown, sorted(header)))}"
        yield _checked("header", lambda: self._checks.check_header(header), names)
        yield _checked("algorithm", lambda: self._checks.check_algorithm(header), shown(header.get("alg")))
        named = shown(header["typ"]) if "typ" in header else "none, which counts as JWT"
        yield _checked("type", lambda: self._checks.check_type(header), named)

    async def _find_key(self, header: Mapping[str, Any]) -> tuple[Key | None, Finding]:
        kid = header.get("kid")
        try:
            key = await find_key(self._keys, self._checks.key_name(header))
        except BadToken as error:
            return None, Finding("key", Result.FAILED, f"{error.reason}; the token has {shown(kid)}")
        except ServiceUnavailable:
            text = "the keys could not be fetched; the warning on standard error says why"
            return None, Finding("key", Result.FAILED, text)
        return key, Finding("key", Result.OK, "has no name" if kid is None else shown(kid))

    def _of_claims(self, claims: Mapping[str, Any]) -> Iterator[Finding]:
        read: ExternalClaims | None = None
        try:
            read = self._checks.read_claims(claims)
        except BadToken as error:
            yield Finding("claims", Result.FAILED, error.reason)
        else:
            yield Finding("claims", Result.OK, "has all that a token needs")
        yield _checked("issuer", lambda: self._checks.check_issuer(claims), shown(claims.get("iss")))
        yield self._of_audience(claims)
        yield self._of_client(claims)
        yield self._of_required(claims)
        if read is not None:
            yield self._of_times(read)
            yield self._of_user(read, claims)
        yield self._of_scopes(claims)
        yield self._of_rooms(claims)

    def _of_audience(self, claims: Mapping[str, Any]) -> Finding:
        if self._described.audience is None:
            return Finding("audience", Result.SKIPPED, f"no audience is set; the token has {shown(claims.get('aud'))}")
        return _checked("audience", lambda: self._checks.check_audience(claims), shown(claims.get("aud")))

    def _of_client(self, claims: Mapping[str, Any]) -> Finding:
        name = client_claim(claims)
        given = "none" if name is None else f"{name} {shown(claims[name])}"
        if self._described.client_ids is None:
            return Finding("client", Result.SKIPPED, f"no client_ids are set; the token has {given}")
        return _checked("client", lambda: self._checks.check_client(claims), given)

    def _of_required(self, claims: Mapping[str, Any]) -> Finding:
        names = self._described.required_claims
        if not names:
            return Finding("required", Result.SKIPPED, "no required_claims are set")
        given = ", ".join(f"{name} {shown(claims.get(name))}" for name in names)
        return _checked("required", lambda: self._checks.check_required(claims), given)

    def _of_times(self, claims: ExternalClaims) -> Finding:
        end = f"{_time(claims.exp)}, {_span(abs(claims.exp - self._now))}"
        try:
            self._checks.check_times(claims, self._now)
        except BadToken as error:
            begin = _time(max(claims.nbf, claims.iat))
            return Finding("times", Result.FAILED, f"{error.reason}; the token is good from {begin}")
        except TokenExpired:
            return Finding("times", Result.WARNING, f"it has expired: {end} ago")
        return Finding("times", Result.OK, f"good until {end} from now")

    def _of_user(self, read: ExternalClaims, claims: Mapping[str, Any]) -> Finding:
        user_id = external_user_id(self._service, read.sub)
        try:
            name = new_user_name(self._described, user_id, claims)
        except AuthenticationFailed as error:
            return Finding("user name", Result.FAILED, str(error))
        claim = self._described.user_claim
        source = "made up" if claim is None else f"from {claim} {shown(claims[claim])}"
        return Finding("user name", Result.OK, f"{name}, {source}; for a new user, if no other user has it")

    def _of_scopes(self, claims: Mapping[str, Any]) -> Finding:
        mapped = scopes_of(self._described, claims)
        if mapped is None:
            return Finding("scopes", Result.OK, f"{_listed(self._default_scopes)}, since no scopes are set")
        path = self._described.scope_claim
        place = path if isinstance(path, str) else ".".join(path)
        theirs = f"of {place} {shown(value_at(path, claims))}"
        if not mapped:
            return Finding("scopes", Result.WARNING, f"none, since `scopes` has nothing {theirs}")
        return Finding("scopes", Result.OK, f"{_listed(mapped)}, {theirs}")

    def _of_rooms(self, claims: Mapping[str, Any]) -> Finding:
        if self._described.rooms_claim is None:
            return Finding("rooms", Result.SKIPPED, "no rooms_claim is set, so the token limits no room")
        value = value_at(self._described.rooms_claim, claims)
        try:
            return Finding("rooms", Result.OK, shown(RoomRights.parse(value).claim))
        except ValueError as error:
            return Finding("rooms", Result.WARNING, f"none, since the claim cannot be read ({error})")


def issuer_named_by(token: str) -> str | None:
    """Return the issuer that a token names, unproven, or None if it names none."""
    try:
        claims = _unproven(UnverifiedToken.parse(token))
    except BadToken:
        return None
    issuer = None if claims is None else claims.get("iss")
    return issuer if isinstance(issuer, str) else None


def _verify(key: Key | None, parts: UnverifiedToken) -> tuple[Mapping[str, Any] | None, Finding]:
    """Return the claims, proven or not, and what is known of the signature."""
    if key is None:
        return _unproven(parts), Finding("signature", Result.SKIPPED, "no key to check it; what follows is unproven")
    try:
        return key.verify(parts), Finding("signature", Result.OK, f"made with this key and {key.algorithm}")
    except BadToken as error:
        return _unproven(parts), Finding("signature", Result.FAILED, f"{error.reason}; what follows is unproven")


def _unproven(parts: UnverifiedToken) -> Mapping[str, Any] | None:
    try:
        claims = strict_json.loads(parts.payload.decode(), max_depth=MAX_PAYLOAD_DEPTH)
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def _checked(name: str, check: Callable[[], object], given: str) -> Finding:
    """Make a check that raises `BadToken`; `given` is what the token has."""
    try:
        check()
    except BadToken as error:
        return Finding(name, Result.FAILED, f"{error.reason}; the token has {given}")
    return Finding(name, Result.OK, given)


def shown(value: object) -> str:
    """Return a value of the token on one line, without control characters and cut to a bearable length."""
    if value is None:
        return "none"
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _listed(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes)) or "none"


def _time(seconds: float) -> str:
    # A number beyond the calendar is a time too.
    return timestamp(int(seconds * 1000)) if seconds < 2**37 else "the end of time"


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
