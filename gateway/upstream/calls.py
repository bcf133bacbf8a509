"""The calls of one route: from a message to the service's checked answer.

In this order, a message may fail for its scope, its data, its user's rate, the circuit breaker, and the places of the
route. A chunk is checked before the sender gets it, and the answer as a whole.
"""

import asyncio
import logging
import math
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.core.folding import FoldedLog
from gateway.core.rate_limits import TokenBuckets
from gateway.core.trace_context import outgoing
from gateway.core.tracing import NO_TRACING, Attributes, Span, Tracing
from gateway.rooms.service_senders import ServiceSender
from gateway.routes.model import Route
from gateway.upstream.answers import Answer, read_answer
from gateway.upstream.breaker import CircuitBreaker
from gateway.upstream.client import new_message_id
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.effects import Effects
from gateway.upstream.figures import Figures, Outcome
from gateway.upstream.streams import LastPart, Part
from handlers.errors import MissingScope, RateLimited, UpstreamFailed, UpstreamTimeout, ValidationFailed

logger = logging.getLogger(__name__)

MAX_RETRIES = 2
"""How often a message of an idempotent route goes out again."""
FIRST_PAUSE_SECONDS = 0.1
"""The longest pause before the first of them. Each later one may be twice as long."""
BUSY_RETRY_MS = 1000
MOST_OF_USER = 0.25
"""The part of a route's places that one user may take, so that no user can keep a slow service from all others."""
LEAST_OF_USER = 8
"""How many it may take in any case: as many as one connection may send."""
LINES_A_MINUTE = 10
"""How many failed messages of a route the log names. After a minute it gets the number of the others."""
FRAME_BYTES = 512
"""What a frame has around the data of a reply or a chunk: its id, at most 64 characters of 6 bytes, and names."""


def max_part_bytes(settings: Settings) -> int:
    """Return the most bytes of an answer, and of a chunk."""
    return settings.max_frame_bytes - FRAME_BYTES


