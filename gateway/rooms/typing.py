"""Shows which users are typing in which rooms."""

import asyncio
from functools import partial

from gateway.bus.base import Bus, ToRoom
from gateway.core.clock import Clock
from gateway.core.faults import contained
from gateway.core.timers import Timer, TimerWheel
from gateway.transport import frames
from schemas.events.chat import ChatTyping

TYPING_SECONDS = 6
TELL_AGAIN_SECONDS = 3
"""A user that continues is announced again: an event may be dropped, and clients end the display by themselves."""


class Typing:
    """Announces in rooms when a user starts and stops typing, however often the client says so."""

    def __init__(self, timers: TimerWheel, bus: Bus, clock: Clock) -> None:
        self._timers = timers
        self._bus = bus
        self._clock = clock
        self._ends: dict[tuple[str, str], Timer] = {}
        self._announced_at: dict[tuple[str, str], float] = {}
        self._announcing: set[asyncio.Task[None]] = set()

    async def start(self, room: str, user: str, user_id: str) -> None:
        """Show a user as typing for 6 seconds from now."""
        running = self._ends.pop((room, user), None)
        if running is not None:
            running.cancel()
        self._ends[room, user] = self._timers.call_later(TYPING_SECONDS, partial(self._stop, room, user, user_id))
        now = self._clock.steady()
        if now - self._announced_at.get((room, user), -TELL_AGAIN_SECONDS) >= TELL_AGAIN_SECONDS:
            self._announced_at[room, user] = now
            await self._announce(room, user, user_id, typing=True)

    def stop(self, room: str, user: str) -> None:
        """Stop at once if the user is typing: the message has come, or the user has left."""
        running = self._ends.get((room, user))
        if running is not None:
            running.call_now()

    def _stop(self, room: str, user: str, user_id: str) -> None:
        del self._ends[room, user]
        del self._announced_at[room, user]
        task = asyncio.create_task(self._announce(room, user, user_id, typing=False))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce(self, room: str, user: str, user_id: str, *, typing: bool) -> None:
        with contained("typing"):
            event = frames.event(ChatTyping(room=room, user=user, typing=typing), droppable=True)
            await self._bus.publish(ToRoom(event, room, skip_user=user_id))
