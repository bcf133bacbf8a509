"""The unordered messages of one connection: a task answers each, and later messages do not wait for it.

Each is answered once. After an answer that the handler did not make, because the client has cancelled the message or it
took too long, nothing of the handler's goes out. Its place is taken until its task has ended, which is soon: it may
clean up for some seconds, and is stopped by force then.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from gateway.core import costs
from gateway.core.tasks import cancel_within
from gateway.core.timers import Timer, TimerWheel
from gateway.transport.chunks import Chunks
from handlers.base import NO_ANSWER, MsgHandler
from handlers.errors import CallTimeout, Cancelled, Conflict, MessageError, NotFound, RateLimited
from schemas.codes import Close

logger = logging.getLogger(__name__)

RETRY_AFTER_MS = 1000
CANCEL_SECONDS = 3
"""How long cancelled handlers may clean up. One commit may take a second."""

MAX_TAKEN = 256
"""The most messages of a connection that were taken in their order and wait for their answers."""

End = tuple[Close, int | None]
"""A close, and after how many milliseconds the client may come back."""


@dataclass(slots=True, eq=False)
class UnorderedMessage:
    """One message in progress."""

    id: int | str | None
    handler: MsgHandler[Any, Any]
    began: float = field(default_factory=perf_counter)
    status: int | None = None
    """The status of an answer that the handler did not make."""
    is_answered: bool = False
    chunks: Chunks | None = None
    """The chunks so far of its answer."""
    included: float = costs.INCLUDED
    """The part of its work that it has paid for already."""
    end: End | None = None
    """How to close the connection after its answer."""
    timer: Timer | None = None
    error: MessageError | None = None
    """What has answered it in its handler's place."""
    is_taken: bool = False
    """Whether it was taken in its order, and only its answer is late."""

    def unpaid(self, cost: float) -> float:
        """Return how much of a cost is beyond what the message has paid for. Raise what `costs.check` raises."""
        costs.check(cost)
        self.included -= cost
        unpaid, self.included = max(0.0, -self.included), max(0.0, self.included)
        return unpaid


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may have in progress. 0 turns a bound off."""

    messages: int
    seconds: float
    timers: TimerWheel


class UnorderedMessages:
    """The unordered messages in progress."""

    __slots__ = ("_bounds", "_by_id", "_in_progress", "_on_end", "_refuse", "_stopping", "_taken")

    def __init__(
        self,
        bounds: Bounds,
        refuse: Callable[[int | str | None, MessageError], None],
        on_end: Callable[[UnorderedMessage, BaseException | None], None],
    ) -> None:
        """Call `refuse` to answer a message in its handler's place.

        Call `on_end` after the end of each, with the exception of one that nothing has caught.
        """
        self._bounds = bounds
        self._refuse = refuse
        self._on_end = on_end
        self._in_progress: dict[asyncio.Task[None], UnorderedMessage] = {}
        self._by_id: dict[int | str, asyncio.Task[None]] = {}
        self._stopping: dict[asyncio.Task[None], UnorderedMessage] = {}
        """The messages with handlers that clean up, by the task that waits for it."""
        self._taken = 0

    @property
    def has_unanswered(self) -> bool:
        """Return whether one of them waits for its answer."""
        return any(not message.is_answered for message in self._in_progress.values())

    def current(self) -> UnorderedMessage | None:
        """Return the message that the current task answers, or None if it answers none of them."""
        if not self._in_progress:
            return None
        task = asyncio.current_task()
        # A handler that is stopped by force runs in the task that stops it.
        return None if task is None else self._in_progress.get(task) or self._stopping.get(task)

    def start(self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Answer a message in a task with the name of the handler's class.

        Raises `RateLimited` if too many are in progress, and `Conflict` if one with this id is.
        """
        if 0 < self._bounds.messages <= len(self._in_progress) - self._taken:
            raise RateLimited("messages in progress on this connection", RETRY_AFTER_MS)
        if handler.id in self._by_id:
            raise Conflict("a message with this id is in progress; use another id")
        task = asyncio.create_task(answer(), name=type(handler).__name__)
        handler.answers_later = True
        message = self._in_progress[task] = UnorderedMessage(handler.id, handler)
        if handler.id is not None:
            self._by_id[handler.id] = task
        if self._bounds.seconds:
            message.timer = self._bounds.timers.call_later(self._bounds.seconds, lambda: self._time_out(task))
        task.add_done_callback(self._ended)

    def start_taken(self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Answer a message that was taken in its order, in a task. No bound counts it, and no `cancel` ends it.

        Return False, and do nothing, if `MAX_TAKEN` of them wait.
        """
        if self._taken >= MAX_TAKEN:
            return False
        task = asyncio.create_task(answer())
        handler.answers_later = True
        self._in_progress[task] = UnorderedMessage(None, handler, is_taken=True)
        self._taken += 1
        task.add_done_callback(self._ended)
        return True

    def set_answered(self, message: UnorderedMessage) -> None:
        """Count a message as answered, so that its id is free."""
        if not message.is_answered and message.id is not None:
            del self._by_id[message.id]  # only now: later, another message may have it
        message.is_answered = True

    def cancel(self, id: int | str) -> None:
        """Answer a message with `Cancelled`, and cancel its handler. Raise `NotFound` if none with this id waits."""
        task = self._by_id.get(id)
        if task is None:
            raise NotFound("no message with this id is in progress on this connection, or only an ordered one")
        self._end(task, Cancelled())

    async def cancel_all(self) -> None:
        """End all of them without an answer."""
        for message in self._in_progress.values():
            self.set_answered(message)
        await stop_handlers(*self._in_progress)

    def _time_out(self, task: asyncio.Task[None]) -> None:
        if not task.done() and not self._in_progress[task].is_answered:
            self._end(task, CallTimeout(self._bounds.seconds))

    def _end(self, task: asyncio.Task[None], error: MessageError) -> None:
        message = self._in_progress[task]
        message.status = error.status
        self.set_answered(message)
        message.error = error
        self._refuse(message.id, error)
        task.cancel()
        stopping = asyncio.create_task(stop_handlers(task))
        self._stopping[stopping] = message
        stopping.add_done_callback(self._stopping.pop)

    def _ended(self, task: asyncio.Task[None]) -> None:
        message = self._in_progress.pop(task)
        self._taken -= message.is_taken
        if message.timer is not None:
            message.timer.cancel()
        if task.cancelled() and message.status is None:
            message.status = NO_ANSWER
        error = None if task.cancelled() else task.exception()
        # One that was stopped by force may end with any exception.
        self._on_end(message, None if message.is_answered else error)
        self.set_answered(message)


async def stop_handlers(*tasks: asyncio.Task[None]) -> None:
    """Cancel handlers, let them clean up for some seconds, and stop them by force then.

    The log names each of these by its task's name, which is that of its class.
    """
    for task in await cancel_within(CANCEL_SECONDS, *tasks):
        logger.warning("%s has swallowed its cancellation, and was stopped by force", task.get_name())
