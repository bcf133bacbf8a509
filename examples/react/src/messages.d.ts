// Types of messages and events, as `gateway export typescript` writes them. Change nothing here.

/** Send an announcement to every connection. */
export type Announce = { text: string; body?: null } | { text?: null; body: {} };

/** Add text to the end of a message of one's own, which so grows piece by piece. */
export interface AppendMessage {
  text: string;
  at?: number | null;
  /** @default false */
  done?: boolean;
  room: string;
  message_id: string;
}

/** Ask the assistant in a room. */
export interface Ask {
  room: string;
  prompt: string;
}

/** Log in a connection without a credential. It must be the first message. */
export interface Authenticate {
  token: string;
}

/** Cancel an earlier message of this connection, which has this `id` and is in progress. */
export interface CancelMessage {
  id: number | string;
}

/** Make a room and own it. */
export interface CreateRoom {
  room: string;
  title?: string | null;
  /** @default false */
  private?: boolean;
  /** @default true */
  signals?: boolean;
}

/** Delete a message. */
export interface DeleteMessage {
  room: string;
  message_id: string;
}

/** Delete a room with all of its messages. */
export interface DeleteRoom {
  room: string;
}

/** Any JSON; it comes back unchanged. */
export type Echo = unknown;

/** Change the content of a message. */
export type EditMessage = {
  room: string;
  message_id: string;
} & ({ text: string; body?: null } | { text?: null; body: {} });

/** No data, for a message that needs none or a reply that has none. */
export type Empty = { [key: string]: never };

/** Read a page of a room's log: the messages `before` or `after` an offset, or the newest. */
export type GetHistory = {
  room: string;
  /** @default 50 */
  limit?: number;
} & ({ before?: null; after?: number | null } | { before?: number | null; after?: null });

/** Ask for the presence of users. */
export interface GetPresence {
  users: string[];
}

/** Invite another user to a room. */
export interface InviteUser {
  room: string;
  user: string;
}

/**
 * Become a member, and listen to the room on this connection. `since` resumes from a position.
 *
 * The reply carries at most `limit` messages, for clients that take no long frames.
 */
export interface JoinRoom {
  room: string;
  since?: Position | null;
  limit?: number | null;
}

/** End another user's membership, or take an invitation back. */
export interface KickUser {
  room: string;
  user: string;
}

/** End the membership on all of the user's connections, or decline an invitation. */
export interface LeaveRoom {
  room: string;
}

/** List the members of a room, by name. `cursor` is the `next_cursor` of the page before. */
export interface ListMembers {
  room: string;
  cursor?: string | null;
  /** @default 100 */
  limit?: number;
}

/**
 * List the public rooms, the user's own and its invitations, by name.
 *
 * `cursor` is the `next_cursor` of the page before.
 */
export interface ListRooms {
  cursor?: string | null;
  /** @default 50 */
  limit?: number;
}

/** Mark the messages of a room as read, up to an offset. */
export interface MarkRead {
  room: string;
  offset: number;
}

/** Open a private room with one other user. */
export interface OpenDirect {
  user: string;
}

/** A client's position in a room's log: the highest `changed` that it has seen, and its epoch. */
export interface Position {
  /** The `epoch` of the room's log. */
  epoch: string;
  /** The highest `changed` that the client has seen. */
  offset: number;
}

/** Replace the token by a newer one of the same user. */
export interface RefreshAuth {
  token: string;
}

/** Do for each of several rooms what `room.join` does. The names differ. */
export interface ResumeRooms {
  rooms: JoinRoom[];
}

/** Send a message to a room. The same `client_id` again, within 24 hours, stores nothing new. */
export type SendMessage = {
  room: string;
  /** The `id` of the message that this one answers. */
  reply_to?: string | null;
  /** A name of your own, so that a second send stores nothing. */
  client_id?: string | null;
} & ({ text: string; body?: null } | { text?: null; body: {} });

/** Send the other listeners of a room something that matters only now, such as the place of a cursor. */
export interface SendSignal {
  room: string;
  name: string;
  data?: unknown;
}

/** Show the others in a room a state of your own, on this connection. A null `state` takes it back. */
export interface SetPresence {
  room: string;
  state: { [key: string]: unknown } | null;
}

/** Change a member's role. */
export interface SetRole {
  room: string;
  user: string;
  role: "owner" | "moderator" | "member";
}

