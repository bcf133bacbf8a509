"""All routes: finds the one of a message, follows changes of the routes file, and carries out effects."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import orjson

from gateway.cluster.rates import MakeBuckets
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.core.faults import contained
from gateway.core.tasks import cancel_and_wait
from gateway.core.tracing import NO_TRACING, Tracing
from gateway.routes.model import Route, Routes
from gateway.routes.reloader import RoutesReloader
from gateway.transport.encoded import encoded
from gateway.upstream.breaker import State
from gateway.upstream.calls import Caller, Checked, RouteCalls, Transport, max_part_bytes
from gateway.upstream.client import HttpTransport
from gateway.upstream.effects import Cause, Effects
from gateway.upstream.figures import Figures
from gateway.upstream.workers import Workers
from handlers.errors import UnknownType
from handlers.factory import MakeHandler
from handlers.streaming import Chunk, Reply
from handlers.upstream import OrderedUpstreamHandler, UpstreamHandler
from schemas.base import MAX_TYPE_LENGTH
from schemas.messages.upstream import UpstreamReply

LAST_EFFECTS_SECONDS = 5
"""Seconds at the end for effects whose replies have gone out."""


class Upstreams:
    """The services behind the routes."""

    def __init__(
        self,
        routes: RoutesReloader,
        effects: Effects,
        settings: Settings,
        clock: Clock,
        make_buckets: MakeBuckets,
        workers: Workers,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._clock = clock
        self._make_buckets = make_buckets
        self._workers = workers
        self._tracing = tracing
        self._active: dict[str, RouteCalls] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.effects = effects
        self.figures: dict[str, Figures] = {}
        """The numbers of each route that has been used, by its pattern. They outlive changes of the route."""
        routes.on_change(self._follow)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """At the end, carry out what has been promised, and close all connections to services."""
        try:
            yield self
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_EFFECTS_SECONDS):
                    while self._tasks:
                        await asyncio.wait(tuple(self._tasks))
            await cancel_and_wait(*self._tasks)
            for calls in self._active.values():
                await calls.transport.close()

    def handler_of(self, type: str) -> MakeHandler | None:
        """Return what handles messages of this type, or None if no route takes them."""
        route = None if len(type) > MAX_TYPE_LENGTH else self._routes.current.find(type)
        if route is None:
            return None
        return partial(OrderedUpstreamHandler if route.ordered else UpstreamHandler, type)

    @property
    def breakers(self) -> dict[str, State]:
        """Return the state of each circuit breaker, by the pattern of its route."""
        return {pattern: calls.breaker.state for pattern, calls in self._active.items()}

    @property
    def are_up(self) -> bool:
        """Return whether calls of all routes go out, and each route for workers has a worker."""
        routes = self._routes.current.routes
        return all(state == "closed" for state in self.breakers.values()) and all(
            self._workers.serves(route) for route in routes if route.is_for_workers
        )

    async def stream(
        self,
        caller: Caller,
        cause: Cause,
        type: str,
        id: int | str | None,
        data: dict[str, Any],
        *,
        asks_for_stream: bool = False,
    ) -> AsyncGenerator[Chunk, None]:
        """Send a message to the service of its route. Yield the chunks of the answer, and at the end the reply.

        Raise the error that the service declares. The effects begin only after the caller has had its turn to send the
        reply or the error.
        """
        route = self._routes.current.find(type)
        if route is None:  # it was there when the message came
            raise UnknownType(type, ())
        parts = self._calls_of(route).stream(caller, type, id, data, asks_for_stream=asks_for_stream)
        async with aclosing(parts):
            async for part in parts:
                if not isinstance(part, Checked):
                    yield part
                    continue
                answer = part.answer
                if answer.effects:
                    asyncio.get_running_loop().call_soon(self._start, self._carry_out(route, part, cause))
                if answer.error is not None:
                    raise answer.error
                yield Reply(encoded(UpstreamReply, orjson.dumps(answer.data)))

    async def _carry_out(self, route: Route, checked: Checked, cause: Cause) -> None:
        # In a task that no connection ends: the service relies on its effects once it has answered.
        with contained("effects"):
            await self.effects.carry_out(route, checked.answer.effects, cause, checked.sender)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _calls_of(self, route: Route) -> RouteCalls:
        calls = self._active.get(route.pattern)
        if calls is None:
            calls = self._active[route.pattern] = RouteCalls(
                route,
                self._transport(route),
                self.effects,
                self._make_buckets(f"route-{route.pattern}", route.rate, max(1.0, route.rate)),
                self.figures.setdefault(route.pattern, Figures()),
                self._settings,
                self._clock,
                self._tracing,
            )
        return calls

    def _transport(self, route: Route) -> Transport:
        if route.url is not None and route.signer is not None:
            return HttpTransport(
                route.url,
                route.signer,
                self._clock,
                parallel=route.parallel,
                max_bytes=max_part_bytes(self._settings),
                max_depth=self._settings.max_json_depth,
            )
        return self._workers.transport(route)

    def _follow(self, routes: Routes) -> None:
        """Forget the routes that are gone or have changed. Their calls that are under way go on."""
        now = {route.pattern: route for route in routes.routes}
        for pattern, calls in tuple(self._active.items()):
            if now.get(pattern) != calls.route:
                del self._active[pattern]
                self._start(calls.transport.close())
