"""HTTP requests to external services, whose answers are JSON objects."""

from typing import Any

from gateway.core import strict_json
from gateway.core.http_client import HttpClient, RequestFailed

MAX_DOCUMENT_BYTES = 64 * 1024
"""The limit of an answer, far above real ones: the keys of large providers fill some 15 kB."""

MAX_CONNECTIONS = 20
"""Simultaneous requests to one service. More wait, within the time for an answer."""


def make_http_client(url: str) -> HttpClient:
    """Return the HTTP client for one service."""
    return HttpClient(url, max_connections=MAX_CONNECTIONS)


async def request_json(
    client: HttpClient, method: str, seconds: float, *, headers: dict[str, str] | None = None, body: bytes = b""
) -> dict[str, Any]:
    """Return the JSON object of an answer with status 200, or raise `RequestFailed`."""
    answer = await client.request(
        method, headers=headers or {}, body=body, seconds=seconds, max_bytes=MAX_DOCUMENT_BYTES
    )
    if answer.status != 200:
        raise RequestFailed(f"expected status 200, got {answer.status}")
    try:
        document = strict_json.loads(answer.body.decode(), max_depth=16)
    except ValueError:
        raise RequestFailed("expected JSON, got something else") from None
    if not isinstance(document, dict):
        raise RequestFailed("expected a JSON object, got something else")
    return document