/** Show the other listeners that the user is typing. The display ends by itself. */
export interface StartTyping {
  room: string;
}

/** Change a room's title, its privacy, or whether it takes signals. */
export type UpdateRoom = {
  room: string;
} & (
  | { title: string; private?: boolean | null; signals?: boolean | null }
  | { title?: string | null; private: boolean; signals?: boolean | null }
  | { title?: string | null; private?: boolean | null; signals: boolean }
);

/** The number of connections that get the announcement. */
export interface AnnounceReply {
  reached: number;
}

/** An administrator's announcement to every connection. */
export type Announcement = {
  sender: string;
  sent_at: string;
} & ({ text: string; body?: null } | { text?: never; body: {} });

/** The prompt as a message, and the answer. Without a word of the model, there is no answer. */
export interface Answered {
  prompt_id: string;
  message_id?: string;
}

/** The piece is on disk. `length` is the text's length after it, in characters: the `at` of the next piece. */
export interface AppendReply {
  message_id: string;
  changed: number;
  length: number;
  done: boolean;
}

/** The scopes of the connection from now on, and their end. */
export interface AuthReply {
  token_expires_at: string;
  scopes: string[];
}

/** The last frame before a close: its reason, and whether and when (`after_ms`) to come back. */
export interface Bye {
  code: number;
  reason: string;
  reconnect: Reconnect;
  after_ms?: number;
}

/** The text of a message has grown. `text` follows its first `at` characters. After `done`, it grows no more. */
export interface ChatAppended {
  id: string;
  room: string;
  epoch: string;
  offset: number;
  changed: number;
  at: number;
  text: string;
  done?: true;
}

/** A user deleted a message. Its content is gone. */
export interface ChatDeleted {
  /** The name of the message, which stays the same when it changes. */
  id: string;
  room: string;
  /** The identity of the room's log. Another one means that the log has begun anew. */
  epoch: string;
  /** The place of the message in the room's log. */
  offset: number;
  /** The offset of the last event about it: a change is newer if this is higher. */
  changed: number;
  /** The name of a user, or `service:` and the name of a service. */
  sender: string;
  /** The content, unless `body` is. A deleted message has neither. */
  text?: string;
  /** The content, if it is JSON in place of a text. */
  body?: unknown;
  /** The `id` of the message that this one answers. */
  reply_to?: string;
  /** The sender's own name for it, which no other user sees. */
  client_id?: string;
  /** When the gateway stored it. */
  sent_at: string;
  /** When it was last edited. */
  edited_at?: string;
  /** There when a message that grew has come to its end. */
  done?: true;
  /** Whether it has been deleted. */
  deleted: boolean;
}

/** A user edited a message. The event has the whole message. */
export interface ChatEdited {
  /** The name of the message, which stays the same when it changes. */
  id: string;
  room: string;
  /** The identity of the room's log. Another one means that the log has begun anew. */
  epoch: string;
  /** The place of the message in the room's log. */
  offset: number;
  /** The offset of the last event about it: a change is newer if this is higher. */
  changed: number;
  /** The name of a user, or `service:` and the name of a service. */
  sender: string;
  /** The content, unless `body` is. A deleted message has neither. */
  text?: string;
  /** The content, if it is JSON in place of a text. */
  body?: unknown;
  /** The `id` of the message that this one answers. */
  reply_to?: string;
  /** The sender's own name for it, which no other user sees. */
  client_id?: string;
  /** When the gateway stored it. */
  sent_at: string;
  /** When it was last edited. */
  edited_at?: string;
  /** There when a message that grew has come to its end. */
  done?: true;
  /** Whether it has been deleted. */
  deleted: boolean;
}

/** A user sent a message. All listeners of the room get it, in the order of offsets. */
export interface ChatMessage {
  /** The name of the message, which stays the same when it changes. */
  id: string;
  room: string;
  /** The identity of the room's log. Another one means that the log has begun anew. */
  epoch: string;
  /** The place of the message in the room's log. */
  offset: number;
  /** The offset of the last event about it: a change is newer if this is higher. */
  changed: number;
  /** The name of a user, or `service:` and the name of a service. */
  sender: string;
  /** The content, unless `body` is. A deleted message has neither. */
  text?: string;
  /** The content, if it is JSON in place of a text. */
  body?: unknown;
  /** The `id` of the message that this one answers. */
  reply_to?: string;
  /** The sender's own name for it, which no other user sees. */
  client_id?: string;
  /** When the gateway stored it. */
  sent_at: string;
  /** When it was last edited. */
  edited_at?: string;
  /** There when a message that grew has come to its end. */
  done?: true;
  /** Whether it has been deleted. */
  deleted: boolean;
}

