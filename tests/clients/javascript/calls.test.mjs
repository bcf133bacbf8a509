// Calls, streams and events; what a loss does to them; and what a server must not break.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Lost, Overflow, Refused } from "../../../clients/javascript/gateway-client.js";
import { encode } from "./odd_server.mjs";
import { serve, settled, until, within } from "./support.mjs";

describe("calls", { concurrency: true }, () => {
  test("a refusal has all that the gateway says", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("chat.send", { room: "lobby", text: "" });
    const details = [{ field: "data.text", message: "too short" }];
    peer.refuse(await peer.next(), 42900, "rate_limited", { retryable: true, retry_after_ms: 500, details });
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof Refused);
      const { name, status, message, retryable, retryAfterMs } = error;
      assert.deepEqual([name, status, message, retryable, retryAfterMs], ["rate_limited", 42900, "rate limited", true, 500]);
      assert.deepEqual(error.details, details);
      return true;
    });
  });

  test("a call may name the trace that it belongs to", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const call = gateway.call("echo", {}, { traceparent });
    const asked = await peer.next();
    assert.equal(asked.traceparent, traceparent);
    peer.reply(asked, {});
    await call;
    const next = gateway.call("echo", {});
    const other = await peer.next();
    assert.ok(!("traceparent" in other));
    peer.reply(other, {});
    await next;
  });

  test("answers find their calls in any order", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const calls = [1, 2, 3].map((number) => gateway.call("echo", { number }));
    const messages = [await peer.next(), await peer.next(), await peer.next()];
    for (const message of messages.toReversed()) peer.reply(message, message.data);
    assert.deepEqual(await Promise.all(calls), [{ number: 1 }, { number: 2 }, { number: 3 }]);
  });

  test("an aborted call is cancelled, and its late answer is no problem", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stop = new AbortController();
    const call = gateway.call("slow.work", {}, { signal: stop.signal });
    const { id } = await peer.next("slow.work");
    stop.abort(new Error("changed my mind"));
    await assert.rejects(call, /changed my mind/);
    const cancel = await peer.next("cancel");
    assert.deepEqual(cancel.data, { id });
    peer.refuse({ id }, 49900, "cancelled");
    peer.reply(cancel);
    await settled(gateway, peer);
    assert.deepEqual(gateway.problems, []);
    await assert.rejects(gateway.call("slow.work", {}, { signal: stop.signal }), /changed my mind/);
    assert.equal(peer.waiting, 0);
  });

  test("a call that was aborted before the connection never goes out", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client();
    const stop = new AbortController();
    const call = gateway.call("slow.work", {}, { signal: stop.signal });
    const kept = gateway.call("echo");
    stop.abort();
    await assert.rejects(call, { name: "AbortError" });
    const peer = (await server.next()).welcome();
    peer.reply(await peer.next("echo"), {});
    await kept;
    assert.equal(peer.waiting, 0);
  });

  test("a call without an answer in time is lost", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open({ times: { answer: 30 } });
    await assert.rejects(gateway.call("echo"), { name: "Lost", sent: true });
    await assert.rejects(gateway.call("echo", {}, { timeout: 10 }), { name: "Lost", sent: true });
    const first = await peer.next("echo");
    peer.reply(first, {});
    assert.deepEqual((await peer.next("cancel")).data, { id: first.id });
  });

  test("a message over the limit is refused before it goes out", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client();
    const opening = gateway.open();
    const peer = (await server.next()).welcome({ max_message_bytes: 200 });
    await opening;
    for (const text of ["x".repeat(200), "é".repeat(90), "€".repeat(60), "👍".repeat(45)]) {
      await assert.rejects(gateway.call("chat.send", { room: "lobby", text }), (error) => {
        const size = Number(/got (\d+)/.exec(error.message)[1]);
        assert.ok(size > 200 && size < 310, error.message);
        return error instanceof Refused && error.status === 41300 && error.name === "too_large";
      });
    }
    const fits = gateway.call("echo", { text: "é".repeat(40) });
    peer.reply(await peer.next("echo"), {});
    await fits;
  });

  test("a text that no gateway can read is refused before it goes out", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    for (const text of ["half \ud83d", "\udc4d half", "nul \u0000"]) {
      await assert.rejects(gateway.call("echo", { text }), { status: 40000, name: "bad_frame" });
    }
    for (const text of ["whole 👍", "a path \\ud83d and \\u0000", "\\\\"]) {
      const call = gateway.call("echo", { text });
      peer.reply(await peer.next("echo"), {});
      await call;
    }
    const cyclic = {};
    cyclic.self = cyclic;
    await assert.rejects(gateway.call("echo", cyclic), TypeError);
    assert.equal(peer.waiting, 0);
  });

  test("a loss rejects a call that was sent, and keeps one that was not", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const sent = gateway.call("room.create", { room: "lobby" });
    await peer.next("room.create");
    peer.cut();
    await assert.rejects(sent, (error) => error instanceof Lost && error.sent && error.why.reason === "lost");
    const kept = gateway.call("echo", { kept: true });
    const next = (await server.next()).welcome();
    const message = await next.next("echo");
    next.reply(message, message.data);
    assert.deepEqual(await kept, { kept: true });
  });

  test("a chat.send without an answer is sent again, with the same client_id and in order", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const calls = ["one", "two", "three"].map((text) => gateway.call("chat.send", { room: "lobby", text }));
    const first = await peer.next("chat.send");
    peer.reply(first, { message: { text: "one" }, duplicate: false });
    const second = await peer.next("chat.send");
    assert.ok(second.data.client_id.length <= 64 && second.data.client_id !== first.data.client_id);
    await calls[0];
    peer.cut();
    const next = (await server.next()).welcome();
    const repeated = await next.next("chat.send");
    assert.deepEqual(repeated.data, second.data);
    next.reply(repeated, { message: {}, duplicate: true });
    const third = await next.next("chat.send");
    assert.equal(third.data.text, "three");
    next.reply(third, { message: {}, duplicate: false });
    assert.deepEqual((await Promise.all(calls)).map(({ duplicate }) => duplicate), [false, true, false]);
  });

  test("the caller's own client_id stays", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    gateway.call("chat.send", { room: "lobby", text: "hi", client_id: "mine" }).catch(() => {});
    assert.equal((await peer.next()).data.client_id, "mine");
  });

  test("a repeat is not refused because of the moment", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("chat.send", { room: "lobby", text: "hi" });
    await peer.next("chat.send");
    peer.cut();
    const next = (await server.next()).welcome();
    next.refuse(await next.next("chat.send"), 42900, "rate_limited", { retryable: true, retry_after_ms: 5 });
    next.reply(await next.next("chat.send"), { message: {}, duplicate: true });
    assert.equal((await call).duplicate, true);
  });

  test("an aborted chat.send is not sent again", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const stop = new AbortController();
    const call = gateway.call("chat.send", { room: "lobby", text: "hi" }, { signal: stop.signal });
    await peer.next("chat.send");
    stop.abort();
    await assert.rejects(call, { name: "AbortError" });
    peer.cut();
    const next = (await server.next()).welcome();
    await until(() => gateway.state === "open");
    await settled(gateway, next);
    assert.equal(next.waiting, 0);
  });

  test("a repeat that must wait keeps the later messages behind it", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const send = (text) => gateway.call("chat.send", { room: "lobby", text });
    const calls = ["one", "two", "three"].map(send);
    for (let each = 0; each < 3; each += 1) await peer.next("chat.send");
    peer.cut();
    const next = (await server.next()).welcome();
    next.refuse(await next.next("chat.send"), 42900, "rate_limited", { retryable: true, retry_after_ms: 30 });
    calls.push(send("four"));
    await settled(gateway, next); // other messages go on
    const found = [];
    while (found.length < 4) {
      const message = await next.next("chat.send");
      found.push(message.data.text);
      next.reply(message, { message: {} });
    }
    await Promise.all(calls);
    assert.deepEqual(found, ["one", "two", "three", "four"]);
  });

  test("a repeat that waits is not sent after its signal", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const stop = new AbortController();
    const call = gateway.call("chat.send", { room: "lobby", text: "one" }, { signal: stop.signal });
    await peer.next("chat.send");
    peer.cut();
    const next = (await server.next()).welcome();
    next.refuse(await next.next("chat.send"), 42900, "rate_limited", { retryable: true, retry_after_ms: 20 });
    await settled(gateway, next);
    stop.abort();
    await assert.rejects(call, { name: "AbortError" });
    const other = gateway.call("chat.send", { room: "lobby", text: "two" });
    const message = await next.next("chat.send");
    assert.equal(message.data.text, "two");
    next.reply(message, { message: {} });
    await other;
    await new Promise((resolve) => setTimeout(resolve, 40)); // longer than the wait
    assert.equal(next.waiting, 0);
  });

  test("an unanswered chat.send has gone out, however it ends", async (t) => {
    const { open } = await serve(t);
    const first = await open();
    const refused = first.gateway.call("chat.send", { room: "lobby", text: "hi" });
    await first.peer.next("chat.send");
    first.peer.bye(4403, "disconnected", "never");
    await assert.rejects(refused, { name: "Lost", sent: true });
    const second = await open({ times: { backoff: 60000, longest: 60000 } });
    const closed = second.gateway.call("chat.send", { room: "lobby", text: "hi" });
    await second.peer.next("chat.send");
    second.peer.cut();
    await until(() => second.gateway.state === "waiting");
    await second.gateway.close();
    await assert.rejects(closed, { name: "Lost", sent: true });
  });

  test("a socket that throws rejects the call, and disturbs no other", async (t) => {
    const { server, client } = await serve(t);
    class Breaking extends WebSocket {
      send(text) {
        if (text.includes("break")) throw new Error("broken");
        super.send(text);
      }
    }
    const gateway = client({ WebSocket: Breaking });
    const breaking = gateway.call("break");
    const call = gateway.call("echo");
    const peer = (await server.next()).welcome();
    await assert.rejects(breaking, /broken/);
    peer.reply(await peer.next("echo"), {});
    await call;
  });

  test("no more than 1,000 calls wait", async (t) => {
    const { client } = await serve(t);
    const gateway = client({ getToken: () => new Promise(() => {}), times: { token: 5000 } });
    const calls = Array.from({ length: 1001 }, () => gateway.call("echo"));
    await assert.rejects(calls[1000], Lost);
    await gateway.close();
    assert.equal((await Promise.allSettled(calls)).filter(({ status }) => status === "rejected").length, 1001);
  });
});

