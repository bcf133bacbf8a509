// The types of gateway-client.js. `gateway export typescript` writes the types of an application's own messages.

import type { GatewayEvents, GatewayMessages, Message, Room as RoomInfo, JoinReply, SendReply, HistoryReply } from "./messages.js";

export type * from "./messages.js";

/**
 * The messages of an application's own handlers, by type. `gateway export typescript` fills it:
 *
 *     declare module "gateway-client" {
 *       interface Messages { "dice.roll": { data: { sides: number }; reply: { value: number } } }
 *     }
 *
 * The gateway's own messages are known without it. A type that is here wins over the gateway's own.
 */
export interface Messages {}

/** The events of an application, by type, with the type of their `data`. The gateway's own are known without it. */
export interface Events {}

type KnownMessages = Messages & Omit<GatewayMessages, keyof Messages>;
type KnownEvents = Events & Omit<GatewayEvents, keyof Events>;

/** All types of messages that are known. */
export type MessageType = Extract<keyof KnownMessages, string>;
/** All types of events that are known. */
export type EventType = Extract<keyof KnownEvents, string>;

type Field<Type extends MessageType, Name extends string, Otherwise> =
  KnownMessages[Type] extends { [name in Name]: infer Found } ? Found : Otherwise;

/** The `data` of a message. */
export type DataOf<Type extends MessageType> = Field<Type, "data", Record<string, never>>;
/** The `data` of its reply. */
export type ReplyOf<Type extends MessageType> = Field<Type, "reply", unknown>;
/** The `data` of its reply to a call: of an answer in chunks, the whole. */
export type WholeOf<Type extends MessageType> = Field<Type, "whole", ReplyOf<Type>>;
/** The `data` of each of its chunks. */
export type ChunkOf<Type extends MessageType> = Field<Type, "chunk", unknown>;

/** Data may be left out where `{}` is enough. */
type Data<Type extends MessageType> = {} extends DataOf<Type> ? [data?: DataOf<Type>] : [data: DataOf<Type>];

/** A text that is not known when the program is compiled, so that a mistyped literal is still an error. */
type Any<Type extends string> = string extends Type ? Type : never;

/** An event as it came. */
export type AnyEvent = { [Type in EventType]: { type: Type; data: KnownEvents[Type] } }[EventType];

/** Call it to end what it belongs to. A second call does nothing. */
export type Off = () => void;

export interface WithSignal {
  signal?: AbortSignal;
}

export interface CallOptions extends WithSignal {
  /**
   * In milliseconds. The promise then rejects with `Lost`. The default is `times.patience` for a connection and `times.answer` for
   * the answer. A stream may take any time. So may a `chat.send` after the first `welcome`: it waits until the gateway is closed.
   */
  timeout?: number;
  /**
   * Send it again after a loss, if there was no answer yet, and do not reject with `Lost`. A `chat.send` does so. Any other
   * message may then be handled twice.
   */
  repeats?: boolean;
  /** The span that the message belongs to, as the header of W3C Trace Context has it. */
  traceparent?: string;
}

export interface EventsOptions extends WithSignal {
  /** How many events may wait for the loop; one more, and it ends with `Overflow`. The default is 1,000. */
  limit?: number;
}

/** Why a token is needed, for `getToken`. */
export interface TokenRequest {
  /**
   * - `connect`: there is none yet, or it ends within a minute;
   * - `expiring`: the connection is open, and its token ends within a minute;
   * - `refused`: the gateway did not take `previous`.
   */
  reason: "connect" | "expiring" | "refused";
  /** The token before. It is no use if the reason is `refused`. */
  previous?: string;
  /** It is aborted after `times.token`, and when the gateway is closed. */
  signal: AbortSignal;
}

/** Milliseconds. Only tests need other values. */
export interface Times {
  /** The longest wait for a `pong`. 5,000. */
  ping: number;
  /** The longest wait for the answer of a call. 60,000. */
  answer: number;
  /** The longest wait of a call for a connection. 20,000. */
  patience: number;
  /** The longest wait for `getToken`. 30,000. */
  token: number;
  /** A token is renewed if it ends this soon. 60,000. */
  margin: number;
  /** Two renewals of a token are at least this far apart. 10,000. */
  rest: number;
  /** The longest wait for `welcome`. 20,000. */
  welcome: number;
  /** The first wait before a new attempt is at most this long; each further one twice as long. 1,000. */
  backoff: number;
  /** No wait is longer, unless the gateway asks for it. 30,000. */
  longest: number;
  /** After a connection that lasted this long, the waits begin anew. 10,000. */
  steady: number;
  /** The time of silence after which the client sends a `ping`. The default is what `welcome` says. */
  heartbeat: number;
}