/** A user has read the room up to an offset. */
export interface ChatRead {
  room: string;
  user: string;
  offset: number;
}

/** A user started (`typing` is true) or stopped typing. */
export interface ChatTyping {
  room: string;
  user: string;
  typing: boolean;
}

/** An error: the `status` and its `name` for programs, the `message` for people. */
export interface ErrorBody {
  status: number;
  name: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
  details?: FieldError[];
}

/** One wrong field of a message: a path such as `data.text`, and what the gateway expected there. */
export interface FieldError {
  field: string;
  message: string;
}

/** Messages, oldest first, and whether there are more in the requested direction. */
export interface HistoryReply {
  messages: Message[];
  has_more: boolean;
}

/**
 * The position of the room's log, and its missed or newest messages.
 *
 * If `since` was sent and `recovered` is true, `events` has each message that has changed since, once, ordered by
 * `changed`. Otherwise the reply has the newest messages, oldest first. `reason` says why the client cannot resume.
 */
export type JoinReply = {
  room: string;
  epoch: string;
  offset: number;
  members: number;
  reason?: "epoch_changed" | "too_old" | "too_many";
} & (
  | { recovered: true; events: LogEvent[]; messages?: Message[] }
  | { recovered?: false; events?: LogEvent[]; messages: Message[] }
);

/** A missed event of a room, in its live form. */
export interface LogEvent {
  type: "chat.message" | "chat.edited" | "chat.deleted";
  data: Message;
}

/**
 * A member of a room with its presence.
 *
 * It has `last_seen` if it was connected before, and `custom_state` if it has set one in this room.
 */
export interface Member {
  user: string;
  role: "owner" | "moderator" | "member";
  state: "online" | "away" | "offline";
  last_seen?: string;
  custom_state?: { [key: string]: unknown };
}

/** A page of members. The last one has no `next_cursor`. */
export interface MembersReply {
  members: Member[];
  next_cursor?: string;
}

/**
 * A message, as all listeners of the room see it.
 *
 * `offset` is its place in the room's log, and `changed` is the offset of its last event. They are equal until an edit
 * or a deletion, or until the text grows. `done` says that it has grown to its end. The gateway sets everything but
 * the content. Only the sender sees `client_id`.
 */
export interface Message {
  /** The name of the message, which stays the same when it changes. */
  id: string;
  room: string;
  /** The identity of the room's log. Another one means that the log has begun anew. */
  epoch: string;
  /** The place of the message in the room's log. */
  offset: number;
  /** The offset of the last event about it: a change is newer if this is higher. */
  changed: number;
  /** The name of a user, or `service:` and the name of a service. */
  sender: string;
  /** The content, unless `body` is. A deleted message has neither. */
  text?: string;
  /** The content, if it is JSON in place of a text. */
  body?: unknown;
  /** The `id` of the message that this one answers. */
  reply_to?: string;
  /** The sender's own name for it, which no other user sees. */
  client_id?: string;
  /** When the gateway stored it. */
  sent_at: string;
  /** When it was last edited. */
  edited_at?: string;
  /** There when a message that grew has come to its end. */
  done?: true;
  /** Whether it has been deleted. */
  deleted: boolean;
}

/** The message in its new state, which is now on disk. */
export interface MessageReply {
  message: Message;
}

/** The gateway's time, so that a client can correct its own clock. */
export interface PingReply {
  server_time: string;
}

/** A member of a room is now online, away or offline, or has another custom state, or none any more. */
export interface PresenceChanged {
  room: string;
  user: string;
  state: "online" | "away" | "offline";
  custom_state?: { [key: string]: unknown };
}

/** One entry per user, in the requested order. */
export interface PresenceReply {
  users: UserPresence[];
}

/** The client's next step after a close. */
export type Reconnect = "never" | "new_credential" | "after_delay" | "with_backoff";

