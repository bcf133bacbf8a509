"""The base class of handlers, and the `Session` with everything that they can do.

The gateway makes one handler for each message. The handler gets validated `data` and returns the reply. It reaches the
rest of the gateway through the verbs of its `Session`, and never sees a socket, a database or another process.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from inspect import isasyncgenfunction
from typing import Any, ClassVar, Generic, Protocol, cast

from pydantic import BaseModel, ValidationError
from typing_extensions import TypeVar

from handlers.errors import MessageError, MissingScope, ValidationFailed
from handlers.streaming import Chunk, Pace, Reply, Unwanted, Whole
from schemas.base import Empty, Event
from schemas.codes import Close, Status
from schemas.messages.auth import AuthReply
from schemas.messages.chat import AppendReply, HistoryReply, Message, SendReply
from schemas.messages.presence import UserPresence
from schemas.messages.rooms import (
    JoinReply,
    JoinRoom,
    MembersReply,
    Position,
    ResumeReply,
    Role,
    Room,
    RoomsReply,
)
from schemas.messages.upstream import UpstreamReply

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
State = TypeVar("State", default=Any)
"""What the handlers of an application share: its lifespan yields it, or `create_app(state=…)` names it."""

StateCo = TypeVar("StateCo", default=Any, covariant=True)

NO_ANSWER = 0
"""Stands for a status where no answer can reach the client."""


class RoomVerbs(Protocol):
    """The verbs of a session for rooms.

    Each raises `NotFound` for a room that does not exist, and for another user's private room. It raises `NotAMember`
    if only members may do this, and `Forbidden` if the member's role does not allow it. It raises `QuotaExceeded` if
    one more would exceed a quota.
    """

    async def create(self, room: str, *, title: str | None, private: bool, signals: bool = True) -> Room:
        """Make a room with this user as its owner, or raise `Conflict`."""

    async def join(self, room: str, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Make the user a member and this connection a listener. Make a missing public room if the settings allow it.

        A join also accepts an invitation. The reply carries at most `limit` messages. None stands for the 50 newest, or
        with `since` for up to 300 missed ones.

        Raises `PositionLost` for a position beyond the end of the log, and then changes nothing.
        """

    async def resume(self, rooms: Sequence[JoinRoom]) -> ResumeReply:
        """Join several rooms, each as `join` does or not at all. The names differ.

        The reply has the first of them, in their order: as many as fit into one frame, and at least one. The connection
        does not become a listener of the rest. An error of one room is its part of the reply.
        """

    async def leave(self, room: str) -> None:
        """End the user's membership on all connections, or decline an invitation. Without either, do nothing.

        After its last owner, a room belongs to the moderator, or else the member, of longest standing. A private room
        ends with its last member.
        """

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Return a page of the public rooms, the user's own and its invitations."""

    async def role(self, room: str) -> Role:
        """Return the user's role in a room, or raise `NotAMember`."""

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Return a page of a room's members."""

    async def invite(self, room: str, user: str) -> None:
        """Invite another user; for owners and moderators."""

    async def kick(self, room: str, user: str) -> None:
        """End another user's membership, or take an invitation back.

        Owners may do this to any member, moderators only to plain members.
        """

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Change a member's role; for owners. Raises `Conflict` if no owner would remain."""

    async def update(self, room: str, *, title: str | None, private: bool | None, signals: bool | None = None) -> Room:
        """Change the title, the privacy, and whether the room takes signals; for owners.

        None leaves a value as it is.
        """

    async def delete(self, room: str) -> None:
        """Delete a room with all of its messages; for owners."""

    async def open_direct(self, user: str) -> Room:
        """Return the private room of this user and another. Make it and invite the other user if needed."""

    async def publish(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to all listeners of the room; for members.

        The gateway does not store it, so a disconnected client misses it. A slow reader loses droppable events first.
        """

    async def signal(self, room: str, name: str, data: Any = None) -> None:
        """Send a signal to the other users that hear the room; for members. `data` is JSON of at most 4 KiB.

        The gateway does not store it, and a slow reader loses it first. Raises `RateLimited` over the connection's rate
        of signals, `Forbidden` in a room without signals, and `QuotaExceeded` in a crowded one.
        """


class MessageVerbs(Protocol):
    """The verbs of a session for messages. A verb that writes returns after the change is durable."""

    async def send(
        self, room: str, *, text: str | None, body: Any, reply_to: str | None, client_id: str | None
    ) -> SendReply:
        """Store a message and send it to the room. For a `client_id` used before, return the first message."""

    async def begin_append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> Awaitable[AppendReply]:
        """Do what `append` does, and return before the change is durable: pieces keep the order of these calls.

        Await the result for the outcome. Raises at once what the user's rights and rates do not allow. A stream of
        tokens begins each one, and awaits the outcome of the last.
        """

    async def append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> AppendReply:
        """Add text to the end of a message; for its author. With `done`, the message grows no more.

        The gateway stores the pieces of 40 ms as one change, so each call takes as long. `at` is the length that the
        text should have before the piece, in characters: raises `WrongLength`, with the real length, if it is another.
        Raises `Conflict` for a message that is deleted, done or without a text, `Forbidden` for another user's, and
        `TextTooLong` over 32,000 characters.
        """

    async def edit(self, room: str, message_id: str, *, text: str | None, body: Any) -> Message:
        """Change the content of a message; for its author."""

    async def delete(self, room: str, message_id: str) -> Message:
        """Delete a message; for its author, moderators and owners."""

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Return a page of a room's log, oldest first."""

    async def mark_read(self, room: str, offset: int) -> None:
        """Store and announce the offset that the user has read up to. Ignore a lower offset than before."""


class PresenceVerbs(Protocol):
    """The verbs of a session for presence."""

    async def get(self, users: list[str]) -> tuple[UserPresence, ...]:
        """Return the presence of each user, in the given order."""

    async def typing(self, room: str) -> None:
        """Show the room that the user is typing. The display ends by itself after 6 seconds."""

    async def set(self, room: str, state: dict[str, Any] | None) -> None:
        """Show a state of the user's own in a room that this connection hears: a JSON object of at most 1 KiB.

        It ends with None, and when the connection hears the room no more. Raises `Conflict` if the connection does not
        hear the room, and `QuotaExceeded` in a crowded one.
        """


class UpstreamVerbs(Protocol):
    """The verbs of a session for the services behind the routes of `GATEWAY_ROUTES`."""

    async def call(self, type: str, data: dict[str, Any], *, id: int | str | None = None) -> UpstreamReply:
        """Send a message to the service of its route, and return the reply's data. The service sees the `id`.

        Raise the error that the service declares. Raise `UpstreamFailed` for a service that fails or answers wrongly,
        and `UpstreamTimeout` for one that takes too long. What the route does not allow raises `MissingScope`,
        `ValidationFailed` or `RateLimited`, and a type without a route `UnknownType`. What the service streams is part
        of the reply, as for a client that wants one reply.
        """

    def stream(
        self, type: str, data: dict[str, Any], *, id: int | str | None = None, asks_for_stream: bool = True
    ) -> AsyncGenerator[Chunk, None]:
        """Send a message to the service of its route. Yield the chunks of its answer as they come, and last a `Reply`.

        Raise as `call` does. With `asks_for_stream` the service sees `"stream": true`. It may stream without it, too.
        Close the generator if you stop in the middle, with `contextlib.aclosing`: the service then stops as well.
        """


class CredentialVerbs(Protocol):
    """The verbs of a session for its credential."""

    async def refresh(self, token: str) -> AuthReply:
        """Replace the token by another of the same user. The connection takes over its scopes and its end.

        Raises `AuthenticationFailed` or a subclass for a bad token, and `Forbidden` for another user's.
        """


class Session(Protocol[StateCo]):
    """One connection of one user."""

    connection: str
    user: str
    scopes: frozenset[str]

    @property
    def max_answer_bytes(self) -> int:
        """The most bytes of one frame to the client."""

    @property
    def state(self) -> StateCo:
        """What the application's lifespan has yielded; `MsgHandler[In, Out, State]` names its type."""

    @property
    def rooms(self) -> RoomVerbs:
        """Return the verbs for rooms."""

    @property
    def messages(self) -> MessageVerbs:
        """Return the verbs for messages."""

    @property
    def presence(self) -> PresenceVerbs:
        """Return the verbs for presence."""

    @property
    def credential(self) -> CredentialVerbs:
        """Return the verbs for the credential."""

    @property
    def upstream(self) -> UpstreamVerbs:
        """Return the verbs for the services behind routes."""

    def now(self) -> str:
        """Return the gateway's time in the protocol's form."""

    async def run_unordered(
        self, handler: "MsgHandler[Any, Any]", answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Let `answer` answer an unordered message, in a task of its own if later messages would wait for it.

        The connection's end cancels the task. So do `cancel` and the end of the time, which answer the message instead.
        If too many messages of the connection are in progress, or one with the handler's id is, refuse this one.
        """

    async def answer_later(
        self, handler: "MsgHandler[Any, Any]", answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Let `answer` answer a message that was taken in its order, while later messages do not wait for it.

        If many such messages of the connection wait, later ones wait all the same.
        """

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Send the reply to a message."""

    async def send_chunk(self, id: int | str, data: object) -> None:
        """Send a chunk of the answer to a message, for `MsgHandler`: a handler yields its chunks.

        It waits while the client reads too slowly. Raises `ValueError` for data that no frame can carry, and `Unwanted`
        if the client is gone or has cancelled the message.
        """

    def cancel(self, id: int | str) -> None:
        """Cancel an unordered message in progress, and answer it. Raise `NotFound` if none has this id."""

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Send an error as the answer to a message."""

    def charge(self, cost: float) -> None:
        """Add to the cost of this message, for a handler that works for milliseconds.

        One rate token stands for two milliseconds of a core. The built-in verbs charge their own cost.
        """

    def fail(self, id: int | str | None) -> None:
        """Log the current exception, and answer with a reference to it."""

    def send_event(self, event: Event) -> None:
        """Send an event to this connection alone. While an ordered message is handled, it waits for the reply."""

    def flush(self) -> None:
        """Send at once the events that wait for the reply to this message."""

    async def publish_to_all(self, event: Event) -> int:
        """Send an event to every connection on all nodes, and return their number."""

    def close_after_reply(self, close: Close) -> None:
        """Send `bye` and close, after the answer to the current message."""


class MsgHandler(ABC, Generic[In, Out, State]):
    """Handles one type of message. Subclass it, set `schema`, write `handle`.

    A `handle` that is an async generator streams its answer: see `handlers.streaming`.

    The third parameter is the type of `self.session.state`; a handler that needs no state leaves it out.
    """

    schema: type[In]
    scope: ClassVar[str | None] = None
    """The scope that a token needs for this message. None lets every user send it."""
    examples: ClassVar[tuple[Any, ...]] = ()
    """Examples of `data`, which documents show; the page at `/` offers the first."""
    ordered: ClassVar[bool] = True
    """Whether later messages of the connection wait for the answer. Set False if it takes long, as a service's may.

    Then answers come when they are ready, and `GATEWAY_MAX_CALLS_PER_CONNECTION` such messages of a connection may be
    in progress, for `GATEWAY_MAX_CALL_SECONDS` each. What one causes may come before its reply.
    """
    streams: ClassVar[bool] = False
    """Whether `handle` is an async generator. The class itself sets it; such a handler is unordered by default."""
    stream: bool = False
    """Whether the client wants the chunks of the answer one by one."""
    needs_connection: ClassVar[bool] = False
    """Whether the message makes sense only on a WebSocket, so that `POST /call/{type}` does not offer it."""
    answer_status: int = Status.OK
    """The status of the answer, for the gateway's counts. It is `NO_ANSWER` if the client is gone."""
    answers_later: bool = False
    """Whether the answer comes after `run`, in a task of its own."""

    def __init__(self, session: Session[State], id: int | str | None, data: object) -> None:
        self.session = session
        self.id = id
        self.data = {} if data is None else data

    def __init_subclass__(cls, **options: Any) -> None:
        """Find out whether the handler streams."""
        super().__init_subclass__(**options)
        cls.streams = isasyncgenfunction(cls.handle)
        if cls.streams and not any("ordered" in vars(base) for base in cls.__mro__ if base is not MsgHandler):
            cls.ordered = False

    @classmethod
    async def on_member_left(cls, room: str, user: str, state: State) -> None:
        """Clean up after a membership that has ended: by `room.leave`, `room.kick`, or a verb of a handler.

        It runs on the node that ended the membership, after the commit and the event `room.left`, and before the reply.
        What it raises is logged and counted. A node that ends at that moment does not call it.
        """

    @classmethod
    async def on_room_deleted(cls, room: str, state: State) -> None:
        """Clean up after a room that has ended: by `room.delete`, or with its last member.

        As `on_member_left`. `room.delete` calls this alone, and `on_member_left` for none of the members.
        """

    @abstractmethod
    def handle(self, data: In) -> Awaitable[Out] | AsyncIterator[Chunk]:
        """Do the work of the message and return the reply's data, or raise a `MessageError`.

        Write it as `async def`. With a `yield` in it, it streams: it yields chunks and at the end, if the closing reply
        has data, a `Reply`.
        """

    def run(self) -> Coroutine[Any, Any, None]:
        """Answer the message, or start a task that does if it is unordered."""
        if self.ordered:
            return self._answer()
        return self.session.run_unordered(self, self._answer)

    def surround(self, around: "Around") -> None:
        """Let `around` run the answer of this message, with work of its own before and after it."""
        answer = self._answer

        async def surrounded() -> None:
            try:
                await around(answer)
            finally:
                vars(self).pop("_answer", None)  # which would keep this handler alive

        self._answer = surrounded  # type: ignore[method-assign] # of this message alone; others pay nothing

    async def _answer(self) -> None:
        """Answer the message: one reply or one error if it has an id, and only errors if not.

        Raises only what ends the connection. This is the one place that catches unexpected exceptions of a handler. A
        mistake in one message, in its reply or in its error must not end a connection.
        """
        try:
            try:
                if self.streams:
                    await self._answer_in_chunks(self._validated())
                else:
                    reply: Out = await self.handle(self._validated())  # type: ignore[misc] # no generator
                    if self.id is not None:
                        self.session.reply(self.id, reply)
            except Unwanted:
                self.answer_status = NO_ANSWER
            except MessageError as error:
                self.answer_status = error.status
                self.session.refuse(self.id, error)
                # It leads to all frames on its way, and they lead back to it: a circle of some 50 objects, which would
                # wait for the garbage collector.
                error.__traceback__ = None
        except BaseException as error:
            if ends_connection(error):
                self.answer_status = NO_ANSWER
                raise
            self.answer_status = Status.INTERNAL_ERROR
            self.session.fail(self.id)

    async def _answer_in_chunks(self, data: In) -> None:
        """Send each chunk at once, or collect them for one reply. Without an id, drop them."""
        whole = None if self.stream or self.id is None else Whole(self.session.max_answer_bytes)
        closing: Reply | None = None
        pace = Pace()

        async def take(chunk: Chunk) -> None:
            if whole is None and self.id is not None:
                await self.session.send_chunk(self.id, chunk)  # which lets other work come in between
                return
            if whole is not None:
                whole.add(chunk)
            if pace.needs_turn():
                await asyncio.sleep(0)

        async with aclosing(cast("AsyncGenerator[Chunk]", self.handle(data))) as chunks:
            async for chunk in chunks:
                if closing is not None:
                    raise TypeError("expected nothing after the `Reply` that a handler yields, got another value")
                if isinstance(chunk, Reply):
                    closing = chunk
                    continue
                try:
                    await take(chunk)
                except (asyncio.CancelledError, Unwanted):
                    # The handler sees its end at a `yield` as it does anywhere else.
                    with suppress(StopAsyncIteration, asyncio.CancelledError):
                        await chunks.athrow(asyncio.CancelledError())
                    raise
        if self.id is not None:
            reply = Empty() if closing is None else closing.data
            self.session.reply(self.id, reply if whole is None else whole.reply(reply))

    def _validated(self) -> In:
        if self.scope is not None and self.scope not in self.session.scopes:
            raise MissingScope(self.scope)
        try:
            # As `model_validate` does, without its options, because this runs for every message.
            validated: In = self.schema.__pydantic_validator__.validate_python(self.data)
        except ValidationError as error:
            raise ValidationFailed.from_pydantic(error, "data") from None
        return validated


Around = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""A function that gets a handler's answer to a message, and awaits it."""


class Refusal(MsgHandler[BaseModel, BaseModel]):
    """Takes the place of a handler for a wrong message: it runs like one, and answers with the error."""

    def __init__(self, session: Session, id: int | str | None, error: BaseException) -> None:
        super().__init__(session, id, None)
        self.error = error

    async def handle(self, data: BaseModel) -> BaseModel:
        """Raise the error."""
        raise self.error

    def _validated(self) -> BaseModel:
        return Empty()


class Stopped(BaseException):
    """Stops a handler by force that has swallowed its cancellation."""


def ends_connection(error: BaseException) -> bool:
    """Return whether the connection or the process is stopping, so that the error is not the handler's own.

    A handler may raise `CancelledError` too, for example when it awaits a cancelled task. A library that it calls may
    raise `SystemExit`, and asyncio would let that end the whole process.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        return True
    if isinstance(error, KeyboardInterrupt | GeneratorExit | Stopped):
        return True
    # A failed `TaskGroup` of Python 3.11 leaves a cancellation request behind, which must not reach the next message.
    while task is not None and task.cancelling():
        task.uncancel()
    return False
