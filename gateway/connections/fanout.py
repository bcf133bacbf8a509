"""Those who hear a room, and how they are given what happens there.

A fan-out touches nothing of a listener but the function that takes its frames: of thousands of listeners, hardly
anything is in the processor's caches, and each thing that has to be fetched costs as much as a hundred instructions.

All that happens in one turn of the event loop is joined once, and written to each with one write. A long fan-out lets
the loop do other things now and then. If meanwhile more has happened, the room pauses after it for as long as it took:
the more happens in a crowd, the more of it shares a write, and no room has more than half of the loop's time. Whoever
leaves in between first sees to it that what happened before has been given.

A listener whose `deliver` raises is cut off, and the others hear what follows as if nothing had been. Its client comes
back and resumes: a closed connection is a gap that the client knows of.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from gateway.bus.base import BusEvent
from gateway.core import faults
from gateway.core.faults import contained
from gateway.transport.frames import Frame, joined

CHUNK = 16
"""Listeners that are given something before the loop has its turn: at some 8 µs each, an eighth of a millisecond."""

MAX_PAUSE_SECONDS = 0.02
"""The most by which a room's pause makes anything late."""


Deliver = Callable[[Frame], None]
"""Takes events; never waits and never raises."""


class Subscriber(Protocol):
    """A connection, as it is given events."""

    user_id: str

    @property
    def deliver(self) -> Deliver:
        """The function that gives it a frame. It stays the same."""

    def abort(self) -> None:
        """End without waiting for anything."""


SubscribersOfUser = Callable[[str], Iterable[Subscriber]]
"""Gives a user's connections."""


class _Remaining:
    """Those who are still to be given something, of whom any may go before its turn."""

    def __init__(self, delivers: Iterable[Deliver]) -> None:
        self._delivers = set(delivers)

    def __iter__(self) -> Iterator[Deliver]:
        return self

    def __next__(self) -> Deliver:
        if not self._delivers:
            raise StopIteration
        return self._delivers.pop()

    def __length_hint__(self) -> int:
        return len(self._delivers)

    def remove(self, deliver: Deliver) -> bool:
        """Take one out; tells whether it was in."""
        is_in = deliver in self._delivers
        self._delivers.discard(deliver)
        return is_in


