// The view of a room: what React, Vue and Svelte show.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { viewOf } from "../../../clients/javascript/room-view.js";
import { serve, settled, until } from "./support.mjs";

const EPOCH = "yj4XTlDc";

function message(offset, more = {}) {
  return {
    id: `${EPOCH}.${offset}`, room: "lobby", epoch: EPOCH, offset, changed: offset, sender: "bobby", text: `text ${offset}`,
    sent_at: "2026-11-20T23:20:08.785Z", deleted: false, ...more,
  };
}

async function answerJoin(peer, more) {
  const asked = await peer.next("room.resume");
  peer.reply(asked, { rooms: [{ room: "lobby", epoch: EPOCH, offset: 0, members: 1, ...more }], has_more: false });
}

/** A view of a room with these messages. */
async function joined(t, ...messages) {
  const { server, open } = await serve(t);
  const { gateway, peer } = await open();
  const view = viewOf(gateway.room("lobby"));
  let changes = 0;
  const off = view.subscribe(() => (changes += 1));
  await answerJoin(peer, { offset: messages.at(-1)?.offset ?? 0, messages });
  await until(() => view.get().state === "joined");
  if (!messages.length) peer.reply(await peer.next("chat.history"), { messages: [], has_more: false });
  await settled(gateway, peer);
  return { server, gateway, peer, view, off, room: gateway.room("lobby"), changes: () => changes };
}

const texts = ({ messages }) => messages.map(({ text }) => text);

