"""Questions to outside services over HTTP: bounded in time and in size, asked of the address in the settings alone."""

import asyncio
from typing import Any

import httpx2

from gateway.core import strict_json
from handlers.errors import Unavailable

MAX_DOCUMENT_BYTES = 64 * 1024
"""Far above any real answer: the keys of large providers fill some 15 kB."""

MAX_CONNECTIONS = 20
"""How many questions to one service are under way at a time; more wait, within the time for an answer."""


KEEP_ALIVE_SECONDS = 2
"""How long an idle connection is kept: less than servers do, so that no question goes into one that is being closed."""


class NoAnswer(Exception):
    """An outside service did not answer in time, or not as it should. Says which, for the log."""


class ServiceUnavailable(Unavailable):
    """Whether a credential is good cannot be known for now."""

    def __str__(self) -> str:
        return f"the service `{self.part}` cannot be asked for now; try again"


def make_client() -> httpx2.AsyncClient:
    """Make the client for the questions to one service."""
    return httpx2.AsyncClient(
        # A redirect would have the answer come from an address that nobody has set.
        follow_redirects=False,
        # Nor does a proxy of the environment see the tokens that are asked about.
        trust_env=False,
        timeout=None,
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
        # What is not compressed cannot grow when it is unpacked.
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "json-gateway"},
    )


async def ask(client: httpx2.AsyncClient, method: str, url: str, seconds: float, **options: Any) -> dict[str, Any]:
    """Give the JSON object that a service answers with status 200, or raise `NoAnswer`."""
    try:
        async with asyncio.timeout(seconds), client.stream(method, url, **options) as response:
            if response.status_code != 200:
                raise NoAnswer(f"expected status 200, got {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise NoAnswer("expected a plain body, got a compressed one")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise NoAnswer(f"expected at most {MAX_DOCUMENT_BYTES} bytes, got more")
    except TimeoutError:
        raise NoAnswer(f"no answer within {seconds:g} seconds") from None
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
        raise NoAnswer(f"no answer: {type(error).__name__}") from None
    try:
        document = strict_json.loads(body.decode(), max_depth=16)
    except ValueError:
        raise NoAnswer("expected JSON, got something else") from None
    if not isinstance(document, dict):
        raise NoAnswer("expected a JSON object, got something else")
    return document
