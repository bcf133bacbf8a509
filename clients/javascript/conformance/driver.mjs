// The driver of gateway-client for `gateway conformance`. docs/conformance.md has its protocol.

import { createInterface } from "node:readline";

import { connect, Lost, Refused } from "../gateway-client.js";

const CAPABILITIES = ["tokens", "rooms", "sends", "streams", "cancel", "events", "foreground", "silence", "why"];
const HEARTBEAT_MS = 25000;

/** The client's own waits in milliseconds, as gateway-client.d.ts has them. The margin of tokens is not among them. */
const TIMES = {
  ping: 5000, answer: 60000, patience: 20000, token: 30000, rest: 10000, welcome: 20000, backoff: 1000, longest: 30000,
  steady: 10000, heartbeat: HEARTBEAT_MS,
};

/** @type {import("../gateway-client.js").Gateway | null} */
let gateway = null;
let lastRequest = 0;
/** The requests for a token that wait, by number. */
const requests = new Map();
/** What cancels a command in progress, by its id. @type {Map<number, AbortController>} */
const running = new Map();

const COMMANDS = {
  hello: () => ({ client: "gateway-client (JavaScript)", capabilities: CAPABILITIES }),

  connect({ url, scale }) {
    const made = connect(url, {
      getToken,
      times: Object.fromEntries(Object.entries(TIMES).map(([name, value]) => [name, value * scale])),
      onProblem: (problem) => write("problem", { text: `${problem.kind}: ${problem.message ?? problem.text ?? problem.error}` }),
    });
    made.onState((state, why) => write("state", { state, why }));
    made.open().catch(() => {}); // the state says why
    gateway = made;
  },

  call: ({ type, data }, signal) => gateway.call(type, data, { signal }),

  async stream({ type, data }, signal, id) {
    const stream = gateway.stream(type, data, { signal });
    for await (const chunk of stream) write("chunk", { id, data: chunk });
    return stream.reply;
  },

  cancel: ({ id }) => running.get(id)?.abort(),

  async join({ room: name }) {
    const room = gateway.room(name);
    room.on("message", (data) => write("message", { room: name, data }));
    room.on("gap", ({ reason }) => write("gap", { room: name, reason }));
    return room.join();
  },

  leave: ({ room }) => gateway.room(room).leave(),

  send: ({ room, text }) => gateway.room(room).send(text),

  events({ type }) {
    gateway.on(type, (event) => write("event", type === "*" ? event : { type, data: event }));
  },

  foreground: () => gateway.check(),

  async close() {
    const closing = gateway;
    gateway = null;
    await closing?.close();
  },
};

function getToken({ reason }) {
  const request = (lastRequest += 1);
  write("token", { request, reason });
  return new Promise((resolve, reject) => requests.set(request, { resolve, reject }));
}

function takeToken({ request, token, error }) {
  const waiting = requests.get(request);
  requests.delete(request);
  if (error === undefined) waiting?.resolve(token);
  else waiting?.reject(new Error(error));
}

async function obey({ type, id, data }) {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    write("reply", (await COMMANDS[type](data, stop.signal, id)) ?? {}, id);
  } catch (error) {
    write("error", failure(error), id);
  } finally {
    running.delete(id);
  }
}

function failure(error) {
  if (error instanceof Refused) return { kind: "refused", status: error.status, name: error.name, message: error.message };
  if (error instanceof Lost) return { kind: "lost", message: error.message };
  if (error?.name === "AbortError") return { kind: "cancelled" };
  return { kind: "fault", message: `${error?.stack ?? error}` };
}

function write(type, data, id) {
  process.stdout.write(`${JSON.stringify({ type, id, data })}\n`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.type === "token") takeToken(command.data);
  else obey(command);
}
process.exit();
