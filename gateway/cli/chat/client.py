"""One connection to a gateway: requests, calls with chunks, events, and how the connection ended."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from gateway.cli.chat.wording import clean, explain
from schemas.codes import Close, Reconnect

Frame = dict[str, Any]

CLOSE_SECONDS = 2
"""Seconds for an orderly close."""

MAX_EVENTS = 10_000
"""Events that are kept while older messages are fetched. Beyond it, the client reconnects and resumes."""

_BY_CODE = {close.code: close.reconnect for close in Close}


class ConnectionLost(Exception):
    """The connection has ended, or could not be made. The error has the reason, and whether and when to reconnect."""

    def __init__(self, reason: str, reconnect: Reconnect, after_ms: int = 0, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.reconnect = reconnect
        self.after_ms = after_ms
        self.expired = expired
        """Whether the token has expired, so that a new log-in helps."""

    @property
    def final(self) -> bool:
        """Return whether reconnecting is useless."""
        return not self.expired and self.reconnect in (Reconnect.NEVER, Reconnect.NEW_CREDENTIAL)


class RequestRefused(Exception):
    """The gateway has answered a message with an error. The connection stays open."""

    def __init__(self, error: Frame) -> None:
        super().__init__(explain(error))
        self.status = error.get("status")
        self.retryable = bool(error.get("retryable"))
        self.after_ms = int(error.get("retry_after_ms") or 0)


class Call:
    """A message that waits for its answer. Iterate over its chunks, and then read `reply`."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.reply: Any = None
        self._frames: asyncio.Queue[Frame | ConnectionLost] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yield each chunk. Raise `RequestRefused`, or `ConnectionLost` if no answer comes."""
        while True:
            frame = await self._frames.get()
            if isinstance(frame, ConnectionLost):
                raise frame
            if frame["type"] == "error":
                raise RequestRefused(frame)
            if frame["type"] != "chunk":
                self.reply = frame.get("data", {})
                return
            yield frame["data"]

    def take(self, frame: Frame | ConnectionLost) -> bool:
        """Keep a chunk, the answer or the end of the connection. Return whether there was space."""
        self._frames.put_nowait(frame)
        return self._frames.qsize() <= MAX_EVENTS


class ChatClient:
    """An open connection, which its own task reads."""

    def __init__(self, ws: ClientConnection) -> None:
        self.user = ""
        self._ws = ws
        self._max_bytes = 0
        self._numbers = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._events: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._error = ""
        self._bye: Frame = {}
        self._lost: ConnectionLost | None = None
        self._reader = asyncio.create_task(self._read())

    async def request(self, type: str, **data: object) -> Frame:
        """Send a message and return its reply's data. Raise `RequestRefused`, or `ConnectionLost` if none comes."""
        async with self._asked({"type": type, "data": data}) as call:
            async for _ in call:
                pass
            if not isinstance(call.reply, dict):
                raise _another_version()
            return call.reply

    def call(self, type: str, data: object) -> AbstractAsyncContextManager[Call]:
        """Send any message, and ask for the chunks of its answer."""
        return self._asked({"type": type, "stream": True, "data": data})

    async def cancel(self, call: Call) -> None:
        """Cancel a call. Do nothing if it has ended."""
        with suppress(RequestRefused):
            await self.request("cancel", id=call.id)

    @asynccontextmanager
    async def _asked(self, message: Frame) -> AsyncIterator[Call]:
        if self._lost is not None:
            raise self._lost
        call = Call(next(self._numbers))
        text = json.dumps(message | {"id": call.id}, ensure_ascii=False)
        self._check_size(text)
        self._calls[call.id] = call
        try:
            with suppress(ConnectionClosed):  # the reader knows the reason
                await self._ws.send(text)
            yield call
        finally:
            del self._calls[call.id]

    async def welcome(self) -> None:
        """Wait until the gateway has accepted the connection."""
        event = await self.next_event()
        self.user = str(event.get("data", {}).get("user", ""))
        self._max_bytes = int(event.get("data", {}).get("max_message_bytes") or 0)

    async def next_event(self) -> Frame:
        """Return the next event, or raise `ConnectionLost`."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            assert self._lost is not None  # noqa: S101 - it is set before the end of the queue
            raise self._lost
        return event

    async def close(self) -> None:
        """Send a bye, and wait a moment for the gateway's."""
        with suppress(TimeoutError, ConnectionLost, RequestRefused):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.request("bye")
                await asyncio.shield(self._reader)
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    def _check_size(self, text: str) -> None:
        # Far beyond the limit, the gateway closes the connection. The next connection would meet the same end.
        size = len(text.encode())
        if 0 < self._max_bytes < size:
            raise RequestRefused({"message": f"expected a message of at most {self._max_bytes} bytes, got {size}"})

    async def _read(self) -> None:
        try:
            async for text in self._ws:
                self._on_frame(json.loads(text))
        except (ConnectionClosed, asyncio.CancelledError):
            pass
        except (LookupError, TypeError, ValueError):
            self._finish(_another_version())
        self._finish(self._ending())

    def _on_frame(self, frame: Any) -> None:
        if not isinstance(frame, dict):
            raise TypeError("expected an object")
        kind, call = frame["type"], self._calls.get(frame.get("id", 0))
        if call is not None:
            if not call.take(frame):
                self._finish(ConnectionLost("too many chunks came to show them all", Reconnect.WITH_BACKOFF))
        elif kind == "error":
            self._error = explain(frame)
        elif kind not in ("reply", "chunk"):
            self._on_event(frame)

    def _on_event(self, event: Frame) -> None:
        if not isinstance(event.get("data", {}), dict):
            raise TypeError("expected an object")
        if event["type"] == "bye":
            self._bye = event["data"]
        else:
            self._keep(event)

    def _keep(self, event: Frame) -> None:
        if self._events.qsize() >= MAX_EVENTS:
            self._finish(ConnectionLost("too many messages came to show them all", Reconnect.WITH_BACKOFF))
            return
        self._events.put_nowait(event)

    def _ending(self) -> ConnectionLost:
        reason = str(self._bye.get("reason") or self._ws.close_reason or "cut off")
        reconnect = _BY_CODE.get(self._ws.close_code or 0, Reconnect.WITH_BACKOFF)
        with suppress(ValueError, KeyError):
            reconnect = Reconnect(self._bye["reconnect"])
        words = f"{clean(reason)}: {self._error}" if self._error else clean(reason)
        return ConnectionLost(
            words, reconnect, int(self._bye.get("after_ms") or 0), expired=reason == Close.TOKEN_EXPIRED.reason
        )

    def _finish(self, lost: ConnectionLost) -> None:
        if self._lost is not None:
            return
        self._lost = lost
        self._events.put_nowait(None)
        for call in self._calls.values():
            call.take(lost)


