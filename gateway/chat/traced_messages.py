"""The trace of each message: the span that its client has named, and with tracing a span of the gateway's own.

Without tracing, only a message with a `traceparent` costs anything. `MessageSpan` says what the span of a message has:
its type and its status, and neither its data nor, unless a setting asks for it, its user and its room.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from gateway.core.trace_context import TraceContext, current_trace, parse
from gateway.core.tracing import Span, Tracing, Value
from gateway.http.request_spans import handshake
from gateway.routes.model import Routes
from handlers.base import MsgHandler, Session
from handlers.errors import MessageError
from handlers.factory import TRACEPARENT, Fallback, MsgHandlerFactory
from handlers.registry import Registry
from handlers.upstream import UpstreamHandler
from schemas.codes import Status

SYSTEM = "json-gateway"
"""What this protocol is called in attributes."""
UNKNOWN = "unknown"
"""The name of a message that has no handler: its `type` is a client's text."""

MAX_ROOM = 64
"""Characters of a room's name that a span shows. A name may be wrong, and long."""

GONE = "gone"
"""The kind of error if a connection has ended before the answer."""

Answer = Callable[[], Awaitable[None]]


class PassingFactory(MsgHandlerFactory):
    """Finds handlers, and passes the span that a client has named on to what the handler calls."""

    def _note_trace(self, handler: MsgHandler[Any, Any], traceparent: object) -> None:
        if (context := parse(traceparent)) is not None:
            handler.surround(partial(_within, context))


async def _within(context: TraceContext, answer: Answer) -> None:
    before = current_trace.set(context)
    try:
        await answer()
    finally:
        current_trace.reset(before)


class TracedFactory(MsgHandlerFactory):
    """Finds handlers, and makes a span for each message."""

    def __init__(
        self,
        registry: Registry,
        fallback: Fallback,
        *,
        tracing: Tracing,
        routes: Callable[[], Routes],
        node: str,
        details: Collection[str],
    ) -> None:
        """`details` has what else a span shows: `user`, `room` or both."""
        super().__init__(registry, fallback)
        self._tracing = tracing
        self._routes = routes
        self._node = node
        self._details = details

    def get_handler(self, *, session: Session, request_data: Mapping[str, object]) -> MsgHandler[Any, Any]:
        """Return the handler of a message, which also ends the message's span."""
        if TRACEPARENT in request_data:
            traceparent = request_data[TRACEPARENT]
            request_data = {key: value for key, value in request_data.items() if key != TRACEPARENT}
        else:
            traceparent = None
        handler = super().get_handler(session=session, request_data=request_data)
        name, parent, opened = self._name_of(handler, request_data.get("type")), parse(traceparent), handshake.get()
        span = self._tracing.start(
            name,
            # Over HTTP, the request has a span of this kind already.
            "internal" if opened is None else "server",
            {"rpc.system.name": SYSTEM, "rpc.method": name, **self._attributes(handler, session, request_data)},
            parent=parent,
            is_root=opened is not None and parent is None,
            links=() if opened is None else (opened,),
        )
        message = MessageSpan(span, self._tracing)
        answering.set(message)
        handler.surround(partial(message.answer, session))
        return handler

    def _name_of(self, handler: MsgHandler[Any, Any], type: object) -> str:
        """Return the type of a message, or the pattern of its route: what a pattern takes is a client's text."""
        if isinstance(type, str) and type in self.handlers:
            return type
        route = self._routes().find(handler.type) if isinstance(handler, UpstreamHandler) else None
        return UNKNOWN if route is None else route.pattern

    def _attributes(
        self, handler: MsgHandler[Any, Any], session: Session, request_data: Mapping[str, object]
    ) -> dict[str, Value]:
        found: dict[str, Value] = {"gateway.connection.id": session.connection, "gateway.node.id": self._node}
        if handler.stream:
            found["gateway.stream"] = True
        if "user" in self._details:
            found["user.name"] = session.user
        data = request_data.get("data")
        if "room" in self._details and isinstance(data, dict) and isinstance(room := data.get("room"), str):
            found["gateway.room"] = room[:MAX_ROOM]
        return found


class MessageSpan:
    """The span of one message, up to its answer."""

    __slots__ = ("_error", "_has_ended", "_is_running", "_span", "_tracing")

    def __init__(self, span: Span, tracing: Tracing) -> None:
        self._span = span
        self._tracing = tracing
        self._error: MessageError | None = None
        self._is_running = False
        self._has_ended = False

    async def answer(self, session: Session, answer: Answer) -> None:
        """Answer the message within its span, and end the span."""
        self._is_running = True
        try:
            with self._tracing.within(self._span):
                await answer()
        except asyncio.CancelledError:
            self.end(error := _cancelled_with(session), is_gone=error is None)
            raise
        except BaseException:
            self.end(None, is_gone=True)
            raise
        # A handler that has swallowed its cancellation has been answered all the same.
        self.end(_cancelled_with(session) or self._error)

    def refuse(self, error: MessageError) -> None:
        """Note the error that answers the message. Without a handler that runs, it is the end."""
        self._error = error
        if not self._is_running:
            self.end(error)

    def end(self, error: MessageError | None, *, is_gone: bool = False) -> None:
        """End the span with the status of the answer, unless it has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        if is_gone:
            self._span.fail(GONE, is_fault=False)
        else:
            status = Status.OK if error is None else error.status
            self._span.set({"rpc.response.status_code": str(int(status))})
            if error is not None:
                self._span.fail(error.name, is_fault=status // 10_000 == 5)
        self._span.end()


def _cancelled_with(session: Session) -> MessageError | None:
    found: MessageError | None = getattr(session, "cancelled_with", None)
    return found


answering: ContextVar[MessageSpan | None] = ContextVar("answering", default=None)
"""The message that is being handled, if messages have spans."""


def note_refusal(error: MessageError) -> None:
    """Note the error that answers the current message, if messages have spans."""
    if (message := answering.get()) is not None:
        message.refuse(error)


def note_end(error: MessageError | None) -> None:
    """End the span of an unordered message, in the context of its start: its task may never have run.

    `error` is what has answered it in its handler's place.
    """
    if (message := answering.get()) is not None:
        message.end(error, is_gone=error is None)
