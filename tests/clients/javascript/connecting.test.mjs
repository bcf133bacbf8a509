// How the client connects, and what it does after each kind of end.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { connect, Lost } from "../../../clients/javascript/gateway-client.js";
import { serve, until, within } from "./support.mjs";

describe("connecting", { concurrency: true }, () => {
  test("the first use opens the connection, and making a client does not", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client();
    assert.equal(gateway.state, "idle");
    assert.equal(server.connections, 0);
    const call = gateway.call("echo", { a: 1 });
    assert.equal(gateway.state, "connecting");
    const peer = (await server.next()).welcome();
    const message = await peer.next("echo");
    assert.equal(gateway.state, "open");
    assert.equal(gateway.user, "alice");
    assert.equal(gateway.welcome.connection, "c0ffee");
    peer.reply(message, { a: 1 });
    assert.deepEqual(await call, { a: 1 });
  });

  test("a token goes into a subprotocol, the query or the first message", async (t) => {
    const { server, client } = await serve(t);
    client({ token: "t.o-k_en" }).open().catch(() => {});
    const first = await server.next();
    assert.deepEqual(first.protocols, ["gateway.v1", "bearer.t.o-k_en"]);
    assert.equal(first.url.search, "");
    client({ token: "t&k", tokenIn: "query", service: "the shop", rooms: true }).open().catch(() => {});
    const second = await server.next();
    assert.equal(second.url.search, "?service=the%20shop&rooms=1&token=t%26k");
    assert.deepEqual(second.protocols, [""]);
    client({ token: "any/thing=", tokenIn: "message" }).open().catch(() => {});
    const third = await server.next();
    assert.deepEqual(await third.next(), { type: "auth", data: { token: "any/thing=" } });
    assert.equal(third.url.search, "");
  });

  test("without a token, a cookie may do", async (t) => {
    const { server, client } = await serve(t);
    client({ token: undefined }).open().catch(() => {});
    assert.deepEqual((await server.next()).protocols, [""]);
  });

  test("a token that fits into no subprotocol is a mistake with a reason", async (t) => {
    const { client } = await serve(t);
    const gateway = client({ token: "any/thing=" });
    await assert.rejects(gateway.open(), Lost);
    assert.equal(gateway.state, "closed");
    assert.match(gateway.why.message, /tokenIn/);
    assert.ok(!gateway.why.message.includes("any/thing"));
  });

  test("each form of the address leads to the same place", async (t) => {
    const { server } = await serve(t);
    const { host } = new URL(server.url);
    for (const [given, path] of [
      [`http://${host}`, "/ws/chat"], [`ws://${host}/`, "/ws/chat"], [`http://${host}/ws/chat`, "/ws/chat"],
      [`http://${host}/behind/a/proxy/`, "/behind/a/proxy/ws/chat"], [`HTTP://${host}/?shard=7#x`, "/ws/chat?shard=7"],
    ]) {
      const gateway = connect(given, { token: "t" });
      gateway.open().catch(() => {});
      const { url } = await server.next();
      assert.equal(url.pathname + url.search, path, given);
      await gateway.close();
    }
    assert.throws(() => connect("chat.example.com"), TypeError);
  });

  test("a refused upgrade says what to check, and is tried again", async (t) => {
    const { server, client } = await serve(t);
    server.status = 403;
    const gateway = client({ times: { patience: 500 } });
    const states = new Set();
    gateway.onState((state) => states.add(state));
    await assert.rejects(gateway.call("ping"), (error) => {
      assert.ok(error instanceof Lost);
      assert.equal(error.sent, false);
      assert.equal(error.why.reason, "unreachable");
      for (const part of ["/ws/chat", "proxy", "GATEWAY_ALLOWED_ORIGINS"]) assert.ok(error.message.includes(part), part);
      assert.ok(!error.message.includes("a-token"));
      return true;
    });
    assert.deepEqual(states, new Set(["connecting", "waiting"]));
    server.status = 101;
    const opening = gateway.open();
    (await server.next()).welcome();
    await opening;
  });

  test("a bye decides when the client comes back", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const began = Date.now();
    peer.bye(1012, "draining", "after_delay", 120);
    await until(() => gateway.state === "waiting");
    assert.equal(gateway.why.code, 1012);
    assert.equal(gateway.why.reason, "draining");
    assert.ok(Math.abs(gateway.why.retryAt - began - 120) < 100);
    gateway.check(); // no hurry: the gateway has said when
    (await server.next()).welcome();
    assert.ok(Date.now() - began >= 115);
    await until(() => gateway.state === "open");
  });

  test("with_backoff waits for the backoff, and at least as long as the gateway says", async (t) => {
    const { server, open } = await serve(t);
    const { peer } = await open();
    const began = Date.now();
    peer.bye(1013, "overloaded", "with_backoff", 80);
    await server.next();
    assert.ok(Date.now() - began >= 75);
  });

  test("a gateway that always says to come back at once is asked more and more rarely", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open({ times: { backoff: 50, longest: 400 } });
    const waits = [];
    gateway.onState((state, why) => state === "waiting" && waits.push(why.retryAt - Date.now()));
    peer.bye(1012, "draining", "after_delay", 0);
    for (let each = 0; each < 6; each += 1) (await server.next()).welcome().bye(1012, "draining", "after_delay", 0);
    assert.ok(waits[0] <= 1 && Math.max(...waits) > 20, waits);
  });

  test("an absurd delay is no delay for ever", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    peer.bye(1012, "draining", "after_delay", 1e15);
    await until(() => gateway.state === "waiting");
    assert.ok(gateway.why.retryAt - Date.now() <= 3600000);
  });

  test("never is the end", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("ping");
    await peer.next("ping");
    peer.bye(4403, "disconnected", "never");
    await assert.rejects(call, { name: "Lost", sent: true });
    assert.equal(gateway.state, "closed");
    assert.equal(gateway.why.reconnect, "never");
    await assert.rejects(gateway.call("ping"), { name: "Lost", sent: false, message: /disconnected/ });
    assert.equal(server.connections, 1);
    const opening = gateway.open(); // a person has pressed a button
    (await server.next()).welcome();
    await opening;
    assert.equal(gateway.state, "open");
  });

  test("a close without a bye has a meaning too", async (t) => {
    for (const [code, reason, state] of [
      [4400, "too_many_errors", "closed"], [4403, "disconnected", "closed"], [1000, "bye", "closed"],
      [1008, "forbidden_origin", "closed"], [1008, "not_found", "closed"], [4410, "token_expired", "closed"],
      [1012, "draining", "waiting"], [1009, "too_large", "waiting"], [1011, "internal_error", "waiting"], [4999, "", "waiting"],
    ]) {
      const { open } = await serve(t);
      const { gateway, peer } = await open({ times: { backoff: 5000, longest: 5000 } });
      peer.close(code, reason);
      await until(() => gateway.state !== "open");
      assert.equal(gateway.state, state, `${code} ${reason}`);
      assert.equal(gateway.why.code, code);
      await gateway.close();
    }
  });

  test("a connection that is cut off comes back after a wait that grows", async (t) => {
    const { server, open } = await serve(t);
    const waits = [];
    const { gateway, peer } = await open({ times: { backoff: 8, longest: 64 } });
    gateway.onState((state, why) => state === "waiting" && waits.push(why.retryAt - Date.now()));
    peer.cut();
    for (let count = 0; count < 12; count += 1) (await server.next()).cut();
    assert.ok(waits.slice(0, 1).every((wait) => wait <= 8), waits);
    assert.ok(waits.every((wait) => wait <= 64), waits);
    assert.ok(new Set(waits.slice(4)).size > 1, "no two waits are alike");
  });

  test("the waits are spread between nothing and their cap", async (t) => {
    const { client } = await serve(t);
    /** A socket that fails at once. */
    class NoSocket {
      constructor() {
        setImmediate(() => this.onclose?.({ code: 1006, reason: "" }));
      }

      close() {}
    }
    const waits = [];
    const gateway = client({ WebSocket: NoSocket, times: { backoff: 4, longest: 32 } });
    gateway.onState((state, why) => state === "waiting" && waits.push(why.retryAt - Date.now()));
    gateway.open().catch(() => {});
    await until(() => waits.length >= 60);
    const caps = [4, 8, 16];
    assert.ok(waits.every((wait, attempt) => wait <= (caps[attempt] ?? 32)), waits);
    const full = waits.slice(caps.length);
    assert.ok(Math.min(...full) < 8 && Math.max(...full) > 24, waits);
  });

  test("no welcome in time is a failure", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client({ times: { welcome: 200 } });
    const opening = gateway.open();
    await server.next();
    (await server.next()).welcome();
    await opening;
    assert.equal(gateway.why.reason, "no_welcome");
  });

  test("close rejects what waits, and ends the loops", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("ping");
    const sent = gateway.call("chat.send", { room: "lobby", text: "hi" });
    const loop = (async () => {
      for await (const event of gateway.events("chat.message")) assert.fail(event);
      return "ended";
    })();
    await peer.next("ping");
    const closing = gateway.close();
    await assert.rejects(call, Lost);
    await assert.rejects(sent, Lost);
    assert.equal(await within(loop), "ended");
    await within(closing);
    await peer.ended();
    assert.equal(gateway.state, "closed");
    await gateway.close();
    assert.equal(server.connections, 1);
  });

  test("close works in every state", async (t) => {
    const { server, client } = await serve(t);
    const idle = client();
    await idle.close();
    assert.equal(idle.state, "closed");
    const connecting = client();
    const opening = connecting.open();
    await connecting.close();
    await assert.rejects(opening, Lost);
    const asking = client({ token: undefined, getToken: () => new Promise(() => {}) });
    const asked = asking.open();
    await asking.close();
    await assert.rejects(asked, Lost);
    server.status = 500;
    const waiting = client({ times: { backoff: 10000, longest: 10000 } });
    waiting.open().catch(() => {});
    await until(() => waiting.state === "waiting");
    await waiting.close();
    assert.equal(waiting.state, "closed");
  });

  test("open is refused in time, or by its signal, and the client goes on", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client();
    await assert.rejects(gateway.open({ timeout: 20 }), Lost);
    const stop = new AbortController();
    const opening = gateway.open({ signal: stop.signal });
    stop.abort(new Error("enough"));
    await assert.rejects(opening, /enough/);
    await assert.rejects(gateway.open({ signal: stop.signal }), /enough/);
    (await server.next()).welcome();
    await gateway.open();
  });

  test("a listener may open it again at once", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    let opening;
    const off = gateway.onState((state) => state === "closed" && (opening = gateway.open()));
    const call = assert.rejects(gateway.call("echo"), Lost);
    peer.bye(4403, "disconnected", "never");
    await call;
    (await server.next()).welcome();
    await opening;
    assert.equal(gateway.state, "open");
    off();
  });

  test("a listener may close it at any moment, and it stays closed", async (t) => {
    const closers = {
      bye: (gateway) => gateway.on("bye", () => gateway.close()),
      room: (gateway) => gateway.room("lobby").on("state", (state) => state === "joining" && gateway.close()),
      "token.expiring": (gateway) => gateway.on("token.expiring", () => gateway.close()),
    };
    for (const [name, listen] of Object.entries(closers)) {
      const { server, open } = await serve(t);
      let asked = 0;
      const { gateway, peer } = await open({ getToken: () => `token-${(asked += 1)}` });
      const joining = gateway.room("lobby").join();
      const rooms = [{ room: "lobby", epoch: "x", offset: 0, members: 1, messages: [] }];
      peer.reply(await peer.next("room.resume"), { rooms, has_more: false });
      await joining;
      listen(gateway);
      if (name === "token.expiring") peer.event(name, {});
      else if (name === "room") peer.cut();
      else peer.event("bye", { code: 1012, reason: "draining", reconnect: "after_delay", after_ms: 1 });
      await until(() => gateway.state === "closed");
      await new Promise((resolve) => setTimeout(resolve, 30)); // longer than a retry and a rest
      assert.deepEqual([gateway.state, server.connections, asked], ["closed", 1, 1], name);
    }
  });

  test("a listener that closes it before it has a token spares the token", async (t) => {
    const { client } = await serve(t);
    const gateway = client({ getToken: () => assert.fail("it is closed") });
    gateway.onState((state) => state === "connecting" && gateway.close());
    await assert.rejects(gateway.open({ timeout: 20 }), Lost);
    assert.equal(gateway.state, "closed");
  });

  test("close and open at once do not wait for the token of before", async (t) => {
    const { server, client } = await serve(t);
    let asked = 0;
    const getToken = () => ((asked += 1) === 1 ? new Promise(() => {}) : "second");
    const gateway = client({ getToken, times: { backoff: 60000, longest: 60000, token: 20000 } });
    gateway.open().catch(() => {});
    await until(() => asked === 1);
    gateway.close();
    const opening = gateway.open();
    assert.equal((await server.next()).welcome().token, "second");
    await within(opening);
  });

  test("another user's token ends it, and nothing of the former user goes out", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const sent = gateway.call("chat.send", { room: "lobby", text: "hi" });
    await peer.next("chat.send");
    peer.cut();
    const next = (await server.next()).welcome({ user: "bobby" });
    await assert.rejects(sent, { name: "Lost", sent: true });
    assert.deepEqual([gateway.state, gateway.why.reason], ["closed", "another_user"]);
    await next.ended();
    assert.equal(next.waiting, 0);
    const opening = gateway.open(); // the page has shown another user
    (await server.next()).welcome({ user: "bobby" });
    await opening;
  });

  test("a token that no URL can hold is a mistake with a reason", async (t) => {
    const { client } = await serve(t);
    const gateway = client({ token: "\ud83d", tokenIn: "query" });
    await assert.rejects(gateway.open(), Lost);
    assert.equal(gateway.why.reason, "no_socket");
  });

  test("every change of the state is heard until off", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const told = [];
    const off = gateway.onState((state, why) => told.push([state, why?.reason]));
    gateway.onState(() => assert.fail("aborted"), { signal: AbortSignal.abort() });
    peer.bye(4403, "disconnected", "never");
    await until(() => gateway.state === "closed");
    assert.deepEqual(told, [["closed", "disconnected"]]);
    off();
    off();
    gateway.open().catch(() => {});
    assert.equal(told.length, 1);
  });

  test("React Native says in the reason what failed, and has an older platform", async (t) => {
    const { client } = await serve(t);
    /** As in React Native: no events before the handlers, a reason in words, and a signal without a reason. */
    class Socket {
      constructor(url, protocols) {
        assert.deepEqual(protocols, ["gateway.v1", "bearer.a-token"]);
        const reason = "Expected HTTP 101 response but was '401 Unauthorized'";
        setTimeout(() => this.onerror?.({ message: reason }));
        setTimeout(() => this.onclose?.({ code: 1006, reason }));
      }

      close() {}
    }
    const gateway = client({ WebSocket: Socket, times: { patience: 500, backoff: 1000, longest: 1000 } });
    const signal = Object.assign(new EventTarget(), { aborted: false });
    const call = gateway.call("ping", {}, { signal });
    await until(() => gateway.state === "waiting");
    assert.match(gateway.why.message, /No WebSocket at .*Expected HTTP 101 response but was '401 Unauthorized'/);
    assert.equal(gateway.why.reason, "unreachable");
    signal.aborted = true;
    signal.dispatchEvent(new Event("abort"));
    await assert.rejects(call, { name: "AbortError" });
  });

  test("a platform without a WebSocket is said to lack it", async (t) => {
    const { client } = await serve(t);
    const gateway = client({ WebSocket: null });
    await assert.rejects(gateway.open(), Lost);
    assert.equal(gateway.why.reason, "no_socket");
  });

  test("a raw text goes out as it is", async (t) => {
    const { server, client, open } = await serve(t);
    assert.equal(client().send("{}"), false);
    const frames = [];
    const { gateway, peer } = await open({ onFrame: (direction, text) => frames.push([direction, JSON.parse(text).type]) });
    assert.equal(gateway.send('{"type": "ping", "id": 1}'), true);
    peer.reply(await peer.next("ping"), {});
    await until(() => frames.length === 3);
    assert.deepEqual(frames, [["in", "welcome"], ["out", "ping"], ["in", "reply"]]);
    assert.deepEqual(gateway.problems, []);
    assert.equal(server.connections, 1);
  });
});
