// Rooms: they are joined together, keep their position, come back by themselves, and report a gap.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Lost, Refused } from "../../../clients/javascript/gateway-client.js";
import { serve, settled, until } from "./support.mjs";

const EPOCH = "yj4XTlDc";

function message(offset, more = {}) {
  return {
    id: `${EPOCH}.${offset}`, room: "lobby", epoch: EPOCH, offset, changed: offset, sender: "bobby", text: `text ${offset}`,
    sent_at: "2026-11-20T23:20:08.785Z", deleted: false, ...more,
  };
}

/** Answer a `room.resume`: each room with what `answer` returns for it. */
async function resumed(peer, answer = () => ({})) {
  const asked = await peer.next("room.resume");
  const rooms = asked.data.rooms.map((each) => ({
    room: each.room, epoch: EPOCH, offset: 0, members: 1,
    ...(each.since ? { recovered: true, events: [] } : { messages: [] }),
    ...answer(each),
  }));
  peer.reply(asked, { rooms, has_more: false });
  return asked.data.rooms;
}

/** A room that is joined at this offset, and its events. */
async function inRoom(t, offset = 3, options) {
  const { server, open } = await serve(t);
  const { gateway, peer } = await open(options);
  const room = gateway.room("lobby");
  const told = [];
  for (const type of ["message", "gap", "joined", "state"]) room.on(type, (data) => told.push([type, data]));
  const joining = room.join();
  await resumed(peer, () => ({ offset, messages: [message(offset)] }));
  await joining;
  told.length = 0;
  /** Take the next connection, and answer its `room.resume`. */
  const back = async (answer) => {
    const next = (await server.next()).welcome();
    const asked = await resumed(next, answer);
    await until(() => room.state !== "joining");
    return { next, asked };
  };
  return { server, gateway, peer, room, told, back };
}

const resumedRoom = (room, offset = 0, events = []) => ({ room, epoch: EPOCH, offset, members: 1, recovered: true, events });

const texts = (told) => told.filter(([type]) => type === "message").map(([, { text }]) => text);

