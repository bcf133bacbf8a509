"""Authenticates services, by a key or by a token that a key has bought.

The store is asked for every request and nothing is remembered. So a revocation counts at once, on every node.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, Self

from gateway.auth import service_keys
from gateway.auth.sessions import InvalidScope
from gateway.auth.tokens import Claims, Tokens
from gateway.bus.base import Bus, Revoked
from gateway.core.audit import Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock, milliseconds
from gateway.core.periodic import Periodic
from gateway.core.room_patterns import RoomPatterns
from gateway.store import services
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
from gateway.store.prepared import items_of
from gateway.store.services import ServiceRights
from handlers.errors import AuthenticationFailed, Forbidden, MissingScope, TokenExpired, TokenRevoked
from schemas.services import sender_of

TOKEN_SECONDS = 15 * 60
"""The most seconds that a token of a service lasts."""

USE_SECONDS = 60
"""How often the store may learn of the use of one key."""

FOR_SERVICES = (
    "this is for services: send the key of one, gwk_…, or a token of grant_type=client_credentials;"
    " `gateway services add` makes a key"
)


class MissingServiceScope(MissingScope):
    """A request that needs a scope that the service lacks."""

    def __str__(self) -> str:
        return f"this needs the scope `{self.scope}`, and the service or its token does not have it"


@dataclass(frozen=True)
class ServiceAuth:
    """The service of a key or token, and what it may do."""

    user_id: str
    name: str
    sender: str
    """The name of the service as the sender of its messages: `service:` and its name."""
    scopes: frozenset[str]
    rooms: RoomPatterns | None
    """The rooms that it may use; None for all."""
    key_id: str
    """The id of its key, which is also the id of the login session of its tokens."""
    expires_at: float | None = None
    """When the key or token ends, in seconds since 1970; None if it does not by itself."""
    room: str | None = None
    """The room of an incoming webhook."""

    def check_scope(self, scope: str) -> None:
        """Raise `MissingScope` if the service lacks a scope."""
        if scope not in self.scopes:
            raise MissingServiceScope(scope)

    def may_use(self, room: str) -> bool:
        """Return whether the service may use a room."""
        return self.rooms is None or self.rooms.matches(room)

    def check_room(self, name: str) -> None:
        """Raise `Forbidden` if the service may not use a room."""
        if self.rooms is not None and not self.may_use(name):
            allowed = " ".join(self.rooms.texts)
            raise Forbidden(f"this service may use the rooms {allowed}, and no other")


@dataclass(frozen=True)
class ServiceGrant:
    """An access token of a service, with its scopes and seconds of life."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: frozenset[str]


