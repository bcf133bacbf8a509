import type { Member } from "gateway-client";
import { useCall, useEvent } from "gateway-client/react";
import { useEffect, useState } from "react";
import { Avatar } from "./Avatar";

/** The members of a room, the ones online first. */
export function Members({ room, isJoined }: { room: string; isJoined: boolean }) {
  const list = useCall("room.members");
  const [states, setStates] = useState<Record<string, Member["state"]>>({});

  async function load() {
    const { members } = await list.call({ room });
    setStates(Object.fromEntries(members.map(({ user, state }) => [user, state])));
  }
  const reload = () => void load().catch(() => {});

  useEffect(() => {
    if (isJoined) reload();
  }, [room, isJoined]);
  useEvent("room.joined", (joined) => joined.room === room && reload());
  useEvent("room.left", (left) => left.room === room && reload());
  useEvent("presence.changed", ({ room: changed, user, state }) => {
    if (changed === room) setStates((known) => ({ ...known, [user]: state }));
  });

  const rank = (user: string) => Number(states[user] !== "online");
  const users = Object.keys(states).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  return (
    <aside className="members" aria-label="Members">
      <h2>{users.length === 1 ? "1 member" : `${users.length} members`}</h2>
      <ul>
        {users.map((user) => (
          <li key={user} data-state={states[user]}>
            <Avatar name={user} />
            <span className="name">{user}</span>
            <span className="soft">{states[user]}</span>
          </li>
        ))}
      </ul>
    </aside>
  );
}