/** A room of a `room.resume` that the user cannot join, with the error that `room.join` would get. */
export interface RefusedRoom {
  room: string;
  error: ErrorBody;
}

/**
 * The rooms in the order of the request, as many as fit into one frame.
 *
 * If `has_more` is true, the client asks again for the missing ones. It does not hear them yet.
 */
export interface ResumeReply {
  rooms: (JoinReply | RefusedRoom)[];
  has_more: boolean;
}

/** The gateway cannot deliver a room's messages without a gap. Join it anew, from its `epoch` and `offset`. */
export interface Resync {
  room: string;
  epoch: string;
  offset: number;
}

/**
 * A room. Its log has an `epoch` of its own, and has reached `offset`.
 *
 * Members see `role` and `unread`; an invited user sees `invited`. `signals` is there, and false, if the room takes no
 * signals.
 */
export interface Room {
  name: string;
  title?: string;
  private: boolean;
  direct: boolean;
  signals?: boolean;
  epoch: string;
  offset: number;
  created_at: string;
  role?: "owner" | "moderator" | "member";
  invited?: boolean;
  unread?: number;
}

/** A service has made this user a member of a room. All connections of the user get it, and may join the room. */
export interface RoomAdded {
  room: Room;
  by: string;
}

/** A room was deleted with all of its messages. */
export interface RoomDeleted {
  room: string;
}

/** Another user invites this one to a room. All connections of the invited user get it. */
export interface RoomInvited {
  room: Room;
  by: string;
}

/** A user became a member of a room. */
export interface RoomJoined {
  room: string;
  user: string;
}

/**
 * A user's membership of a room ended. `by` names another user that has ended it.
 *
 * If an invitation ends, the invited user's connections get the same event.
 */
export interface RoomLeft {
  room: string;
  user: string;
  by?: string;
}

/** The room of the request. */
export interface RoomReply {
  room: Room;
}

/** A member has another role. */
export interface RoomRole {
  room: string;
  user: string;
  role: "owner" | "moderator" | "member";
}

/** A user has sent a signal. No log keeps it, and a slow reader loses it first. */
export interface RoomSignal {
  room: string;
  user: string;
  name: string;
  data?: unknown;
}

/** A room has another title, or its privacy or its signals have changed. */
export interface RoomUpdated {
  room: Room;
}

/** A page of rooms. The last one has no `next_cursor`. */
export interface RoomsReply {
  rooms: Room[];
  next_cursor?: string;
}

/** The message, which is now on disk. `duplicate` says that an earlier send has stored it. */
export interface SendReply {
  message: Message;
  duplicate: boolean;
}

/** The token ends at `token_expires_at`. The gateway closes the connection a little later. */
export interface TokenExpiring {
  token_expires_at: string;
}

/** The presence of one user. An unknown user is offline and has no `last_seen`. */
export interface UserPresence {
  user: string;
  state: "online" | "away" | "offline";
  last_seen?: string;
}

/**
 * The first frame of an accepted connection.
 *
 * `rooms` has the user's rooms and invitations by name if the client has asked for them. If there are more,
 * `next_cursor` is the cursor of `room.list` behind the last one.
 */
export interface Welcome {
  connection: string;
  user: string;
  scopes: string[];
  server_time: string;
  token_expires_at: string;
  heartbeat_seconds: number;
  max_message_bytes: number;
  protocol: number;
  rooms?: Room[];
  next_cursor?: string;
}

