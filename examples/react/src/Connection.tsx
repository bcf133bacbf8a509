import { useConnection, useGateway } from "gateway-client/react";
import { useEffect, useState } from "react";

const WORDS = {
  idle: "Not connected", connecting: "Connecting…", open: "Connected", waiting: "Offline", closed: "Disconnected",
};

/** The state of the connection, and what a person can do about it. */
export function Connection({ onLeave }: { onLeave: () => void }) {
  const { state, why } = useConnection();
  const gateway = useGateway();
  const seconds = useSecondsUntil(state === "waiting" ? why?.retryAt : undefined);
  const isWaiting = state === "waiting" || state === "connecting";
  return (
    <footer className="connection" data-state={state}>
      <span role="status">{WORDS[state]}</span>
      {state === "waiting" && <span className="soft">again in {seconds} s</span>}
      {state === "closed" && <span className="soft">{why?.message}</span>}
      {state === "waiting" && <button className="quiet" onClick={() => gateway.open().catch(() => {})}>Now</button>}
      {state === "closed" && <button className="quiet" onClick={onLeave}>Log in</button>}
      {isWaiting && <span className="bar" aria-hidden="true" />}
    </footer>
  );
}

function useSecondsUntil(time: number | undefined): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (time === undefined) return;
    setNow(Date.now());
    const clock = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(clock);
  }, [time]);
  return time === undefined ? 0 : Math.max(0, Math.ceil((time - now) / 1000));
}
