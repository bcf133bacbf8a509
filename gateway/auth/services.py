"""Authenticates services, by a key or by a token that a key has bought.

The store is asked for every request and nothing is remembered. So a revocation counts at once, on every node.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn, Self

from gateway.auth import service_keys
from gateway.auth.service_keys import ServiceKey
from gateway.auth.sessions import InvalidScope
from gateway.auth.tokens import Tokens
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
from schemas.services import SENDER_PREFIX

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

    def check_room(self, name: str) -> None:
        """Raise `Forbidden` if the service may not use a room."""
        if self.rooms is not None and not self.rooms.matches(name):
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

    def __init__(self, database: Database, tokens: Tokens, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._tokens = tokens
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
            rights = await self._key_rights(text, client)
            scopes, expires_at = _scopes_of(rights), None
        else:
            claims = self._tokens.verify(text)
            found = await self._rights.get(claims.sid)
            if found is None or found.user_id != claims.sub:
                raise Forbidden(FOR_SERVICES)
            rights = self._living(found, client)
            scopes, expires_at = _scopes_of(rights) & claims.scopes, float(claims.exp)
        if rights.kind != "service":
            raise Forbidden("this key belongs to an incoming webhook, and counts only in its URL: POST /hook/gwk_…")
        return self._auth(rights, scopes, expires_at)

    async def authenticate_hook(self, text: str, client: ClientInfo) -> ServiceAuth:
        """Return the incoming webhook of a key, with its room, or raise `AuthenticationFailed` or a subclass."""
        rights = await self._key_rights(text, client)
        if rights.kind != "hook":
            self._refuse(client, "no_hook", rights)
        return self._auth(rights, _scopes_of(rights), None)

    async def grant(self, name: str, secret: str, requested: frozenset[str], client: ClientInfo) -> ServiceGrant:
        """Return a token for the name and the key of a service (RFC 6749 §4.4).

        It has the scopes of `requested`, or all of the service's without `requested`. Raises `InvalidScope` for a scope
        that the service lacks, and otherwise as `authenticate_client`.
        """
        auth = await self.authenticate_client(name, secret, client)
        if not requested <= auth.scopes:
            allowed = " ".join(sorted(auth.scopes))
            raise InvalidScope(f"expected none but the scopes of this service: {allowed}")
        scopes, seconds = requested or auth.scopes, self._token_seconds(auth)
        token = self._tokens.issue(auth.user_id, scopes, session_id=auth.key_id, lifetime_seconds=seconds)
        self._audit.record("service_token_granted", client, user=auth.sender, user_id=auth.user_id, session=auth.key_id)
        return ServiceGrant(token, seconds, scopes)

    async def authenticate_client(self, name: str, secret: str, client: ClientInfo) -> ServiceAuth:
        """Return the service of a name and a key, sent as the credentials of an OAuth client."""
        rights = await self._key_rights(secret, client)
        if rights.kind != "service" or rights.name != name:
            self._refuse(client, "wrong_client", rights)
        return self._auth(rights, _scopes_of(rights), None)

    async def _key_rights(self, text: str, client: ClientInfo) -> ServiceRights:
        key = service_keys.parse(text)
        if key is None:
            self._refuse(client, "no_key", None)
        found = await self._rights.get(key.id)
        return self._living(self._matching(key, found, client), client)

    def _matching(self, key: ServiceKey, found: ServiceRights | None, client: ClientInfo) -> ServiceRights:
        is_right = key.matches(None if found is None else found.hash)
        if found is None or not is_right:
            self._refuse(client, "unknown_key" if found is None else "wrong_secret", found)
        return found

    def _living(self, found: ServiceRights, client: ClientInfo) -> ServiceRights:
        if found.deleted_at is not None or found.revoked_at is not None:
            self._note_refusal(client, "revoked", found)
            raise TokenRevoked("the key has been revoked, or its service deleted; ask the operator for another")
        if found.expires_at is not None and found.expires_at <= milliseconds(self._clock):
            self._note_refusal(client, "expired", found)
            raise TokenExpired("the key was rotated and its overlap has ended; use the new key")
        return found

    def _auth(self, rights: ServiceRights, scopes: frozenset[str], expires_at: float | None) -> ServiceAuth:
        self._note_use(rights.key_id)
        ends = [end for end in (expires_at, None if rights.expires_at is None else rights.expires_at / 1000) if end]
        return ServiceAuth(
            user_id=rights.user_id,
            name=rights.name,
            sender=SENDER_PREFIX + rights.name,
            scopes=scopes,
            rooms=None if rights.rooms is None else RoomPatterns.parse(rights.rooms.split()),
            key_id=rights.key_id,
            expires_at=min(ends, default=None),
            room=rights.room,
        )

    def _token_seconds(self, auth: ServiceAuth) -> int:
        most = min(TOKEN_SECONDS, self._tokens.lifetime_seconds)
        left = most if auth.expires_at is None else int(auth.expires_at - self._clock.wall())
        return max(1, min(most, left))

    def _refuse(self, client: ClientInfo, reason: str, found: ServiceRights | None) -> NoReturn:
        self._note_refusal(client, reason, found)
        raise AuthenticationFailed("the key is not valid; send the whole key that `gateway services add` has printed")

    def _note_refusal(self, client: ClientInfo, reason: str, found: ServiceRights | None) -> None:
        name, user_id = (None, None) if found is None else (SENDER_PREFIX + found.name, found.user_id)
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
