"""Discovery: an issuer says itself where its keys are (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).

The gateway believes a document only if its `issuer` is exactly the one of the settings: otherwise one tenant of a
provider could stand in for another. Like every request to a service, these follow no redirect.
"""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from gateway.auth.external.keys_documents import DocumentAt
from gateway.config.external_services import LOOPBACK, check_url
from gateway.config.internal_hosts import is_internal
from gateway.core.clock import Clock
from gateway.core.http_client import NotConnected, RequestFailed, RequestTimedOut

REDISCOVER_SECONDS = 3600
"""Seconds until the gateway asks again where the keys are. After a failed fetch it asks at once."""

MAX_URL_LENGTH = 2048

MAX_SHOWN = 100
"""Characters of an issuer's answer that an error shows."""


class DiscoveredDocument:
    """The document with the keys of an issuer, at the URL that the issuer names."""

    def __init__(self, issuer: str, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        self._found: DocumentAt | None = None
        self._ask_at = float("-inf")

    async def fetch(self, seconds: float) -> dict[str, Any]:
        """Return the document, or raise `RequestFailed`, at the latest after these seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await (await self._find(seconds)).fetch(seconds)
        except (TimeoutError, RequestFailed) as error:
            self._ask_at = float("-inf")  # the keys may have moved
            if isinstance(error, RequestFailed):
                raise
            raise RequestTimedOut(f"no answer within {seconds:g} seconds") from None

    async def close(self) -> None:
        """Close the idle connections."""
        if self._found is not None:
            await self._found.close()

    async def _find(self, seconds: float) -> DocumentAt:
        if self._found is not None and self._clock.steady() < self._ask_at:
            return self._found
        url = await discover(self._issuer, seconds)
        if self._found is None or self._found.url != url:
            await self.close()
            self._found = DocumentAt(url)
        self._ask_at = self._clock.steady() + REDISCOVER_SECONDS
        return self._found


async def discover(issuer: str, seconds: float) -> str:
    """Return the URL of the issuer's keys, or raise `RequestFailed`. Each request may take these seconds."""
    failures = []
    for url in _urls(issuer):
        try:
            document = await _fetch(url, seconds)
        except (NotConnected, RequestTimedOut):
            raise
        except RequestFailed as error:
            failures.append(f"{error} from {url}")
            continue
        return _keys_url(document, issuer)
    raise RequestFailed(f"no discovery: {'; '.join(failures)}")


def _urls(issuer: str) -> Iterator[str]:
    """Yield the two places of the document: OpenID Connect appends a path, and RFC 8414 inserts it after the host."""
    base = issuer.removesuffix("/")
    yield f"{base}/.well-known/openid-configuration"
    parts = urlsplit(base)
    yield f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"


async def _fetch(url: str, seconds: float) -> dict[str, Any]:
    document = DocumentAt(url)
    try:
        return await document.fetch(seconds)
    finally:
        await document.close()


def _keys_url(document: dict[str, Any], issuer: str) -> str:
    if document.get("issuer") != issuer:
        raise RequestFailed(f"expected discovery for the issuer {issuer}, got {_shown(document.get('issuer'))}")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not _is_safe(url, issuer):
        raise RequestFailed(
            f"expected an https URL of the issuer's own as `jwks_uri`, got {_shown(url)}; set jwks_url to use it"
        )
    return url


def _is_safe(url: str, issuer: str) -> bool:
    """Return whether the gateway may go where an issuer sends it: never to its own machine or network (SSRF)."""
    try:
        check_url(url)
    except ValueError:
        return False
    theirs, own = urlsplit(url), urlsplit(issuer)
    if len(url) > MAX_URL_LENGTH or (own.scheme == "https" and theirs.scheme != "https"):
        return False
    host = theirs.hostname or ""
    return host == own.hostname or {host, own.hostname} <= LOOPBACK or not is_internal(host)


def _shown(value: object) -> str:
    return ascii(value)[:MAX_SHOWN] if isinstance(value, str) else "none" if value is None else type(value).__name__
