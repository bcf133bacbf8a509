"""A session without a connection, to test a handler alone.

session = FakeSession(user="alice")
session.answers["rooms.role"] = "owner"
await session.run(MyHandler, {"room": "lobby"})
assert session.replies == [(1, MyReply())]
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from pydantic import BaseModel

from gateway.core.clock import milliseconds
from gateway.testing.clock import MovableClock
from gateway.transport import frames
from gateway.transport.chunks import Chunks
from handlers.base import MsgHandler, State
from handlers.errors import MessageError
from handlers.streaming import Chunk, Reply
from schemas.base import Event, timestamp
from schemas.codes import Close
from schemas.events.rooms import RoomSignal
from schemas.messages.auth import AuthReply
from schemas.messages.chat import AppendReply, HistoryReply, Message, SendReply
from schemas.messages.presence import SetPresence, UserPresence
from schemas.messages.rooms import (
    JoinReply,
    JoinRoom,
    Member,
    MembersReply,
    Position,
    ResumeReply,
    Role,
    Room,
    RoomsReply,
)
from schemas.messages.upstream import UpstreamReply

EPOCH = "epoch"
MAX_ANSWER_BYTES = 262_144
SENT_AT = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Call:
    """A verb that a handler has called, such as `rooms.join`, and its arguments by name."""

    verb: str
    arguments: dict[str, Any]


Answer = TypeVar("Answer")


class Answers(dict[str, Any]):
    """What verbs return, by name. An exception is raised instead. A verb without an entry returns a default."""

    def __setitem__(self, verb: str, answer: object) -> None:
        """Set an answer, or raise `KeyError` for a verb that no session has."""
        group, _, name = verb.rpartition(".")
        if not callable(getattr(_GROUPS.get(group), name, None)):
            raise KeyError(f"expected a verb of a session such as `rooms.join`, got {verb!r}")
        super().__setitem__(verb, answer)


class Recorder:
    """Records the calls of verbs, and finds their answers."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers = Answers()

    def record(self, verb: str, default: Answer, /, **arguments: Any) -> Answer:
        """Record a call, then return or raise its answer."""
        self.calls.append(Call(verb, arguments))
        answer: Answer = self.answers.get(verb, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class FakeVerbs:
    """The base of the groups of verbs."""

    def __init__(self, recorder: Recorder, user: str) -> None:
        self._record = recorder.record
        self._user = user


class FakeRooms(FakeVerbs):
    """The verbs for rooms. By default each one succeeds, and the user owns every room."""

    async def create(self, room: str, *, title: str | None, private: bool, signals: bool = True) -> Room:
        """Return a room of this name."""
        made = a_room(room, title=title, private=private, signals=signals)
        return self._record("rooms.create", made, room=room, title=title, private=private, signals=signals)

    async def join(self, room: str, *, since: Position | None = None, limit: int | None = None) -> JoinReply:
        """Return the position of an empty room."""
        return self._record("rooms.join", an_empty_log(room), room=room, since=since, limit=limit)

    async def resume(self, rooms: Sequence[JoinRoom]) -> ResumeReply:
        """Return the positions of empty rooms."""
        reply = ResumeReply(rooms=tuple(an_empty_log(each.room) for each in rooms))
        return self._record("rooms.resume", reply, rooms=rooms)

    async def leave(self, room: str) -> None:
        """Record the call."""
        self._record("rooms.leave", None, room=room)

    async def list(self, *, cursor: str | None, limit: int) -> RoomsReply:
        """Return an empty page."""
        return self._record("rooms.list", RoomsReply(rooms=()), cursor=cursor, limit=limit)

    async def role(self, room: str) -> Role:
        """Return `owner`."""
        owner: Role = "owner"
        return self._record("rooms.role", owner, room=room)

    async def members(self, room: str, *, cursor: str | None, limit: int) -> MembersReply:
        """Return a page with this user alone."""
        page = MembersReply(members=(Member(user=self._user, role="owner", state="online"),))
        return self._record("rooms.members", page, room=room, cursor=cursor, limit=limit)

    async def invite(self, room: str, user: str) -> None:
        """Record the call."""
        self._record("rooms.invite", None, room=room, user=user)

    async def kick(self, room: str, user: str) -> None:
        """Record the call."""
        self._record("rooms.kick", None, room=room, user=user)

    async def set_role(self, room: str, user: str, role: Role) -> None:
        """Record the call."""
        self._record("rooms.set_role", None, room=room, user=user, role=role)

    async def update(self, room: str, *, title: str | None, private: bool | None, signals: bool | None = None) -> Room:
        """Return the room with these values."""
        updated = a_room(room, title=title, private=bool(private), signals=signals is not False)
        return self._record("rooms.update", updated, room=room, title=title, private=private, signals=signals)

    async def delete(self, room: str) -> None:
        """Record the call."""
        self._record("rooms.delete", None, room=room)

    async def open_direct(self, user: str) -> Room:
        """Return a private room."""
        direct = a_room(f"@{user}", title=None, private=True, direct=True)
        return self._record("rooms.open_direct", direct, user=user)

    async def publish(self, room: str, event: Event, *, droppable: bool = False) -> None:
        """Record the call with its event."""
        frames.event(event)
        self._record("rooms.publish", None, room=room, event=event, droppable=droppable)

    async def signal(self, room: str, name: str, data: Any = None) -> None:
        """Record the call. Raise what the gateway raises for a name or data that no signal has."""
        frames.event(RoomSignal(room=room, user=self._user, name=name, data=data))
        self._record("rooms.signal", None, room=room, name=name, data=data)


class FakeMessages(FakeVerbs):
    """The verbs for messages. By default each one succeeds."""

    async def send(
        self, room: str, *, text: str | None, body: Any, reply_to: str | None, client_id: str | None
    ) -> SendReply:
        """Return the message, as the first of its room."""
        content = {"text": text, "body": body, "reply_to": reply_to, "client_id": client_id}
        reply = SendReply(message=self._message(room, **content))
        return self._record("messages.send", reply, room=room, **content)

    async def edit(self, room: str, message_id: str, *, text: str | None, body: Any) -> Message:
        """Return the edited message."""
        edited = self._message(room, id=message_id, text=text, body=body, edited_at=SENT_AT)
        return self._record("messages.edit", edited, room=room, message_id=message_id, text=text, body=body)

    async def begin_append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> Awaitable[AppendReply]:
        """Record the call as `messages.append`, and return its answer as a future."""
        future: asyncio.Future[AppendReply] = asyncio.get_running_loop().create_future()
        future.set_result(await self.append(room, message_id, text, at=at, done=done))
        return future

    async def append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> AppendReply:
        """Return the length after the piece, of a message that had the length `at`."""
        reply = AppendReply(message_id=message_id, changed=2, length=(at or 0) + len(text), done=done)
        piece = {"text": text, "at": at, "done": done}
        return self._record("messages.append", reply, room=room, message_id=message_id, **piece)

    async def delete(self, room: str, message_id: str) -> Message:
        """Return the message without its content."""
        deleted = self._message(room, id=message_id, deleted=True)
        return self._record("messages.delete", deleted, room=room, message_id=message_id)

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Return an empty page."""
        page = HistoryReply(messages=(), has_more=False)
        return self._record("messages.history", page, room=room, before=before, after=after, limit=limit)

    async def mark_read(self, room: str, offset: int) -> None:
        """Record the call."""
        self._record("messages.mark_read", None, room=room, offset=offset)

    def _message(self, room: str, id: str = f"{EPOCH}.1", **parts: Any) -> Message:
        return Message(
            id=id, room=room, epoch=EPOCH, offset=1, changed=1, sender=self._user, **{"sent_at": SENT_AT} | parts
        )


class FakePresence(FakeVerbs):
    """The verbs for presence. By default every user is online."""

    async def get(self, users: list[str]) -> tuple[UserPresence, ...]:
        """Return each user as online."""
        online = tuple(UserPresence(user=user, state="online") for user in users)
        return self._record("presence.get", online, users=users)

    async def typing(self, room: str) -> None:
        """Record the call."""
        self._record("presence.typing", None, room=room)

    async def set(self, room: str, state: dict[str, Any] | None) -> None:
        """Record the call. Raise what the gateway raises for a state that is too long, or no JSON."""
        frames.json(SetPresence(room=room, state=state))
        self._record("presence.set", None, room=room, state=state)


class FakeCredential(FakeVerbs):
    """The verbs for the credential. By default a token is good, and has no scopes."""

    async def refresh(self, token: str) -> AuthReply:
        """Return the reply for a good token."""
        reply = AuthReply(token_expires_at=SENT_AT, scopes=())
        return self._record("credential.refresh", reply, token=token)


class FakeUpstream(FakeVerbs):
    """The verbs for the services behind routes. By default each service answers with the data that it got."""

    async def call(self, type: str, data: dict[str, Any], *, id: int | str | None = None) -> UpstreamReply:
        """Return the data."""
        return self._record("upstream.call", UpstreamReply(data), type=type, data=data, id=id)

    async def stream(
        self, type: str, data: dict[str, Any], *, id: int | str | None = None, asks_for_stream: bool = True
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the data as the reply, or what the answer lists."""
        given = self._record("upstream.stream", [Reply(UpstreamReply(data))], type=type, data=data, id=id)
        for part in given:
            yield part


class FakeSession(Generic[State]):
    """A session that records what a handler does, in the order in which the handler does it.

    `replies` and `refusals` are the answers with their ids, and `chunks` is what a handler has streamed before them.
    `events` is what this connection got alone, and `published` is what all got. `calls` has the verbs of `rooms`,
    `messages`, `presence`, `credential` and `upstream`.
    """

    @overload
    def __init__(self: "FakeSession[None]", *, user: str = ..., scopes: Iterable[str] = ...) -> None: ...
    @overload
    def __init__(self, *, user: str = ..., scopes: Iterable[str] = ..., state: State) -> None: ...
    def __init__(self, *, user: str = "alice", scopes: Iterable[str] = (), state: Any = None) -> None:
        self.connection = "test"
        self.max_answer_bytes = MAX_ANSWER_BYTES
        self.user = user
        self.scopes = frozenset(scopes)
        self.state: State = state
        self.clock = MovableClock()
        self.replies: list[tuple[int | str, BaseModel]] = []
        self.chunks: list[tuple[int | str, object]] = []
        self.refusals: list[tuple[int | str | None, MessageError]] = []
        self.events: list[Event] = []
        self.published: list[Event] = []
        self.charged = 0.0
        self.closed: Close | None = None
        self._recorder = Recorder()
        self.calls = self._recorder.calls
        self.answers = self._recorder.answers
        self.rooms = FakeRooms(self._recorder, user)
        self.messages = FakeMessages(self._recorder, user)
        self.presence = FakePresence(self._recorder, user)
        self.credential = FakeCredential(self._recorder, user)
        self.upstream = FakeUpstream(self._recorder, user)

    async def run(
        self,
        handler: type[MsgHandler[Any, Any, State]],
        data: object = None,
        id: int | str = 1,
        *,
        stream: bool = False,
    ) -> None:
        """Let a handler answer a message, as the gateway does: with its check of `data` and of scopes.

        With `stream`, the client has asked for chunks.
        """
        made = handler(self, id, data)
        made.stream = stream
        await made.run()

    def now(self) -> str:
        """Return the time of `clock` in the protocol's form."""
        return timestamp(milliseconds(self.clock))

    async def run_unordered(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer the message at once."""
        await answer()

    async def answer_later(
        self, handler: MsgHandler[Any, Any], answer: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Answer the message at once."""
        await answer()

    def reply(self, id: int | str, data: BaseModel) -> None:
        """Record a reply. Raise what the gateway raises for data that is no JSON."""
        frames.reply(id, data)
        self.replies.append((id, data))

    async def send_chunk(self, id: int | str, data: object) -> None:
        """Record a chunk. Raise what the gateway raises for data that is no JSON."""
        Chunks(id, self.max_answer_bytes).next_frame(frames.json(data))
        self.chunks.append((id, data))

    def cancel(self, id: int | str) -> None:
        """Record that an earlier message is to be cancelled."""
        self._recorder.record("cancel", None, id=id)

    def refuse(self, id: int | str | None, error: MessageError) -> None:
        """Record an error."""
        self.refusals.append((id, error))

    def charge(self, cost: float) -> None:
        """Add to `charged`."""
        self.charged += cost

    def fail(self, id: int | str | None) -> None:
        """Raise the handler's unexpected exception again, so that the test shows it."""
        raise

    def send_event(self, event: Event) -> None:
        """Record an event for this connection."""
        frames.event(event)
        self.events.append(event)

    def flush(self) -> None:
        """Record the call: `events` has each event at once."""
        self._recorder.record("flush", None)

    async def publish_to_all(self, event: Event) -> int:
        """Record an event for all, and return 1 or the answer."""
        frames.event(event)
        self.published.append(event)
        return self._recorder.record("publish_to_all", 1, event=event)

    def close_after_reply(self, close: Close) -> None:
        """Record how the connection ends."""
        self.closed = close


def an_empty_log(room: str) -> JoinReply:
    """Return what a join of an empty room replies."""
    return JoinReply(room=room, epoch=EPOCH, offset=0, members=1, messages=())


def a_room(name: str, *, title: str | None, private: bool, direct: bool = False, signals: bool = True) -> Room:
    """Return a new room that the user owns."""
    return Room(
        name=name,
        title=title,
        private=private,
        direct=direct,
        signals=None if signals else False,
        epoch=EPOCH,
        offset=0,
        created_at=SENT_AT,
        role="owner",
    )


_GROUPS: dict[str, type] = {
    "": FakeSession,
    "rooms": FakeRooms,
    "messages": FakeMessages,
    "presence": FakePresence,
    "credential": FakeCredential,
    "upstream": FakeUpstream,
}
