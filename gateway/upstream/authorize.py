"""Asks the service of `[authorize]` in the routes file whether a user may do something in a room.

The question is one signed request. An answer counts for as long as the service says, and until the routes file is read
again. Users that ask the same at the same time share one request. Without an answer, or with a strange one, nothing is
allowed: the message is refused, and the client may try again.

While the service gives no answers, a circuit breaker refuses most messages at once. An answer that is wrong does not
count for it: a client, by the name of a room, could otherwise make the service refuse the questions of all others.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core import strict_json
from gateway.core.clock import Clock
from gateway.core.http_client import Answer, HttpClient
from gateway.core.trace_context import outgoing
from gateway.core.tracing import NO_TRACING, Tracing, note_answer
from gateway.routes.model import Authorize, Routes
from gateway.routes.reloader import RoutesReloader
from gateway.upstream.breaker import CircuitBreaker
from gateway.upstream.client import new_message_id, post_signed
from handlers.errors import Unavailable, UpstreamFailed, UpstreamTimeout
from schemas.messages.rooms import Role

logger = logging.getLogger(__name__)

MAX_REMEMBERED = 10_000
"""The most answers that are remembered."""

MAX_SECONDS = 3600
"""The longest that an answer counts, even if the service says more."""

MAX_ANSWER_BYTES = 4096

MAX_CONNECTIONS = 64
"""Requests to the service at once. More wait, within the time for an answer."""

Outcome = Literal["allowed", "denied", "remembered", "shared", "timeout", "failed", "wrong", "open"]
"""What came of a question. `wrong` was answered in another form; `open` is the circuit breaker, and sent no request."""

OUTCOMES: tuple[Outcome, ...] = ("allowed", "denied", "remembered", "shared", "timeout", "failed", "wrong", "open")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an external service answers about a user, a right and a room."""

    allow: bool
    role: Role | None = None
    """The role of a user that becomes a member, if it is not to be the usual one."""


ALLOWED = Verdict(allow=True)

Question = tuple[str, str, str, bytes]
"""A user, an action, a room, and the user's claims that go out, as JSON."""


class RightsAnswer(BaseModel):
    """What the service answers. Other keys are ignored, so that it may grow."""

    model_config = ConfigDict(frozen=True, strict=True)

    allow: bool
    role: Role | None = None
    for_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0


