"""The messages, replies and events of a gateway, for `gateway_client`. `gateway export python` has made this file."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

from gateway_client.model import ClientMessage, Event, Root, Wire


class Empty(Wire):
    """No data, for a message that needs none or a reply that has none."""


class Position(Wire):
    """A client's position in a room's log: the highest `changed` that it has seen, and its epoch."""

    epoch: str
    offset: int


class AnnounceReply(Wire):
    """The number of connections that get the announcement."""

    reached: int


class AppendReply(Wire):
    """The piece is on disk. `length` is the text's length after it, in characters: the `at` of the next piece."""

    message_id: str
    changed: int
    length: int
    done: bool


class AuthReply(Wire):
    """The scopes of the connection from now on, and their end."""

    token_expires_at: str
    scopes: list[str]


class ErrorBody(Wire):
    """An error: the `status` and its `name` for programs, the `message` for people."""

    status: int
    name: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    details: list[FieldError] | None = None


class FieldError(Wire):
    """One wrong field of a message: a path such as `data.text`, and what the gateway expected there."""

    field: str
    message: str


class HistoryReply(Wire):
    """Messages, oldest first, and whether there are more in the requested direction."""

    messages: list[Message]
    has_more: bool


class JoinReply(Wire):
    """The position of the room's log, and its missed or newest messages.

    If `since` was sent and `recovered` is true, `events` has each message that has changed since, once, ordered by
    `changed`. Otherwise the reply has the newest messages, oldest first. `reason` says why the client cannot resume.
    """

    room: str
    epoch: str
    offset: int
    members: int
    recovered: bool | None = None
    reason: Literal["epoch_changed", "too_old", "too_many"] | str | None = None
    events: list[LogEvent] | None = None
    messages: list[Message] | None = None


class LogEvent(Wire):
    """A missed event of a room, in its live form."""

    type: Literal["chat.message", "chat.edited", "chat.deleted"] | str
    data: Message


class Member(Wire):
    """A member of a room with its presence.

    It has `last_seen` if it was connected before, and `custom_state` if it has set one in this room.
    """

    user: str
    role: Literal["owner", "moderator", "member"] | str
    state: Literal["online", "away", "offline"] | str
    last_seen: str | None = None
    custom_state: dict[str, Any] | None = None


class MembersReply(Wire):
    """A page of members. The last one has no `next_cursor`."""

    members: list[Member]
    next_cursor: str | None = None


class Message(Wire):
    """A message, as all listeners of the room see it.

    `offset` is its place in the room's log, and `changed` is the offset of its last event. They are equal until an edit
    or a deletion, or until the text grows. `done` says that it has grown to its end. The gateway sets everything but
    the content. Only the sender sees `client_id`.
    """

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    sender: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None
    sent_at: str
    edited_at: str | None = None
    done: Literal[True] | None = None
    deleted: bool


class MessageReply(Wire):
    """The message in its new state, which is now on disk."""

    message: Message


class PingReply(Wire):
    """The gateway's time, so that a client can correct its own clock."""

    server_time: str


class PresenceReply(Wire):
    """One entry per user, in the requested order."""

    users: list[UserPresence]


class RefusedRoom(Wire):
    """A room of a `room.resume` that the user cannot join, with the error that `room.join` would get."""

    room: str
    error: ErrorBody


class ResumeReply(Wire):
    """The rooms in the order of the request, as many as fit into one frame.

    If `has_more` is true, the client asks again for the missing ones. It does not hear them yet.
    """

    rooms: list[JoinReply | RefusedRoom]
    has_more: bool


class Room(Wire):
    """A room. Its log has an `epoch` of its own, and has reached `offset`.

    Members see `role` and `unread`; an invited user sees `invited`. `signals` is there, and false, if the room takes no
    signals.
    """

    name: str
    title: str | None = None
    private: bool
    direct: bool
    signals: bool | None = None
    epoch: str
    offset: int
    created_at: str
    role: Literal["owner", "moderator", "member"] | str | None = None
    invited: bool | None = None
    unread: int | None = None


class RoomReply(Wire):
    """The room of the request."""

    room: Room


