"""The published keys of an external issuer (RFC 7517 §5)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from gateway.auth.external.keys_documents import KeysDocument
from gateway.auth.external.users import ServiceUnavailable
from gateway.auth.keys.public_keys import UnfitKey
from gateway.auth.keys.signatures import Key
from gateway.config.external_services import Issuer
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.core.http_client import RequestFailed
from gateway.core.periodic import Periodic
from gateway.core.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

REFETCH_SECONDS = 30
"""Seconds between two fetches for unknown keys, since a client can name any number of them."""

FIRST_RETRY_SECONDS = 5
"""The same while there is no key at all, so that no user can log in."""

STALE_SECONDS = 24 * 3600
"""Seconds that the keys stay good while the issuer is down."""

MAX_KEYS = 100


class KeySet:
    """The usable keys of an issuer. A key without a name counts only if it is the only one.

    The gateway tries no key after another: the name alone says which one has signed.
    """

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        # Of two keys with one name, take the first: the token must not choose.
        self._named = {key.kid: key for key in reversed(keys) if key.kid}
        self._lone = keys[0] if len(keys) == 1 and not keys[0].kid else None

    def __len__(self) -> int:
        """Return the number of keys that tokens can use."""
        return len(self._named) + (self._lone is not None)

    def find(self, kid: str | None) -> Key | None:
        """Return the key for tokens with this name, or without one."""
        return self._lone if kid is None else self._named.get(kid)


class PublishedKeys:
    """Fetches the keys of one issuer, if possible before a token needs them.

    A lookup of a known key never waits. An unknown key causes one more fetch for all waiting tokens, at most every
    `REFETCH_SECONDS`. The regular fetch every `GATEWAY_ISSUER_KEYS_MINUTES` drops the keys that the issuer has
    withdrawn.
    """

    def __init__(
        self, service: str, described: Issuer, document: KeysDocument, settings: Settings, clock: Clock
    ) -> None:
        self._service = service
        self._described = described
        self._document = document
        self._timeout = settings.outside_timeout_seconds
        self._refresh_seconds = settings.issuer_keys_minutes * 60
        self._clock = clock
        self._keys = KeySet()
        self._fetched_at = float("-inf")
        self._attempted_at = float("-inf")
        self._answered = False
        self._fetching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Fetch the keys at once, and again before they are out of date."""
        try:
            async with Periodic("keys", self._pause, self._fetch_if_due, at_once=True):
                yield self
        finally:
            if self._fetching is not None:
                await cancel_and_wait(self._fetching)

    async def find(self, kid: str | None) -> Key | None:
        """Return the key of this name, or None if the issuer has none, or raise `ServiceUnavailable`.

        Without a name, it is the issuer's only key, if that has no name either.
        """
        if key := self._known(kid):
            return key
        await self._fetch_if_due()
        key = self._known(kid)
        if key is None and not self._answered:
            raise ServiceUnavailable(self._service)
        return key

    async def newer_than(self, nameless: Key) -> Key | None:
        """Return the key that has replaced one without a name, or None: no name shows that there is another."""
        await self._fetch_if_due()
        key = self._known(None)
        return None if key is nameless else key

    def _known(self, kid: str | None) -> Key | None:
        stale = self._clock.steady() > self._fetched_at + STALE_SECONDS
        return None if stale else self._keys.find(kid)

    def _pause(self) -> float:
        if self._answered:
            return self._refresh_seconds
        return REFETCH_SECONDS if self._keys else FIRST_RETRY_SECONDS

    async def _fetch_if_due(self) -> None:
        if self._fetching is None:
            wait = REFETCH_SECONDS if self._keys or self._answered else FIRST_RETRY_SECONDS
            if self._clock.steady() < self._attempted_at + wait:
                return
            self._attempted_at = self._clock.steady()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        # A cancelled waiter must not cancel the fetch of the others.
        await asyncio.shield(self._fetching)

    def _fetched(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        try:
            keys = read_keys(await self._document.fetch(self._timeout), self._described.algorithms)
        except RequestFailed as error:
            self._answered = False
            logger.warning("the keys of the service %s could not be fetched: %s", self._service, error)
            return
        self._answered = True
        self._keys = keys
        self._fetched_at = self._clock.steady()
        logger.log(
            logging.INFO if keys else logging.WARNING,
            "the service %s has %d usable keys for %s",
            self._service,
            len(keys),
            ", ".join(self._described.algorithms),
        )


def read_keys(document: dict[str, Any], algorithms: Sequence[str]) -> KeySet:
    """Return the usable keys, or raise `RequestFailed` for a document without a list of keys.

    Skip the others (RFC 7517 §5): weak ones, secrets, keys for encryption, and kinds for other algorithms. A list
    without usable keys is an answer too: after a break-in, an issuer withdraws all of its keys.
    """
    published = document.get("keys")
    if not isinstance(published, list) or len(published) > MAX_KEYS:
        raise RequestFailed(f"expected a list `keys` of at most {MAX_KEYS}")
    return KeySet([key for each in published if (key := _usable(each, algorithms))])


def _usable(published: object, algorithms: Sequence[str]) -> Key | None:
    try:
        return Key.from_jwk(published, algorithms) if isinstance(published, dict) else None
    except UnfitKey as error:
        logger.debug("passed over a key: %s", error)
        return None
