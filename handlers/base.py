"""What a handler is, and all that it can do.

A handler is made for one message, gets its `data` validated, and returns the reply. It reaches the rest of
the gateway through the verbs of its `Session`, and never sees a socket, a database or another process.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from handlers.errors import MessageError, MissingScope, ValidationFailed
from schemas.base import Empty, Event
from schemas.codes import Close
from schemas.messages.auth import AuthReply
from schemas.messages.chat import HistoryReply, Message, SendReply
from schemas.messages.presence import UserPresence
from schemas.messages.rooms import JoinReply, MembersReply, Position, Role, Room, RoomsReply

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)


class RoomVerbs(Protocol):
    """What a session can do with rooms.

    Each raises `NotFound` for a room that does not exist, or that is private and not the user's; `NotAMember` where
    only members may; `Forbidden` where a member's role does not allow it; and `QuotaExceeded` where there are as many
    of something as there may be.
    """

    async def create(self, room: str, *, title: str | None, private: bool) -> Room:
        """Make a room with this user as its owner, or raise `Conflict`."""

    async def join(self, room: str, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Make the user a member and this connection a listener; make a public room where that is open.

        This is how an invitation is accepted. The reply carries at most `limit` messages; None stands for the 50
        newest, or for 300 that were missed.

        A position beyond the end of the log changes nothing: raises `PositionLost`.
        """

    async def leave(self, room: str) -> None:
        """End the user's membership on all connections, or decline an invitation; to have neither is fine.

        A room whose last owner leaves belongs to the moderator, or else the member, of longest standing. A
        private room ends with its last member.
        """

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Read a page of the public rooms, the user's own and its invitations."""

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Read a page of a room's members."""

    async def invite(self, room: str, user: str) -> None:
        """Ask another user to join; for owners and moderators."""

    async def kick(self, room: str, user: str) -> None:
        """End another user's membership, or take an invitation back.

        For owners; and for moderators where that is no owner and no moderator.
        """

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Give a member another role; for owners. One owner must remain: raises `Conflict`."""

    async def update(self, room: str, *, title: str | None, private: bool | None) -> Room:
        """Change what is given; for owners."""

    async def delete(self, room: str) -> None:
        """End a room, with all that was said in it; for owners."""

    async def open_direct(self, user: str) -> Room:
        """Find or make the room that this user and another have for themselves, and invite the other to it."""

    async def tell(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Send an event to everyone who hears the room; for members.

        It is not kept: who is away misses it. A droppable one is the first to go when a reader is slow.
        """


class MessageVerbs(Protocol):
    """What a session can do with messages. Those that write return once that is durable."""

    async def send(
        self, room: str, *, text: str | None, body: Any, reply_to: str | None, client_id: str | None
    ) -> SendReply:
        """Store a message and give it to the room; for a `client_id` used before, give that message."""

    async def edit(self, room: str, message_id: str, *, text: str | None, body: Any) -> Message:
        """Change what a message says; for its author."""

    async def delete(self, room: str, message_id: str) -> Message:
        """Take a message back; for its author, moderators and owners."""

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Read a page of a room's log, oldest first."""

    async def mark_read(self, room: str, offset: int) -> None:
        """Note and tell up to which offset the user has read; going back is ignored."""


class PresenceVerbs(Protocol):
    """What a session can know and show of who is there."""

    async def of(self, users: list[str]) -> tuple[UserPresence, ...]:
        """Tell of each user whether it is there, in the order asked."""

    async def typing(self, room: str) -> None:
        """Show the room that the user is typing; it ends by itself after 6 seconds."""


class CredentialVerbs(Protocol):
    """What a session can do with the credential that it was opened with."""

    async def refresh(self, token: str) -> AuthReply:
        """Go on with another token of the same user: its scopes and its end are the connection's from now on.

        Raises `AuthenticationFailed` or one of its kind for a bad token, and `Forbidden` for another user's.
        """


class Session(Protocol):
    """One connection of one user."""

    connection: str
    user: str
    scopes: frozenset[str]

    @property
    def rooms(self) -> RoomVerbs:
        """Verbs for rooms."""

    @property
    def messages(self) -> MessageVerbs:
        """Verbs for messages."""

    @property
    def presence(self) -> PresenceVerbs:
        """Verbs for presence."""

    @property
    def credential(self) -> CredentialVerbs:
        """Verbs for the credential."""

    def now(self) -> str:
        """Give the gateway's time, as the protocol writes it."""

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Answer a message."""

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Answer a message with an error."""

    def charge(self, cost: float) -> None:
        """Have this message count as so many more: for a handler that makes the gateway work for milliseconds.

        One token stands for two milliseconds of a core; what the built-in verbs do is charged already.
        """

    def fail(self, id: int | str | None) -> None:
        """Log the exception that is being handled, and answer with a reference to it."""

    def tell(self, event: Event) -> None:
        """Send an event to this connection alone."""

    async def tell_everyone(self, event: Event) -> int:
        """Send an event to every connection, on all nodes; returns how many that were."""

    def hang_up(self, close: Close) -> None:
        """Say `bye` and close, once the message that is being handled has been answered."""


class MsgHandler(ABC, Generic[In, Out]):
    """Handles one type of message. Subclass it, set `schema`, write `handle`."""

    schema: type[In]
    scope: ClassVar[str | None] = None
    """The scope that a token needs for this message; None lets every user send it."""

    def __init__(self, session: Session, id: int | str | None, data: object) -> None:
        self.session = session
        self.id = id
        self.data = {} if data is None else data

    @abstractmethod
    async def handle(self, data: In) -> Out:
        """Do what the message asks and return the reply's data, or raise a `MessageError`."""

    async def run(self) -> None:
        """Answer the message: one reply or one error if it has an id, and errors also if not.

        Nothing is raised but what ends the connection. This is the one place that catches what a handler did not
        expect: a mistake in one message, in its reply or in its error must not end a connection.
        """
        try:
            try:
                reply = await self.handle(self._validated())
                if self.id is not None:
                    self.session.reply(self.id, reply)
            except MessageError as error:
                self.session.refuse(self.id, error)
        except BaseException as error:
            if ends_connection(error):
                raise
            self.session.fail(self.id)

    def _validated(self) -> In:
        if self.scope is not None and self.scope not in self.session.scopes:
            raise MissingScope(self.scope)
        try:
            # What `model_validate` does, without its questions about modes: this runs for every message.
            validated: In = self.schema.__pydantic_validator__.validate_python(self.data)
        except ValidationError as error:
            raise ValidationFailed.of(error, "data") from None
        return validated


class Refusal(MsgHandler[BaseModel, BaseModel]):
    """Stands in for a handler when a message has none: runs like one, and answers with the error."""

    def __init__(self, session: Session, id: int | str | None, error: BaseException) -> None:
        super().__init__(session, id, None)
        self.error = error

    async def handle(self, data: BaseModel) -> BaseModel:
        """Raise the error."""
        raise self.error

    def _validated(self) -> BaseModel:
        return Empty()


def ends_connection(error: BaseException) -> bool:
    """Return whether an error is none of a handler's making: the connection or the process is being stopped.

    A handler may raise `CancelledError` too, as when it waits for a task that another has cancelled. A library that it
    calls may raise `SystemExit`, which asyncio would let end the whole process.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        return True
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return True
    # A failed `TaskGroup` of Python 3.11 leaves a request behind, which would be taken for one of the next message.
    while task is not None and task.cancelling():
        task.uncancel()
    return False