class Services:
    """Finds the services of keys and tokens, issues their tokens, and records when keys are used."""

    def __init__(self, database: Database, tokens: Tokens, bus: Bus, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._tokens = tokens
        self._bus = bus
        self._audit = audit
        self._clock = clock
        self._rights = GroupedReads(self._read_rights)
        self._noted: dict[str, float] = {}
        self._used: dict[str, int] = {}
        self._recording = Periodic("service_keys", None, self._record_use)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Record the use of keys in the background while the context lasts."""
        async with self._recording:
            yield self

    async def authenticate(self, text: str, client: ClientInfo) -> ServiceAuth:
        """Return the service of a key or a token.

        Raises `AuthenticationFailed` or a subclass for a bad one, and `Forbidden` for a user's token and for the key of
        an incoming webhook.
        """
        if service_keys.looks_like_key(text):
            rights = await self._rights_of_key(text, client)
            scopes, expires_at = _scopes_of(rights), None
        else:
            claims = self._tokens.verify(text)
            found = await self._rights_of_token(claims)
            if found is None:
                raise Forbidden(FOR_SERVICES)
            rights = self._living(found, client)
            scopes, expires_at = _scopes_of(rights) & claims.scopes, float(claims.exp)
        if rights.kind != "service":
            raise Forbidden("this key belongs to an incoming webhook, and counts only in its URL: POST /hook/gwk_…")
        return self._admit(rights, scopes, expires_at)

    async def authenticate_hook(self, text: str, client: ClientInfo) -> ServiceAuth:
        """Return the incoming webhook of a key, with its room.

        Raises `AuthenticationFailed` or a subclass for a key that is none of an incoming webhook.
        """
        rights = await self._rights_of_key(text, client)
        if rights.kind != "hook":
            self._refuse(client, rights)
        return self._admit(rights, _scopes_of(rights), None)

    async def authenticate_client(self, name: str, key: str, client: ClientInfo) -> ServiceAuth:
        """Return the service of a name and a key, the credentials of an OAuth client, as `authenticate` does."""
        rights = await self._rights_of_key(key, client)
        if rights.kind != "service" or rights.name != name:
            self._refuse(client, rights)
        return self._admit(rights, _scopes_of(rights), None)

    async def grant(self, name: str, key: str, requested: frozenset[str], client: ClientInfo) -> ServiceGrant:
        """Return a token for the name and the key of a service (RFC 6749 §4.4).

        It has the scopes of `requested`, or all of the service's without `requested`. Raises `InvalidScope` for a scope
        that the service lacks, and otherwise as `authenticate_client`.
        """
        auth = await self.authenticate_client(name, key, client)
        if not requested <= auth.scopes:
            raise InvalidScope(f"expected none but the scopes of this service: {' '.join(sorted(auth.scopes))}")
        scopes, seconds = requested or auth.scopes, self._token_seconds(auth)
        token = self._tokens.issue(auth.user_id, scopes, session_id=auth.key_id, lifetime_seconds=seconds)
        self._audit.record("service_token_granted", client, user=auth.sender, user_id=auth.user_id, session=auth.key_id)
        return ServiceGrant(token, seconds, scopes)

    async def check_token(self, claims: Claims) -> None:
        """Raise `TokenRevoked` or `TokenExpired` if the key of a service's verified token is no longer good."""
        found = await self._rights_of_token(claims)
        if found is not None:
            _check_living(found, milliseconds(self._clock))

    async def is_token(self, text: str) -> bool:
        """Return whether a text is the token of a service."""
        try:
            return await self._rights_of_token(self._tokens.verify(text)) is not None
        except AuthenticationFailed:
            return False

    async def revoke_key(self, text: str, client: ClientInfo) -> None:
        """Revoke a key that its holder gives up. Ignore any other text."""
        found, is_right = await self._find_key(text)
        if found is None or not is_right:
            return
        revoke = partial(services.revoke_keys, user_id=found.user_id, now=milliseconds(self._clock), only=found.key_id)
        for session in await self._database.transact(revoke):
            self._audit.record(
                "service_key_revoked", client, user=sender_of(found.name), user_id=found.user_id, session=session
            )
            await self._bus.revoke(Revoked(found.user_id, frozenset({session})))

    async def _rights_of_key(self, text: str, client: ClientInfo) -> ServiceRights:
        found, is_right = await self._find_key(text)
        if found is None or not is_right:
            self._refuse(client, found)
        return self._living(found, client)

    async def _find_key(self, text: str) -> tuple[ServiceRights | None, bool]:
        """Return what the id of a key stands for, and whether the secret is right."""
        key = service_keys.parse(text)
        if key is None:
            return None, False
        found = await self._rights.get(key.id)
        # An unknown id is compared as well, so that time does not show which ids exist.
        return found, key.matches(None if found is None else found.hash)

    async def _rights_of_token(self, claims: Claims) -> ServiceRights | None:
        found = await self._rights.get(claims.sid)
        return found if found is not None and found.user_id == claims.sub else None

    def _living(self, found: ServiceRights, client: ClientInfo) -> ServiceRights:
        try:
            _check_living(found, milliseconds(self._clock))
        except AuthenticationFailed as error:
            self._note_refusal(client, error.name, found)
            raise
        return found

    def _admit(self, rights: ServiceRights, scopes: frozenset[str], expires_at: float | None) -> ServiceAuth:
        self._note_use(rights.key_id)
        overlap_ends = None if rights.expires_at is None else rights.expires_at / 1000
        return ServiceAuth(
            user_id=rights.user_id,
            name=rights.name,
            sender=sender_of(rights.name),
            scopes=scopes,
            rooms=None if rights.rooms is None else RoomPatterns.parse(rights.rooms.split()),
            key_id=rights.key_id,
            expires_at=min((end for end in (expires_at, overlap_ends) if end is not None), default=None),
            room=rights.room,
        )

    def _token_seconds(self, auth: ServiceAuth) -> int:
        most = min(TOKEN_SECONDS, self._tokens.lifetime_seconds)
        left = most if auth.expires_at is None else int(auth.expires_at - self._clock.wall())
        return max(1, min(most, left))

    def _refuse(self, client: ClientInfo, found: ServiceRights | None) -> NoReturn:
        self._note_refusal(client, "wrong_key", found)
        raise AuthenticationFailed(
            "the key is not valid; send the whole key that `gateway services` has printed, with this gateway's settings"
        )

    def _note_refusal(self, client: ClientInfo, reason: str, found: ServiceRights | None) -> None:
        name, user_id = (None, None) if found is None else (sender_of(found.name), found.user_id)
        self._audit.record("service_refused", client, user=name, user_id=user_id, reason=reason)

    def _note_use(self, key_id: str) -> None:
        now = self._clock.steady()
        if now - self._noted.get(key_id, float("-inf")) >= USE_SECONDS:
            self._noted[key_id] = now
            self._used[key_id] = milliseconds(self._clock)
            self._recording.wake()

    async def _record_use(self) -> None:
        used, self._used = self._used, {}
        if used:
            await self._database.transact(partial(services.record_use, used=used))

    async def _read_rights(self, ids: list[str]) -> dict[str, ServiceRights]:
        rows = await self._database.fetch(services.RIGHTS_BY_KEY, items=items_of(ids))
        return {row["key_id"]: ServiceRights(**row) for row in rows}


def _scopes_of(rights: ServiceRights) -> frozenset[str]:
    return frozenset(rights.scopes.split())


def _check_living(found: ServiceRights, now: int) -> None:
    if found.deleted_at is not None or found.revoked_at is not None:
        raise TokenRevoked("the key has been revoked, or its service deleted; ask the operator for another")
    if found.expires_at is not None and found.expires_at <= now:
        raise TokenExpired("the key was rotated and its overlap has ended; use the new key")
