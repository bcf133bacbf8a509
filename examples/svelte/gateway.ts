// Stores for Svelte: `$connection` and `$room` are what they are now, in Svelte 4 and 5.

import type { Gateway, State, Why } from "gateway-client";
import { viewOf, type RoomSnapshot } from "gateway-client/room-view";
import { readable, type Readable } from "svelte/store";

export interface Connection {
  state: State;
  why: Why | null;
  user: string | null;
}

/** Return the state of the connection. The first subscriber opens it if nothing has done so yet. */
export function connectionOf(gateway: Gateway): Readable<Connection> {
  const look = ({ state, why, user }: Gateway): Connection => ({ state, why, user });
  return readable(look(gateway), (set) => {
    const off = gateway.onState(() => set(look(gateway)));
    if (gateway.state === "idle") gateway.open().catch(() => {}); // the state says why
    set(look(gateway));
    return off;
  });
}

/** Return a room. The first subscriber joins it. */
export function roomOf(gateway: Gateway, name: string): Readable<RoomSnapshot> {
  const view = viewOf(gateway.room(name));
  return readable(view.get(), (set) => {
    const off = view.subscribe(() => set(view.get()));
    set(view.get());
    return off;
  });
}
