"""The answer of a call as Server-Sent Events: each chunk as it comes, and at the end the reply or the error.

The form is that of the HTML standard, section 9.2. A chunk is an event without a name. The last event is named `reply`
or `error`. Its data is what the body of an ordinary answer would be. A client that reads the data line by line needs no
more: JSON has no line breaks of its own.

The status goes out with the first chunk, so that an earlier error keeps its HTTP status. After a while of silence a
comment goes out, for proxies that would cut an idle connection.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from starlette.types import Receive, Send

from gateway.chat.call_session import SendChunk
from gateway.core.logs import request_id
from gateway.transport import frames
from handlers.errors import InternalError, MessageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"

KEEP_ALIVE_SECONDS = 15.0
"""The longest silence: many proxies cut a connection that is idle for 30 or 60 seconds."""

READ_SECONDS = 30.0
"""How long one event may wait for a client that does not read. `gateway serve` cuts most of them off earlier."""

CANCEL_AGAIN_SECONDS = 10.0
"""One cancellation is not always enough (see `gateway.core.tasks`), and cleaning up may take a while."""

_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect events until its buffer is full
]
_COMMENT = b": \n\n"


def asks_for_events(accept: str) -> bool:
    """Return whether a client asks for events, by its header `Accept` (RFC 9110 §12.5.1), at least as much as for JSON.

    A wildcard does not ask for them.
    """
    qualities = dict(_quality(part) for part in accept.split(","))
    events = qualities.get(MEDIA_TYPE, 0.0)
    return events > 0 and events >= qualities.get("application/json", 0.0)


def _quality(part: str) -> tuple[str, float]:
    kind, *parameters = (each.strip().lower() for each in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return kind, float(parameter.removeprefix("q="))
            except ValueError:
                return kind, 0.0
    return kind, 1.0


class EventStream:
    """One answer, for a client that has sent all of its request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._has_started = False
        self._writing = asyncio.Lock()
        self._since = _now()
        """When the last event began to be written, or was written."""

    async def run(self, answer: Callable[[SendChunk], Awaitable[bytes]]) -> None:
        """Send what `answer` sends and then returns. A client that goes away or does not read cancels it.

        Raise what it raises before the first event. Return only when it has ended, so that its place stays taken.
        """
        answering = asyncio.ensure_future(self._answer(answer))
        leaving = asyncio.ensure_future(self._client_leaves())
        try:
            while not answering.done() and not leaving.done() and await self._keep_alive():
                await asyncio.wait(
                    {answering, leaving}, timeout=self._due() - _now(), return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            leaving.cancel()
            await _ended(answering)
        if not answering.cancelled():
            answering.result()

    async def _answer(self, answer: Callable[[SendChunk], Awaitable[bytes]]) -> None:
        try:
            last = _event(b"reply", await answer(self._chunk))
        except Exception as error:
            if not self._has_started:
                raise
            last = _event(b"error", frames.json(_worded(error).body()))
        await self._write(last, more=False)

    async def _chunk(self, chunk: bytes) -> None:
        await self._write(b"data: %b\n\n" % chunk)

    async def _write(self, event: bytes, *, more: bool = True) -> None:
        async with self._writing:
            self._since = _now()
            if not self._has_started:
                self._has_started = True
                await self._send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(_HEADERS)})
            await self._send({"type": "http.response.body", "body": event, "more_body": more})
            self._since = _now()

    def _due(self) -> float:
        """Return when the client must have read the current event, or when a comment is due."""
        return self._since + (READ_SECONDS if self._writing.locked() else KEEP_ALIVE_SECONDS)

    async def _keep_alive(self) -> bool:
        """Send a comment if it is due. Return whether the client reads."""
        if _now() < self._due():
            return True
        if not self._writing.locked():
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    await self._write(_COMMENT)
                return True
        logger.info("a client of a call has not read an event in %g s", READ_SECONDS)
        return False

    async def _client_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _ended(task: "asyncio.Future[None]") -> None:
    """Cancel a task that has not ended, and wait for its end."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)


def _worded(error: Exception) -> MessageError:
    if isinstance(error, MessageError):
        return error
    logger.error("a call failed after its first chunk", exc_info=error)
    return InternalError(request_id.get())