describe("streams", { concurrency: true }, () => {
  test("chunks come one by one, and then the reply", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell", { about: "foxes" });
    const message = await peer.next("story.tell");
    assert.equal(message.stream, true);
    const found = [];
    const reading = (async () => {
      for await (const chunk of stream) found.push(chunk);
    })();
    ["Once ", "upon ", { a: "time" }].forEach((data, index) => peer.send({ type: "chunk", id: message.id, seq: index + 1, data }));
    peer.reply(message, { words: 4 });
    await within(reading);
    assert.deepEqual(found, ["Once ", "upon ", { a: "time" }]);
    assert.deepEqual(await stream.reply, { words: 4 });
  });

  test("the reply alone is enough", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell");
    const message = await peer.next();
    peer.send({ type: "chunk", id: message.id, seq: 1, data: "not taken" });
    peer.reply(message, { words: 2 });
    assert.deepEqual(await stream.reply, { words: 2 });
  });

  test("an error after chunks ends the loop with it", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell");
    const message = await peer.next();
    peer.send({ type: "chunk", id: message.id, seq: 1, data: "Once" });
    peer.refuse(message, 50200, "upstream_failed", { retryable: true });
    const found = [];
    await assert.rejects(async () => {
      for await (const chunk of stream) found.push(chunk);
    }, { status: 50200 });
    assert.deepEqual(found, ["Once"]);
    await assert.rejects(stream.reply, { status: 50200 });
  });

  test("a loop that ends early cancels the message", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell");
    stream.reply.catch(() => {});
    const { id } = await peer.next();
    peer.send({ type: "chunk", id, seq: 1, data: "Once" });
    for await (const chunk of stream) {
      assert.equal(chunk, "Once");
      break;
    }
    assert.deepEqual((await peer.next("cancel")).data, { id });
    peer.send({ type: "chunk", id, seq: 2, data: "too late" });
    peer.refuse({ id }, 49900, "cancelled");
    await assert.rejects(stream.reply, { name: "AbortError" });
    await settled(gateway, peer);
    assert.deepEqual(gateway.problems, []);
  });

  test("an aborted signal cancels it too", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stop = new AbortController();
    const stream = gateway.stream("story.tell", {}, { signal: stop.signal });
    const { id } = await peer.next();
    const next = stream.next();
    stop.abort(new Error("enough"));
    await assert.rejects(next, /enough/);
    await assert.rejects(stream.reply, /enough/);
    assert.deepEqual((await peer.next("cancel")).data, { id });
  });

  test("a loss ends it", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell");
    await peer.next();
    peer.cut();
    await assert.rejects(stream.next(), Lost);
    await assert.rejects(stream.reply, Lost);
    assert.deepEqual(await stream.next(), { value: undefined, done: true });
  });

  test("texts that wait for a slow loop are joined, and other chunks end it", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stream = gateway.stream("story.tell");
    const message = await peer.next();
    for (let seq = 1; seq <= 1500; seq += 1) peer.send({ type: "chunk", id: message.id, seq, data: "x" });
    peer.reply(message);
    await stream.reply;
    let text = "";
    let count = 0;
    for await (const chunk of stream) {
      text += chunk;
      count += 1;
    }
    assert.equal(text, "x".repeat(1500));
    assert.equal(count, 1000);
    const numbers = gateway.stream("story.tell");
    numbers.reply.catch(() => {});
    const { id } = await peer.next("story.tell");
    for (let seq = 1; seq <= 1001; seq += 1) peer.send({ type: "chunk", id, seq, data: seq });
    await peer.next("cancel");
    let taken = 0;
    await assert.rejects(async () => {
      for await (const _ of numbers) taken += 1;
    }, Overflow);
    assert.equal(taken, 1000);
  });
});

