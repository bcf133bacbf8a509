"""Fan-out: delivers events to a room's local subscribers.

For each subscriber, a fan-out touches only the function that takes its frames. Of thousands of subscribers, hardly
anything is in the processor's caches, and each further memory access costs as much as a hundred instructions.

The events of one turn of the event loop are joined once, and each subscriber gets them in one write. During a long
fan-out, the loop does other work now and then. If more events arrive meanwhile, the room pauses after the fan-out for
as long as it took. So the more events a crowded room has, the more of them share a write, and no room uses more than
half of the loop's time. A subscriber that leaves in between first gets the earlier events.

If a subscriber's `deliver` raises, that subscriber's connection is cut, and the others get all events as usual. Its
client reconnects and resumes: a closed connection is a gap that the client knows of.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from gateway.bus.base import BusEvent, Logged, MemberJoined, OwnForm, ToRoom
from gateway.core import faults
from gateway.core.faults import contained
from gateway.core.histograms import Histogram
from gateway.transport.frames import Frame, joined

CHUNK = 16
"""Subscribers to serve before the event loop has its turn: at about 8 µs each, an eighth of a millisecond."""

MAX_PAUSE_SECONDS = 0.02
"""The longest delay that a room's pause causes."""


@dataclass(slots=True)
class Deliveries:
    """What the fan-outs of this process have delivered."""

    events: int = 0
    """Events that went into an outbox: one for each subscriber."""
    seconds: Histogram = field(default_factory=Histogram)
    """How long fan-outs took that had other work in between, since they had more than `CHUNK` subscribers."""


deliveries = Deliveries()
"""Counted for the whole process: a room would need memory for a number of its own."""


Deliver = Callable[[Frame], None]
"""A function that takes events. It never waits and never raises."""


class Subscriber(Protocol):
    """A connection that receives events."""

    user_id: str

    @property
    def deliver(self) -> Deliver:
        """Return the function that takes its frames. It stays the same."""

    def abort(self) -> None:
        """Cut the connection without waiting."""


SubscribersOfUser = Callable[[str], Iterable[Subscriber]]
"""A function that returns a user's connections."""


class _Remaining:
    """The subscribers that a fan-out has not reached yet. Any of them may leave before its turn."""

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
        """Remove one, and return whether it was still waiting."""
        is_in = deliver in self._delivers
        self._delivers.discard(deliver)
        return is_in


