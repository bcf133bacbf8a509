// The gateway's own messages and events, as `gateway export typescript` writes them.

export interface Position { epoch: string; offset: number }

export interface Message {
  id: string;
  room: string;
  epoch: string;
  offset: number;
  changed: number;
  sender: string;
  text?: string;
  body?: unknown;
  reply_to?: string;
  client_id?: string;
  sent_at: string;
  edited_at?: string;
  done?: true;
  deleted: boolean;
}

export interface Room {
  name: string;
  title?: string;
  private: boolean;
  direct: boolean;
  signals?: boolean;
  epoch: string;
  offset: number;
  created_at: string;
  role?: Role;
  invited?: boolean;
  unread?: number;
}

export type Role = "owner" | "moderator" | "member";
export type PresenceState = "online" | "away" | "offline";

export interface Member { user: string; role: Role; state: PresenceState; last_seen?: string; custom_state?: Record<string, unknown> }
export interface UserPresence { user: string; state: PresenceState; last_seen?: string }

export interface ErrorBody {
  status: number;
  name: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
  details?: { field: string; message: string }[];
}

export type LogEvent = { type: "chat.message" | "chat.edited" | "chat.deleted"; data: Message };

export interface JoinRoom { room: string; since?: Position; limit?: number }

export interface JoinReply {
  room: string;
  epoch: string;
  offset: number;
  members: number;
  recovered?: boolean;
  reason?: "epoch_changed" | "too_old" | "too_many";
  events?: LogEvent[];
  messages?: Message[];
}

export interface RefusedRoom { room: string; error: ErrorBody }
export interface ResumeReply { rooms: (JoinReply | RefusedRoom)[]; has_more: boolean }
export interface SendReply { message: Message; duplicate: boolean }
export interface MessageReply { message: Message }
export interface AppendReply { message_id: string; changed: number; length: number; done: boolean }
export interface HistoryReply { messages: Message[]; has_more: boolean }
export interface AuthReply { token_expires_at: string; scopes: string[] }
export interface RoomReply { room: Room }
export interface RoomsReply { rooms: Room[]; next_cursor?: string }
export interface MembersReply { members: Member[]; next_cursor?: string }
export interface PresenceReply { users: UserPresence[] }
export interface ChatAppended {
  id: string; room: string; epoch: string; offset: number; changed: number; at: number; text: string; done?: true;
}

type Content = { text: string; body?: never } | { body: unknown; text?: never };
type Nothing = Record<string, never>;

export interface GatewayMessages {
  "ping": { data: Nothing; reply: { server_time: string } };
  "echo": { data: unknown; reply: unknown };
  "bye": { data: Nothing; reply: Nothing };
  "cancel": { data: { id: string | number }; reply: Nothing };
  "auth": { data: { token: string }; reply: AuthReply };
  "auth.refresh": { data: { token: string }; reply: AuthReply };
  "room.create": { data: { room: string; title?: string; private?: boolean; signals?: boolean }; reply: RoomReply };
  "room.join": { data: JoinRoom; reply: JoinReply };
  "room.resume": { data: { rooms: JoinRoom[] }; reply: ResumeReply };
  "room.leave": { data: { room: string }; reply: Nothing };
  "room.list": { data: { cursor?: string; limit?: number }; reply: RoomsReply };
  "room.members": { data: { room: string; cursor?: string; limit?: number }; reply: MembersReply };
  "room.invite": { data: { room: string; user: string }; reply: Nothing };
  "room.kick": { data: { room: string; user: string }; reply: Nothing };
  "room.role": { data: { room: string; user: string; role: Role }; reply: Nothing };
  "room.update": { data: { room: string; title?: string; private?: boolean; signals?: boolean }; reply: RoomReply };
  "room.delete": { data: { room: string }; reply: Nothing };
  "room.signal": { data: { room: string; name: string; data?: unknown }; reply: Nothing };
  "direct.open": { data: { user: string }; reply: RoomReply };
  "chat.send": { data: Content & { room: string; reply_to?: string; client_id?: string }; reply: SendReply };
  "chat.append": {
    data: { room: string; message_id: string; text: string; at?: number; done?: boolean }; reply: AppendReply;
  };
  "chat.edit": { data: Content & { room: string; message_id: string }; reply: MessageReply };
  "chat.delete": { data: { room: string; message_id: string }; reply: MessageReply };
  "chat.history": { data: { room: string; before?: number; after?: number; limit?: number }; reply: HistoryReply };
  "chat.read": { data: { room: string; offset: number }; reply: Nothing };
  "chat.typing": { data: { room: string }; reply: Nothing };
  "presence.get": { data: { users: string[] }; reply: PresenceReply };
  "presence.set": { data: { room: string; state: Record<string, unknown> | null }; reply: Nothing };
  "announce": { data: Content; reply: { reached: number } };
}

export interface GatewayEvents {
  "welcome": {
    connection: string; user: string; scopes: string[]; server_time: string; token_expires_at: string;
    heartbeat_seconds: number; max_message_bytes: number; protocol: number; rooms?: Room[]; next_cursor?: string;
  };
  "token.expiring": { token_expires_at: string };
  "bye": { code: number; reason: string; reconnect: "never" | "new_credential" | "after_delay" | "with_backoff"; after_ms?: number };
  "announcement": { sender: string; text?: string; body?: unknown; sent_at: string };
  "chat.message": Message;
  "chat.edited": Message;
  "chat.deleted": Message;
  "chat.appended": ChatAppended;
  "chat.read": { room: string; user: string; offset: number };
  "chat.typing": { room: string; user: string; typing: boolean };
  "presence.changed": { room: string; user: string; state: PresenceState; custom_state?: Record<string, unknown> };
  "room.joined": { room: string; user: string };
  "room.left": { room: string; user: string; by?: string };
  "room.invited": { room: Room; by: string };
  "room.added": { room: Room; by: string };
  "room.role": { room: string; user: string; role: Role };
  "room.signal": { room: string; user: string; name: string; data?: unknown };
  "room.updated": { room: Room };
  "room.deleted": { room: string };
  "resync": { room: string; epoch: string; offset: number };
}
