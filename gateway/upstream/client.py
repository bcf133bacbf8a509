"""Signed requests to services: one POST, one bounded answer, and no text of the service in any error of a client."""

import secrets
from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.clock import Clock
from gateway.core.http_client import Answer, HttpClient, NotConnected, RequestFailed, RequestTimedOut
from gateway.routes.signatures import Signer
from handlers.errors import UpstreamFailed, UpstreamTimeout

JSON = MappingProxyType({"content-type": "application/json"})


def new_message_id() -> str:
    """Return a `webhook-id`. Its digits are also the trace's id, so that a service finds one by the other."""
    return f"msg_{secrets.token_hex(16)}"


def traceparent(message_id: str) -> str:
    """Return the header of W3C Trace Context for one request: the trace of the message, and a span of its own."""
    return f"00-{message_id.removeprefix('msg_')}-{secrets.token_hex(8)}-01"


async def post_signed(
    client: HttpClient,
    signer: Signer,
    body: bytes,
    *,
    message_id: str,
    now_seconds: float,
    seconds: float,
    max_bytes: int,
    headers: Mapping[str, str] = JSON,
) -> Answer:
    """Send a signed request, and return the answer of any status.

    Raise `UpstreamTimeout` if there is no whole answer within `seconds`, and `UpstreamFailed` if there is none at all
    or one of over `max_bytes`. No header has anything that a client chose.
    """
    signed = {**headers, **signer.headers(message_id, now_seconds, body), "traceparent": traceparent(message_id)}
    try:
        return await client.request("POST", headers=signed, body=body, seconds=seconds, max_bytes=max_bytes)
    except RequestTimedOut as error:
        raise UpstreamTimeout(str(error)) from None
    except RequestFailed as error:
        raise UpstreamFailed(str(error), was_asked=not isinstance(error, NotConnected)) from None


class HttpTransport:
    """Carries the messages of a route to its URL."""

    def __init__(self, url: str, signer: Signer, clock: Clock, *, parallel: int, max_bytes: int) -> None:
        self._client = HttpClient(url, max_connections=parallel)
        self._signer = signer
        self._clock = clock
        self._max_bytes = max_bytes

    async def send(self, body: bytes, message_id: str, seconds: float) -> bytes:
        """Return the body of an answer with status 200, or raise `UpstreamFailed` or `UpstreamTimeout`."""
        answer = await post_signed(
            self._client,
            self._signer,
            body,
            message_id=message_id,
            now_seconds=self._clock.wall(),
            seconds=seconds,
            max_bytes=self._max_bytes,
        )
        if answer.status != 200:
            raise UpstreamFailed(f"expected status 200, got {answer.status}")
        return answer.body

    async def close(self) -> None:
        """Close the idle connections."""
        await self._client.close()
