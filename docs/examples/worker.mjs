// A worker in Node 22 or newer, without a package: `GATEWAY_KEY=gwk_… node worker.mjs`.

const url = process.env.GATEWAY_URL ?? "ws://127.0.0.1:8000/ws/service";
const handlers = {
  "orders.create": async ({ data, user }) =>
    data.sku
      ? { data: { sku: data.sku, ordered_by: user } }
      : { error: { status: 60001, name: "no_sku", message: "an order needs a sku" } },
  "orders.watch": async ({ data }, chunk) => { // a stream: its chunks, and then the reply
    for (const step of ["picked", "packed", "sent"]) await chunk(step);
    return { data: { sku: data.sku ?? null } };
  },
};

async function answer(message, chunk) {
  try {
    return await handlers[message.type](message, chunk);
  } catch (fault) { // the gateway answers its client with 50200
    console.error(`${message.type} failed:`, fault);
    return { error: { status: 50000, name: "internal_error", message: "the worker failed" } };
  }
}

let delay = 500;

function connect() {
  const ws = new WebSocket(url);
  const send = (frame) => ws.readyState === WebSocket.OPEN && ws.send(JSON.stringify(frame));
  let bye = {};
  // This WebSocket cannot set a header, so the key goes into the first message.
  ws.onopen = () => send({ type: "auth", data: { token: process.env.GATEWAY_KEY } });
  ws.onmessage = async ({ data: text }) => {
    const frame = JSON.parse(text);
    if (frame.type === "welcome") {
      delay = 500;
      send({ type: "route.serve", id: 1, data: { types: ["orders.*"], parallel: 16 } });
    } else if (frame.type === "route.message") {
      const chunk = (data) => send({ type: "chunk", id: frame.id, data });
      send({ type: "reply", id: frame.id, ...(await answer(frame.data, chunk)) });
    } else if (frame.type === "bye") bye = frame.data;
    else if (frame.type !== "route.cancel") console.log(text);
  };
  ws.onerror = () => console.error("not connected");
  ws.onclose = () => {
    if (["never", "new_credential"].includes(bye.reconnect)) {
      console.error(`the gateway does not want this worker: ${bye.reason}`);
      process.exit(1);
    }
    setTimeout(connect, bye.after_ms ?? delay * Math.random());
    delay = Math.min(2 * delay, 30_000);
  };
}

connect();