/** The gateway's own messages, by type. */
export interface GatewayMessages {
  /** Returns the gateway's time. */
  "ping": { data: Empty; reply: PingReply };
  /** Sends the data back. */
  "echo": { data: Echo; reply: Echo };
  /** Closes the connection in order. */
  "bye": { data: Empty; reply: Empty };
  /** Cancels an unordered message in progress. */
  "cancel": { data: CancelMessage; reply: Empty };
  /** Refuses a second log-in. A first message `auth` never reaches this handler: the handshake reads it. */
  "auth": { data: Authenticate; reply: AuthReply };
  /** Keeps a connection beyond the end of its token. */
  "auth.refresh": { data: RefreshAuth; reply: AuthReply };
  /**
   * Sends an announcement to every connection.
   *
   * The token needs the scope `admin`.
   */
  "announce": { data: Announce; reply: AnnounceReply };
  /**
   * Makes a room that the user owns.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.create": { data: CreateRoom; reply: RoomReply };
  /**
   * Makes the user a member of a room, and this connection a listener.
   *
   * The token needs the scope `chat:read`.
   */
  "room.join": { data: JoinRoom; reply: JoinReply };
  /**
   * Joins many rooms at once, as a client does that comes back.
   *
   * The token needs the scope `chat:read`.
   */
  "room.resume": { data: ResumeRooms; reply: ResumeReply };
  /**
   * Ends a membership on all of the user's connections, or declines an invitation.
   *
   * The token needs the scope `chat:read`.
   */
  "room.leave": { data: LeaveRoom; reply: Empty };
  /**
   * Lists the rooms that the user may see.
   *
   * The token needs the scope `chat:read`.
   */
  "room.list": { data: ListRooms; reply: RoomsReply };
  /**
   * Lists the members of a room.
   *
   * The token needs the scope `chat:read`.
   */
  "room.members": { data: ListMembers; reply: MembersReply };
  /**
   * Invites another user to a room.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.invite": { data: InviteUser; reply: Empty };
  /**
   * Ends another user's membership, or takes an invitation back.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.kick": { data: KickUser; reply: Empty };
  /**
   * Changes a member's role.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.role": { data: SetRole; reply: Empty };
  /**
   * Changes a room's title, whether it is private, or whether it takes signals.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.update": { data: UpdateRoom; reply: RoomReply };
  /**
   * Deletes a room with all of its messages.
   *
   * The token needs the scope `rooms:manage`.
   */
  "room.delete": { data: DeleteRoom; reply: Empty };
  /**
   * Sends a signal to the other listeners of a room.
   *
   * The token needs the scope `chat:write`.
   */
  "room.signal": { data: SendSignal; reply: Empty };
  /**
   * Opens the private room of two users.
   *
   * The token needs the scope `chat:write`.
   */
  "direct.open": { data: OpenDirect; reply: RoomReply };
  /**
   * Sends a message to a room.
   *
   * The token needs the scope `chat:write`.
   */
  "chat.send": { data: SendMessage; reply: SendReply };
  /**
   * Adds text to the end of a message: pieces are taken in their order, and answered when they are on disk.
   *
   * So a client may send the next piece, and anything else, while a piece waits for others to share its change.
   *
   * The token needs the scope `chat:write`.
   */
  "chat.append": { data: AppendMessage; reply: AppendReply };
  /**
   * Changes the content of a message.
   *
   * The token needs the scope `chat:write`.
   */
  "chat.edit": { data: EditMessage; reply: MessageReply };
  /**
   * Deletes a message.
   *
   * The token needs the scope `chat:write`.
   */
  "chat.delete": { data: DeleteMessage; reply: MessageReply };
  /**
   * Reads a page of a room's log.
   *
   * The token needs the scope `chat:read`.
   */
  "chat.history": { data: GetHistory; reply: HistoryReply };
  /**
   * Marks the messages of a room as read, up to an offset.
   *
   * The token needs the scope `chat:read`.
   */
  "chat.read": { data: MarkRead; reply: Empty };
  /**
   * Shows a room that the user is typing.
   *
   * The token needs the scope `chat:write`.
   */
  "chat.typing": { data: StartTyping; reply: Empty };
  /**
   * Returns the presence of users.
   *
   * The token needs the scope `chat:read`.
   */
  "presence.get": { data: GetPresence; reply: PresenceReply };
  /**
   * Shows the others in a room a state of the user's own.
   *
   * The token needs the scope `chat:write`.
   */
  "presence.set": { data: SetPresence; reply: Empty };
}

