// The client with a live gateway: its real answers, drops, and the end of real tokens.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { connect, Refused } from "../../../clients/javascript/gateway-client.js";
import { DroppingProxy } from "./dropping_proxy.mjs";
import { until, within } from "./support.mjs";

const url = process.env.GATEWAY_URL;
const tokens = JSON.parse(process.env.GATEWAY_TOKENS);
const DROPS = 1000;
const DROPPING_MS = 45000;

let rooms = 0;
const someRoom = () => `a-room-${(rooms += 1)}`;

/** A client of the live gateway, which ends with the test. */
function client(t, user, options = {}, at = url) {
  const problems = [];
  const gateway = connect(at, { token: tokens[user], onProblem: (problem) => problems.push(problem), ...options });
  t.after(() => gateway.close());
  return Object.assign(gateway, { problems });
}

describe("a live gateway", () => {
  test("two users talk", async (t) => {
    const [alice, bobby] = [client(t, "alice"), client(t, "bobby", { tokenIn: "message" })];
    const name = someRoom();
    const heard = (async () => {
      for await (const message of bobby.room(name).events()) {
        if (message.text === "Hello") await bobby.room(name).send("Hi Alice", {});
        if (message.text === "Bye") return "done";
      }
    })();
    await bobby.room(name).join();
    const answers = [];
    alice.room(name).on("message", ({ sender, text }) => answers.push(`${sender}: ${text}`));
    await alice.room(name).join();
    await alice.room(name).send("Hello");
    await until(() => answers.includes("bobby: Hi Alice"));
    await alice.room(name).send("Bye");
    assert.equal(await within(heard), "done");
    assert.deepEqual([alice.problems, bobby.problems], [[], []]);
  });

  test("a message grows to its end, for a listener that comes late too", async (t) => {
    const [alice, bobby] = [client(t, "alice"), client(t, "bobby")];
    const room = alice.room(someRoom());
    await room.join();
    const { message } = await room.send("Foxes 🦊");
    const late = bobby.room(room.name);
    let newest;
    late.on("message", (each) => (newest = each));
    const { messages } = await late.join();
    assert.equal(messages[0].text, "Foxes 🦊");
    let text = "Foxes 🦊";
    for (const piece of [" are", " 👩‍🚀", "s"]) {
      const at = [...text].length;
      await alice.call("chat.append", { room: room.name, message_id: message.id, text: piece, at });
      text += piece;
    }
    await alice.call("chat.append", { room: room.name, message_id: message.id, text: "", done: true });
    await until(() => newest?.done);
    assert.equal(newest.text, text);
    assert.equal(newest.id, message.id);
    assert.deepEqual(bobby.problems, []);
  });

  test("an answer streams, and can be cancelled", async (t) => {
    const gateway = client(t, "alice");
    const stream = gateway.stream("story.tell", { about: "foxes" });
    let text = "";
    for await (const chunk of stream) text += chunk;
    assert.equal(text, "Once upon a time foxes");
    assert.deepEqual(await stream.reply, { words: 5 });
    assert.deepEqual(await gateway.call("story.tell", { about: "owls" }), { words: 5, text: "Once upon a time owls" });
    const endless = gateway.stream("story.tell", { about: "Scheherazade" });
    endless.reply.catch(() => {});
    for await (const chunk of endless) {
      if (chunk) break;
    }
    await assert.rejects(endless.reply, { name: "AbortError" });
    await gateway.call("ping");
    assert.deepEqual(gateway.problems, []);
  });

  test("128 rooms come back with one message", async (t) => {
    const proxy = await new DroppingProxy(url).start();
    t.after(() => proxy.stop());
    const sent = [];
    const onFrame = (direction, text) => direction === "out" && sent.push(JSON.parse(text));
    const gateway = client(t, "carol", { onFrame, times: { backoff: 10 } }, proxy.url);
    const names = Array.from({ length: 128 }, () => someRoom());
    await Promise.all(names.map((name) => gateway.room(name).join()));
    sent.length = 0;
    proxy.cut();
    await until(() => gateway.state !== "open");
    await until(() => names.every((name) => gateway.room(name).state === "joined"));
    const resumes = sent.filter(({ type }) => type === "room.resume");
    assert.deepEqual(resumes.map(({ data }) => data.rooms.length), [128]);
    assert.ok(resumes[0].data.rooms.every(({ since }) => since));
    const one = gateway.room(someRoom()).join();
    await assert.rejects(within(one.catch((error) => Promise.reject(error)), "the 129th room"), (error) => {
      return error instanceof Refused || /did not end/.test(error.message);
    });
  });

  test("a room that does not exist is refused, and the others are not", async (t) => {
    const gateway = client(t, "alice");
    const name = someRoom();
    const [good, bad] = await Promise.allSettled([gateway.room(name).join(), gateway.room("Not A Name").join()]);
    assert.equal(good.status, "fulfilled");
    assert.equal(bad.reason.status, 42200);
    const kicked = client(t, "bobby");
    await kicked.room(name).join();
    await gateway.call("room.kick", { room: name, user: "bobby" });
    await until(() => kicked.room(name).state === "left");
  });

  test("the token is renewed on the open connection, and after its end", async (t) => {
    const reasons = [];
    const grant = async (reason) => {
      reasons.push(reason);
      const body = new URLSearchParams({ username: "dave", password: process.env.GATEWAY_PASSWORD });
      return (await (await fetch(`${url}/token`, { method: "POST", body })).json()).access_token;
    };
    const proxy = await new DroppingProxy(url).start();
    t.after(() => proxy.stop());
    const sent = [];
    const onFrame = (direction, text) => direction === "out" && sent.push(JSON.parse(text).type);
    const options = { getToken: ({ reason }) => grant(reason), onFrame, times: { rest: 0, backoff: 10 } };
    const gateway = client(t, "dave", options, proxy.url);
    const { token_expires_at: end } = await gateway.open();
    const move = (seconds) => fetch(`${url}/test/clock?seconds=${seconds}`, { method: "POST" });
    t.after(() => move(0));
    await move((Date.parse(end) - Date.now()) / 1000 - 30); // half a minute is left
    const expiring = gateway.events("token.expiring").next();
    proxy.cut();
    await within(expiring, "token.expiring");
    await until(() => sent.includes("auth.refresh"));
    const room = gateway.room(someRoom());
    await room.join();
    // The machine sleeps for longer than the token lives.
    await move((Date.parse(end) - Date.now()) / 1000 + 7200);
    gateway.check();
    await until(() => reasons.includes("refused") && gateway.state === "open");
    assert.equal((await room.send("I am awake")).duplicate, false);
    assert.ok(gateway.serverTime - Date.now() > 3600000); // by now the clocks are far apart
    assert.deepEqual(reasons, ["connect", "expiring", "refused"]);
  });
});

