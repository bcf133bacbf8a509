// The types of react.js: hooks for React 18 and newer.

import type { FunctionComponent, ReactNode } from "react";
import type {
  AnyEvent, CallOptions, DataOf, EventType, Gateway, MessageType, ReplyOf, State, Why,
} from "./gateway-client.js";
import type { RoomSnapshot } from "./room-view.js";

export type { RoomSnapshot, Sending } from "./room-view.js";

/** Provides the hooks below it with a gateway. It neither opens nor closes it. */
export declare const GatewayProvider: FunctionComponent<{ gateway: Gateway; children?: ReactNode }>;

/** Return the gateway of the argument, or the provider's. Without either it throws. */
export declare function useGateway(gateway?: Gateway): Gateway;

export interface Connection {
  readonly state: State;
  readonly why: Why | null;
  readonly user: string | null;
}

/** Return the state of the connection, and open it if nothing has done so yet. */
export declare function useConnection(gateway?: Gateway): Connection;

/**
 * Return a room, and join it. All components that show a room share its messages. When the last one is gone, nothing listens to
 * the room any more. A room that only hooks have joined is not joined again after the next loss.
 */
export declare function useRoom(name: string, gateway?: Gateway): RoomSnapshot;

/** Call `fn` with the data of each event of this type, or with `*` with each event, as long as the component is mounted. */
export declare function useEvent<Type extends EventType>(
  type: Type, fn: (data: Extract<AnyEvent, { type: Type }>["data"]) => void, gateway?: Gateway,
): void;
export declare function useEvent(type: "*", fn: (event: AnyEvent) => void, gateway?: Gateway): void;
export declare function useEvent<Type extends string>(
  type: string extends Type ? Type : never, fn: (data: any) => void, gateway?: Gateway,
): void;

type Timeout = Pick<CallOptions, "timeout">;

/** Data may be left out where `{}` is enough. */
type Data<Type extends MessageType> = {} extends DataOf<Type> ? [data?: DataOf<Type>] : [data: DataOf<Type>];

/** The newest call: its answer, its error, or that it still waits. */
export interface Called<Reply> {
  /** The data of the newest reply. It stays during the next call. */
  readonly data: Reply | undefined;
  /** Why the newest call failed, or null. */
  readonly error: Error | null;
  readonly isPending: boolean;
}

export interface Callable<Type extends MessageType> extends Called<ReplyOf<Type>> {
  /** As `gateway.call`, and always the same function. Its signal is the component's: to unmount it aborts the call. */
  readonly call: (...rest: [...Data<Type>, options?: Timeout]) => Promise<ReplyOf<Type>>;
}

/** Return a function that sends a message of this type, with what became of the newest one. */
export declare function useCall<Type extends MessageType>(type: Type, gateway?: Gateway): Callable<Type>;
export declare function useCall<Type extends string>(
  type: string extends Type ? Type : never, gateway?: Gateway,
): Called<any> & { readonly call: (data?: unknown, options?: Timeout) => Promise<any> };
