"""One attempt to deliver an event: a signed POST, and what its answer means.

Any answer of 2xx means that the receiver has the event. 410 means that it wants no more. All others are failures, and
so are redirects: the address is the one in the routes file.
"""

from dataclasses import dataclass
from typing import Literal

import orjson

from gateway.core.clock import Clock
from gateway.core.http_client import HttpClient
from gateway.core.trace_context import outgoing, parse
from gateway.core.tracing import NO_TRACING, Tracing, note_answer
from gateway.routes.model import Hook
from gateway.upstream.client import post_signed
from handlers.errors import UpstreamFailed, UpstreamTimeout
from schemas.base import timestamp

DELIVERY_SECONDS = 15
"""The longest attempt."""

MAX_ANSWER_BYTES = 1024 * 1024
"""The longest answer. Nothing in it counts but its status."""

PARALLEL = 16
"""The most requests to one hook at a time."""

Result = Literal["delivered", "failed", "gone"]

_CONTENT_TYPES = {"webhook": "application/json", "cloudevents": "application/cloudevents+json"}


@dataclass(frozen=True, slots=True)
class Event:
    """An event as its receiver gets it, in each attempt with the same id and the same body."""

    id: str
    type: str
    about: str
    """The name of the room or the user."""
    data: str
    """JSON."""
    created_at: int
    """In milliseconds since 1970."""
    trace: str | None = None
    """The `traceparent` of what has caused it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of an attempt."""

    result: Result
    reason: str
    """The status, or what failed, without a word of the receiver."""


class Delivery:
    """Sends events to the URL of one hook."""

    def __init__(self, hook: Hook, source: str, clock: Clock, tracing: Tracing = NO_TRACING) -> None:
        """`source` is the name of this gateway in CloudEvents."""
        self._hook = hook
        self._source = source
        self._clock = clock
        self._tracing = tracing
        self._client = HttpClient(hook.url, max_connections=PARALLEL)

    async def send(self, event: Event) -> Outcome:
        """Make one attempt. Each has a timestamp of its own, so that a receiver can refuse an old one."""
        cause = parse(event.trace)
        span = self._tracing.start(
            f"{self._hook.name} {event.type}",
            "producer",
            {
                "messaging.system": "json-gateway",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._hook.name,
                "messaging.message.id": event.id,
            },
            is_root=True,  # it may be hours later
            links=() if cause is None else (cause,),
        )
        try:
            answer = await post_signed(
                self._client,
                self._hook.signer,
                self._body(event),
                message_id=event.id,
                now_seconds=self._clock.wall(),
                seconds=DELIVERY_SECONDS,
                max_bytes=MAX_ANSWER_BYTES,
                trace=outgoing(span.context or cause, event.id),
                headers={"content-type": _CONTENT_TYPES[self._hook.format]},
            )
            note_answer(span, answer.status)
        except (UpstreamFailed, UpstreamTimeout) as error:
            span.fail("failed" if isinstance(error, UpstreamFailed) else "timeout")
            return Outcome("failed", error.reason)
        finally:
            span.end()
        return Outcome(_result(answer.status), f"answered {answer.status}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _body(self, event: Event) -> bytes:
        time = timestamp(event.created_at)
        if self._hook.format == "webhook":
            head: dict[str, str] = {"type": event.type, "timestamp": time}
        else:
            head = {
                "specversion": "1.0",
                "id": event.id,
                "source": self._source,
                "type": event.type,
                "subject": event.about,
                "time": time,
                "datacontenttype": "application/json",
            }
        return orjson.dumps(head | {"data": orjson.Fragment(event.data)})


def _result(status: int) -> Result:
    if 200 <= status < 300:
        return "delivered"
    return "gone" if status == 410 else "failed"
