import { connect, type Gateway } from "gateway-client";
import { GatewayProvider } from "gateway-client/react";
import { useState } from "react";
import { Chat } from "./Chat";
import { LogIn } from "./LogIn";
import { Session } from "./session";

interface LoggedIn {
  session: Session;
  gateway: Gateway;
}

/** The log-in, or the chat of its user. The gateway belongs to the log-in, so it lives here and not in a component below. */
export function App() {
  const [loggedIn, setLoggedIn] = useState<LoggedIn | null>(null);

  function enter(session: Session) {
    setLoggedIn({ session, gateway: connect(location.origin, { getToken: session.getToken }) });
  }

  async function leave({ session, gateway }: LoggedIn) {
    setLoggedIn(null);
    await gateway.close();
    await session.end();
  }

  if (!loggedIn) return <LogIn onEnter={enter} />;
  return (
    <GatewayProvider gateway={loggedIn.gateway}>
      <Chat onLeave={() => void leave(loggedIn)} />
    </GatewayProvider>
  );
}