class RoomsReply(Wire):
    """A page of rooms. The last one has no `next_cursor`."""

    rooms: list[Room]
    next_cursor: str | None = None


class SendReply(Wire):
    """The message, which is now on disk. `duplicate` says that an earlier send has stored it."""

    message: Message
    duplicate: bool


class UserPresence(Wire):
    """The presence of one user. An unknown user is offline and has no `last_seen`."""

    user: str
    state: Literal["online", "away", "offline"] | str
    last_seen: str | None = None


Reconnect: TypeAlias = Literal["never", "new_credential", "after_delay", "with_backoff"] | str


class Ping(ClientMessage[PingReply]):
    """Returns the gateway's time."""

    type: ClassVar[str] = "ping"


class Echo(ClientMessage[Any], Root):
    """Sends the data back."""

    type: ClassVar[str] = "echo"

    root: Any


class ByeMessage(ClientMessage[Empty]):
    """Closes the connection in order."""

    type: ClassVar[str] = "bye"


class CancelMessage(ClientMessage[Empty]):
    """Cancel an earlier message of this connection, which has this `id` and is in progress."""

    type: ClassVar[str] = "cancel"

    id: int | str


class Authenticate(ClientMessage[AuthReply]):
    """Log in a connection without a credential. It must be the first message."""

    type: ClassVar[str] = "auth"

    token: str


class RefreshAuth(ClientMessage[AuthReply]):
    """Replace the token by a newer one of the same user."""

    type: ClassVar[str] = "auth.refresh"

    token: str


class Announce(ClientMessage[AnnounceReply]):
    """Send an announcement to every connection."""

    type: ClassVar[str] = "announce"

    text: str | None = None
    body: Any = None


class CreateRoom(ClientMessage[RoomReply]):
    """Make a room and own it."""

    type: ClassVar[str] = "room.create"

    room: str
    title: str | None = None
    private: bool = False
    signals: bool = True


class JoinRoom(ClientMessage[JoinReply]):
    """Become a member, and listen to the room on this connection. `since` resumes from a position.

    The reply carries at most `limit` messages, for clients that take no long frames.
    """

    type: ClassVar[str] = "room.join"

    room: str
    since: Position | None = None
    limit: int | None = None


class ResumeRooms(ClientMessage[ResumeReply]):
    """Do for each of several rooms what `room.join` does. The names differ."""

    type: ClassVar[str] = "room.resume"

    rooms: list[JoinRoom]


class LeaveRoom(ClientMessage[Empty]):
    """End the membership on all of the user's connections, or decline an invitation."""

    type: ClassVar[str] = "room.leave"

    room: str


class ListRooms(ClientMessage[RoomsReply]):
    """List the public rooms, the user's own and its invitations, by name.

    `cursor` is the `next_cursor` of the page before.
    """

    type: ClassVar[str] = "room.list"

    cursor: str | None = None
    limit: int = 50


class ListMembers(ClientMessage[MembersReply]):
    """List the members of a room, by name. `cursor` is the `next_cursor` of the page before."""

    type: ClassVar[str] = "room.members"

    room: str
    cursor: str | None = None
    limit: int = 100


class InviteUser(ClientMessage[Empty]):
    """Invite another user to a room."""

    type: ClassVar[str] = "room.invite"

    room: str
    user: str


class KickUser(ClientMessage[Empty]):
    """End another user's membership, or take an invitation back."""

    type: ClassVar[str] = "room.kick"

    room: str
    user: str


class SetRole(ClientMessage[Empty]):
    """Change a member's role."""

    type: ClassVar[str] = "room.role"

    room: str
    user: str
    role: Literal["owner", "moderator", "member"]


class UpdateRoom(ClientMessage[RoomReply]):
    """Change a room's title, its privacy, or whether it takes signals."""

    type: ClassVar[str] = "room.update"

    room: str
    title: str | None = None
    private: bool | None = None
    signals: bool | None = None


class DeleteRoom(ClientMessage[Empty]):
    """Delete a room with all of its messages."""

    type: ClassVar[str] = "room.delete"

    room: str


class SendSignal(ClientMessage[Empty]):
    """Send the other listeners of a room something that matters only now, such as the place of a cursor."""

    type: ClassVar[str] = "room.signal"

    room: str
    name: str
    data: Any = None


