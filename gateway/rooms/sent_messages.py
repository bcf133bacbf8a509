"""The messages of some senders in all rooms, in parts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from gateway.store import senders
from gateway.store.senders import MessageKey

SCAN = 2000
"""Messages to look through with one query."""


async def messages_of(
    query: Callable[[Any], Awaitable[Any]], sender_ids: set[str], most: int
) -> AsyncIterator[list[MessageKey]]:
    """Yield the places of the messages of some senders, `most` at a time, in one pass over all messages.

    `query` reads from the store, and may rest in between.
    """
    last: tuple[int, int] | None = senders.START
    while last is not None:
        found, last = await query(partial(senders.scan, sender_ids=frozenset(sender_ids), after=last, limit=SCAN))
        for start in range(0, len(found), most):
            yield found[start : start + most]
