"""Signed requests to services: one POST, one bounded answer, and no text of the service in any error of a client.

The answer may be a stream, of which each part is bounded.
"""

import secrets
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from types import MappingProxyType

from gateway.core.clock import Clock
from gateway.core.http_client import Answer, AnswerStream, HttpClient, NotConnected, RequestFailed, RequestTimedOut
from gateway.routes.signatures import Signer
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.streams import ACCEPT, LastPart, Part, StreamParser, parser_of
from handlers.errors import UpstreamFailed, UpstreamTimeout

JSON = MappingProxyType({"content-type": "application/json"})


def new_message_id() -> str:
    """Return a `webhook-id`. Its digits are also the trace's id, so that a service finds one by the other."""
    return f"msg_{secrets.token_hex(16)}"


async def post_signed(
    client: HttpClient,
    signer: Signer,
    body: bytes,
    *,
    message_id: str,
    now_seconds: float,
    seconds: float,
    max_bytes: int,
    trace: Mapping[str, str],
    headers: Mapping[str, str] = JSON,
) -> Answer:
    """Send a signed request, and return the answer of any status.

    Raise `UpstreamTimeout` if there is no whole answer within `seconds`, and `UpstreamFailed` if there is none at all
    or one of over `max_bytes`. Only the headers of `trace` may have anything that a client chose.
    """
    signed = {**headers, **signer.headers(message_id, now_seconds, body), **trace}
    with _failures():
        return await client.request("POST", headers=signed, body=body, seconds=seconds, max_bytes=max_bytes)


class HttpTransport:
    """Carries the messages of a route to its URL."""

    def __init__(
        self, url: str, signer: Signer, clock: Clock, *, parallel: int, max_bytes: int, max_depth: int
    ) -> None:
        """Take an answer, or a chunk, of at most `max_bytes` and of `max_depth` levels of JSON."""
        self._client = HttpClient(url, max_connections=parallel, accept=ACCEPT)
        self._signer = signer
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    async def stream(
        self, body: bytes, message_id: str, trace: Mapping[str, str], deadlines: Deadlines
    ) -> AsyncGenerator[Part, None]:
        """Yield the chunks and the body of an answer with status 200, or raise `UpstreamFailed` or `UpstreamTimeout`.

        A caller that stops in the middle cuts the connection.
        """
        signed = {**JSON, **self._signer.headers(message_id, self._clock.wall(), body), **trace}
        seconds = deadlines.first - now()
        with _failures():
            async with self._client.stream("POST", headers=signed, body=body, seconds=seconds) as answer:
                parser = parser_of(answer.content_type, self._max_bytes, self._max_depth)
                if parser is None:
                    whole = await answer.read_all(deadlines.first, self._max_bytes)
                    _check_status(answer)
                    yield LastPart(whole)
                    return
                _check_status(answer)
                async with aclosing(_parts_of(answer, parser, deadlines)) as parts:
                    async for part in parts:
                        yield part

    async def close(self) -> None:
        """Close the idle connections."""
        await self._client.close()


async def _parts_of(answer: AnswerStream, parser: StreamParser, deadlines: Deadlines) -> AsyncGenerator[Part, None]:
    """Yield the parts of a stream up to its end. The last one counts only if nothing comes after it."""
    deadline, last, has_ended = deadlines.first, None, False
    while not has_ended:
        data = await answer.read(deadline - now())
        has_ended, signs = not data, parser.signs
        for part in parser.end() if has_ended else parser.feed(data):
            if isinstance(part, LastPart):
                last = part
            else:
                yield part
        if parser.signs != signs:
            deadline = deadlines.after_a_part()
    yield last


def _check_status(answer: AnswerStream) -> None:
    if answer.status != 200:
        raise UpstreamFailed(f"expected status 200, got {answer.status}")


@contextmanager
def _failures() -> Iterator[None]:
    """Turn the failures of a request into errors of the message."""
    try:
        yield
    except RequestTimedOut as error:
        raise UpstreamTimeout(str(error)) from None
    except RequestFailed as error:
        raise UpstreamFailed(str(error), was_asked=not isinstance(error, NotConnected)) from None