class OpenDirect(ClientMessage[RoomReply]):
    """Open a private room with one other user."""

    type: ClassVar[str] = "direct.open"

    user: str


class SendMessage(ClientMessage[SendReply]):
    """Send a message to a room. The same `client_id` again, within 24 hours, stores nothing new."""

    type: ClassVar[str] = "chat.send"

    text: str | None = None
    body: Any = None
    room: str
    reply_to: str | None = None
    client_id: str | None = None


class AppendMessage(ClientMessage[AppendReply]):
    """Add text to the end of a message of one's own, which so grows piece by piece."""

    type: ClassVar[str] = "chat.append"

    text: str
    at: int | None = None
    done: bool = False
    room: str
    message_id: str


class EditMessage(ClientMessage[MessageReply]):
    """Change the content of a message."""

    type: ClassVar[str] = "chat.edit"

    text: str | None = None
    body: Any = None
    room: str
    message_id: str


class DeleteMessage(ClientMessage[MessageReply]):
    """Delete a message."""

    type: ClassVar[str] = "chat.delete"

    room: str
    message_id: str


class GetHistory(ClientMessage[HistoryReply]):
    """Read a page of a room's log: the messages `before` or `after` an offset, or the newest."""

    type: ClassVar[str] = "chat.history"

    room: str
    before: int | None = None
    after: int | None = None
    limit: int = 50


class MarkRead(ClientMessage[Empty]):
    """Mark the messages of a room as read, up to an offset."""

    type: ClassVar[str] = "chat.read"

    room: str
    offset: int


class StartTyping(ClientMessage[Empty]):
    """Show the other listeners that the user is typing. The display ends by itself."""

    type: ClassVar[str] = "chat.typing"

    room: str


class GetPresence(ClientMessage[PresenceReply]):
    """Ask for the presence of users."""

    type: ClassVar[str] = "presence.get"

    users: list[str]


class SetPresence(ClientMessage[Empty]):
    """Show the others in a room a state of your own, on this connection. A null `state` takes it back."""

    type: ClassVar[str] = "presence.set"

    room: str
    state: dict[str, Any] | None


class Welcome(Event):
    """The first frame of an accepted connection.

    `rooms` has the user's rooms and invitations by name if the client has asked for them. If there are more,
    `next_cursor` is the cursor of `room.list` behind the last one.
    """

    type: ClassVar[str] = "welcome"

    connection: str
    user: str
    scopes: list[str]
    server_time: str
    token_expires_at: str
    heartbeat_seconds: float
    max_message_bytes: int
    protocol: int
    rooms: list[Room] | None = None
    next_cursor: str | None = None


class TokenExpiring(Event):
    """The token ends at `token_expires_at`. The gateway closes the connection a little later."""

    type: ClassVar[str] = "token.expiring"

    token_expires_at: str


class Bye(Event):
    """The last frame before a close: its reason, and whether and when (`after_ms`) to come back."""

    type: ClassVar[str] = "bye"

    code: int
    reason: str
    reconnect: Reconnect
    after_ms: int | None = None


class Announcement(Event):
    """An administrator's announcement to every connection."""

    type: ClassVar[str] = "announcement"

    sender: str
    text: str | None = None
    body: Any = None
    sent_at: str


