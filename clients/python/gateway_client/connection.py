"""One connection: its calls, its answers, its heartbeat, and how it ended.

One task reads. It never waits for anything but the next frame, so a reply always finds its call.
"""

import asyncio
import itertools
import json
import logging
import math
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway_client.clock import Clock
from gateway_client.errors import GatewayError, Lost, Refused, UnexpectedReply
from gateway_client.returning import lost_by
from gateway_client.times import HEARTBEAT_SECONDS, Times

log = logging.getLogger("gateway_client")

STATUS_TOO_LARGE = 41300

BREACHES = {1002, 1007, 1009}
"""The codes with which this client closes a connection whose frames are wrong or too long."""

LONGEST_HEARTBEAT_SECONDS = 300.0

traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The span that messages belong to, as the header of W3C Trace Context has it. A program sets it for its own task."""

Direction = Literal["in", "out"]
OnFrame = Callable[[Direction, str], None]
OnReply = Callable[[Any], None]
OnChunk = Callable[[int, Any], None]
OnBegin = Callable[["Connection", int], None]


class Listener(Protocol):
    """What a connection reports to."""

    def on_welcome(self, data: Any) -> None:
        """Take the first event, or raise `ValueError` for one that no gateway sends."""

    def on_event(self, type: str, data: Any) -> None:
        """Handle an event, at once."""


@dataclass(eq=False)
class Pending:
    """A message that waits for its answer."""

    type: str
    answer: asyncio.Future[Any]
    on_reply: OnReply | None = None
    """Handles the reply before any later frame."""
    on_chunk: OnChunk | None = None


@dataclass
class Ending:
    """What is known of how a connection ends."""

    bye: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    reason: str = ""


class Connection:
    """An open socket."""

    def __init__(
        self,
        ws: ClientConnection,
        listener: Listener,
        clock: Clock,
        *,
        times: Times,
        ids: "itertools.count[int]",
        on_frame: OnFrame | None,
    ) -> None:
        self.welcome: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.lost: Lost | None = None
        self.heartbeat = times.heartbeat or HEARTBEAT_SECONDS
        self.max_bytes = 0
        self._ws = ws
        self._listener = listener
        self._clock = clock
        self._times = times
        self._ids = ids
        self._on_frame = on_frame
        self._pending: dict[int, Pending] = {}
        self._heard_at = clock.now()
        self._heard = asyncio.Event()
        self._ending = Ending()
        self._checking: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._cut_off: asyncio.TimerHandle | None = None

    async def read(self) -> Lost:
        """Read until the end, and return how it came."""
        try:
            async for text in self._ws:
                self._hear(text)
        except ConnectionClosed as closed:
            self._note_fault(closed)
        finally:
            lost = self._ended()
        return lost

    async def call(
        self,
        type: str,
        data: Any,
        *,
        on_reply: OnReply | None = None,
        on_chunk: OnChunk | None = None,
        on_begin: OnBegin | None = None,
        cancels: bool = False,
    ) -> Any:
        """Send a message, and return the data of its reply. Raise `Refused`, or `Lost` if no answer comes.

        With `on_chunk`, ask for a stream. With `cancels`, cancel the message if the caller leaves. `on_begin` gets the
        connection and the id.
        """
        if self.lost is not None:
            raise self.lost.again()
        number, began_at = next(self._ids), self._clock.now()
        message = {"type": type, "id": number, "data": data} | ({"stream": True} if on_chunk else {})
        if (trace := traceparent.get()) is not None:
            message["traceparent"] = trace
        text = self._encoded(message)
        pending = Pending(type, asyncio.get_running_loop().create_future(), on_reply, on_chunk)
        self._pending[number] = pending
        if on_begin is not None:
            on_begin(self, number)
        try:
            await self._send(text)
            return await pending.answer
        except asyncio.CancelledError:
            if cancels:
                self._cancel(number)
            if self._clock.now() - max(self._heard_at, began_at) > self._times.ping:
                self._begin_check()  # an answer is missing
            raise
        finally:
            del self._pending[number]
            if pending.answer.done() and not pending.answer.cancelled():
                pending.answer.exception()  # a caller that has left does not ask for it

    async def check(self) -> None:
        """Let a ping decide whether the connection lives. Without any frame in time, it is cut off."""
        await asyncio.wait({self._begin_check()})

    async def watch(self) -> None:
        """Send a ping after a silence of a heartbeat, and check the connection after more than two."""
        while True:
            await asyncio.sleep(min(self._times.watch, self.heartbeat))
            silence = self._clock.now() - self._heard_at
            if silence > 2 * self.heartbeat:
                await self.check()
            elif silence > self.heartbeat and not self._background:
                self._start(self._ping())  # also for proxies, which end silent connections

    def abort(self, reason: str) -> None:
        """Cut the connection off."""
        self._ending.reason = self._ending.reason or reason
        self._ws.transport.abort()

    def end(self, lost: Lost) -> None:
        """End all calls with an error. Do nothing the second time."""
        if self.lost is not None:
            return
        self.lost = lost
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(lost.again())
        if not self.welcome.done():
            self.welcome.cancel()
        if self._cut_off is not None:
            self._cut_off.cancel()
        self._heard.set()

    async def close(self) -> None:
        """Close the connection in order, or cut it off if that takes long."""
        tasks = [*self._background, *([self._checking] if self._checking else ())]
        try:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._ws.close()
        finally:
            self._ws.transport.abort()

    def _begin_check(self) -> asyncio.Task[None]:
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="gateway_client check")
        return self._checking

    async def _check(self) -> None:
        self._heard.clear()
        ping = asyncio.create_task(self._ping(), name="gateway_client ping")
        try:
            async with asyncio.timeout(self._times.ping):
                await self._heard.wait()
        except TimeoutError:
            self.abort(f"no answer to a ping within {self._times.ping:g} s")
        finally:
            ping.cancel()
            await asyncio.gather(ping, return_exceptions=True)

    def _encoded(self, message: Mapping[str, Any]) -> str:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())  # a lone surrogate fails here
        if 0 < self.max_bytes < size:
            # Far beyond the limit, the gateway would close the connection.
            words = f"expected a message of at most {self.max_bytes} bytes, got {size}"
            raise Refused(STATUS_TOO_LARGE, "too_large", words)
        return text

    async def _send(self, text: str) -> None:
        self._show("out", text)
        with suppress(ConnectionClosed):  # the reader knows the reason
            await self._ws.send(text)

    def _cancel(self, number: int) -> None:
        if self.lost is None:
            text = json.dumps({"type": "cancel", "id": next(self._ids), "data": {"id": number}})
            self._start(self._send(text))

    async def _ping(self) -> None:
        with suppress(GatewayError):
            await self.call("ping", {})

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="gateway_client background")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _hear(self, text: str | bytes) -> None:
        self._heard_at = self._clock.now()
        self._heard.set()
        try:
            self._take(text)
        except Exception:
            log.exception("ignored a frame that this client cannot handle")

    def _take(self, text: str | bytes) -> None:
        if isinstance(text, bytes):
            self._ignore("a binary frame", "")
            return
        self._show("in", text)
        try:
            frame = json.loads(text)
        except (ValueError, RecursionError):
            self._ignore("a frame that is no JSON", text)
            return
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            self._ignore("a frame without a type", text)
        elif frame["type"] in {"reply", "error", "chunk"}:
            self._answer(frame["type"], frame, text)
        elif "id" in frame:
            self._ignore("an answer of an unknown type", text)
        else:
            self._event(frame["type"], frame.get("data"), text)

    def _answer(self, kind: str, frame: Mapping[str, Any], text: str) -> None:
        number = frame.get("id")
        # `True == 1` and `1.0 == 1` in Python, and neither is an id of ours.
        pending = self._pending.get(number) if type(number) is int else None
        if number is None and kind == "error":
            self._ending.error = str(frame.get("message", ""))
        elif pending is None or pending.answer.done():
            self._ignore(f"a frame `{kind}` that answers no message", text)
        elif kind == "chunk":
            self._chunk(pending, frame, text)
        elif kind == "error":
            pending.answer.set_exception(Refused.read(frame))
        else:
            self._reply(pending, frame.get("data", {}))

    def _reply(self, pending: Pending, data: Any) -> None:
        if pending.on_reply is not None:
            try:
                pending.on_reply(data)
            except Exception as error:  # the caller gets it, and the reader lives on
                wrong = UnexpectedReply(f"the reply to `{pending.type}` makes no sense: {error}")
                wrong.__cause__ = error
                pending.answer.set_exception(wrong)
                return
        pending.answer.set_result(data)

    def _chunk(self, pending: Pending, frame: Mapping[str, Any], text: str) -> None:
        seq = frame.get("seq")
        if pending.on_chunk is None or type(seq) is not int:
            self._ignore("a chunk of a message that asked for none, or without a number", text)
        else:
            pending.on_chunk(seq, frame.get("data"))

    def _event(self, type: str, data: Any, text: str) -> None:
        if type == "welcome":
            self._welcome(data, text)
        elif type == "bye":
            self._bye(data)
        if self.welcome.done():
            self._listener.on_event(type, data)
        elif type != "bye":
            self._ignore("an event before the welcome", text)

    def _welcome(self, data: Any, text: str) -> None:
        if self.welcome.done():
            self._ignore("a second welcome", text)
            return
        try:
            self._listener.on_welcome(data)
        except ValueError:
            self.abort("this is no gateway, or one of another version")
            return
        beat, most = data.get("heartbeat_seconds"), data.get("max_message_bytes")
        if self._times.heartbeat is None and isinstance(beat, int | float) and math.isfinite(beat) and beat > 0:
            self.heartbeat = min(max(float(beat), 1.0), LONGEST_HEARTBEAT_SECONDS)
        if isinstance(most, int) and most > 0:
            self.max_bytes = most
        self.welcome.set_result(data)

    def _bye(self, data: Any) -> None:
        self._ending.bye = data if isinstance(data, dict) else {}
        # A gateway that stays open after its `bye` is cut off.
        self._cut_off = asyncio.get_running_loop().call_later(self._times.bye, self._ws.transport.abort)

    def _show(self, direction: Direction, text: str) -> None:
        if self._on_frame is not None:
            try:
                self._on_frame(direction, text)
            except Exception:
                log.exception("on_frame has failed")

    def _ignore(self, what: str, text: str) -> None:
        log.warning("ignored %s: %.200s", what, text)

    def _note_fault(self, closed: ConnectionClosed) -> None:
        if closed.rcvd is None and closed.sent is not None and closed.sent.code in BREACHES:
            what = closed.sent.reason or closed.sent.code
            self._ending.reason = self._ending.reason or f"the gateway broke the standard of WebSocket: {what}"

    def _ended(self) -> Lost:
        reason = self._ending.reason or self._ws.close_reason or ""
        lost = lost_by(self._ws.close_code, reason, self._ending.bye, self._ending.error)
        self.end(lost)
        return lost
