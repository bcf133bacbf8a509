import { useGateway } from "gateway-client/react";
import { useEffect, useState } from "react";
import { sentence } from "./LogIn";

interface Asked {
  stop: AbortController;
  characters: number;
  problem: string;
}

/** A question to the assistant of the room, and how far its answer is. The answer itself is a message that grows. */
export function useAssistant(room: string) {
  const gateway = useGateway();
  const [asked, setAsked] = useState<Asked | null>(null);

  async function ask(prompt: string) {
    const now: Asked = { stop: new AbortController(), characters: 0, problem: "" };
    setAsked(now);
    try {
      for await (const piece of gateway.stream("assistant.ask", { room, prompt }, { signal: now.stop.signal })) {
        now.characters += String(piece).length;
        setAsked({ ...now });
      }
      setAsked(null);
    } catch (error) {
      setAsked(now.stop.signal.aborted ? null : { ...now, problem: sentence((error as Error).message) });
    }
  }

  const stop = asked?.stop;
  useEffect(() => () => stop?.abort(), [stop]);

  return { asked, ask, close: () => setAsked(null) };
}

export function AssistantBar({ asked, onClose }: { asked: Asked; onClose: () => void }) {
  if (asked.problem) {
    return (
      <p className="assistant problem" role="alert">
        {asked.problem} <button className="quiet" onClick={onClose}>OK</button>
      </p>
    );
  }
  return (
    <p className="assistant soft">
      The assistant is writing… {asked.characters} characters
      <button className="quiet" onClick={() => asked.stop.abort()}>Stop</button>
    </p>
  );
}