describe("1,000 drops at random", () => {
  test("nothing is lost, and nothing comes twice", async (t) => {
    const proxy = await new DroppingProxy(url).start();
    t.after(() => proxy.stop());
    const times = { backoff: 2, longest: 10, ping: 1000, steady: 1000, patience: DROPPING_MS };
    const [alice, bobby] = ["alice", "bobby"].map((user) => client(t, user, { times }, proxy.url));
    const name = someRoom();
    const heard = { alice: [], bobby: [] };
    const raw = [];
    const gaps = [];
    for (const [user, gateway] of Object.entries({ alice, bobby })) {
      gateway.room(name).on("message", ({ text }) => heard[user].push(text));
      gateway.room(name).on("gap", (gap) => gaps.push(`${user}: ${gap.reason}`));
      await gateway.room(name).join();
    }
    bobby.on("chat.message", ({ text }) => raw.push(text));
    const sent = [];
    const replies = [];
    proxy.drops = true;
    proxy.cut();
    const began = Date.now();
    while (proxy.dropped < DROPS && Date.now() - began < DROPPING_MS) {
      const text = `message ${sent.length} ${"x".repeat(Math.random() * 40)}`;
      sent.push(text);
      replies.push(alice.room(name).send(text).then(({ message }) => message));
      if (replies.length % 4 === 0) await replies.at(-1);
      await until(() => heard.bobby.length > sent.length - 10); // over 300, there would be a gap
    }
    proxy.drops = false;
    const stored = await within(Promise.all(replies), "the last answer");
    const isHeard = () => gaps.length || (heard.alice.length >= sent.length && heard.bobby.length >= sent.length);
    await until(isHeard, () => [alice, bobby].map((each) => {
      return `${each.user} is ${each.state} and has heard ${heard[each.user].length} of ${sent.length}`;
    }));
    assert.deepEqual(gaps, []);
    t.diagnostic(`${proxy.dropped} drops, ${sent.length} messages, ${Date.now() - began} ms`);
    assert.ok(proxy.dropped >= DROPS, `only ${proxy.dropped} drops in time`);
    assert.deepEqual(stored.map(({ text }) => text), sent);
    assert.deepEqual(stored.map(({ offset }) => offset), sent.map((_, index) => index + 1)); // each once, in order
    assert.deepEqual(heard.alice, sent);
    assert.deepEqual(heard.bobby, sent);
    assert.deepEqual(raw, sent);
    assert.deepEqual([alice.problems, bobby.problems], [[], []]);
  });
});
