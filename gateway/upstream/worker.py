"""One connection of a worker, and the messages that wait for its answers.

An id belongs to one connection: a random beginning, and a number. So no worker can answer a message of another one, not
even by a mistake of a program with several connections.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Protocol

import orjson

from gateway.transport.frames import Frame, text_frame
from gateway.transport.writers import nothing
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.open_message import OpenMessage
from gateway.upstream.streams import LastPart, Part
from handlers.errors import Conflict, NotFound, UpstreamFailed, UpstreamTimeout

MAX_LATE = 4096
"""Cancelled messages of one connection whose answers may still come."""

MAX_FORGIVEN = 1000
"""The chunks of a cancelled message, with its answer, that may have been on their way already."""

MOST_UNREAD = 0.5
"""The part of its outbox from which on a worker gets no more messages."""

STUCK_SECONDS = 1.0
"""How long a worker may leave its messages unread before a late answer ends its connection."""

EARLY_SECONDS = 0.01
"""How much too early a deadline may end: uvloop rounds to milliseconds."""

FIRST_REST_SECONDS = 1.0
LAST_REST_SECONDS = 30.0
"""How long others come first after a message without an answer: it doubles each time, up to this."""

_ID = re.compile(r"([0-9a-f]{8})\.([1-9][0-9]{0,17})")


class Peer(Protocol):
    """The connection of a worker."""

    @property
    def backlog(self) -> float:
        """Return the part of the outbox that is full, from 0 to 1: what the worker has not read."""

    def deliver(self, frame: Frame) -> None:
        """Send a frame. It never waits."""

    def close_slow(self) -> None:
        """Close the connection, since the worker does not read."""


class Worker:
    """A connection of a service that serves routes."""

    def __init__(self, service: str, peer: Peer) -> None:
        self.service = service
        self.patterns: tuple[str, ...] = ()
        """The routes that it serves; empty before the first `route.serve`, and while it leaves."""
        self.parallel = 0
        self.busy = 0
        """Its messages without an answer."""
        self.turn = 0
        """Which of its routes comes first when it has a free place."""
        self.on_idle: Callable[[], None] = nothing
        """A function to call each time when the last open message has ended."""
        self._peer = peer
        self._prefix = secrets.token_hex(4)
        self._next = 1
        self._open: dict[int, OpenMessage] = {}
        self._late: dict[int, int] = {}
        self._silences = 0
        self._rests_until = 0.0
        self._unread_since: float | None = None

    @property
    def is_free(self) -> bool:
        """Return whether it can take one more message now."""
        # A silent worker gets one message at a time, until it answers. One that does not read gets no more: what is on
        # its way must never fill the outbox.
        places = 1 if self._silences else self.parallel
        return self.busy < places and bool(self.patterns) and self._peer.backlog < MOST_UNREAD

    def load(self, now: float) -> tuple[bool, float]:
        """Return how much it has to do, to compare with others. One that is silent comes after all that are not."""
        return now < self._rests_until, self.busy / self.parallel

    def send(self, body: bytes, message_id: str, trace: Mapping[str, str]) -> OpenMessage:
        """Send a message with its trace. `message_id` stays the same when a message goes out again.

        The worker must be free: otherwise its outbox may overflow, and all of its messages fail.
        """
        number, self._next = self._next, self._next + 1
        message = OpenMessage(number, b"%b.%d" % (self._prefix.encode(), number))
        self._open[number] = message
        self.busy += 1
        about = orjson.dumps({"message_id": message_id, **trace})[1:-1]
        self._deliver(b'{"type":"route.message","id":"%b",%b,"data":%b}' % (message.id, about, body))
        return message

    async def parts_of(self, message: OpenMessage, deadlines: Deadlines) -> AsyncGenerator[Part, None]:
        """Yield the chunks and the JSON of the answer.

        Raise `UpstreamFailed` if the worker goes away, answers wrongly, or sends more than is read, and
        `UpstreamTimeout` if a part is late. A caller that stops in the middle cancels the message.
        """
        deadline = deadlines.first
        try:
            while True:
                part = await self._next_of(message, deadline)
                yield part
                if isinstance(part, LastPart):
                    return
                deadline = deadlines.after_a_part()
        finally:
            self.cancel(message)
            self.close(message)

    async def _next_of(self, message: OpenMessage, deadline: float) -> Part:
        try:
            return await message.next(deadline)
        except (UpstreamTimeout, asyncio.CancelledError):
            moment = now()
            # Another node that has asked cancels at its own deadline, which may be a little earlier.
            if self.cancel(message) and moment >= deadline - EARLY_SECONDS:
                self._note_silence(moment)
            raise

    def cancel(self, message: OpenMessage) -> bool:
        """Let the worker know that a message needs no answer any more. Return False if it is done already."""
        if message.is_done:
            return False
        message.is_done = True
        self._note_late(message.number)
        self._deliver(b'{"type":"route.cancel","id":"%b"}' % message.id)
        return True

    def close(self, message: OpenMessage) -> None:
        """Free the place of a message."""
        del self._open[message.number]
        self.busy -= 1

    def chunk(self, id: object, value: Any, size: int) -> OpenMessage:
        """Take a chunk of so many bytes, and return its message, or raise what `_find` raises.

        If the chunks of the message are not read, it fails.
        """
        message = self._find(id)
        self._note_life()
        if not message.take_chunk(value, size):
            self.fail_in_the_middle(id, "the chunks of the worker came faster than they could be sent on")
        return message

    def answer(self, id: object, answer: bytes) -> None:
        """Take the answer to a message, or raise what `_find` raises."""
        self._find(id).take_answer(answer)
        self._note_life()

    def fail(self, id: object, reason: str) -> None:
        """Let a message fail, since its answer is wrong, or raise what `_find` raises."""
        self._find(id).fail(UpstreamFailed(reason))

    def fail_in_the_middle(self, id: object, reason: str) -> None:
        """Let a message with more of its answer to come fail, or raise what `_find` raises."""
        message = self._find(id)
        self.cancel(message)
        message.fail(UpstreamFailed(reason))

    def end(self) -> None:
        """Let all open messages fail: the worker has gone away."""
        self.patterns = ()
        for message in self._open.values():
            if not message.is_done:
                message.fail(UpstreamFailed("the worker has gone away"))

    def forgives(self, id: object) -> bool:
        """Return whether the gateway has asked for this part of an answer, even if it is late: it costs nothing."""
        number = self._number(id)
        if number is None:
            return False
        if number in self._late:
            self._late[number] -= 1
            if not self._late[number]:
                del self._late[number]
            return True
        return number in self._open and not self._open[number].is_done

    def _find(self, id: object) -> OpenMessage:
        """Return an open message.

        Raise `NotFound` for an id that this connection has never got, and `Conflict` for one that needs no answer.
        """
        number = self._number(id)
        if number is None:
            raise NotFound("this connection has got no `route.message` with this id")
        message = self._open.get(number)
        if message is None or message.is_done:
            raise Conflict("this message has its answer already, or came too late and was cancelled")
        return message

    def _number(self, id: object) -> int | None:
        found = _ID.fullmatch(id) if isinstance(id, str) else None
        if found is None or found[1] != self._prefix:
            return None
        number = int(found[2])
        return number if number < self._next else None

    def _deliver(self, text: bytes) -> None:
        self._peer.deliver(text_frame(text))
        if not self._peer.backlog:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = asyncio.get_running_loop().time()

    def _note_late(self, number: int) -> None:
        self._late[number] = MAX_FORGIVEN
        if len(self._late) > MAX_LATE:
            del self._late[next(iter(self._late))]

    def _note_life(self) -> None:
        self._silences = 0
        self._rests_until = 0.0
        if not self._peer.backlog:
            self._unread_since = None

    def _note_silence(self, now: float) -> None:
        """Let others come first for a while. If the worker does not even read, close its connection."""
        self._silences += 1
        self._rests_until = now + min(LAST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(self._silences - 1, 10))
        if self._unread_since is not None and now - self._unread_since >= STUCK_SECONDS:
            self._peer.close_slow()