describe("events", { concurrency: true }, () => {
  test("listeners hear their type, and * all types, until off", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const heard = [];
    const off = gateway.on("announcement", ({ text }) => heard.push(text));
    const all = gateway.on("*", ({ type }) => heard.push(type));
    peer.event("announcement", { sender: "root", text: "Coffee!" });
    peer.event("shop.ordered", { order: 1 });
    await settled(gateway, peer);
    off();
    off();
    all();
    peer.event("announcement", { sender: "root", text: "Tea!" });
    await settled(gateway, peer);
    assert.deepEqual(heard, ["Coffee!", "announcement", "shop.ordered"]);
  });

  test("a function that listens twice hears twice, and each off ends its own", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    let heard = 0;
    const listen = () => (heard += 1);
    const off = gateway.on("announcement", listen);
    gateway.on("announcement", listen);
    off();
    peer.event("announcement", {});
    await settled(gateway, peer);
    assert.equal(heard, 1);
  });

  test("a signal ends a listener and a loop", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const stop = new AbortController();
    const heard = [];
    gateway.on("announcement", ({ text }) => heard.push(text), { signal: stop.signal });
    const loop = (async () => {
      for await (const { text } of gateway.events("announcement", { signal: stop.signal })) heard.push(text);
      return "ended";
    })();
    peer.event("announcement", { text: "one" });
    await settled(gateway, peer);
    stop.abort();
    assert.equal(await within(loop), "ended");
    peer.event("announcement", { text: "two" });
    await settled(gateway, peer);
    assert.deepEqual(heard, ["one", "one"]);
    for await (const _ of gateway.events("announcement", { signal: stop.signal })) assert.fail();
  });

  test("all that waits or listens ends with its signal", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    const stop = new AbortController();
    const { signal } = stop;
    let heard = 0;
    const listen = () => (heard += 1);
    gateway.on("*", listen, { signal });
    gateway.onState(listen, { signal });
    room.on("message", listen, { signal });
    const stream = gateway.stream("story.tell", {}, { signal });
    const waiting = [
      gateway.call("echo", {}, { signal }), stream.reply, room.join({ signal }), gateway.room("attic").leave({ signal }),
      room.send("Hello", { signal }), room.history({}, { signal }),
    ].map((promise) => assert.rejects(within(promise), { name: "AbortError" }));
    const loops = [gateway.events("*", { signal }), room.events({ signal }), room.events("gap", { signal })]
      .map((loop) => within(loop.next()));
    await peer.next("story.tell");
    stop.abort();
    await Promise.all(waiting);
    assert.deepEqual((await Promise.all(loops)).map(({ done }) => done), [true, true, true]);
    peer.event("announcement", {});
    peer.cut();
    await until(() => gateway.state === "waiting" || gateway.state === "connecting");
    await assert.rejects(gateway.open({ signal }), { name: "AbortError" });
    assert.equal(heard, 0);
  });

  test("a listener that throws harms no other", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const heard = [];
    gateway.on("announcement", () => {
      throw new Error("a mistake of the page");
    });
    gateway.on("announcement", () => heard.push(1));
    peer.event("announcement", {});
    await settled(gateway, peer);
    assert.deepEqual(heard, [1]);
    assert.equal(gateway.problems[0].kind, "listener");
    assert.match(gateway.problems[0].error.message, /a mistake of the page/);
  });

  test("a listener that is taken away by another one hears nothing more", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    gateway.on("announcement", () => off());
    const off = gateway.on("announcement", () => assert.fail("it is off"));
    peer.event("announcement", {});
    await settled(gateway, peer);
    assert.deepEqual(gateway.problems, []);
  });

  test("calls inside a loop over events work", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const loop = (async () => {
      for await (const { text } of gateway.events("announcement")) {
        const answer = await gateway.call("echo", { text });
        if (answer.text === "two") return answer;
      }
    })();
    peer.event("announcement", { text: "one" });
    peer.event("announcement", { text: "two" });
    for (let each = 0; each < 2; each += 1) {
      const message = await peer.next("echo");
      peer.reply(message, message.data);
    }
    assert.deepEqual(await within(loop), { text: "two" });
  });

  test("a loop that is too slow gets what waits, and then an error", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const events = gateway.events("announcement", { limit: 2 });
    for (const text of ["one", "two", "three"]) peer.event("announcement", { text });
    await settled(gateway, peer);
    assert.equal((await events.next()).value.text, "one");
    assert.equal((await events.next()).value.text, "two");
    await assert.rejects(events.next(), Overflow);
    assert.deepEqual(await events.next(), { value: undefined, done: true });
  });

  test("a loop ends with an error if the gateway ends itself", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const events = gateway.events("announcement");
    peer.bye(4403, "disconnected", "never");
    await assert.rejects(events.next(), (error) => error instanceof Lost && error.why.code === 4403);
    await assert.rejects(gateway.events("announcement").next(), Lost);
  });
});

