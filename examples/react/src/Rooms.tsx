import { useState, type FormEvent } from "react";
import { sentence } from "./LogIn";
import type { ListedRoom } from "./useRooms";

interface Props {
  rooms: ListedRoom[];
  open: string | null;
  onOpen: (name: string) => void;
  onJoin: (name: string) => Promise<void>;
}

export function Rooms({ rooms, open, onOpen, onJoin }: Props) {
  const own = rooms.filter((room) => room.isMember);
  const others = rooms.filter((room) => !room.isMember);
  const join = (room: ListedRoom) => void onJoin(room.name).catch(() => {});
  return (
    <nav aria-label="Rooms">
      <NewRoom onJoin={onJoin} />
      {own.length > 0 && <h2>Your rooms</h2>}
      {own.map((room) => <Row key={room.name} room={room} isOpen={room.name === open} onOpen={() => onOpen(room.name)} />)}
      {others.length > 0 && <h2>Other rooms</h2>}
      {others.map((room) => <Row key={room.name} room={room} isOpen={false} onOpen={() => join(room)} />)}
    </nav>
  );
}

function Row({ room, isOpen, onOpen }: { room: ListedRoom; isOpen: boolean; onOpen: () => void }) {
  return (
    <button className="room" aria-current={isOpen || undefined} onClick={onOpen}>
      <span className="name">{room.title}</span>
      {room.isInvited && <span className="badge">invited</span>}
      {room.unread > 0 && <span className="badge" aria-label={`${room.unread} unread`}>{room.unread > 99 ? "99+" : room.unread}</span>}
    </button>
  );
}

function NewRoom({ onJoin }: { onJoin: (name: string) => Promise<void> }) {
  const [problem, setProblem] = useState("");

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const name = String(new FormData(form).get("room")).trim().toLowerCase().replaceAll(" ", "-");
    try {
      await onJoin(name);
      form.reset();
      setProblem("");
    } catch (error) {
      setProblem(sentence((error as Error).message));
    }
  }

  return (
    <form className="new-room" onSubmit={(event) => void submit(event)}>
      <input name="room" aria-label="Room" placeholder="Join or make a room" required maxLength={64} autoComplete="off" />
      <button aria-label="Join">+</button>
      <p className="problem" role="alert">{problem}</p>
    </form>
  );
}
