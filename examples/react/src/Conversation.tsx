import type { Gap } from "gateway-client";
import { useRoom } from "gateway-client/react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";
import { AssistantBar, useAssistant } from "./Assistant";
import { Composer } from "./Composer";
import { sentence } from "./LogIn";
import { Members } from "./Members";
import { Day, Line, SendingLine } from "./Message";

interface Props {
  name: string;
  me: string;
  onBack: () => void;
  onLeave: () => Promise<void>;
  onRead: (offset: number) => void;
}

/** A room: its messages, its members, and what the user writes. */
export function Conversation({ name, me, onBack, onLeave, onRead }: Props) {
  const room = useRoom(name);
  const { messages, sending, typing, gap, why } = room;
  const last = messages.at(-1)?.offset ?? 0;
  useEffect(() => {
    if (last > 0) onRead(last);
  }, [last]);
  const scroll = useStickToEnd([messages, sending]);
  const { asked, ask, close } = useAssistant(name);

  function say(text: string) {
    const [, prompt] = /^\/ask\s+(.+)/s.exec(text) ?? [];
    if (prompt) void ask(prompt);
    else room.send(text).catch(() => {}); // `sending` has the error
  }

  return (
    <main className="conversation">
      <header>
        <button className="quiet back" aria-label="Back to the rooms" onClick={onBack}>‹</button>
        <h1>{name}</h1>
        <button className="quiet" onClick={() => void onLeave().catch(() => {})}>Leave</button>
      </header>
      <section className="messages" role="log" aria-label="Messages" tabIndex={0} ref={scroll}>
        {gap && <GapNotice key={gap.to.offset} gap={gap} />}
        {room.hasOlder && <button className="quiet older" onClick={() => void room.older().catch(() => {})}>Earlier messages</button>}
        {messages.length + sending.length === 0 && room.state === "joined" && <p className="soft empty">Nothing was said here yet.</p>}
        {messages.map((message, at) => (
          <Day key={message.id} message={message} before={messages[at - 1]}>
            <Line message={message} before={messages[at - 1]} isOwn={message.sender === me} />
          </Day>
        ))}
        {sending.map((message) => (
          <SendingLine
            key={message.client_id}
            message={message}
            onAgain={() => void room.send(message.content, { client_id: message.client_id }).catch(() => {})}
            onDrop={() => room.discard(message.client_id)}
          />
        ))}
      </section>
      <p className="typing soft" aria-live="polite">{typingWords(typing.filter((user) => user !== me))}</p>
      {asked && <AssistantBar asked={asked} onClose={close} />}
      {why && <p className="problem" role="alert">{sentence(why.message)}</p>}
      <Composer room={name} isOpen={room.state !== "refused"} onSend={say} />
      <Members room={name} isJoined={room.state === "joined"} />
    </main>
  );
}

const REASONS: Record<Gap["reason"], string> = {
  too_many: "You were away for many messages.",
  too_old: "You were away for so long that the gateway has removed messages.",
  epoch_changed: "The room was made anew.",
  position_lost: "The gateway has lost messages of this room.",
};

function GapNotice({ gap }: { gap: Gap }) {
  const [isRead, setRead] = useState(false);
  if (isRead) return null;
  return (
    <p className="gap" role="note">
      <span>{REASONS[gap.reason]} These are the newest ones.</span>
      <button className="quiet" onClick={() => setRead(true)}>OK</button>
    </p>
  );
}

function typingWords(users: string[]): string {
  if (users.length === 0) return "";
  if (users.length > 3) return "Several people are typing…";
  return `${new Intl.ListFormat("en").format(users)} ${users.length > 1 ? "are" : "is"} typing…`;
}

/** Keep the end in view while it is in view, and the place of a reader that has scrolled up. */
function useStickToEnd(contents: unknown[]) {
  const scroll = useRef<HTMLElement>(null);
  const isAtEnd = useRef(true);

  function stick() {
    const element = scroll.current;
    if (element && isAtEnd.current) element.scrollTop = element.scrollHeight;
  }

  useEffect(() => {
    const element = scroll.current!;
    const note = () => {
      isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 80;
    };
    const resized = new ResizeObserver(stick); // the box below grows with what is written
    resized.observe(element);
    element.addEventListener("scroll", note);
    return () => {
      resized.disconnect();
      element.removeEventListener("scroll", note);
    };
  }, []);
  useLayoutEffect(stick, contents);
  return scroll;
}