describe("a server that lies", { concurrency: true }, () => {
  const nonsense = [
    "", "{", "null", "[]", "7", '"text"', "{}", '{"type": 7}', '{"type": null}', "\u0000", '{"type": "chunk"}',
    '{"type": "reply", "id": "c99", "status": 20000}', '{"type": "error", "id": "c99", "status": 40000, "message": "?"}',
    '{"type": "chunk", "id": "c99", "seq": 1, "data": 1}', '{"type": "error", "id": null, "status": 50000, "message": "oops"}',
    '{"type": "welcome", "data": {"server_time": "2026-11-20T23:20:08.785Z"}}', '{"type": "welcome"}',
  ];

  test("nonsense goes to the hook and harms nothing", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("echo", { a: 1 });
    const message = await peer.next("echo");
    for (const text of nonsense) peer.send(text);
    peer.binary([1, 2, 3]);
    peer.binary([]); // a keep-alive
    peer.event("an.event.of.tomorrow");
    peer.send('{"type": "presence.changed"}');
    peer.send('{"type": "chat.message", "data": "text"}');
    peer.send('{"type": "room.left", "data": null}');
    peer.reply(message, { a: 1 });
    peer.reply(message, { a: "again" });
    assert.deepEqual(await call, { a: 1 });
    await settled(gateway, peer);
    assert.equal(gateway.state, "open");
    assert.equal(gateway.problems.length, nonsense.length + 2, JSON.stringify(gateway.problems));
    assert.ok(gateway.problems.every((problem) => problem.kind));
  });

  test("chunks of a call that is no stream, and of one that has ended, are ignored", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("echo");
    const message = await peer.next("echo");
    peer.send({ type: "chunk", id: message.id, seq: 1, data: "x" });
    peer.reply(message, {});
    peer.send({ type: "chunk", id: message.id, seq: 2, data: "x" });
    await call;
    await settled(gateway, peer);
    assert.deepEqual(gateway.problems.map(({ kind }) => kind), ["answer", "answer"]);
  });

  test("frames before the welcome, and a welcome of nothing, do not open the client", async (t) => {
    const { server, client } = await serve(t);
    const gateway = client({ times: { welcome: 100 } });
    gateway.open().catch(() => {});
    const peer = await server.next();
    peer.event("chat.message", { room: "lobby" });
    peer.send('{"type": "welcome"}');
    peer.send('{"type": "welcome", "data": 7}');
    await until(() => gateway.problems.length === 3);
    assert.equal(gateway.state, "connecting");
    (await server.next()).welcome();
    await until(() => gateway.state === "open");
  });

  const textless = { toString: 1, valueOf: 1 }; // JavaScript makes no text of it

  test("values of which there is no text harm nothing", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("echo");
    const { id } = await peer.next("echo");
    peer.send({ type: "error", id, status: 40000, message: textless });
    peer.send({ type: "error", id: null, message: textless });
    peer.event("bye", { reason: textless, reconnect: "after_delay", after_ms: 1 });
    peer.reply({ id }, {});
    await call;
    assert.equal(gateway.problems.length, 3);
    peer.cut();
    const next = await server.next();
    next.send({ type: "error", id: null, message: textless });
    next.welcome();
    await until(() => gateway.state === "open");
  });

  test("a welcome of odd values opens it, or is ignored", async (t) => {
    const absent = { token_expires_at: undefined, heartbeat_seconds: undefined, max_message_bytes: undefined, user: undefined };
    const odd = [{ server_time: "tomorrow" }, { server_time: textless }, { token_expires_at: textless }, { heartbeat_seconds: textless }];
    for (const data of [absent, ...odd]) {
      const { server, client } = await serve(t);
      const gateway = client();
      gateway.open().catch(() => {});
      (await server.next()).welcome(data).cut();
      (await server.next()).welcome();
      await until(() => gateway.state === "open", JSON.stringify(data));
      assert.ok(gateway.serverTime > 0);
    }
  });

  test("a wait of nonsense is a short wait", async (t) => {
    for (const retry_after_ms of ["soon", -5, 0, null, 1e300]) {
      const { server, open } = await serve(t);
      const { gateway, peer } = await open();
      const sent = gateway.call("chat.send", { room: "lobby", text: "hi" });
      await peer.next("chat.send");
      peer.cut();
      const next = (await server.next()).welcome();
      const busy = { retryable: true, retry_after_ms };
      next.refuse(await next.next("chat.send"), 42900, "rate_limited", busy);
      next.reply(await next.next("chat.send"), { message: {} });
      await sent;
      const joining = gateway.room("lobby").join();
      next.refuse(await next.next("room.resume"), 42900, "rate_limited", busy);
      const rooms = [{ room: "lobby", epoch: "x", offset: 0, members: 1, messages: [] }];
      next.reply(await next.next("room.resume"), { rooms });
      await joining;
    }
  });

  test("a bye of nothing is a loss", async (t) => {
    for (const data of [undefined, null, {}, { code: "x", reconnect: "tomorrow", after_ms: "soon" }, { after_ms: -5 }]) {
      const { server, open } = await serve(t);
      const { gateway, peer } = await open();
      peer.event("bye", data);
      (await server.next()).welcome();
      await until(() => gateway.state === "open");
    }
  });

  test("half a frame before the end is a loss", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("chat.send", { room: "lobby", text: "hi" });
    const message = await peer.next();
    const whole = encode(1, Buffer.from(JSON.stringify({ type: "reply", id: message.id, status: 20000, data: {} })));
    peer.bytes(whole.subarray(0, whole.length / 2));
    peer.cut();
    const next = (await server.next()).welcome();
    next.reply(await next.next("chat.send"), { message: {}, duplicate: true });
    assert.equal((await call).duplicate, true);
  });

  test("an answer from before a loss is none", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const call = gateway.call("chat.send", { room: "lobby", text: "hi" });
    const { id } = await peer.next();
    peer.cut();
    const next = await server.next();
    next.reply({ id }, { message: "before the welcome" });
    next.welcome();
    next.reply(await next.next("chat.send"), { message: "after it" });
    assert.deepEqual(await call, { message: "after it" });
  });
});
