"""Which events the hooks of the routes file get, and how they are stored.

A hook's events are bounded in number: if its receiver is down for long, further events are dropped and counted. The
number is the store's count of some seconds ago, and what this node has stored since. So the bound may be passed by what
all nodes store in these seconds.

The store's count has what was committed when it was taken. What this node has not committed by then is kept beside it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.core.folding import FoldedLog
from gateway.rooms.message_changes import Written
from gateway.routes.model import Hook
from gateway.store import outgoing_events
from gateway.store.outgoing_events import NewEvent
from gateway.store.prepared import Script
from gateway.upstream.client import new_message_id

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 2
"""How often the log says that a hook loses events."""

FIRST_PAGE = '{"after":"","page":1}'
"""What `message.unseen` begins with, until it is due."""


class EventWriter:
    """Stores the events that hooks want, in the transactions of others. With SQLite, these run in another thread."""

    def __init__(self, most: int) -> None:
        """`most` is the number of events that may wait for one hook. 0 means no limit."""
        self._most = most
        self._log = FoldedLog(logger, logging.ERROR, same=LINES_A_MINUTE)
        self._stored: tuple[Hook, ...] = ()
        self._unseen: tuple[Hook, ...] = ()
        self._counted: Mapping[str, int] = {}
        self._since: Counter[str] = Counter()
        """What this node has stored that the store's count may lack."""
        self._uncommitted: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        """How many events were not stored, by hook, since the start of this process."""
        self.on_stored: Callable[[set[str]], None] = _do_nothing
        """A function to call with the hooks for which events are durable."""

    def use(self, hooks: Iterable[Hook]) -> None:
        """Store events for these hooks from now on."""
        hooks = tuple(hooks)
        self._stored = tuple(hook for hook in hooks if "message.stored" in hook.types)
        self._unseen = tuple(hook for hook in hooks if "message.unseen" in hook.types)

    def count(self, counts: Mapping[str, int]) -> None:
        """Take over the store's numbers of events."""
        self._counted, self._since = counts, self._uncommitted.copy()

    def is_full(self, webhook: str) -> bool:
        """Return whether no more events of a hook are stored."""
        return 0 < self._most <= self._counted.get(webhook, 0) + self._since[webhook]

    def admits(self, webhook: str) -> bool:
        """Count one more event of a hook. Return False, and count it as dropped, if the hook has too many."""
        if self.is_full(webhook):
            self.dropped[webhook] += 1
            self._log.log(
                "the hook %s has too many events that wait, and loses new ones; see: gateway hooks list", webhook
            )
            return False
        self._since[webhook] += 1
        self._uncommitted[webhook] += 1
        return True

    def store(self, outcomes: Sequence[Any], now: int) -> Script[None]:
        """Store the events about new messages."""
        if self._stored or self._unseen:
            events = [event for outcome in outcomes if _is_new(outcome) for event in self._about(outcome, now)]
            yield from self.add(events)

    def add(self, events: Iterable[NewEvent]) -> Script[None]:
        """Store events, except those of hooks that have too many."""
        kept = [event for event in events if self.admits(event.webhook)]
        yield from outgoing_events.add(kept)

    def committed(self) -> None:
        """Send what has been stored."""
        if self._uncommitted:
            stored, self._uncommitted = self._uncommitted, Counter()
            self.on_stored(set(stored))

    def count_delivered(self, webhook: str) -> None:
        """Count one event of a hook less."""
        self._since[webhook] -= 1

    def _about(self, written: Written, now: int) -> Iterable[NewEvent]:
        room, message = written.room, written.message
        for hook in self._stored:
            if hook.rooms.matches(room.name):
                data = f'{{"message":{written.json.decode()}}}'
                stream = f"room:{room.name}"
                yield NewEvent(hook.name, stream, new_message_id(), "message.stored", data, now, trace=written.trace)
        for hook in self._unseen:
            if hook.rooms.matches(room.name):
                yield NewEvent(
                    webhook=hook.name,
                    stream=f"due:{room.name}",
                    event_id=new_message_id(),
                    type="message.unseen",
                    data=FIRST_PAGE,
                    created_at=now,
                    due_at=now + round(1000 * hook.unseen_seconds),
                    room_id=room.id,
                    offset=message.offset,
                    trace=written.trace,
                )


def _is_new(outcome: object) -> bool:
    """Return whether a change has stored a new message."""
    if not isinstance(outcome, Written) or outcome.unchanged:
        return False
    return outcome.message.changed == outcome.message.offset


def _do_nothing(_webhooks: set[str]) -> None:
    """Wait for the next look."""
