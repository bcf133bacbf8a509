// A page of the tests: a chat in React under StrictMode, which a test mounts and unmounts.

import { connect } from "gateway-client";
import { GatewayProvider, useCall, useConnection, useEvent, useRoom } from "gateway-client/react";
import { StrictMode, useEffect, useState } from "react";
import { flushSync } from "react-dom";
import { createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";

function Chat({ name }) {
  const { state, user } = useConnection();
  const room = useRoom(name);
  const [announced, setAnnounced] = useState([]);
  useEvent("announcement", ({ text }) => setAnnounced([...announced, text]));
  return (
    <main>
      <p role="status">{state} {user}</p>
      <p role="note">{announced.join(" ")}</p>
      <p id="room">{room.state} {room.why?.name}</p>
      <p id="typing">{room.typing.join(" ")}</p>
      <p id="gap">{room.gap?.reason}</p>
      <ul>
        {room.messages.map(({ id, sender, text, deleted }) => <li key={id}>{sender}: {deleted ? "deleted" : text}</li>)}
        {room.sending.map(({ client_id, content, error }) => (
          <li key={client_id} className="sending">
            {content} {error?.name}
            {error && <button onClick={() => room.send(content, { client_id }).catch(() => {})}>again</button>}
            {error && <button onClick={() => room.discard(client_id)}>discard</button>}
          </li>
        ))}
      </ul>
      {room.hasOlder && <button onClick={() => room.older(10)}>older</button>}
      <input aria-label="Message" onKeyDown={({ key, target }) => key === "Enter" && room.send(target.value).catch(() => {})} />
    </main>
  );
}

/** Send a message when it is mounted, and show what became of it. */
function Asked({ type, data, gateway }) {
  const asked = useCall(type, gateway);
  useEffect(() => {
    asked.call(data).catch(() => {});
  }, [asked.call]);
  const { isPending, error } = asked;
  return <p id="asked">{JSON.stringify({ isPending, data: asked.data, error: error && error.name })}</p>;
}

let gateway;
let root;
/** How many listeners the hooks have at the gateway and at its rooms. */
let listeners = 0;

function countListeners(target, method) {
  const listen = target[method].bind(target);
  target[method] = (...args) => {
    const { signal } = args.at(-1);
    listeners += 1;
    signal?.addEventListener("abort", () => (listeners -= 1));
    const off = listen(...args);
    return () => {
      listeners -= 1;
      off();
    };
  };
}

Object.assign(window, {
  start(options) {
    gateway = connect(location.origin, options);
    countListeners(gateway, "on");
    countListeners(gateway, "onState");
    const rooms = new Set();
    const room = gateway.room.bind(gateway);
    gateway.room = (name) => {
      if (!rooms.has(name)) countListeners(room(name), "on");
      rooms.add(name);
      return room(name);
    };
  },
  show(name) {
    root ??= createRoot(document.getElementById("root"));
    root.render(
      <StrictMode>
        <GatewayProvider gateway={gateway}>
          <Chat name={name} />
          <Chat name={name} />
        </GatewayProvider>
      </StrictMode>,
    );
  },
  /** Take over what a server has rendered. */
  hydrate(name) {
    const element = document.getElementById("root");
    const chat = <GatewayProvider gateway={gateway}><Chat name={name} /></GatewayProvider>;
    element.innerHTML = renderToString(chat);
    const rendered = element.innerText;
    root = hydrateRoot(element, chat);
    return rendered;
  },
  ask(type, data) {
    root ??= createRoot(document.getElementById("root"));
    root.render(<StrictMode><Asked key={type} type={type} data={data} gateway={gateway} /></StrictMode>);
  },
  clear() {
    root.unmount();
    root = null;
  },
  /** Mount and unmount a chat many times, each time with all effects, and with the frames of its join. */
  async flicker(name, times) {
    for (let time = 0; time < times; time++) {
      flushSync(() => show(name));
      await gateway.call("ping");
      flushSync(() => clear());
    }
  },
  listeners: () => listeners,
  roomState: (name) => gateway.room(name).state,
  stop: () => gateway.close(),
  open: () => gateway.open().then(() => {}),
});
