// What 1,000 reconnects leave behind: nothing.

import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

import { connect } from "../../../clients/javascript/gateway-client.js";
import { WELCOME } from "./odd_server.mjs";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

async function used() {
  for (let each = 0; each < 3; each += 1) {
    await new Promise(setImmediate);
    collect();
  }
  return process.memoryUsage().heapUsed;
}

/** A socket without a network, so that only the client's memory counts. */
class QuickSocket {
  static made = [];
  static open = new Set();
  readyState = 0;

  constructor() {
    QuickSocket.made.push(new WeakRef(this));
    QuickSocket.open.add(this);
    setImmediate(() => {
      this.readyState = 1;
      this.onopen?.({});
      const now = Date.now();
      this.say({
        type: "welcome",
        data: { ...WELCOME, server_time: new Date(now).toISOString(), token_expires_at: new Date(now + 900000).toISOString() },
      });
    });
  }

  say(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  send(text) {
    const { type, id, data } = JSON.parse(text);
    const rooms = data?.rooms?.map(({ room, since }) => ({
      room, epoch: "e", offset: 0, members: 1, ...(since ? { recovered: true, events: [] } : { messages: [] }),
    }));
    if (type === "room.resume") setImmediate(() => this.say({ type: "reply", id, status: 20000, data: { rooms } }));
  }

  close() {
    QuickSocket.open.delete(this);
  }
}

test("listeners and memory are flat after 1,000 reconnects", { timeout: 30000 }, async (t) => {
  const gateway = connect("ws://localhost", {
    WebSocket: QuickSocket, getToken: () => "t", times: { backoff: 0.01, longest: 0.01, steady: 1e9 }, onProblem: () => {},
  });
  t.after(() => gateway.close());
  const signal = new AbortController().signal;
  let listening = 0;
  for (const [verb, change] of [["addEventListener", 1], ["removeEventListener", -1]]) {
    const real = signal[verb].bind(signal);
    signal[verb] = (...values) => {
      listening += change;
      real(...values);
    };
  }
  gateway.on("announcement", () => {});
  const rooms = ["a", "b", "c"].map((name) => gateway.room(name));
  await Promise.all(rooms.map((room) => room.join()));
  const back = async () => {
    while (!rooms.every((room) => room.state === "joined")) await new Promise(setImmediate);
  };
  const losing = async (count) => {
    for (let each = 0; each < count; each += 1) {
      await back();
      const call = gateway.call("echo", {}, { signal }).catch(() => {});
      const stream = gateway.stream("story.tell", {}, { signal });
      gateway.events("announcement", { signal }).return();
      const [socket] = QuickSocket.open;
      socket.onclose({ code: 1006, reason: "" });
      await call;
      await stream.reply.catch(() => {});
    }
    await back();
  };
  await losing(200);
  const before = await used();
  await losing(1000);
  const grown = (await used()) - before;
  assert.equal(QuickSocket.open.size, 1);
  assert.ok(QuickSocket.made.length > 1200);
  const kept = QuickSocket.made.filter((socket) => socket.deref()).length;
  assert.ok(kept < 5, `${kept} sockets are still there`);
  assert.equal(listening, 0);
  assert.ok(grown < 1000000, `${grown} bytes more after 1,000 reconnects`);
  await gateway.close();
  assert.equal(QuickSocket.open.size, 0);
});