def _another_version() -> ConnectionLost:
    return ConnectionLost("this is not a gateway, or one of another version", Reconnect.NEVER)


@asynccontextmanager
async def open_client(url: str, token: str, *, proxy: bool) -> AsyncIterator[ChatClient]:
    """Connect, and close at the end. Raise `ConnectionLost` if the gateway is out of reach or refuses."""
    try:
        ws = await connect(
            url,
            compression=None,
            # In a header, because logs contain URLs.
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=True if proxy else None,
            close_timeout=CLOSE_SECONDS,
            max_size=None,
        )
    except InvalidStatus as error:
        raise _refused_upgrade(error) from None
    except (OSError, InvalidHandshake) as error:
        reason = clean(str(error)) or "no answer"
        raise ConnectionLost(f"cannot reach {url} ({reason})", Reconnect.WITH_BACKOFF) from None
    async with ws:
        client = ChatClient(ws)
        try:
            await client.welcome()
            yield client
        finally:
            await client.close()


def _refused_upgrade(error: InvalidStatus) -> ConnectionLost:
    status = error.response.status_code
    body: Any = None
    with suppress(ValueError):
        body = json.loads(error.response.body or b"")
    if isinstance(body, dict) and "message" in body:
        words, expired = explain(body), body.get("name") == Close.TOKEN_EXPIRED.reason
    else:
        words, expired = f"expected a WebSocket, got HTTP {status}", False
    later = status >= 500 or status == 429
    return ConnectionLost(words, Reconnect.WITH_BACKOFF if later else Reconnect.NEW_CREDENTIAL, expired=expired)