describe("room-view", { concurrency: true }, () => {
  test("a message takes its place once, and in its newest state", async (t) => {
    const { gateway, peer, view, changes } = await joined(t, message(4), message(6));
    assert.equal(view.get().hasOlder, true);
    const before = view.get();
    peer.event("chat.message", message(8));
    peer.event("chat.edited", message(4, { changed: 9, text: "edited" }));
    peer.event("chat.edited", message(2, { changed: 10, text: "older than all that are shown" }));
    await settled(gateway, peer);
    assert.deepEqual(texts(view.get()), ["edited", "text 6", "text 8"]);
    assert.deepEqual(texts(before), ["text 4", "text 6"], "a snapshot never changes");
    const seen = changes();
    await settled(gateway, peer);
    assert.equal(changes(), seen);
  });

  test("views of a room are one, and the last subscriber quits the room", async (t) => {
    const { gateway, peer, view, off, room } = await joined(t, message(1));
    assert.equal(viewOf(room), view);
    const second = view.subscribe(() => {});
    off();
    await Promise.resolve();
    assert.equal(room.state, "joined");
    second();
    const third = view.subscribe(() => {}); // at once, as StrictMode does
    await Promise.resolve();
    assert.deepEqual([room.state, texts(view.get())], ["joined", ["text 1"]]);
    third();
    await Promise.resolve();
    assert.deepEqual([room.state, view.get().messages], ["idle", []]);
    peer.event("chat.message", message(2));
    await settled(gateway, peer);
    assert.deepEqual(view.get().messages, []);
  });

  test("a room of the program stays joined, and nothing is lost while its messages are read", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    const joining = room.join();
    await answerJoin(peer, { offset: 2, messages: [message(1), message(2)] });
    await joining;

    const view = viewOf(room);
    const off = view.subscribe(() => {});
    const asked = await peer.next("chat.history");
    peer.event("chat.message", message(3)); // after the gateway has read the page
    peer.event("chat.edited", message(2, { changed: 4, text: "edited" }));
    peer.reply(asked, { messages: [message(1), message(2)], has_more: false });
    await settled(gateway, peer);
    assert.deepEqual(texts(view.get()), ["text 1", "edited", "text 3"]);
    assert.equal(view.get().hasOlder, false);
    off();
    await Promise.resolve();
    assert.equal(room.state, "joined");
  });

  test("after a gap, the newest messages replace the ones before it", async (t) => {
    const { server, view, peer } = await joined(t, message(1), message(2));
    peer.cut();
    const next = (await server.next()).welcome();
    await answerJoin(next, { offset: 400, recovered: false, reason: "too_many", messages: [message(399), message(400)] });
    await until(() => view.get().gap);
    assert.equal(view.get().gap.reason, "too_many");
    assert.deepEqual(texts(view.get()), ["text 399", "text 400"]);
    assert.equal(view.get().hasOlder, true);
  });

  test("older messages come before the shown ones, also if they are asked for twice", async (t) => {
    const { peer, view } = await joined(t, message(3));
    const reading = Promise.all([view.get().older(2), view.get().older(2)]);
    for (let times = 0; times < 2; times++) {
      const asked = await peer.next("chat.history");
      assert.deepEqual(asked.data, { room: "lobby", before: 3, limit: 2 });
      peer.reply(asked, { messages: [message(1), message(2)], has_more: false });
    }
    await reading;
    assert.deepEqual(texts(view.get()), ["text 1", "text 2", "text 3"]);
    assert.equal(view.get().hasOlder, false);
  });

  test("what is on its way is shown, and leaves with its message or stays with its error", async (t) => {
    const { gateway, peer, view } = await joined(t, message(1));
    const first = view.get().send("one");
    const [{ client_id: id, content, error }] = view.get().sending;
    assert.deepEqual([content, error], ["one", null]);
    const asked = await peer.next("chat.send");
    assert.equal(asked.data.client_id, id);
    peer.event("chat.message", message(2, { text: "one", client_id: id })); // of another connection's resend, say
    await settled(gateway, peer);
    assert.deepEqual([view.get().sending, texts(view.get())], [[], ["text 1", "one"]]);
    peer.reply(asked, { message: message(2, { text: "one", client_id: id }), duplicate: false });
    await first;
    assert.deepEqual(texts(view.get()), ["text 1", "one"]);

    const second = view.get().send({ text: "two", reply_to: "x" }, { client_id: "mine" });
    peer.refuse(await peer.next("chat.send"), 40400, "not_found");
    await assert.rejects(second, { name: "not_found" });
    assert.deepEqual(view.get().sending.map(({ client_id, error }) => [client_id, error.name]), [["mine", "not_found"]]);
    const again = view.get().send("two", { client_id: "mine" });
    assert.deepEqual(view.get().sending.map(({ error }) => error), [null]);
    peer.refuse(await peer.next("chat.send"), 40301, "not_a_member");
    await assert.rejects(again);
    view.get().discard("mine");
    assert.deepEqual(view.get().sending, []);
  });

  test("the users that type are known until they send, stop, or the connection is lost", async (t) => {
    const { gateway, peer, view, server } = await joined(t, message(1));
    const typing = (user, typing) => peer.event("chat.typing", { room: "lobby", user, typing });
    typing("bobby", true);
    typing("carol", true);
    typing("bobby", true);
    await settled(gateway, peer);
    assert.deepEqual(view.get().typing, ["carol", "bobby"]);
    typing("carol", false);
    await settled(gateway, peer);
    assert.deepEqual(view.get().typing, ["bobby"]);
    peer.cut();
    await answerJoin((await server.next()).welcome(), { offset: 1, recovered: true, events: [] });
    await until(() => view.get().typing.length === 0);
    assert.deepEqual(texts(view.get()), ["text 1"]);
  });

  test("a refused room says why, and joins with its next subscriber", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const view = viewOf(gateway.room("lobby"));
    const off = view.subscribe(() => {});
    const error = { status: 40400, name: "not_found", message: "there is no room `lobby`", retryable: false };
    peer.reply(await peer.next("room.resume"), { rooms: [{ room: "lobby", error }], has_more: false });
    await until(() => view.get().state === "refused");
    assert.equal(view.get().why.name, "not_found");
    off();
    await Promise.resolve();
    view.subscribe(() => {});
    await answerJoin(peer, { offset: 1, messages: [message(1)] });
    await until(() => view.get().state === "joined");
    assert.deepEqual([view.get().why, texts(view.get())], [null, ["text 1"]]);
  });

  test("an answer of nothing is an error, and no fault of the page", async (t) => {
    const { peer, view } = await joined(t, message(1));
    const sent = view.get().send("hi");
    peer.reply(await peer.next("chat.send"));
    assert.equal(await sent, undefined);
    await until(() => view.get().sending[0]?.error);
    assert.deepEqual(texts(view.get()), ["text 1"]);
  });
});