export interface Problem {
  /**
   * - `frame`: a frame that is not JSON, none of the protocol, or at a wrong time;
   * - `answer`: an answer or a chunk to no call, or a second answer;
   * - `error`: an error of the gateway without an `id`, with its `message`;
   * - `listener`: a listener has thrown `error`;
   * - `token`: the token of the open connection was not renewed because of `error`.
   */
  kind: "frame" | "answer" | "error" | "listener" | "token";
  message?: string;
  /** The frame as it came, if it is about one. */
  text?: string;
  error?: unknown;
}

export interface Options {
  /**
   * Return a token. It is called before the first connection and whenever another token is needed, never twice at a time. If it
   * throws or takes too long, the client tries again later. If it returns nothing, the client closes: the user must log in.
   * It closes also after a token of another user, with the reason `another_user`.
   */
  getToken?: (request: TokenRequest) => string | null | undefined | Promise<string | null | undefined>;
  /** A token that is never renewed, in place of `getToken`. */
  token?: string;
  /** Where the token goes. A token in the query ends up in logs. The default is `subprotocol`. */
  tokenIn?: "subprotocol" | "message" | "query";
  /** The name of the service that checks the token. The default is the gateway itself. */
  service?: string;
  /** Ask for the user's rooms in the welcome. */
  rooms?: boolean;
  /** The class of the socket. The default is the platform's. */
  WebSocket?: new (url: string, protocols?: string[]) => any;
  /** Gets each frame as it goes out or comes in. */
  onFrame?: (direction: "out" | "in", text: string) => void;
  /** Gets what the client ignores. The default is `console.warn`. */
  onProblem?: (problem: Problem) => void;
  times?: Partial<Times>;
}

/**
 * - `idle`: nothing has needed a connection yet;
 * - `connecting`: it gets a token, opens the socket and waits for `welcome`;
 * - `open`;
 * - `waiting`: it connects again at `why.retryAt`;
 * - `closed`: by `close()`, or for good because of `why`.
 */
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/** The end of the last connection. */
export interface Why {
  /** The close code, if a socket was closed. */
  code?: number;
  /** One word for programs, such as `draining` or `token_expired`. */
  reason: string;
  /** A sentence for people. */
  message: string;
  /** What the gateway said of coming back. */
  reconnect?: "never" | "new_credential" | "after_delay" | "with_backoff";
  /** The time of the next attempt, as `Date.now()` has it. */
  retryAt?: number;
}

export interface Welcome {
  connection: string;
  user: string;
  scopes: string[];
  server_time: string;
  token_expires_at: string;
  heartbeat_seconds: number;
  max_message_bytes: number;
  protocol: number;
  rooms?: RoomInfo[];
  next_cursor?: string;
}

/** The chunks of an answer. `return()` and an aborted signal cancel the message. */
export interface Stream<Chunk, Reply> extends AsyncIterableIterator<Chunk> {
  /** The closing reply. It rejects as a call does. */
  readonly reply: Promise<Reply>;
  return(): Promise<IteratorResult<Chunk>>;
}

export interface Gateway {
  readonly state: State;
  /** Null before the first loss. */
  readonly why: Why | null;
  /** The user of the last welcome. */
  readonly user: string | null;
  readonly welcome: Welcome | null;
  /** The gateway's time in milliseconds, also if the clock of this machine is wrong. */
  readonly serverTime: number;

  /** Connect now and not at the first use. It also revives a closed gateway. */
  open(options?: CallOptions): Promise<Welcome>;
  /** Close, and stay closed until `open()`. What waits rejects with `Lost`, and loops over events end. */
  close(): Promise<void>;
  /** Find out whether the connection still lives. Call it when an app returns to the foreground without a DOM. */
  check(): void;
  /** Call `fn` at each change of `state` or `why`. */
  onState(fn: (state: State, why: Why | null) => void, options?: WithSignal): Off;

  /**
   * Send a message and return its reply's data. It rejects with `Refused`, `Lost`, or the signal's reason.
   * A `chat.send` without an answer is sent again after a new connection, so it is stored once.
   */
  call<Type extends MessageType>(type: Type, ...rest: [...Data<Type>, options?: CallOptions]): Promise<WholeOf<Type>>;
  call<Type extends string>(type: Any<Type>, data?: unknown, options?: CallOptions): Promise<any>;

  /** Send a message and return the chunks of its answer. */
  stream<Type extends MessageType>(
    type: Type, ...rest: [...Data<Type>, options?: CallOptions]
  ): Stream<ChunkOf<Type>, ReplyOf<Type>>;
  stream<Type extends string>(type: Any<Type>, data?: unknown, options?: CallOptions): Stream<any, any>;

  /** The data of each event of a type from now on, or with `*` each event. */
  events<Type extends EventType>(type: Type, options?: EventsOptions): AsyncIterableIterator<KnownEvents[Type]>;
  events(type: "*", options?: EventsOptions): AsyncIterableIterator<AnyEvent>;
  events<Type extends string>(type: Any<Type>, options?: EventsOptions): AsyncIterableIterator<any>;