class Transport(Protocol):
    """Carries messages of one route to its service, and the answers back."""

    def stream(
        self, body: bytes, message_id: str, trace: Mapping[str, str], deadlines: Deadlines
    ) -> AsyncGenerator[Part, None]:
        """Yield the chunks of the service's answer, and at the end its JSON, each at most a frame long.

        `body` is the JSON of the message, and `trace` has the headers of W3C Trace Context. Raise `UpstreamTimeout` if
        a part is not there in time, and `UpstreamFailed` if there will be none. A caller that stops in the middle needs
        no answer any more.
        """

    async def close(self) -> None:
        """Release what it holds, because the route is gone or has changed. Calls that are under way go on."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a message, as its route and its service see it."""

    user: str
    user_id: str
    scopes: frozenset[str]
    claims: Mapping[str, Any]
    connection: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked answer, and the service that sends the messages among its effects, if there are any."""

    answer: Answer
    sender: ServiceSender | None


class RouteCalls:
    """The calls of one route."""

    def __init__(
        self,
        route: Route,
        transport: Transport,
        effects: Effects,
        buckets: TokenBuckets,
        figures: Figures,
        settings: Settings,
        clock: Clock,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.route = route
        self.breaker = CircuitBreaker(clock)
        self.transport = transport
        self._effects = effects
        self._buckets = buckets
        self._figures = figures
        self._settings = settings
        self._clock = clock
        self._tracing = tracing
        self._in_progress = 0
        self._of_users: Counter[str] = Counter()
        """The messages under way of each user that has any."""
        # A client can make a message fail as often as it likes. A pattern has no `%`.
        self._failures = FoldedLog(logger, logging.WARNING, same=1, most=LINES_A_MINUTE, now=clock.steady)
        self._retries = FoldedLog(logger, logging.INFO, same=1, most=LINES_A_MINUTE, now=clock.steady)

    async def stream(
        self, caller: Caller, type: str, id: int | str | None, data: dict[str, Any], *, asks_for_stream: bool
    ) -> AsyncGenerator[Any | Checked, None]:
        """Send a message to the service. Yield each chunk of its answer as it comes, and at the end the checked answer.

        Raise `MissingScope`, `ValidationFailed`, `RateLimited`, `UpstreamFailed` or `UpstreamTimeout`.
        """
        self._check(caller, data)
        body, message_id = self._body(caller, type, id, data, asks_for_stream), new_message_id()
        period = self._begin(caller.user_id)
        span = self._tracing.start(self.route.pattern, "client", self._attributes(message_id))
        began = now()
        outcome: Outcome = "cancelled"
        was_asked = True
        try:
            async with aclosing(self._parts(body, message_id, span, self._deadlines(began))) as parts:
                async for part in parts:
                    if isinstance(part, LastPart):
                        checked = await self._checked(part.body)
                        continue
                    if self.breaker.hear(period):
                        self._log_closed()
                    yield part
            outcome = "reply" if checked.answer.error is None else "error"
        except (UpstreamFailed, UpstreamTimeout) as error:
            outcome = "failed" if isinstance(error, UpstreamFailed) else "timeout"
            was_asked = isinstance(error, UpstreamTimeout) or error.was_asked
            self._failures.log(f"route {self.route.pattern}: %s failed: %s", message_id, error.reason)
            raise
        finally:
            self._end(caller.user_id, period, outcome, now() - began, was_asked=was_asked)
            _end_span(span, outcome)
        yield checked

    def _attributes(self, message_id: str) -> Attributes:
        url = urlsplit(self.route.url or "")
        server = {"server.address": url.hostname} if url.hostname else {"gateway.carrier": "workers"}
        return {
            "rpc.system.name": "json-gateway",
            "rpc.method": self.route.pattern,
            "messaging.message.id": message_id,
            **server,
        }

    def _check(self, caller: Caller, data: dict[str, Any]) -> None:
        """Raise what the sender has to change."""
        route = self.route
        if route.scope is not None and route.scope not in caller.scopes:
            raise MissingScope(route.scope)
        if route.data is not None and not route.data.fits(data):
            raise ValidationFailed(route.data.findings(data, "data"))
        if wait := self._buckets.take(caller.user_id, self._clock.steady()):
            raise RateLimited("messages of this type by this user", int(wait * 1000) + 1)

    def _body(
        self, caller: Caller, type: str, id: int | str | None, data: dict[str, Any], asks_for_stream: bool
    ) -> bytes:
        message: dict[str, Any] = {
            "type": type,
            "id": id,
            "data": data,
            "user": caller.user,
            "scopes": sorted(caller.scopes),
            "claims": {name: caller.claims[name] for name in self.route.claims if name in caller.claims},
            "connection": caller.connection,
        }
        if asks_for_stream:
            message["stream"] = True
        return orjson.dumps(message)

    def _begin(self, user_id: str) -> int:
        """Take a place, and return the period of the breaker. Raise `UpstreamFailed` or `RateLimited` at once."""
        is_full = self._in_progress >= self.route.parallel
        if is_full or self._of_users[user_id] >= max(LEAST_OF_USER, int(MOST_OF_USER * self.route.parallel)):
            self._figures.outcomes["busy"] += 1
            whose = "messages" if is_full else "messages of this user"
            raise RateLimited(f"{whose} that wait for this service", BUSY_RETRY_MS)
        period = self.breaker.begin()
        if period is None:
            self._figures.outcomes["open"] += 1
            wait = self.breaker.seconds_left
            raise UpstreamFailed("the circuit breaker is open", int(wait * 1000) + 1, was_asked=False)
        self._in_progress += 1
        self._of_users[user_id] += 1
        self._figures.in_progress += 1
        return period

    def _end(self, user_id: str, period: int, outcome: Outcome, seconds: float, *, was_asked: bool) -> None:
        """Free the place, and count the outcome. What the user has sent may be why a service fails that was asked."""
        self._in_progress -= 1
        self._of_users[user_id] -= 1
        if not self._of_users[user_id]:
            del self._of_users[user_id]
        self._figures.in_progress -= 1
        self._figures.outcomes[outcome] += 1
        if outcome != "cancelled":
            self._figures.durations.add(seconds)
        if outcome == "cancelled" or self.route.is_for_workers:
            self.breaker.cancel(period)  # workers rest one by one, so that a bad one stops no other
            return
        if outcome in ("failed", "timeout"):
            if self.breaker.fail(period, user_id if was_asked else None):
                left = self.breaker.seconds_left
                logger.warning("route %s: the circuit breaker is open for %.0f s", self.route.pattern, left)
        elif self.breaker.succeed(period):
            self._log_closed()

    def _log_closed(self) -> None:
        logger.info("route %s: the circuit breaker is closed again", self.route.pattern)

    def _deadlines(self, began: float) -> Deadlines:
        seconds = self.route.timeout_seconds
        most = self._settings.max_call_seconds or math.inf
        return Deadlines(began + min(seconds, most), seconds, began + most)

    async def _parts(
        self, body: bytes, message_id: str, span: Span, deadlines: Deadlines
    ) -> AsyncGenerator[Part, None]:
        """Yield the parts of the service's answer. Before the first one, an idempotent message may go out again."""
        retries, was_asked, has_begun = 0, False, False
        while True:
            try:
                trace = outgoing(span.context, message_id)
                async with aclosing(self.transport.stream(body, message_id, trace, deadlines)) as parts:
                    async for part in parts:
                        has_begun = True
                        yield part
            except UpstreamFailed as error:
                # An earlier attempt may have reached the service, even if this one has not.
                error.was_asked = was_asked = was_asked or error.was_asked
                pause = FIRST_PAUSE_SECONDS * 2**retries * (0.5 + secrets.randbelow(1000) / 2000)
                is_last = has_begun or retries == MAX_RETRIES or now() + pause >= deadlines.first
                if is_last or not self.route.idempotent:
                    raise
                self._retries.log(f"route {self.route.pattern}: %s goes out again: %s", message_id, error.reason)
                span.note("goes out again", {"reason": error.reason})
            else:
                return
            retries += 1
            self._figures.retries += 1
            await asyncio.sleep(pause)

    async def _checked(self, body: bytes) -> Checked:
        """Return the answer if all of it is as it must be, or raise `UpstreamFailed`."""
        most = max_part_bytes(self._settings)
        if len(body) > most:
            raise UpstreamFailed(f"expected an answer of at most {most} bytes, got {len(body)}")
        # The data of a reply is one level deeper than that of a frame.
        answer = read_answer(body, self._settings.max_json_depth + 1)
        if answer.data is not None and self.route.reply is not None and not self.route.reply.fits(answer.data):
            wrong = ", ".join(f"`{found.field}`" for found in self.route.reply.findings(answer.data, "data"))
            raise UpstreamFailed(f"expected a reply that fits the route's schema; wrong: {wrong}")
        return Checked(answer, await self._effects.check(self.route, answer.effects) if answer.effects else None)


def _end_span(span: Span, outcome: Outcome) -> None:
    span.set({"gateway.outcome": outcome})
    if outcome in ("failed", "timeout"):
        span.fail(outcome)
    span.end()
