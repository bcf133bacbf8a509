// The types of room-view.js: what a page shows of a room. The hooks for React are built on it; so can hooks for others.

import type { CallOptions, Content, Gap, Message, Refused, Room, RoomState, SendReply } from "./gateway-client.js";

/** A message on its way. It leaves the list when the gateway has it. */
export interface Sending {
  readonly client_id: string;
  readonly content: Content;
  /** Why it was not sent, or null. `send(content, { client_id })` tries again, `discard(client_id)` drops it. */
  readonly error: Error | null;
}

/** A room as it is now. A change makes another value, and leaves this one as it was. */
export interface RoomSnapshot {
  readonly room: Room;
  readonly state: RoomState;
  /** The gateway's refusal, if `state` is `refused`. */
  readonly why: Refused | null;
  /** Oldest first, each in its newest state. A deleted one keeps its place, with `deleted`. */
  readonly messages: readonly Message[];
  /** What the user has sent and the gateway has not stored yet, oldest first. */
  readonly sending: readonly Sending[];
  /** The users that are typing. */
  readonly typing: readonly string[];
  /** The newest gap: messages before the ones in `messages` are missing. Null if there was none. */
  readonly gap: Gap | null;
  /** Whether the room may have messages before the first one. */
  readonly hasOlder: boolean;
  /** Send a message, which is in `sending` until the gateway has stored it. */
  send(content: Content, options?: CallOptions & { client_id?: string }): Promise<SendReply>;
  /** Drop a message that could not be sent. */
  discard(client_id: string): void;
  /** Read older messages, 50 if `limit` does not say otherwise. */
  older(limit?: number): Promise<void>;
}

export interface RoomView {
  /** Call `tell`, a function of its own, after each change. The first subscriber joins the room; after the last one nothing listens. */
  subscribe(tell: () => void): () => void;
  /** The newest snapshot. */
  get(): RoomSnapshot;
  /** The snapshot before the first subscription, which a server renders. */
  readonly initial: RoomSnapshot;
}

/**
 * Return the view of a room, the same one for each call. If nothing but views has joined the room, the room is quit (`room.quit()`)
 * after the last subscriber is gone.
 */
export declare function viewOf(room: Room): RoomView;
