// Silence, sleep and the return of the network: a ping decides, and not a blind new socket.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { serve, until } from "./support.mjs";

describe("waking", () => {
  const page = new EventTarget();
  const view = new EventTarget();
  const listeners = new Map();
  page.visibilityState = "visible";

  /** Count the listeners of a target. */
  const counted = (target, verb) => (name, fn) => {
    listeners.set(name, (listeners.get(name) ?? 0) + (verb === "addEventListener" ? 1 : -1));
    target[verb](name, fn);
  };

  before(() => {
    const fake = { addEventListener: page.addEventListener.bind(page), removeEventListener: page.removeEventListener.bind(page) };
    globalThis.document = {
      get visibilityState() {
        return page.visibilityState;
      },
      ...fake,
    };
    globalThis.addEventListener = counted(view, "addEventListener");
    globalThis.removeEventListener = counted(view, "removeEventListener");
  });
  after(() => {
    delete globalThis.document;
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });

  for (const [target, name] of [[view, "online"], [view, "pageshow"], [page, "visibilitychange"], [page, "resume"]]) {
    test(`${name}: an answered ping keeps the socket`, async (t) => {
      const { server, open } = await serve(t);
      const { gateway, peer } = await open();
      target.dispatchEvent(new Event(name));
      target.dispatchEvent(new Event(name)); // once is enough
      peer.reply(await peer.next("ping"), {});
      await new Promise((resolve) => setTimeout(resolve, 200)); // longer than the ping may take
      assert.equal(gateway.state, "open");
      assert.equal(server.connections, 1);
      assert.equal(peer.waiting, 0);
    });
  }

  test("after an answered ping, the next change of the network asks again", async (t) => {
    const { open } = await serve(t);
    const { peer } = await open({ times: { ping: 5000 } });
    for (let each = 0; each < 3; each += 1) {
      view.dispatchEvent(new Event("online"));
      peer.reply(await peer.next("ping"), {});
      await new Promise((resolve) => setTimeout(resolve, 20)); // until the answer has come
    }
  });

  test("without an answer, there is a new socket", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open({ times: { ping: 30 } });
    view.dispatchEvent(new Event("online"));
    await peer.next("ping");
    (await server.next()).welcome();
    await until(() => gateway.state === "open");
    assert.equal(gateway.why.reason, "no_pong");
  });

  test("a page that goes out of sight asks nothing", async (t) => {
    const { open } = await serve(t);
    const { peer } = await open();
    page.visibilityState = "hidden";
    page.dispatchEvent(new Event("visibilitychange"));
    page.visibilityState = "visible";
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(peer.waiting, 0);
  });

  test("a client that waits comes back at once", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open({ times: { backoff: 60000, longest: 60000 } });
    peer.cut();
    await until(() => gateway.state === "waiting");
    view.dispatchEvent(new Event("online"));
    (await server.next()).welcome();
    await until(() => gateway.state === "open");
  });

  test("a closed client listens to nothing", async (t) => {
    const { open } = await serve(t);
    const { gateway } = await open();
    assert.equal(listeners.get("online"), 1);
    await gateway.close();
    assert.equal(listeners.get("online"), 0);
    assert.equal(listeners.get("pageshow"), 0);
  });

  test("a silence is broken by a ping, before a proxy closes the connection", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open({ times: { heartbeat: 20 } });
    for (let each = 0; each < 4; each += 1) peer.reply(await peer.next("ping"), {});
    assert.equal(gateway.state, "open");
  });

  test("a connection that hears something needs no ping", async (t) => {
    const { open } = await serve(t);
    const { peer } = await open({ times: { heartbeat: 200 } });
    const talking = setInterval(() => peer.event("announcement", {}), 20);
    await new Promise((resolve) => setTimeout(resolve, 450));
    clearInterval(talking);
    assert.equal(peer.waiting, 0);
  });

  test("more than two heartbeats of silence are a loss", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open({ times: { heartbeat: 30, ping: 30 } });
    await peer.next("ping");
    (await server.next()).welcome();
    await until(() => gateway.state === "open");
    assert.equal(gateway.why.reason, "no_pong");
  });

  test("a clock that is set back does not stop the heartbeat", async (t) => {
    const { open } = await serve(t);
    const { peer } = await open({ times: { heartbeat: 30 } });
    const real = Date.now;
    t.after(() => (Date.now = real));
    Date.now = () => real() - 7200000;
    await peer.next("ping");
  });

  test("a message without an answer is not repeated when the gateway has forgotten its client_id", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("chat.send", { room: "lobby", text: "before the weekend" });
    await peer.next("chat.send");
    const real = Date.now;
    t.after(() => (Date.now = real));
    Date.now = () => real() + 90000000; // the machine sleeps for 25 hours
    peer.cut();
    await assert.rejects(call, { name: "Lost", sent: true });
    (await server.next()).welcome({}, real());
    await until(() => gateway.state === "open");
  });

  test("a machine that slept asks at once", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open({ times: { heartbeat: 40, ping: 5000 } });
    const real = Date.now;
    t.after(() => (Date.now = real));
    Date.now = () => real() + 7200000;
    peer.reply(await peer.next("ping"), {});
    assert.equal(gateway.state, "open");
  });
});
