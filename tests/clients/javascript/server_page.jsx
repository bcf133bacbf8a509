// A page of the tests: a component as a server renders it. Nothing may connect, and `room.messages` has nothing yet.

import { connect } from "gateway-client";
import { GatewayProvider, useCall, useConnection, useEvent, useRoom } from "gateway-client/react";
import { renderToString } from "react-dom/server";

function Chat() {
  const { state, why, user } = useConnection();
  const room = useRoom("lobby");
  const { isPending, error } = useCall("room.list");
  useEvent("announcement", () => {});
  return <p>{JSON.stringify({ state, why, user, room: room.state, messages: room.messages, isPending, error })}</p>;
}

const gateway = connect("https://chat.example.com", { WebSocket: () => console.log("a socket was opened") });
const page = <GatewayProvider gateway={gateway}><Chat /></GatewayProvider>;
console.log(renderToString(page).replaceAll("&quot;", '"'));
try {
  renderToString(<Chat />);
} catch (error) {
  console.log(error.message);
}
