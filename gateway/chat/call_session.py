"""A session without a connection: one message of a user, which came over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter
from typing import Any, NoReturn

from pydantic import BaseModel

from gateway.auth.authorizers import AuthResult
from gateway.chat.tapping import note_message, note_refused_call
from gateway.chat.traced_messages import note_refusal
from gateway.chat.unordered import stop_handlers
from gateway.chat.user_session import UserSession
from gateway.chat.verbs.presence import UserPresenceVerbs
from gateway.chat.verbs.unheard_rooms import UnheardRooms
from gateway.chat.verbs.upstream import SessionUpstream
from gateway.core import costs
from gateway.core.rate_limits import Allowance
from gateway.state import GatewayState
from gateway.transport import frames
from handlers.base import NO_ANSWER, MsgHandler
from handlers.errors import CallTimeout, InternalError, MessageError, NotFound, RateLimited
from handlers.streaming import Unwanted
from schemas.base import Event
from schemas.codes import Close, Status
from schemas.messages.auth import AuthReply

ONLY_ID = 1
"""The id of the one message, which no client sees."""

SendChunk = Callable[[bytes], Awaitable[None]]
"""Takes a chunk as JSON, and returns when the next one may come."""


class NeedsConnection(RuntimeError):
    """A handler has used a verb that only a connection has, and the message came over HTTP."""

    def __init__(self, verb: str) -> None:
        super().__init__(
            f"expected a connection for `{verb}`, but this message came over HTTP;"
            " set `needs_connection = True` on the class of its handler"
        )


class CallSession(UserSession):
    """The session of one message over HTTP, as handlers and their verbs see it.

    It has no connection, so neither the hub nor presence knows it.
    """

    def __init__(self, auth: AuthResult, address: str, state: GatewayState) -> None:
        super().__init__(auth, state)
        self._messages = Allowance()
        state.connections.share_message_limits(auth.user_id, address, self._messages, self.joins, self.writes)
        self._included = costs.INCLUDED
        self._answer: bytes | MessageError | None = None
        self._send_chunk: SendChunk | None = None
        self._is_over = False
        self.cancelled_with: MessageError | None = None
        """What has answered the message in its handler's place."""

    @property
    def rooms(self) -> UnheardRooms:
        """Return the verbs for rooms."""
        return UnheardRooms(self)

    @property
    def presence(self) -> "NoCustomState":
        """Return the verbs for presence, of which `set` raises `NeedsConnection`."""
        return NoCustomState(self)

    @property
    def credential(self) -> "NoCredential":
        """Return the verbs for the credential, each of which raises `NeedsConnection`."""
        return NoCredential()

    @property
    def upstream(self) -> SessionUpstream:
        """Return the verbs for the services behind routes."""
        return SessionUpstream(self, lambda: None)

    def admit(self) -> None:
        """Take the tokens of a request from the rates of the user and the address, or raise `RateLimited`."""
        if refused := self._messages.take(self.gateway.clock.steady(), costs.REQUEST):
            wait, whose = refused
            raise RateLimited(f"messages {whose}", int(wait * 1000) + 1)

    async def answer(self, kind: str, data: object, send_chunk: SendChunk | None = None) -> bytes:
        """Let the handler of a type handle the data, and return the reply's data as JSON.

        With `send_chunk`, the client has asked for the chunks of the answer one by one. Raise the error that answers
        the message, such as `NotFound` for a type that needs a connection.
        """
        self._send_chunk = send_chunk
        handler = self.gateway.factory.get_handler(
            session=self, request_data={"type": kind, "id": ONLY_ID, "stream": send_chunk is not None, "data": data}
        )
        handler.data = data  # also null, which stands for `{}` on a socket
        if handler.needs_connection:
            raise NotFound(f"`{kind}` needs a connection; send it over the WebSocket")
        self.gateway.counters.handled[type(handler)] += 1
        if self.gateway.taps.is_open:
            note_message(self.gateway.taps, self, {"type": kind, "data": data}, over="http")
        began = perf_counter()
        try:
            await handler.run()
        finally:
            self.gateway.counters.called[type(handler)].add_answer(perf_counter() - began, self._status())
        if isinstance(self._answer, bytes):
            return self._answer
        refusal = self._answer or InternalError(self.connection)
        if self.gateway.taps.is_open:
            note_refused_call(self.gateway.taps, self, kind, refusal)
        raise refusal

    def _status(self) -> int:
        if self._answer is None:
            return NO_ANSWER
        return Status.OK if isinstance(self._answer, bytes) else self._answer.status

    async def run_unordered(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer the message, within the time of one. No other message waits for it."""
        seconds = self.gateway.settings.max_call_seconds
        task = asyncio.create_task(answer(), name=type(handler).__name__)
        try:
            done, _ = await asyncio.wait([task], timeout=seconds or None)
            if not done:
                self.cancelled_with = CallTimeout(seconds)
        finally:
            self._is_over = True
            await stop_handlers(task)
        if self.cancelled_with is None:
            task.result()
        else:
            self.refuse(handler.id, self.cancelled_with)

    async def answer_later(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer the message. No other one waits for it."""
        await answer()

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Keep the reply to the message."""
        answer = self._bounded(frames.json(data))
        if len(answer) > costs.MESSAGE_BYTES:
            self.charge(costs.of_answer(len(answer)))
        self._answer = answer

    async def send_chunk(self, id: int | str, data: object) -> None:
        """Send a chunk of the answer. Wait while the client reads too slowly."""
        if not self.gateway.chunk_portions.begin():
            await self.gateway.chunk_portions.wait()
        self.gateway.counters.chunks += 1
        if self._is_over:
            raise Unwanted
        assert self._send_chunk is not None  # noqa: S101 - otherwise the handler collects its chunks
        chunk = self._bounded(frames.json(data))
        if len(chunk) > costs.MESSAGE_BYTES:
            self.charge(costs.of_answer(len(chunk)))
        await self._send_chunk(chunk)

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Keep the error that answers the message."""
        self._bounded(frames.json(error.body()))  # an error that cannot be written is a fault of its handler
        note_refusal(error)
        self._answer = error

    def charge(self, cost: float) -> None:
        """Charge the rates of the user and the address with the extra cost of the message.

        Raise what `costs.check` raises.
        """
        costs.check(cost)
        self._included -= cost
        if self._included < 0:
            self._messages.spend(self.gateway.clock.steady(), -self._included)
            self._included = 0.0

    def take_signal(self) -> None:
        """Do nothing: a call costs more than a signal may."""

    def send_event(self, event: Event) -> NoReturn:
        """Raise `NeedsConnection`."""
        raise NeedsConnection("send_event")

    def flush(self) -> None:
        """Do nothing: no event waits for the answer."""

    def cancel(self, id: int | str) -> NoReturn:
        """Raise `NeedsConnection`."""
        raise NeedsConnection("cancel")

    def close_after_reply(self, close: Close) -> NoReturn:
        """Raise `NeedsConnection`."""
        raise NeedsConnection("close_after_reply")

    def _bounded(self, answer: bytes) -> bytes:
        most = self.gateway.settings.max_frame_bytes
        if len(answer) > most:
            raise ValueError(f"expected an answer of at most {most} bytes, got {len(answer)}")
        return answer


class NoCustomState(UserPresenceVerbs):
    """The verbs of `handlers.base.PresenceVerbs`, where no connection has a state."""

    async def set(self, room: str, state: dict[str, Any] | None) -> NoReturn:
        """Raise `NeedsConnection`."""
        raise NeedsConnection("presence.set")


class NoCredential:
    """The verbs of `handlers.base.CredentialVerbs`, where no connection has a credential to replace."""

    async def refresh(self, token: str) -> AuthReply:
        """Raise `NeedsConnection`."""
        raise NeedsConnection("credential.refresh")
