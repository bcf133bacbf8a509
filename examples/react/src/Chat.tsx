import { useConnection, useGateway } from "gateway-client/react";
import { useState } from "react";
import { Connection } from "./Connection";
import { Conversation } from "./Conversation";
import { Avatar } from "./Avatar";
import { Rooms } from "./Rooms";
import { useRooms } from "./useRooms";

export function Chat({ onLeave }: { onLeave: () => void }) {
  const { user } = useConnection();
  const [open, setOpen] = useState<string | null>(null);
  const { rooms, join, leave } = useRooms(open);
  const gateway = useGateway();

  return (
    <div className="chat" data-open={open !== null}>
      <aside>
        <header>
          <Avatar name={user ?? ""} />
          <strong>{user}</strong>
          <button className="quiet" onClick={onLeave}>Log out</button>
        </header>
        <Rooms rooms={rooms} open={open} onOpen={setOpen} onJoin={async (name) => { await join(name); setOpen(name); }} />
        <Connection onLeave={onLeave} />
      </aside>
      {open === null ? (
        <main className="nothing">
          <p>Choose a room, or make one.</p>
        </main>
      ) : (
        <Conversation
          key={open}
          name={open}
          me={user ?? ""}
          onBack={() => setOpen(null)}
          onLeave={async () => { setOpen(null); await leave(open); }}
          onRead={(offset) => void gateway.call("chat.read", { room: open, offset }).catch(() => {})}
        />
      )}
    </div>
  );
}
