// Composables for Vue 3: a component sees the connection, a room or an event, as long as it is mounted.

import type { AnyEvent, EventType, Gateway, State, Why } from "gateway-client";
import { viewOf, type RoomSnapshot } from "gateway-client/room-view";
import { onScopeDispose, readonly, shallowRef, toValue, watch, type MaybeRefOrGetter, type ShallowRef } from "vue";

export interface Connection {
  state: State;
  why: Why | null;
  user: string | null;
}

/** Return the state of the connection, and open it if nothing has done so yet. */
export function useConnection(gateway: Gateway): Readonly<ShallowRef<Connection>> {
  const look = ({ state, why, user }: Gateway): Connection => ({ state, why, user });
  const connection = shallowRef(look(gateway));
  onScopeDispose(gateway.onState(() => (connection.value = look(gateway))));
  if (gateway.state === "idle") gateway.open().catch(() => {}); // the state says why
  return readonly(connection) as Readonly<ShallowRef<Connection>>;
}

/** Return a room, and join it. The name may be a ref: another name is another room. */
export function useRoom(gateway: Gateway, name: MaybeRefOrGetter<string>): Readonly<ShallowRef<RoomSnapshot>> {
  const room = shallowRef(viewOf(gateway.room(toValue(name))).get());
  watch(
    () => toValue(name),
    (name, _, onCleanup) => {
      const view = viewOf(gateway.room(name));
      const show = () => (room.value = view.get());
      onCleanup(view.subscribe(show));
      show();
    },
    { immediate: true },
  );
  return room;
}

/** Call `fn` with the data of each event of this type. */
export function useEvent<Type extends EventType>(
  gateway: Gateway, type: Type, fn: (data: Extract<AnyEvent, { type: Type }>["data"]) => void,
): void {
  onScopeDispose(gateway.on(type, fn as (data: unknown) => void));
}