class ChatMessage(Event):
    """A user sent a message. All listeners of the room get it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    sender: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None
    sent_at: str
    edited_at: str | None = None
    done: Literal[True] | None = None
    deleted: bool


class ChatAppended(Event):
    """The text of a message has grown. `text` follows its first `at` characters. After `done`, it grows no more."""

    type: ClassVar[str] = "chat.appended"

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    at: int
    text: str
    done: Literal[True] | None = None


class ChatEdited(Event):
    """A user edited a message. The event has the whole message."""

    type: ClassVar[str] = "chat.edited"

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    sender: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None
    sent_at: str
    edited_at: str | None = None
    done: Literal[True] | None = None
    deleted: bool


class ChatDeleted(Event):
    """A user deleted a message. Its content is gone."""

    type: ClassVar[str] = "chat.deleted"

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    sender: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None
    sent_at: str
    edited_at: str | None = None
    done: Literal[True] | None = None
    deleted: bool


class ChatRead(Event):
    """A user has read the room up to an offset."""

    type: ClassVar[str] = "chat.read"

    room: str
    user: str
    offset: int


class ChatTyping(Event):
    """A user started (`typing` is true) or stopped typing."""

    type: ClassVar[str] = "chat.typing"

    room: str
    user: str
    typing: bool


class PresenceChanged(Event):
    """A member of a room is now online, away or offline, or has another custom state, or none any more."""

    type: ClassVar[str] = "presence.changed"

    room: str
    user: str
    state: Literal["online", "away", "offline"] | str
    custom_state: dict[str, Any] | None = None


class RoomJoined(Event):
    """A user became a member of a room."""

    type: ClassVar[str] = "room.joined"

    room: str
    user: str


class RoomLeft(Event):
    """A user's membership of a room ended. `by` names another user that has ended it.

    If an invitation ends, the invited user's connections get the same event.
    """

    type: ClassVar[str] = "room.left"

    room: str
    user: str
    by: str | None = None


class RoomInvited(Event):
    """Another user invites this one to a room. All connections of the invited user get it."""

    type: ClassVar[str] = "room.invited"

    room: Room
    by: str


class RoomAdded(Event):
    """A service has made this user a member of a room. All connections of the user get it, and may join the room."""

    type: ClassVar[str] = "room.added"

    room: Room
    by: str


class RoomRole(Event):
    """A member has another role."""

    type: ClassVar[str] = "room.role"

    room: str
    user: str
    role: Literal["owner", "moderator", "member"] | str


class RoomSignal(Event):
    """A user has sent a signal. No log keeps it, and a slow reader loses it first."""

    type: ClassVar[str] = "room.signal"

    room: str
    user: str
    name: str
    data: Any = None


class RoomUpdated(Event):
    """A room has another title, or its privacy or its signals have changed."""

    type: ClassVar[str] = "room.updated"

    room: Room


class RoomDeleted(Event):
    """A room was deleted with all of its messages."""

    type: ClassVar[str] = "room.deleted"

    room: str


class Resync(Event):
    """The gateway cannot deliver a room's messages without a gap. Join it anew, from its `epoch` and `offset`."""

    type: ClassVar[str] = "resync"

    room: str
    epoch: str
    offset: int


MESSAGES: dict[str, type[ClientMessage[Any]]] = {
    "ping": Ping,
    "echo": Echo,
    "bye": ByeMessage,
    "cancel": CancelMessage,
    "auth": Authenticate,
    "auth.refresh": RefreshAuth,
    "announce": Announce,
    "room.create": CreateRoom,
    "room.join": JoinRoom,
    "room.resume": ResumeRooms,
    "room.leave": LeaveRoom,
    "room.list": ListRooms,
    "room.members": ListMembers,
    "room.invite": InviteUser,
    "room.kick": KickUser,
    "room.role": SetRole,
    "room.update": UpdateRoom,
    "room.delete": DeleteRoom,
    "room.signal": SendSignal,
    "direct.open": OpenDirect,
    "chat.send": SendMessage,
    "chat.append": AppendMessage,
    "chat.edit": EditMessage,
    "chat.delete": DeleteMessage,
    "chat.history": GetHistory,
    "chat.read": MarkRead,
    "chat.typing": StartTyping,
    "presence.get": GetPresence,
    "presence.set": SetPresence,
}


EVENTS: dict[str, type[Event]] = {
    "welcome": Welcome,
    "token.expiring": TokenExpiring,
    "bye": Bye,
    "announcement": Announcement,
    "chat.message": ChatMessage,
    "chat.appended": ChatAppended,
    "chat.edited": ChatEdited,
    "chat.deleted": ChatDeleted,
    "chat.read": ChatRead,
    "chat.typing": ChatTyping,
    "presence.changed": PresenceChanged,
    "room.joined": RoomJoined,
    "room.left": RoomLeft,
    "room.invited": RoomInvited,
    "room.added": RoomAdded,
    "room.role": RoomRole,
    "room.signal": RoomSignal,
    "room.updated": RoomUpdated,
    "room.deleted": RoomDeleted,
    "resync": Resync,
}