describe("rooms", { concurrency: true }, () => {
  test("join answers with the newest messages, and what follows comes as events", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    assert.equal(gateway.room("lobby"), room);
    assert.deepEqual([room.state, room.position], ["idle", null]);
    const heard = [];
    room.on("message", ({ text }) => heard.push(text));
    const joining = room.join({ limit: 10 });
    assert.equal(room.state, "joining");
    const asked = await resumed(peer, () => ({ offset: 2, messages: [message(1), message(2)] }));
    assert.deepEqual(asked, [{ room: "lobby", limit: 10 }]);
    const reply = await joining;
    assert.deepEqual(reply.messages.map(({ offset }) => offset), [1, 2]);
    assert.deepEqual([room.state, room.position], ["joined", { epoch: EPOCH, offset: 2 }]);
    peer.event("chat.message", message(3));
    await settled(gateway, peer);
    assert.deepEqual(heard, ["text 3"]);
    assert.deepEqual(room.position, { epoch: EPOCH, offset: 3 });
  });

  test("rooms of the same moment share one message, in any number", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const names = Array.from({ length: 300 }, (_, index) => `room-${index}`);
    const joins = names.map((name) => gateway.room(name).join());
    const sizes = [];
    while (sizes.reduce((sum, size) => sum + size, 0) < 300) sizes.push((await resumed(peer)).length);
    assert.deepEqual(sizes, [128, 128, 44]);
    await Promise.all(joins);
    assert.ok(names.every((name) => gateway.room(name).state === "joined"));
  });

  test("a page that holds some of the rooms is asked on, until none is missing", async (t) => {
    const { server, open } = await serve(t);
    const { gateway, peer } = await open();
    const joins = ["a", "b", "c", "d", "e"].map((name) => gateway.room(name).join());
    await resumed(peer);
    await Promise.all(joins);
    peer.cut();
    const next = (await server.next()).welcome();
    const asked = [];
    for (let page = 0; page < 3; page += 1) {
      const { data, id } = await next.next("room.resume");
      asked.push(data.rooms.map(({ room }) => room).join(""));
      const rooms = data.rooms.slice(0, 2).map(({ room }) => resumedRoom(room));
      next.reply({ id }, { rooms, has_more: data.rooms.length > 2 });
    }
    assert.deepEqual(asked, ["abcde", "cde", "e"]);
    await until(() => ["a", "b", "c", "d", "e"].every((name) => gateway.room(name).state === "joined"));
  });

  test("after a loss, a room goes on from its position", async (t) => {
    const { gateway, peer, told, room, back } = await inRoom(t);
    const raw = [];
    gateway.on("*", ({ type, data }) => type.startsWith("chat.") && raw.push([type, data.changed]));
    peer.event("chat.message", message(4));
    await settled(gateway, peer);
    peer.cut();
    const edited = message(4, { changed: 5, text: "text 4, edited", edited_at: "2026-11-20T23:21:30.112Z" });
    const { next, asked } = await back(() => ({
      offset: 6, events: [{ type: "chat.edited", data: edited }, { type: "chat.message", data: message(6) }],
    }));
    assert.deepEqual(asked, [{ room: "lobby", since: { epoch: EPOCH, offset: 4 } }]);
    next.event("chat.message", message(6)); // a second time
    next.event("chat.message", message(7));
    await settled(gateway, next);
    assert.deepEqual(texts(told), ["text 4", "text 4, edited", "text 6", "text 7"]);
    assert.deepEqual(raw, [["chat.message", 4], ["chat.edited", 5], ["chat.message", 6], ["chat.message", 7]]);
    assert.deepEqual(room.position, { epoch: EPOCH, offset: 7 });
    assert.equal(told.filter(([type]) => type === "gap").length, 0);
  });

  for (const reason of ["epoch_changed", "too_old", "too_many"]) {
    test(`a hole is a gap: ${reason}`, async (t) => {
      const { peer, told, room, back } = await inRoom(t);
      peer.cut();
      const newest = { ...message(60), epoch: "another" };
      await back(() => ({ epoch: "another", offset: 60, recovered: false, reason, events: undefined, messages: [newest] }));
      const gaps = told.filter(([type]) => type === "gap");
      const to = { epoch: "another", offset: 60 };
      assert.deepEqual(gaps, [["gap", { reason, from: { epoch: EPOCH, offset: 3 }, to, messages: [newest] }]]);
      assert.deepEqual(room.position, to);
      assert.deepEqual(texts(told), []);
    });
  }

  test("41000 is a hole too, and the room is joined afresh", async (t) => {
    const { server, peer, told, room } = await inRoom(t);
    peer.cut();
    const next = (await server.next()).welcome();
    const lost = { status: 41000, name: "position_lost", message: "the position is beyond the end", retryable: false };
    const first = await next.next("room.resume");
    next.reply(first, { rooms: [{ room: "lobby", error: lost }], has_more: false });
    assert.deepEqual(await resumed(next, () => ({ offset: 1, messages: [message(1)] })), [{ room: "lobby" }]);
    await until(() => room.state === "joined");
    const [[, gap]] = told.filter(([type]) => type === "gap");
    assert.deepEqual([gap.reason, gap.from.offset, gap.to.offset, gap.messages.length], ["position_lost", 3, 1, 1]);
  });

  test("resync joins again, and what comes meanwhile comes with the answer", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    peer.event("resync", { room: "lobby", epoch: EPOCH, offset: 5 });
    peer.event("chat.message", message(6));
    const events = [4, 5, 6].map((offset) => ({ type: "chat.message", data: message(offset) }));
    const asked = await resumed(peer, () => ({ offset: 6, events }));
    assert.deepEqual(asked, [{ room: "lobby", since: { epoch: EPOCH, offset: 3 } }]);
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["text 4", "text 5", "text 6"]);
  });

  test("an event right behind the answer of the join is heard", async (t) => {
    const { server, gateway, peer, told, room } = await inRoom(t);
    peer.cut();
    const next = (await server.next()).welcome();
    const { id } = await next.next("room.resume");
    const answer = resumedRoom("lobby", 4, [{ type: "chat.message", data: message(4) }]);
    next.sendAtOnce(
      { type: "reply", id, status: 20000, data: { rooms: [answer], has_more: false } },
      { type: "chat.message", data: message(5) },
    );
    await until(() => room.state === "joined");
    await settled(gateway, next);
    assert.deepEqual(texts(told), ["text 4", "text 5"]);
  });

  test("an event of another epoch joins again", async (t) => {
    const { peer } = await inRoom(t);
    peer.event("chat.message", { ...message(1), epoch: "another" });
    assert.deepEqual((await resumed(peer))[0].since, { epoch: EPOCH, offset: 3 });
  });

  test("an event that came before does not come again", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    for (const offset of [4, 4, 2, 5, 5]) peer.event("chat.message", message(offset));
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["text 4", "text 5"]);
  });

  test("a refused room has the reason, and is not asked for again", async (t) => {
    const { server, gateway, peer, room, back } = await inRoom(t);
    const attic = gateway.room("attic");
    const joining = attic.join();
    const error = { status: 40400, name: "not_found", message: "there is no room `attic`", retryable: false };
    const refusal = await peer.next("room.resume");
    peer.reply(refusal, { rooms: [{ room: "attic", error }], has_more: false });
    await assert.rejects(joining, (found) => found instanceof Refused && found.status === 40400);
    assert.equal(attic.state, "refused");
    assert.equal(attic.why.name, "not_found");
    peer.cut();
    const { asked } = await back();
    assert.deepEqual(asked.map((each) => each.room), ["lobby"]);
    assert.equal(room.state, "joined");
    assert.equal(server.connections, 2);
  });

  test("a room that is lost for the moment is asked for again", async (t) => {
    const { server, peer, room } = await inRoom(t);
    peer.cut();
    const next = (await server.next()).welcome();
    const busy = { status: 50300, name: "unavailable", message: "the store is down", retryable: true };
    next.reply(await next.next("room.resume"), { rooms: [{ room: "lobby", error: busy }], has_more: false });
    next.refuse(await next.next("room.resume"), 42900, "rate_limited", { retryable: true, retry_after_ms: 5 });
    next.reply(await next.next("room.resume"), { rooms: [], has_more: true });
    assert.equal((await resumed(next))[0].since.offset, 3);
    await until(() => room.state === "joined");
  });

  test("a room for which there is no place is asked for more and more rarely", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open({ times: { backoff: 10, longest: 1000 } });
    gateway.room("attic").join().catch(() => {});
    const error = { status: 42900, name: "rate_limited", message: "too many rooms", retryable: true };
    const began = Date.now();
    for (let each = 0; each < 5; each += 1) peer.reply(await peer.next("room.resume"), { rooms: [{ room: "attic", error }] });
    assert.ok(Date.now() - began >= 140, "10, 20, 40 and 80 ms");
  });

  test("a listener that quits its room during a resume harms no other room", async (t) => {
    const { server, gateway, peer, room } = await inRoom(t, 3, { times: { backoff: 5000, longest: 5000 } });
    const attic = gateway.room("attic");
    const joining = attic.join();
    await resumed(peer);
    await joining;
    room.on("message", () => room.quit());
    gateway.check();
    peer.close(1012);
    await until(() => gateway.state === "waiting");
    gateway.check();
    const next = (await server.next()).welcome();
    const events = [4, 5].map((offset) => ({ type: "chat.message", data: message(offset) }));
    await resumed(next, (each) => (each.room === "lobby" ? { offset: 5, events } : {}));
    await settled(gateway, next);
    assert.deepEqual([room.state, room.position, attic.state], ["idle", null, "joined"]);
    assert.deepEqual(gateway.problems, []);
  });

  test("an application's event with the name of a room's own is none of the room's own", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    const heard = [];
    gateway.on("*", ({ type }) => heard.push(type));
    const names = ["message", "gap", "joined", "state", "__proto__", "constructor"];
    for (const name of names) peer.event(name, { room: "lobby" });
    await settled(gateway, peer);
    assert.deepEqual(told, []);
    assert.deepEqual(heard, names);
  });

  for (const status of [42200, 41300]) test(`one wrong name or a long message does not keep the others out (${status})`, async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const names = ["a", "b", "WRONG NAME", "c", "d"];
    const outcome = Promise.allSettled(names.map((name) => gateway.room(name).join()));
    const left = new Set(names);
    while (left.size) {
      const asked = await peer.next("room.resume");
      const rooms = asked.data.rooms.map(({ room }) => room);
      if (rooms.includes("WRONG NAME")) peer.refuse(asked, status, "wrong");
      else peer.reply(asked, { rooms: rooms.map((room) => ({ room, epoch: EPOCH, offset: 0, messages: [] })), has_more: false });
      if (rooms.length === 1 || !rooms.includes("WRONG NAME")) rooms.forEach((room) => left.delete(room));
    }
    const outcomes = await outcome;
    assert.deepEqual(outcomes.map(({ status }) => status === "fulfilled"), [true, true, false, true, true]);
    assert.equal(outcomes[2].reason.status, status);
  });

  test("a refusal of the whole message refuses its rooms", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const joins = ["a", "b"].map((name) => gateway.room(name).join());
    peer.refuse(await peer.next("room.resume"), 40300, "forbidden");
    for (const join of joins) await assert.rejects(join, { status: 40300 });
    assert.equal(peer.waiting, 0);
  });

  test("messages wait for the rooms after a loss", async (t) => {
    const { server, peer, room } = await inRoom(t);
    const sent = room.send("hi");
    await peer.next("chat.send");
    peer.cut();
    const next = (await server.next()).welcome();
    const asked = await next.next("room.resume");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(next.waiting, 0);
    next.reply(asked, { rooms: [resumedRoom("lobby", 3)] });
    const message = await next.next("chat.send");
    assert.equal(message.data.text, "hi");
    next.reply(message, { message: {}, duplicate: false });
    await sent;
  });

  test("leave and quit end the coming back", async (t) => {
    const { server, gateway, peer, room } = await inRoom(t);
    const other = gateway.room("attic");
    other.join();
    await resumed(peer);
    await until(() => other.state === "joined");
    const leaving = room.leave();
    const message = await peer.next("room.leave");
    peer.event("room.left", { room: "lobby", user: "alice" });
    peer.reply(message);
    await leaving;
    other.quit();
    assert.deepEqual([room.state, room.position, other.state], ["left", null, "idle"]);
    peer.cut();
    const next = (await server.next()).welcome();
    await until(() => gateway.state === "open");
    await settled(gateway, next);
    assert.equal(next.waiting, 0);
  });

  test("a user that is kicked, and a room that is deleted, are gone", async (t) => {
    const { gateway, peer, room, told } = await inRoom(t);
    peer.event("room.left", { room: "lobby", user: "carol" });
    await settled(gateway, peer);
    assert.equal(room.state, "joined");
    peer.event("room.left", { room: "lobby", user: "alice", by: "bobby" });
    await settled(gateway, peer);
    assert.equal(room.state, "left");
    assert.deepEqual(told, [["state", "left"]]);
    const joining = room.join();
    assert.deepEqual(await resumed(peer), [{ room: "lobby" }]);
    await joining;
    peer.event("room.deleted", { room: "lobby" });
    await settled(gateway, peer);
    assert.equal(room.state, "left");
  });

  test("events of the room come to the room and to the gateway", async (t) => {
    const { gateway, peer, room } = await inRoom(t);
    const heard = [];
    room.on("chat.typing", ({ user }) => heard.push(`room: ${user}`));
    room.on("room.updated", (data) => heard.push(`room: ${data.room.title}`));
    gateway.on("chat.typing", ({ room: name }) => heard.push(`gateway: ${name}`));
    peer.event("chat.typing", { room: "lobby", user: "bobby", typing: true });
    peer.event("chat.typing", { room: "attic", user: "carol", typing: true });
    peer.event("room.updated", { room: { name: "lobby", title: "The lobby" } });
    await settled(gateway, peer);
    assert.deepEqual(heard, ["room: bobby", "gateway: lobby", "gateway: attic", "room: The lobby"]);
  });

  test("a loop over a room ends with its signal", async (t) => {
    const { peer, room } = await inRoom(t);
    const stop = new AbortController();
    const found = [];
    const loop = (async () => {
      for await (const { text } of room.events({ signal: stop.signal })) {
        found.push(text);
        if (found.length === 2) stop.abort();
      }
    })();
    const typing = room.events("chat.typing", { limit: 1 });
    peer.event("chat.message", message(4));
    peer.event("chat.message", message(5));
    peer.event("chat.typing", { room: "lobby", user: "bobby", typing: true });
    await loop;
    assert.deepEqual(found, ["text 4", "text 5"]);
    assert.equal((await typing.next()).value.user, "bobby");
    await typing.return();
  });

  test("join goes on from a position that the program has kept", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    const heard = [];
    room.on("message", ({ text }) => heard.push(text));
    const joining = room.join({ since: { epoch: EPOCH, offset: 7 } });
    const events = [{ type: "chat.message", data: message(8) }];
    const asked = await resumed(peer, () => ({ offset: 8, events }));
    assert.deepEqual(asked, [{ room: "lobby", since: { epoch: EPOCH, offset: 7 } }]);
    assert.equal((await joining).recovered, true);
    assert.deepEqual(heard, ["text 8"]);
  });

  test("an aborted join rejects, and close rejects it too", async (t) => {
    const { gateway, peer } = await inRoom(t);
    const attic = gateway.room("attic");
    const stop = new AbortController();
    const joining = attic.join({ signal: stop.signal });
    stop.abort();
    await assert.rejects(joining, { name: "AbortError" });
    await peer.next("room.resume");
    const late = attic.join({ timeout: 10 });
    await assert.rejects(late, Lost);
    const other = assert.rejects(attic.join(), Lost);
    await gateway.close();
    await other;
    assert.equal(attic.state, "idle");
    await assert.rejects(attic.join(), Lost);
  });

  test("rooms come back after close and open", async (t) => {
    const { server, gateway, room, back } = await inRoom(t);
    await gateway.close();
    const opening = gateway.open();
    const { asked } = await back();
    await opening;
    assert.deepEqual(asked, [{ room: "lobby", since: { epoch: EPOCH, offset: 3 } }]);
    assert.equal(room.state, "joined");
    assert.equal(server.connections, 2);
  });

  test("a room that is left while its answer is under way stays left", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    const joining = room.join();
    const asked = await peer.next("room.resume");
    room.quit();
    await assert.rejects(joining, Lost);
    peer.reply(asked, { rooms: [{ room: "lobby", epoch: EPOCH, offset: 3, members: 1, messages: [] }], has_more: false });
    await settled(gateway, peer);
    assert.deepEqual([room.state, room.position], ["idle", null]);
  });

  test("an answer of nonsense is asked for again, later", async (t) => {
    const { open } = await serve(t);
    const { gateway, peer } = await open();
    const room = gateway.room("lobby");
    room.join();
    peer.reply(await peer.next("room.resume"));
    peer.reply(await peer.next("room.resume"), { rooms: "all" });
    peer.reply(await peer.next("room.resume"), { rooms: [{ room: "another", epoch: "x", offset: 1 }] });
    await resumed(peer);
    await until(() => room.state === "joined");
  });
});

