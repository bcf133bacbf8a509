"""HTTP requests to external services: limited in time and size, and only to the address in the settings."""

import asyncio
from typing import Any

import httpx2

from gateway.core import strict_json

MAX_DOCUMENT_BYTES = 64 * 1024
"""The limit of an answer, far above real ones: the keys of large providers fill some 15 kB."""

MAX_CONNECTIONS = 20
"""Simultaneous requests to one service. More wait, within the time for an answer."""


KEEP_ALIVE_SECONDS = 2
"""Seconds that an idle connection stays open: fewer than at servers, so that no request meets a closing connection."""


class RequestFailed(Exception):
    """An external service gave no answer in time, or a wrong one. The text says which, for the log."""


def make_http_client() -> httpx2.AsyncClient:
    """Return the HTTP client for one service."""
    return httpx2.AsyncClient(
        # After a redirect, the answer would come from an address outside the settings.
        follow_redirects=False,
        # A proxy of the environment must not see the tokens.
        trust_env=False,
        timeout=None,
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
        # An uncompressed answer cannot grow on unpacking.
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "json-gateway"},
    )


async def request_json(
    client: httpx2.AsyncClient, method: str, url: str, seconds: float, **options: Any
) -> dict[str, Any]:
    """Return the JSON object of an answer with status 200, or raise `RequestFailed`."""
    try:
        async with asyncio.timeout(seconds), client.stream(method, url, **options) as response:
            if response.status_code != 200:
                raise RequestFailed(f"expected status 200, got {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise RequestFailed("expected a plain body, got a compressed one")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise RequestFailed(f"expected at most {MAX_DOCUMENT_BYTES} bytes, got more")
    except TimeoutError:
        raise RequestFailed(f"no answer within {seconds:g} seconds") from None
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
        raise RequestFailed(f"no answer: {type(error).__name__}") from None
    try:
        document = strict_json.loads(body.decode(), max_depth=16)
    except ValueError:
        raise RequestFailed("expected JSON, got something else") from None
    if not isinstance(document, dict):
        raise RequestFailed("expected a JSON object, got something else")
    return document
