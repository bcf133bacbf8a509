import { useCall } from "gateway-client/react";
import { useRef, useState, type KeyboardEvent } from "react";

const AGAIN_MS = 4_000; // others see the user as typing for 6 s

export function Composer({ room, isOpen, onSend }: { room: string; isOpen: boolean; onSend: (text: string) => void }) {
  const [text, setText] = useState("");
  const { call: callTyping } = useCall("chat.typing");
  const toldAt = useRef(0);

  function write(next: string) {
    setText(next);
    if (!next.trim() || Date.now() - toldAt.current < AGAIN_MS) return;
    toldAt.current = Date.now();
    callTyping({ room }).catch(() => {});
  }

  function send() {
    if (!text.trim()) return;
    onSend(text.trim());
    setText("");
    toldAt.current = 0;
  }

  function press(event: KeyboardEvent) {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  }

  return (
    <form className="composer" onSubmit={(event) => { event.preventDefault(); send(); }}>
      <textarea
        rows={1}
        value={text}
        aria-label="Message"
        placeholder={`Message to ${room}`}
        maxLength={4000}
        disabled={!isOpen}
        autoFocus
        onChange={(event) => write(event.target.value)}
        onKeyDown={press}
      />
      <button className="primary" disabled={!isOpen || !text.trim()}>Send</button>
    </form>
  );
}
