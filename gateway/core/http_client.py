"""Requests to services whose addresses the operator has set: limited in time and size.

A client follows no redirect and keeps no cookie, so one user's answer has no effect on the next user's request. It
takes no proxy from the environment, which would see what is sent. It unpacks nothing, so no answer can grow.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import httpx2

KEEP_ALIVE_SECONDS = 2
"""Seconds that an idle connection stays open: fewer than at servers, so that no request meets a closing connection."""

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "json-gateway"}


class RequestFailed(Exception):
    """A service gave no answer, or a wrong one. The text says which, for the log."""


class RequestTimedOut(RequestFailed):
    """A service gave no complete answer in time."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    body: bytes


class HttpClient:
    """Sends requests to one URL."""

    def __init__(self, url: str, *, max_connections: int) -> None:
        """More requests than `max_connections` at once wait for each other, within their time."""
        self._url = httpx2.URL(url)
        self._transport = httpx2.AsyncHTTPTransport(
            verify=_authorities() if self._url.scheme == "https" else _no_authorities(),
            trust_env=False,
            limits=httpx2.Limits(max_connections=max_connections, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )

    async def request(
        self, method: str, *, headers: Mapping[str, str], body: bytes | None = None, seconds: float, max_bytes: int
    ) -> Answer:
        """Return the answer, whatever its status.

        Raise `RequestTimedOut` if it is not complete in time, and `RequestFailed` for none or one of over `max_bytes`.
        """
        request = httpx2.Request(method, self._url, headers={**_HEADERS, **headers}, content=body)
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(request)
                try:
                    return Answer(response.status_code, await _body(response, max_bytes))
                finally:
                    await response.aclose()
        except TimeoutError:
            raise RequestTimedOut(f"no answer within {seconds:g} seconds") from None
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            raise RequestFailed(f"no answer: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the idle connections. Requests that are under way fail."""
        await self._transport.aclose()


async def _body(response: httpx2.Response, max_bytes: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise RequestFailed("expected a plain body, got a compressed one")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > max_bytes:
            raise RequestFailed(f"expected at most {max_bytes} bytes, got more")
    return bytes(body)


@cache
def _authorities() -> ssl.SSLContext:
    """Return the context with the certificates of the machine, which take 50 ms to read."""
    return httpx2.create_ssl_context(trust_env=False)


@cache
def _no_authorities() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