class AuthorizeService:
    """Asks the service that the routes file names at the moment, and remembers its answers."""

    def __init__(self, routes: RoutesReloader, clock: Clock, tracing: Tracing = NO_TRACING) -> None:
        self._routes = routes
        self._clock = clock
        self._tracing = tracing
        self._service: _Service | None = None
        self._of: Routes | None = None
        """The routes that the service is from. Another reading of the file makes others, and nothing is remembered."""
        self.outcomes: Counter[Outcome] = Counter()

    @property
    def remembered(self) -> int:
        """Return the number of answers that are remembered."""
        return 0 if self._service is None else len(self._service.remembered)

    @property
    def is_up(self) -> bool:
        """Return whether questions go out."""
        return self._service is None or self._service.breaker.state == "closed"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Ask while the context lasts."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """End the questions that are under way, and the connections."""
        if self._service is not None:
            await self._service.close()

    def is_asked(self, action: str, room: str) -> bool:
        """Return whether the service decides about an action in a room. All else is allowed."""
        service = self._current()
        return service is not None and service.is_asked(action, room)

    async def ask(self, user: str, action: str, room: str, claims: Mapping[str, Any] | None) -> Verdict:
        """Return whether a user may do something in a room, or raise `Unavailable` without an answer.

        Allow at once what the service is not asked about.
        """
        service = self._current()
        if service is None or not service.is_asked(action, room):
            return ALLOWED
        return await service.ask(user, action, room, claims or {})

    def _current(self) -> "_Service | None":
        routes = self._routes.current
        if routes is not self._of:
            if self._service is not None:
                self._service.retire()
            self._of = routes
            described = routes.authorize
            self._service = (
                None if described is None else _Service(described, self._clock, self.outcomes, self._tracing)
            )
        return self._service


class _Service:
    """One description of the service, with what it has answered."""

    def __init__(self, described: Authorize, clock: Clock, outcomes: "Counter[Outcome]", tracing: Tracing) -> None:
        self._described = described
        self._tracing = tracing
        self._clock = clock
        self._outcomes = outcomes
        self._client = HttpClient(described.url, max_connections=MAX_CONNECTIONS)
        self._asked: dict[Question, asyncio.Task[Verdict | None]] = {}
        self._answers = True
        self.breaker = CircuitBreaker(clock)
        self.remembered: OrderedDict[Question, tuple[float, Verdict]] = OrderedDict()

    def is_asked(self, action: str, room: str) -> bool:
        return action in self._described.actions and self._described.rooms.matches(room)

    def retire(self) -> None:
        """Ask no more. The questions that are under way get their answers."""
        self._retired = asyncio.create_task(self._client.close())

    async def close(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._client.close()

    async def ask(self, user: str, action: str, room: str, claims: Mapping[str, Any]) -> Verdict:
        out = {name: claims[name] for name in self._described.claims if name in claims}
        question = user, action, room, orjson.dumps(out, option=orjson.OPT_SORT_KEYS)
        if (known := self._find(question)) is not None:
            self._outcomes["remembered"] += 1
            return known
        task = self._asked.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(question))
            self._asked[question] = task
            task.add_done_callback(lambda _: self._asked.pop(question))
        else:
            self._outcomes["shared"] += 1
        # One connection may end while others wait for the same answer.
        verdict = await asyncio.shield(task)
        if verdict is None:
            raise Unavailable("service of rights in rooms")
        return verdict

    def _find(self, question: Question) -> Verdict | None:
        until, verdict = self.remembered.get(question, (0.0, None))
        if verdict is not None and self._clock.steady() >= until:
            del self.remembered[question]
            return None
        return verdict

    async def _ask(self, question: Question) -> Verdict | None:
        """Ask the service, and remember its answer. Return None if there is none, or a wrong one."""
        period = self.breaker.begin()
        if period is None:
            self._outcomes["open"] += 1
            return None
        try:
            raw = await self._request(question)
        except (UpstreamTimeout, UpstreamFailed) as error:
            self.breaker.fail(period)
            self._fail("timeout" if isinstance(error, UpstreamTimeout) else "failed", error.reason)
            return None
        except BaseException:
            self.breaker.cancel(period)
            raise
        self.breaker.succeed(period)
        answer = _read(raw)
        if answer is None:
            self._fail("wrong", f'expected status 200 with JSON such as {{"allow": true}}, got status {raw.status}')
            return None
        if not self._answers:
            logger.info("the service of [authorize] answers again")
        self._answers = True
        self._outcomes["allowed" if answer.allow else "denied"] += 1
        verdict = Verdict(answer.allow, answer.role)
        self._remember(question, verdict, min(answer.for_seconds, MAX_SECONDS))
        return verdict

    async def _request(self, question: Question) -> Answer:
        user, action, room, claims = question
        body = {"user": user, "action": action, "room": room, "claims": orjson.Fragment(claims)}
        message_id = new_message_id()
        span = self._tracing.start("authorize", "client", {"rpc.method": action, "messaging.message.id": message_id})
        try:
            answer = await post_signed(
                self._client,
                self._described.signer,
                orjson.dumps(body),
                message_id=message_id,
                now_seconds=self._clock.wall(),
                seconds=self._described.timeout_seconds,
                max_bytes=MAX_ANSWER_BYTES,
                trace=outgoing(span.context, message_id),
            )
            note_answer(span, answer.status)
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()
        return answer

    def _fail(self, outcome: Outcome, reason: str) -> None:
        self._outcomes[outcome] += 1
        if self._answers:  # once, and not for each message
            logger.warning("the service of [authorize] does not answer as it should: %s", reason)
        self._answers = False

    def _remember(self, question: Question, verdict: Verdict, seconds: float) -> None:
        if seconds <= 0:
            return
        self.remembered[question] = (self._clock.steady() + seconds, verdict)
        if len(self.remembered) > MAX_REMEMBERED:
            self.remembered.popitem(last=False)


def _read(answer: Answer) -> RightsAnswer | None:
    """Return what the service has answered, or None for anything else than the form that it must have."""
    if answer.status != 200:
        return None
    try:
        document = strict_json.loads(answer.body.decode(), max_depth=16)
        return RightsAnswer.model_validate_json(orjson.dumps(document))
    except (ValueError, ValidationError):
        return None