class Fanout:
    """The subscribers of one room on this node, or all of its connections."""

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
        self._batch: list[BusEvent] = []  # the events of this turn, for all
        self._frame: Frame | None = None  # the frame of a fan-out that is in progress
        self._rest: Iterator[Deliver] | None = None  # its remaining subscribers
        self._began = self._pauses_until = 0.0  # in the loop's time
        self._later: dict[Subscriber, int] = {}  # subscribers that joined after so many events of `_batch`

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(tuple(self._subscribers))

    def __contains__(self, subscriber: object) -> bool:
        return subscriber in self._subscribers

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber for the events from now on."""
        # A new subscriber must not delay a crowd, so nothing is delivered out of turn here.
        if self._batch:
            self._later[subscriber] = len(self._batch)
        self._subscribers[subscriber] = subscriber.deliver

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscriber. It gets the earlier events at once. No other subscriber's turn moves."""
        deliver = self._subscribers.pop(subscriber)
        if self._rest is not None:
            # An iterator over a tuple is faster, and usually no subscriber leaves in the middle.
            self._rest = self._rest if isinstance(self._rest, _Remaining) else _Remaining(self._rest)
            if self._rest.remove(deliver) and self._frame is not None:
                _deliver_frame(self._frame, subscriber)  # which is counted already
        deliver_events(self._batch[self._later.pop(subscriber, 0) :], subscriber)

    def discard(self, subscriber: Subscriber) -> None:
        """Remove a subscriber without delivering anything: its connection is closed."""
        del self._subscribers[subscriber]

    def clear(self) -> None:
        """Remove all subscribers, after the events so far."""
        self._flush()
        self._subscribers.clear()

    def publish(self, event: BusEvent) -> None:
        """Deliver an event to all subscribers, at the end of this turn of the loop."""
        if not self._subscribers:
            return
        self._batch.append(event)
        if len(self._batch) == 1 and self._rest is None:
            self._start_soon()

    def _start_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pauses_until and (pause := self._pauses_until - loop.time()) > 0:
            loop.call_later(pause, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        if self._rest is None and self._batch:
            batch, self._batch = self._batch, []
            later, self._later = self._later, {}
            apart = self._with_own_form(batch, later)
            for subscriber in apart:
                deliver_events(batch[later.get(subscriber, 0) :], subscriber)
            frame = joined([event.frame for event in batch])
            rest = self._all_but(apart)
            deliveries.events += frame.count * len(rest)
            if len(rest) <= CHUNK:
                self._deliver_to(frame, iter(rest))
                return
            self._began = asyncio.get_running_loop().time()
            self._frame = frame
            self._rest = iter(rest)
            self._continue()

    def _with_own_form(self, batch: list[BusEvent], later: dict[Subscriber, int]) -> set[Subscriber]:
        """Return the subscribers that need another form than all others, or that must not get every event."""
        users = {user for event in batch if (user := _exception_of(event)) is not None}
        if not users and not later:
            return set()
        subscribers = {subscriber for user in users for subscriber in self._of_user(user)} | later.keys()
        return subscribers & self._subscribers.keys()

    def _all_but(self, apart: set[Subscriber]) -> tuple[Deliver, ...]:
        if not apart:
            return tuple(self._subscribers.values())
        # Removing these and adding them again costs nothing, compared with a check of every subscriber.
        taken = {subscriber: self._subscribers.pop(subscriber) for subscriber in apart}
        rest = tuple(self._subscribers.values())
        self._subscribers.update(taken)
        return rest

    def _continue(self) -> None:
        if self._rest is None or self._frame is None:
            return  # it was flushed meanwhile
        self._deliver_to(self._frame, islice(self._rest, CHUNK))
        loop = asyncio.get_running_loop()
        if self._rest.__length_hint__():  # type: ignore[attr-defined]  # an iterator over a tuple has it
            loop.call_soon(self._continue)
            return
        self._rest = None
        deliveries.seconds.add(loop.time() - self._began)
        if len(self._subscribers) > CHUNK and (self._batch or self._frame.count > 1):
            # Several events at a time happen here. A single message need not wait for others.
            now = loop.time()
            self._pauses_until = now + min(now - self._began, MAX_PAUSE_SECONDS)
        if self._batch:
            self._start_soon()

    def _flush(self) -> None:
        """Deliver all remaining events at once."""
        self._flush_rest()
        while self._batch:
            self._start()
            self._flush_rest()

    def _flush_rest(self) -> None:
        if self._rest is not None and self._frame is not None:
            self._deliver_to(self._frame, self._rest)
        self._rest = None

    def _deliver_to(self, frame: Frame, delivers: Iterator[Deliver]) -> None:
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
    """Deliver an event to one subscriber, in the form for its user."""
    deliver_events((event,), subscriber)


def deliver_events(events: Iterable[BusEvent], subscriber: Subscriber) -> None:
    """Deliver events to one subscriber, in the form for its user, with one write."""
    frames = [frame for event in events if (frame := _form_for(subscriber.user_id, event)) is not None]
    if frames:
        deliver_frame(joined(frames), subscriber)


def _form_for(user_id: str, event: BusEvent) -> Frame | None:
    if user_id != _exception_of(event):
        return event.frame
    return event.own.frame if isinstance(event, Logged) and event.own is not None else None


def _exception_of(event: BusEvent) -> str | None:
    """Return the id of the one user that gets another form of the event, or nothing."""
    match event:
        case Logged(own=OwnForm(user_id=user_id)) | ToRoom(skip_user=user_id) | MemberJoined(user_id=user_id):
            return user_id
    return None


def deliver_frame(frame: Frame, subscriber: Subscriber) -> None:
    """Deliver a frame to one of many subscribers. If that raises, cut its connection."""
    deliveries.events += frame.count
    _deliver_frame(frame, subscriber)


def _deliver_frame(frame: Frame, subscriber: Subscriber) -> None:
    try:
        subscriber.deliver(frame)
    except Exception as fault:
        faults.record("deliveries", fault)
        with contained("deliveries"):
            subscriber.abort()