/** The data of the gateway's own events, by type. */
export interface GatewayEvents {
  /**
   * The first frame of an accepted connection.
   *
   * `rooms` has the user's rooms and invitations by name if the client has asked for them. If there are more,
   * `next_cursor` is the cursor of `room.list` behind the last one.
   */
  "welcome": Welcome;
  /** The token ends at `token_expires_at`. The gateway closes the connection a little later. */
  "token.expiring": TokenExpiring;
  /** The last frame before a close: its reason, and whether and when (`after_ms`) to come back. */
  "bye": Bye;
  /** An administrator's announcement to every connection. */
  "announcement": Announcement;
  /** A user sent a message. All listeners of the room get it, in the order of offsets. */
  "chat.message": ChatMessage;
  /** The text of a message has grown. `text` follows its first `at` characters. After `done`, it grows no more. */
  "chat.appended": ChatAppended;
  /** A user edited a message. The event has the whole message. */
  "chat.edited": ChatEdited;
  /** A user deleted a message. Its content is gone. */
  "chat.deleted": ChatDeleted;
  /** A user has read the room up to an offset. */
  "chat.read": ChatRead;
  /** A user started (`typing` is true) or stopped typing. */
  "chat.typing": ChatTyping;
  /** A member of a room is now online, away or offline, or has another custom state, or none any more. */
  "presence.changed": PresenceChanged;
  /** A user became a member of a room. */
  "room.joined": RoomJoined;
  /**
   * A user's membership of a room ended. `by` names another user that has ended it.
   *
   * If an invitation ends, the invited user's connections get the same event.
   */
  "room.left": RoomLeft;
  /** Another user invites this one to a room. All connections of the invited user get it. */
  "room.invited": RoomInvited;
  /** A service has made this user a member of a room. All connections of the user get it, and may join the room. */
  "room.added": RoomAdded;
  /** A member has another role. */
  "room.role": RoomRole;
  /** A user has sent a signal. No log keeps it, and a slow reader loses it first. */
  "room.signal": RoomSignal;
  /** A room has another title, or its privacy or its signals have changed. */
  "room.updated": RoomUpdated;
  /** A room was deleted with all of its messages. */
  "room.deleted": RoomDeleted;
  /** The gateway cannot deliver a room's messages without a gap. Join it anew, from its `epoch` and `offset`. */
  "resync": Resync;
}

/** The statuses of the gateway's own errors, by name. */
export interface GatewayErrors {
  /** not JSON, not an object, binary and not empty, or nested too deep */
  "bad_frame": 40000;
  /** no credential, a bad one, or an unknown `service` */
  "authentication_failed": 40001;
  /** no handler for this `type`; the message names the nearest known ones */
  "unknown_type": 40002;
  /** the token has expired */
  "token_expired": 40101;
  /** the token's session has ended, or its user was disabled or deleted */
  "token_revoked": 40102;
  /** a scope, a role or a right by room is missing, and the message names it; or the page's origin is not allowed */
  "forbidden": 40300;
  /** the room exists and the user is not in it */
  "not_a_member": 40301;
  /** a user or a room has as many of something as allowed */
  "quota_exceeded": 40302;
  /** no such room, message or user; or nothing to cancel */
  "not_found": 40400;
  /** exists already, or changed meanwhile; or the `id` of an unordered message in progress */
  "conflict": 40900;
  /** an offset beyond the end of the room's log */
  "position_lost": 41000;
  /** the message is over the limit; the error says both sizes */
  "too_large": 41300;
  /** `details` lists the wrong fields, never the sender's input */
  "validation_failed": 42200;
  /** `retry_after_ms` says when to try again, where time helps */
  "rate_limited": 42900;
  /** the client has cancelled the message; part of its work may be done */
  "cancelled": 49900;
  /** the error's message has the request id to quote */
  "internal_error": 50000;
  /** the service behind this type failed, or answered wrongly; it may have done the work, unless `message` says that it was not asked */
  "upstream_failed": 50200;
  /** the store or the token's outside service is down or overloaded; nothing was accepted */
  "unavailable": 50300;
  /** the service or the handler behind this type took too long; it may have done the work */
  "upstream_timeout": 50400;
}

/** The application's messages, by type. */
export interface OwnMessages {
  /**
   * Streams the answer to the asker, and lets it grow in the room.
   *
   * The token needs the scope `chat:write`.
   */
  "assistant.ask": { data: Ask; reply: Answered; whole: { text?: string; items?: unknown[]; prompt_id: string; message_id?: string }; chunk: unknown };
}

/** The data of the application's events, by type. */
export interface OwnEvents {
}

/** The statuses of the application's errors, by name. */
export interface OwnErrors {
  /** The service is down, too slow, or does not say what it should. */
  "assistant_unavailable": 60001;
  /** The service has too much to do. */
  "assistant_busy": 60002;
}

declare module "gateway-client" {
  interface Messages extends OwnMessages {}
  interface Events extends OwnEvents {}
}