class Fanout:
    """The listeners of one room on this node, or all of its connections."""

    __slots__ = (
        "_batch",
        "_began",
        "_frame",
        "_later",
        "_of_user",
        "_pauses_until",
        "_rest",
        "_subscribers",
    )

    def __init__(self, of_user: SubscribersOfUser) -> None:
        self._of_user = of_user
        self._subscribers: dict[Subscriber, Deliver] = {}
        self._batch: list[BusEvent] = []  # what happened in this turn, for all
        self._frame: Frame | None = None  # what is being given, while a long fan-out is under way
        self._rest: Iterator[Deliver] | None = None  # to whom
        self._began = self._pauses_until = 0.0  # by the loop's clock
        self._later: dict[Subscriber, int] = {}  # who came when so many of `_batch` had happened

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(tuple(self._subscribers))

    def __contains__(self, subscriber: object) -> bool:
        return subscriber in self._subscribers

    def add(self, subscriber: Subscriber) -> None:
        """Let somebody hear what happens from now on."""
        # Whoever joins a crowd must not make it wait, so nothing is given out of turn here.
        if self._batch:
            self._later[subscriber] = len(self._batch)
        self._subscribers[subscriber] = subscriber.deliver

    def remove(self, subscriber: Subscriber) -> None:
        """Let somebody hear no more than what has happened, which is given at once; nobody else's turn comes sooner."""
        deliver = self._subscribers.pop(subscriber)
        if self._rest is not None:
            # An iterator over a tuple is faster, and most of the time nobody goes in the middle.
            self._rest = self._rest if isinstance(self._rest, _Remaining) else _Remaining(self._rest)
            if self._rest.remove(deliver) and self._frame is not None:
                deliver_frame(self._frame, subscriber)
        for event in self._batch[self._later.pop(subscriber, 0) :]:
            deliver_event(event, subscriber)

    def discard(self, subscriber: Subscriber) -> None:
        """Forget somebody who is gone: what is still to be given would reach nobody."""
        del self._subscribers[subscriber]

    def clear(self) -> None:
        """Let nobody hear any more."""
        self._flush()
        self._subscribers.clear()

    def publish(self, event: BusEvent) -> None:
        """Give an event to everyone, at the end of this turn of the loop."""
        if not self._subscribers:
            return
        self._batch.append(event)
        if len(self._batch) == 1 and self._rest is None:
            self._start_soon()

    def _start_soon(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._pauses_until - loop.time()
        if pause > 0:
            loop.call_later(pause, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        if self._rest is None and self._batch:
            batch, self._batch = self._batch, []
            later, self._later = self._later, {}
            self._began = asyncio.get_running_loop().time()
            apart = self._with_own_form(batch, later)
            for subscriber in apart:
                for event in batch[later.get(subscriber, 0) :]:
                    deliver_event(event, subscriber)
            self._frame = joined([event.frame for event in batch])
            self._rest = iter(self._all_but(apart))
            self._continue()

    def _with_own_form(self, batch: list[BusEvent], later: dict[Subscriber, int]) -> set[Subscriber]:
        """Find those who are not given the same as all others, for some of it is not for them, or in another form."""
        users = {user for event in batch for user in (event.own_user, event.skip_user) if user is not None}
        subscribers = {subscriber for user in users for subscriber in self._of_user(user)} | later.keys()
        return subscribers & self._subscribers.keys()

    def _all_but(self, apart: set[Subscriber]) -> tuple[Deliver, ...]:
        # To take them out and put them back costs nothing next to looking at everybody.
        taken = {subscriber: self._subscribers.pop(subscriber) for subscriber in apart}
        rest = tuple(self._subscribers.values())
        self._subscribers.update(taken)
        return rest

    def _continue(self) -> None:
        if self._rest is None or self._frame is None:
            return  # settled meanwhile
        self._deliver_to(islice(self._rest, CHUNK))
        loop = asyncio.get_running_loop()
        if self._rest.__length_hint__():  # type: ignore[attr-defined]  # of an iterator over a tuple
            loop.call_soon(self._continue)
            return
        self._rest = None
        if len(self._subscribers) > CHUNK and (self._batch or self._frame.count > 1):
            # More than one thing happens at a time here; a lone message has nothing to wait for.
            now = loop.time()
            self._pauses_until = now + min(now - self._began, MAX_PAUSE_SECONDS)
        if self._batch:
            self._start_soon()

    def _flush(self) -> None:
        """Give at once what is still to be given."""
        if self._rest is not None:
            self._deliver_to(self._rest)
            self._rest = None
        while self._batch:
            self._start()
            if self._rest is not None:
                self._give_to(self._rest)
                self._rest = None

    def _deliver_to(self, delivers: Iterator[Deliver]) -> None:
        frame = self._frame
        assert frame is not None  # noqa: S101 - made by `_start`
        failed = []
        while True:
            try:
                for deliver in delivers:
                    deliver(frame)
                break
            except Exception as fault:
                faults.record("deliveries", fault)
                failed.append(deliver)
        if failed:
            self._abort_failed(failed)

    def _abort_failed(self, failed: list[Deliver]) -> None:
        for subscriber in [subscriber for subscriber, deliver in self._subscribers.items() if deliver in failed]:
            with contained("deliveries"):
                subscriber.abort()


def deliver_event(event: BusEvent, subscriber: Subscriber) -> None:
    """Give an event to one, in the form that is due to that user."""
    if event.own_user is not None and subscriber.user_id == event.own_user and event.own_frame is not None:
        deliver_frame(event.own_frame, subscriber)
    elif event.skip_user is None or subscriber.user_id != event.skip_user:
        deliver_frame(event.frame, subscriber)


def deliver_frame(frame: Frame, subscriber: Subscriber) -> None:
    """Deliver a frame to one of many. If that raises, the hearer is cut off."""
    try:
        subscriber.deliver(frame)
    except Exception as fault:
        faults.record("deliveries", fault)
        with contained("deliveries"):
            subscriber.abort()
