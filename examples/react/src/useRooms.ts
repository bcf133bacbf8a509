import type { ReplyOf } from "gateway-client";
import { useCall, useConnection, useEvent, useGateway } from "gateway-client/react";
import { useCallback, useEffect, useState } from "react";

export interface ListedRoom {
  name: string;
  title: string;
  isMember: boolean;
  isInvited: boolean;
  unread: number;
}

/** The rooms that the user sees. Unread messages are counted in all but the open one. */
export function useRooms(open: string | null) {
  const gateway = useGateway();
  const { state, user } = useConnection();
  const list = useCall("room.list");
  const [unread, setUnread] = useState<Record<string, number>>({});

  const load = useCallback(async () => {
    const { rooms } = await list.call({ limit: 100 });
    setUnread(Object.fromEntries(rooms.map((room) => [room.name, room.unread ?? 0])));
    // To count what comes, hear each room of the user. One that refuses is still in the list.
    for (const { name } of rooms.filter(isMember)) await gateway.room(name).join({ limit: 0 }).catch(() => {});
  }, [gateway, list.call]);
  const reload = useCallback(() => void load().catch(() => {}), [load]);

  useEffect(() => {
    if (state === "open") reload();
  }, [state, reload]);
  useEvent("room.invited", reload);
  useEvent("room.added", reload);
  useEvent("room.deleted", reload);
  useEvent("room.updated", reload);
  useEvent("room.left", (left) => left.user === user && reload());
  useEvent("chat.message", ({ room, sender }) => {
    if (room !== open && sender !== user) setUnread((counts) => ({ ...counts, [room]: (counts[room] ?? 0) + 1 }));
  });

  const rooms = (list.data?.rooms ?? []).map((room): ListedRoom => ({
    name: room.name,
    title: room.title ?? room.name,
    isMember: isMember(room),
    isInvited: room.invited ?? false,
    unread: room.name === open ? 0 : (unread[room.name] ?? 0),
  }));

  /** Join a room. A public room that does not exist is made. */
  async function join(name: string) {
    await gateway.room(name).join();
    reload();
  }

  async function leave(name: string) {
    await gateway.room(name).leave();
    reload();
  }

  return { rooms, join, leave };
}

const isMember = (room: ReplyOf<"room.list">["rooms"][number]) => room.role !== undefined;
