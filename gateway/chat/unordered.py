"""The unordered messages of one connection: a task answers each, and later messages do not wait for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gateway.core import costs
from gateway.core.tasks import cancel_and_wait
from handlers.errors import RateLimited
from schemas.codes import Close

logger = logging.getLogger(__name__)

RETRY_AFTER_MS = 1000

End = tuple[Close, int | None]
"""A close, and after how many milliseconds the client may come back."""


@dataclass(slots=True)
class UnorderedMessage:
    """One message that waits for its answer."""

    included: float = costs.INCLUDED
    """The part of its work that it has paid for already."""
    chunks: int = 0
    """The chunks so far of its answer."""
    end: End | None = None
    """How to close the connection after its answer."""

    def unpaid(self, cost: float) -> float:
        """Return how much of a cost is beyond what the message has paid for. Raise what `costs.check` raises."""
        costs.check(cost)
        self.included -= cost
        unpaid, self.included = max(0.0, -self.included), max(0.0, self.included)
        return unpaid


class UnorderedMessages:
    """The unordered messages that wait for their answers."""

    __slots__ = ("_most", "_on_end", "_waiting")

    def __init__(self, on_end: Callable[[UnorderedMessage, BaseException | None], None], most: int) -> None:
        """Call `on_end` after each answer, with the exception of one that nothing has caught.

        At most `most` may wait at a time; 0 means any number.
        """
        self._most = most
        self._on_end = on_end
        self._waiting: dict[asyncio.Task[None], UnorderedMessage] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def current(self) -> UnorderedMessage | None:
        """Return the message that the current task answers, or None if it answers none of them."""
        task = asyncio.current_task()
        return None if task is None else self._waiting.get(task)

    def start(self, answer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Answer a message in a task, or raise `RateLimited` if too many wait already."""
        if 0 < self._most <= len(self._waiting):
            raise RateLimited("messages that wait for their answers on this connection", RETRY_AFTER_MS)
        task = asyncio.create_task(answer())
        self._waiting[task] = UnorderedMessage()
        task.add_done_callback(self._ended)

    async def cancel(self) -> None:
        """End all of them without an answer."""
        await cancel_and_wait(*self._waiting)

    def _ended(self, task: asyncio.Task[None]) -> None:
        message = self._waiting.pop(task)
        self._on_end(message, None if task.cancelled() else task.exception())
