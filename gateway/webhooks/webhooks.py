"""All hooks of the routes file: which of them this node sends, and what is known of each."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Self

from gateway.cluster.roster import Roster
from gateway.core import faults
from gateway.core.clock import Clock
from gateway.core.periodic import Periodic
from gateway.core.tasks import cancel_and_wait
from gateway.core.tracing import NO_TRACING, Tracing
from gateway.routes.model import Hook, Routes
from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.outgoing_events import Figures
from gateway.store.webhooks import WebhookRow
from gateway.webhooks.comings import Comings
from gateway.webhooks.delivery import Delivery
from gateway.webhooks.dispatcher import Counts, Dispatcher
from gateway.webhooks.leases import LOOK_SECONDS, Leases
from gateway.webhooks.settling import Settling
from gateway.webhooks.unseen import UnseenMessages
from gateway.webhooks.writer import EventWriter

logger = logging.getLogger(__name__)

COUNT_SECONDS = 5.0
"""How often to count the events in the store."""


@dataclass(slots=True)
class _Running:
    """The dispatcher of a hook on this node."""

    hook: Hook
    dispatcher: Dispatcher
    task: "asyncio.Task[None]"


@dataclass(frozen=True, slots=True)
class HookState:
    """What is known of a hook, for metrics and `/readyz`."""

    waiting: int
    parked: int
    oldest_at: int | None
    """Since when the oldest waiting event waits, as in `Figures`. It may be in the future."""
    is_disabled: bool
    is_full: bool
    outcomes: dict[str, int]
    """What has come of its events on this node: delivered, failed, parked or dropped."""


class Webhooks:
    """Sends events to the hooks of the routes file."""

    def __init__(
        self,
        owner: str,
        source: str,
        database: Database,
        roster: Roster,
        writer: EventWriter,
        clock: Clock,
        tracing: Tracing = NO_TRACING,
        *,
        is_alone: bool,
    ) -> None:
        """`owner` names this process, and `source` the gateway in CloudEvents. Without a shared bus, it `is_alone`."""
        self._source = source
        self._database = database
        self._roster = roster
        self._clock = clock
        self._tracing = tracing
        self._writer = writer
        self._leases = Leases(owner, database, clock, is_alone=is_alone)
        self._comings = Comings(database, roster, writer, clock, self._is_sender)
        self._hooks: Mapping[str, Hook] = {}
        self._running: dict[str, _Running] = {}
        self._rows: Mapping[str, WebhookRow] = {}
        self._figures: Mapping[str, Figures] = {}
        self._counts: dict[str, Counts] = {}
        self._stored: set[str] = set()
        """The hooks that have a row in the store, as far as this node knows."""
        self._looks = Periodic("webhooks", self._pause, self._look, at_once=True)
        self._counting = Periodic("webhooks", self._count_pause, self._count, at_once=True)
        writer.on_stored = self._wake

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Send events while the context lasts, and leave the hooks to other nodes at its end."""
        try:
            async with AsyncExitStack() as stack:
                for part in (self._comings.running(), self._counting, self._looks):
                    await stack.enter_async_context(part)
                yield self
        finally:
            await self._stop(*self._running)
            with suppress(StoreUnavailable):
                for name in self._hooks:
                    await self._leases.release(name)

    def use(self, routes: Routes) -> None:
        """Send events to the hooks of these routes from now on."""
        self._hooks = routes.hooks
        self._writer.use(routes.hooks.values())
        self._comings.use(routes.hooks.values())
        self._looks.wake()
        self._counting.wake()

    def state(self) -> dict[str, HookState]:
        """Return what is known of each hook of the routes file, some seconds old."""
        return {name: self._state(name) for name in self._hooks}

    @property
    def is_degraded(self) -> bool:
        """Return whether a hook is disabled, or loses events because too many wait."""
        return any(state.is_disabled or state.is_full for state in self.state().values())

    def _state(self, name: str) -> HookState:
        figures, row = self._figures.get(name, Figures()), self._rows.get(name)
        return HookState(
            waiting=figures.waiting,
            parked=figures.parked,
            oldest_at=figures.oldest_at,
            is_disabled=row is not None and row.disabled_at is not None,
            is_full=self._writer.is_full(name),
            outcomes=asdict(self._counts.get(name, Counts())) | {"dropped": self._writer.dropped[name]},
        )

    def _is_sender(self, name: str) -> bool:
        return self._leases.seconds_left(name) > 0

    def _wake(self, names: set[str]) -> None:
        for name in names & self._running.keys():
            self._running[name].dispatcher.wake()

    def _pause(self) -> float | None:
        return LOOK_SECONDS if self._hooks or self._running else None

    def _count_pause(self) -> float | None:
        return COUNT_SECONDS if self._hooks else None

    async def _count(self) -> None:
        """Count the events in the store."""
        if self._hooks:
            self._figures = await self._database.query(outgoing_events.figures)
            self._writer.count({name: each.waiting + each.parked for name, each in self._figures.items()})

    async def _look(self) -> None:
        """Keep and take leases, and run the dispatchers of the hooks that this node has the lease of."""
        hooks = self._hooks
        gone = [name for name, running in self._running.items() if running.hook != hooks.get(name)]
        await self._stop(*gone)
        for name in gone:
            if name not in hooks:
                await self._leases.release(name)
        if not hooks:
            return
        if hooks.keys() - self._stored:
            await self._database.transact(partial(webhooks.add, names=hooks.keys()))
            await self._database.transact(partial(webhooks.forget_told, names=hooks.keys()))
            self._stored = set(hooks)
        self._rows = await self._database.query(webhooks.list_all)
        await self._leases.look([self._rows[name] for name in hooks if name in self._rows])
        for name, hook in hooks.items():
            if hook is self._hooks.get(name):
                self._run(hook)

    def _run(self, hook: Hook) -> None:
        """Begin to send a hook's events, unless that runs already or may not be."""
        row = self._rows.get(hook.name)
        running = self._running.get(hook.name)
        if running is not None and running.task.done():
            del self._running[hook.name]
            running = None
        is_wanted = row is not None and row.disabled_at is None and self._is_sender(hook.name)
        if is_wanted and running is None:
            dispatcher = self._dispatcher(hook)
            task = asyncio.create_task(self._contained(dispatcher))
            self._running[hook.name] = _Running(hook, dispatcher, task)

    async def _contained(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.run()
        except Exception as fault:  # of one hook; the next look begins again
            faults.record("webhooks", fault)

    def _dispatcher(self, hook: Hook) -> Dispatcher:
        owner = self._leases.owner
        return Dispatcher(
            hook,
            Delivery(hook, self._source, self._clock, self._tracing),
            Settling(hook.name, owner, self._database, self._clock),
            self._database,
            self._clock,
            UnseenMessages(hook.name, owner, self._database, self._roster, self._clock),
            partial(self._leases.seconds_left, hook.name),
            self._counts.setdefault(hook.name, Counts()),
            partial(self._writer.count_delivered, hook.name),
        )

    async def _stop(self, *names: str) -> None:
        """Stop the dispatchers of hooks."""
        stopped = [self._running.pop(name) for name in names]
        await cancel_and_wait(*(running.task for running in stopped))
