// What the tests of the client share: a gateway on a server that misbehaves, and waits with an end.

import assert from "node:assert/strict";

import { connect } from "../../../clients/javascript/gateway-client.js";
import { OddServer } from "./odd_server.mjs";

const WAIT_MS = 10000;

/** Short, so that no test sleeps. `longest` keeps the waits short also after many failures. */
export const QUICK = { ping: 150, token: 150, rest: 20, welcome: 300, backoff: 5, longest: 20, patience: 2000, answer: 2000 };

/** A server and clients of it, which end with the test. */
export async function serve(t) {
  const server = await new OddServer().start();
  const clients = [];
  t.after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  });
  const client = (options = {}) => {
    const problems = [];
    const made = connect(server.url, {
      token: "a-token", onProblem: (problem) => problems.push(problem), ...options, times: { ...QUICK, ...options.times },
    });
    clients.push(made);
    return Object.assign(made, { problems });
  };
  /** A client with an open connection, and the server's end of it. */
  const open = async (options) => {
    const gateway = client(options);
    const opening = gateway.open();
    const peer = (await server.next()).welcome();
    await opening;
    return { gateway, peer };
  };
  return { server, client, open };
}

/** Wait until something is true. */
export async function until(isTrue, what) {
  for (const end = Date.now() + WAIT_MS; !(await isTrue()); ) {
    if (Date.now() > end) assert.fail(`it did not happen: ${typeof what === "function" ? what() : what ?? isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Wait until all that is under way has come: the answer of a ping is after it. */
export async function settled(gateway, peer) {
  const answered = gateway.call("ping");
  peer.reply(await peer.next("ping"), { server_time: new Date().toISOString() });
  await answered;
}

/** The outcome of a promise, within the time of a test. */
export function within(promise, what = "it") {
  let late;
  const end = new Promise((_, reject) => (late = setTimeout(() => reject(new Error(`${what} did not end`)), WAIT_MS)));
  return Promise.race([promise, end]).finally(() => clearTimeout(late));
}
