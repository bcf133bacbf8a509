// Tokens: when the client asks for one, and what it does with a bad answer.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Lost } from "../../../clients/javascript/gateway-client.js";
import { serve, until, within } from "./support.mjs";

/** A `getToken` that returns these in turn, and records why. */
function tokens(...returned) {
  const asked = [];
  const getToken = async ({ reason, previous, signal }) => {
    assert.ok(signal instanceof AbortSignal);
    asked.push([reason, previous]);
    const next = returned.length > 1 ? returned.shift() : returned[0];
    return typeof next === "function" ? next(signal) : next;
  };
  return { asked, getToken, token: undefined };
}

describe("tokens", { concurrency: true }, () => {
  test("one token does for many connections while it lasts", async (t) => {
    const { server, open } = await serve(t);
    const { asked, getToken } = tokens("first", "second");
    const { gateway, peer } = await open({ getToken });
    peer.cut();
    const next = (await server.next()).welcome();
    assert.equal(next.token, "first");
    await until(() => gateway.state === "open");
    assert.deepEqual(asked, [["connect", undefined]]);
  });

  for (const hours of [-2, 0, 2]) {
    test(`a clock ${hours} hours off changes nothing`, async (t) => {
      const { server, client } = await serve(t);
      const { asked, getToken } = tokens("first", "second", "third");
      const gateway = client({ getToken });
      const theirs = Date.now() + hours * 3600000;
      gateway.open().catch(() => {});
      const lasting = (await server.next()).welcome({}, theirs);
      await until(() => gateway.state === "open");
      assert.ok(Math.abs(gateway.serverTime - theirs) < 2000);
      lasting.cut();
      const next = (await server.next()).welcome({ token_expires_at: new Date(theirs + 59000).toISOString() }, theirs);
      assert.equal(next.token, "first");
      await until(() => gateway.state === "open");
      next.cut(); // its token ends within a minute
      assert.equal((await server.next()).token, "second");
      assert.deepEqual(asked, [["connect", undefined], ["connect", "first"]]);
    });
  }

  test("token.expiring renews the token of the open connection", async (t) => {
    const { server, open } = await serve(t);
    const { asked, getToken } = tokens("first", "second");
    const { gateway, peer } = await open({ getToken, times: { rest: 0 } });
    peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    const message = await peer.next("auth.refresh");
    assert.deepEqual(message.data, { token: "second" });
    peer.reply(message, { token_expires_at: new Date(Date.now() + 900000).toISOString(), scopes: [] });
    peer.cut();
    assert.equal((await server.next()).welcome().token, "second");
    assert.deepEqual(asked, [["connect", undefined], ["expiring", "first"]]);
    await until(() => gateway.state === "open");
  });

  test("a token that ends at once is not renewed all the time", async (t) => {
    const { open } = await serve(t);
    let count = 0;
    const { peer } = await open({ getToken: () => `token-${(count += 1)}`, times: { rest: 10000 } });
    for (let each = 0; each < 5; each += 1) peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    await new Promise((resolve) => setTimeout(resolve, 30)); // as long as it would take
    assert.equal(count, 1);
  });

  test("an old token in place of a new one is no renewal, and asked for once more", async (t) => {
    const { open } = await serve(t);
    const { asked, getToken } = tokens("old");
    const { gateway, peer } = await open({ getToken, times: { rest: 5 } });
    peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    await until(() => gateway.problems.length === 2);
    assert.equal(asked.length, 3);
    assert.deepEqual(gateway.problems.map(({ kind }) => kind), ["token", "token"]);
    assert.equal(peer.waiting, 0);
    assert.equal(gateway.state, "open");
  });

  test("a renewal that fails is tried once more", async (t) => {
    const { open } = await serve(t);
    const fails = () => {
      throw new Error("the network is away");
    };
    const { getToken } = tokens("first", fails, "second");
    const { gateway, peer } = await open({ getToken, times: { rest: 5 } });
    peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    assert.deepEqual((await peer.next("auth.refresh")).data, { token: "second" });
    assert.match(gateway.problems[0].error.message, /the network is away/);
  });

  test("a refusal of the renewal leaves the connection open", async (t) => {
    const { open } = await serve(t);
    const { getToken } = tokens("first", "another-user's");
    const { gateway, peer } = await open({ getToken, times: { rest: 0 } });
    peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    peer.refuse(await peer.next("auth.refresh"), 40300, "forbidden");
    await until(() => gateway.problems.length > 0);
    assert.equal(gateway.problems[0].kind, "token");
    assert.equal(gateway.state, "open");
  });

  test("a refused token is replaced twice at most", async (t) => {
    const { server, client } = await serve(t);
    const { asked, getToken } = tokens("a", "b", "c", "d");
    const gateway = client({ getToken });
    const opening = gateway.open();
    for (const token of ["a", "b", "c"]) {
      const peer = await server.next();
      assert.equal(peer.token, token);
      peer.send({ type: "error", id: null, status: 40101, name: "token_expired", message: "the token has expired", retryable: false });
      peer.bye(1008, "token_expired", "new_credential");
    }
    await assert.rejects(opening, /the token has expired/);
    assert.equal(gateway.state, "closed");
    assert.equal(gateway.why.reason, "token_expired");
    assert.deepEqual(asked, [["connect", undefined], ["refused", "a"], ["refused", "b"]]);
    assert.equal(server.connections, 3);
  });

  test("a token that ends while connected is replaced at once", async (t) => {
    const { server, open } = await serve(t);
    const { getToken } = tokens("first", "second");
    const { gateway, peer } = await open({ getToken, times: { backoff: 10000, longest: 10000 } });
    peer.bye(4410, "token_expired", "new_credential");
    assert.equal((await server.next()).welcome().token, "second");
    await until(() => gateway.state === "open");
  });

  test("a server that refuses every token after its welcome ends the client", async (t) => {
    const { server, client } = await serve(t);
    let count = 0;
    const gateway = client({ getToken: () => `token-${(count += 1)}` });
    gateway.open().catch(() => {});
    for (let each = 0; each < 3; each += 1) (await server.next()).welcome().bye(4411, "token_revoked", "new_credential");
    await until(() => gateway.state === "closed");
    assert.equal(count, 3);
  });

  test("the refused token again is not even tried", async (t) => {
    const { server, open } = await serve(t);
    const { asked, getToken } = tokens("old");
    const { gateway, peer } = await open({ getToken });
    peer.bye(4411, "token_revoked", "new_credential");
    await until(() => gateway.state === "closed");
    assert.equal(server.connections, 1);
    assert.deepEqual(asked, [["connect", undefined], ["refused", "old"], ["refused", "old"]]);
    assert.match(gateway.why.message, /the refused token/);
  });

  test("a fixed token that is refused ends the client", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open({ token: "fixed" });
    peer.bye(4410, "token_expired", "new_credential");
    await until(() => gateway.state === "closed");
    assert.equal(gateway.why.code, 4410);
  });

  test("no token means that the user must log in", async (t) => {
    for (const nothing of [undefined, null, ""]) {
      const { server, client } = await serve(t);
      const gateway = client({ getToken: () => nothing });
      await assert.rejects(gateway.call("ping"), Lost);
      assert.equal(gateway.state, "closed");
      assert.equal(gateway.why.reason, "no_token");
      assert.equal(server.connections, 0);
    }
  });

  test("getToken that throws is called again later", async (t) => {
    const { server, client } = await serve(t);
    let count = 0;
    const gateway = client({
      getToken() {
        if ((count += 1) < 4) throw new Error("no network");
        return "at-last";
      },
    });
    const reasons = [];
    gateway.onState((state, why) => state === "waiting" && reasons.push(why.message));
    const opening = gateway.open();
    assert.equal((await server.next()).welcome().token, "at-last");
    await opening;
    assert.deepEqual(reasons, Array(3).fill("getToken failed: no network"));
  });

  test("getToken that throws no Error does no harm", async (t) => {
    const { server, client } = await serve(t);
    let count = 0;
    const thrown = [undefined, "a text", Object.create(null)];
    const gateway = client({ getToken: () => (count < 3 ? Promise.reject(thrown[count++]) : "token") });
    const opening = gateway.open();
    (await server.next()).welcome();
    await opening;
  });

  test("getToken that hangs is left, and its signal says so", async (t) => {
    const { server, client } = await serve(t);
    let first;
    const gateway = client({
      getToken({ signal }) {
        if (first) return "second";
        first = signal;
        return new Promise(() => {});
      },
      times: { token: 30 },
    });
    const opening = gateway.open();
    assert.equal((await server.next()).welcome().token, "second");
    await opening;
    assert.ok(first.aborted);
  });

  test("only one request for a token is under way", async (t) => {
    const { server, open } = await serve(t);
    let release;
    let under = 0;
    let most = 0;
    let count = 0;
    const getToken = async () => {
      most = Math.max(most, (under += 1));
      count += 1;
      if (count > 1) await new Promise((resolve) => (release = resolve));
      under -= 1;
      return `token-${count}`;
    };
    const { gateway, peer } = await open({ getToken, times: { rest: 0, token: 5000 } });
    peer.event("token.expiring", { token_expires_at: new Date().toISOString() });
    await until(() => release);
    peer.bye(4410, "token_expired", "new_credential");
    await until(() => gateway.state === "connecting");
    release();
    assert.equal((await server.next()).welcome().token, "token-2");
    await until(() => gateway.state === "open");
    assert.equal(most, 1);
    assert.equal(count, 2);
  });

  test("close during a renewal is no problem", async (t) => {
    const { open } = await serve(t);
    let asked = 0;
    const getToken = () => ((asked += 1) === 1 ? "first" : new Promise(() => {}));
    const { gateway, peer } = await open({ getToken, times: { rest: 0, token: 5000 } });
    peer.event("token.expiring", {});
    await until(() => asked === 2);
    await gateway.close();
    assert.deepEqual(gateway.problems, []);
  });

  test("close ends the wait for a token", async (t) => {
    const { client } = await serve(t);
    let given;
    const gateway = client({
      getToken({ signal }) {
        given = signal;
        return new Promise(() => {});
      },
      times: { token: 10000 },
    });
    const call = gateway.call("ping");
    await until(() => given);
    await within(gateway.close());
    await assert.rejects(call, Lost);
    assert.ok(given.aborted);
  });
});