describe("messages that grow", { concurrency: true }, () => {
  const piece = (changed, at, text, more = {}) => ({
    id: `${EPOCH}.3`, room: "lobby", epoch: EPOCH, offset: 3, changed, at, text, ...more,
  });

  test("pieces come as the whole message, and counted in characters", async (t) => {
    const { gateway, peer, told, room } = await inRoom(t);
    peer.event("chat.message", message(4, { text: "Fox 🦊" }));
    const grown = (changed, at, text, more) => ({ ...piece(changed, at, text, more), id: `${EPOCH}.4`, offset: 4 });
    peer.event("chat.appended", grown(5, 5, " and 👩‍🚀"));
    peer.event("chat.appended", grown(6, 13, "!", { done: true }));
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["Fox 🦊", "Fox 🦊 and 👩‍🚀", "Fox 🦊 and 👩‍🚀!"]);
    const last = told.at(-1)[1];
    assert.deepEqual([last.id, last.offset, last.changed, last.done, last.sender], [`${EPOCH}.4`, 4, 6, true, "bobby"]);
    assert.deepEqual(room.position, { epoch: EPOCH, offset: 6 });
    assert.equal(peer.waiting, 0);
  });

  test("a message of the join's reply grows too", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    peer.event("chat.appended", piece(4, 6, " and more"));
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["text 3 and more"]);
  });

  test("a message that is not known, or of another length, is read", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    peer.event("chat.appended", { ...piece(5, 2, "x"), id: `${EPOCH}.1`, offset: 1 });
    const asked = await peer.next("chat.history");
    assert.deepEqual(asked.data, { room: "lobby", after: 0, limit: 1 });
    peer.reply(asked, { messages: [message(1, { changed: 5, text: "abx" })], has_more: true });
    await until(() => texts(told).length === 1);
    peer.event("chat.appended", { ...piece(6, 3, "y"), id: `${EPOCH}.1`, offset: 1 });
    peer.event("chat.appended", piece(7, 2, "z"));
    const again = await peer.next("chat.history");
    assert.deepEqual(again.data, { room: "lobby", after: 2, limit: 1 });
    peer.reply(again, { messages: [message(3, { changed: 7, text: "abz" })], has_more: false });
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["abx", "abxy", "abz"]);
  });

  test("the history may be ahead of the events", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    peer.event("chat.appended", piece(5, 9, "c"));
    const asked = await peer.next("chat.history");
    peer.reply(asked, { messages: [message(3, { changed: 7, text: "all of it" })], has_more: false });
    peer.event("chat.appended", piece(6, 1, "d"));
    peer.event("chat.appended", piece(7, 2, "e"));
    await settled(gateway, peer);
    peer.event("chat.appended", piece(8, 9, "!"));
    await settled(gateway, peer);
    assert.deepEqual(texts(told), ["all of it", "all of it!"]);
  });

  test("a loss while it is read does no harm", async (t) => {
    const { peer, told, back } = await inRoom(t);
    peer.event("chat.appended", piece(5, 9, "c"));
    await peer.next("chat.history");
    peer.cut();
    const { next, asked } = await back(() => ({ offset: 5 }));
    assert.equal(asked[0].since.offset, 5);
    next.reply(await next.next("chat.history"), { messages: [message(3, { changed: 5, text: "whole" })], has_more: false });
    await until(() => texts(told).length === 1);
    assert.deepEqual(texts(told), ["whole"]);
  });

  test("a history that stays behind is not asked for ever", async (t) => {
    const { gateway, peer, told } = await inRoom(t);
    peer.event("chat.appended", piece(5, 9, "c"));
    for (let each = 0; each < 5; each += 1) {
      peer.reply(await peer.next("chat.history"), { messages: [message(3, { changed: 4 })], has_more: false });
    }
    await settled(gateway, peer);
    assert.equal(peer.waiting, 0);
    assert.deepEqual(texts(told), []);
  });

  test("what a room keeps for pieces is bounded", async (t) => {
    const { gateway, peer } = await inRoom(t);
    for (let offset = 4; offset < 104; offset += 1) peer.event("chat.message", message(offset));
    peer.event("chat.appended", { ...piece(104, 8, "!"), id: `${EPOCH}.103`, offset: 103 });
    await settled(gateway, peer);
    peer.event("chat.appended", { ...piece(105, 6, "!"), id: `${EPOCH}.4`, offset: 4 });
    await peer.next("chat.history");
  });
});