  /** Call `fn` with the data of each event of a type, or with `*` with each event. */
  on<Type extends EventType>(type: Type, fn: (data: KnownEvents[Type]) => void, options?: WithSignal): Off;
  on(type: "*", fn: (event: AnyEvent) => void, options?: WithSignal): Off;
  on<Type extends string>(type: Any<Type>, fn: (data: any) => void, options?: WithSignal): Off;

  /** The room of this name, always the same object. It is not joined before `join()`. */
  room(name: string): Room;

  /** Send a text as it is, if the gateway is open. Return whether it was. Its answer comes through `onFrame` alone. */
  send(text: string): boolean;
}

export interface Position {
  epoch: string;
  offset: number;
}

/** What the client has of the room has a hole. Show `messages` in place of it. */
export interface Gap {
  /** As in the reply of `room.join`, and `position_lost` if the gateway answers 41000. */
  reason: "epoch_changed" | "too_old" | "too_many" | "position_lost";
  /** The position that was lost, and the one from which it goes on. */
  from: Position;
  to: Position;
  /** The newest messages, oldest first. */
  messages: Message[];
}

/** What `content` of `room.send` may be. */
export type Content = string | { text: string; reply_to?: string } | { body: unknown; reply_to?: string };

export type RoomState = "idle" | "joining" | "joined" | "refused" | "left";

/** The events of a room itself. */
export interface RoomEvents {
  /**
   * A message, whole and in its newest state: new, edited, grown or deleted. Put it in place of the one with its `id`. Each change
   * after the join comes once, also from a time without a connection. The messages of before are in the reply of the join.
   */
  message: Message;
  gap: Gap;
  /** The room is joined or resumed, with the gateway's reply. */
  joined: JoinReply;
  state: RoomState;
}

/** The events of the gateway that are about one room. */
export type RoomEventType = {
  [Type in EventType]: KnownEvents[Type] extends { room: string | RoomInfo } ? Type : never;
}[EventType];

type RoomEvent<Type extends keyof RoomEvents | RoomEventType> =
  Type extends keyof RoomEvents ? RoomEvents[Type] : Type extends EventType ? KnownEvents[Type] : never;

/** A room that the client comes back to after each loss, until `leave()` or `quit()`. */
export interface Room {
  readonly name: string;
  readonly state: RoomState;
  /** The refusal of the room, if its state is `refused`. */
  readonly why: Refused | null;
  /** The highest change that its listeners have had. Null before the first join. */
  readonly position: Position | null;

  /**
   * Hear the room, and become a member. Listen first and join then, so that nothing is missed between the two. Joins of the same
   * moment share one message. `limit` bounds the messages of the reply; with `since`, the client goes on from a position of before.
   */
  join(options?: CallOptions & { limit?: number; since?: Position }): Promise<JoinReply>;
  /** End the membership. */
  leave(options?: CallOptions): Promise<void>;
  /** Forget the room without leaving it: it is not joined again after the next loss. */
  quit(): void;
  send(content: Content, options?: CallOptions & { client_id?: string }): Promise<SendReply>;
  /** A page of older messages, or of the newest. */
  history(
    page?: { before?: number; after?: number; limit?: number }, options?: CallOptions
  ): Promise<HistoryReply>;

  on<Type extends keyof RoomEvents | RoomEventType>(
    type: Type, fn: (data: RoomEvent<Type>) => void, options?: WithSignal
  ): Off;
  on<Type extends string>(type: Any<Type>, fn: (data: any) => void, options?: WithSignal): Off;
  events(options?: EventsOptions): AsyncIterableIterator<Message>;
  events<Type extends keyof RoomEvents | RoomEventType>(
    type: Type, options?: EventsOptions
  ): AsyncIterableIterator<RoomEvent<Type>>;
  events<Type extends string>(type: Any<Type>, options?: EventsOptions): AsyncIterableIterator<any>;
}

/** The gateway has answered with an error. `name` is that of the table of statuses. */
export declare class Refused extends Error {
  readonly status: number;
  readonly name: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly details: { field: string; message: string }[];
}

/** There was no connection, or it broke before the answer. The gateway may have handled the message, unless `sent` is false. */
export declare class Lost extends Error {
  readonly name: "Lost";
  /** Whether the message had gone out. */
  readonly sent: boolean;
  readonly why: Why | null;
}

/** A loop over events was too slow: it gets the events that wait, and then this error. */
export declare class Overflow extends Error {
  readonly name: "Overflow";
}

/**
 * Return a gateway, which connects at its first use.
 *
 * @param url The address of the gateway, such as `https://chat.example.com`, `wss://…`, or a path for a page of the same origin.
 */
export declare function connect(url: string | URL, options?: Options): Gateway;
