// What TypeScript makes of the client. `@ts-expect-error` marks what must not compile.

import { connect, Lost, Overflow, Refused } from "gateway-client";
import type { Gap, Message, Position, RoomState, State, Welcome, Why } from "gateway-client";

declare module "gateway-client" {
  interface Messages {
    "dice.roll": { data: { sides: number }; reply: { value: number } };
    "story.tell": { data: { about: string; length?: number }; reply: { words: number }; chunk: string };
    "ünïcode-1": { data: { a?: number }; reply: null };
    "chat.typing": { data: { room: string; mood: string }; reply: { seen: boolean } };
  }
  interface Events {
    "dice.rolled": { value: number };
    "presence.changed": { room: string; user: string; mood: string };
  }
}

const gateway = connect("wss://chat.example.com", {
  getToken: async ({ reason, previous, signal }) => {
    const why: "connect" | "expiring" | "refused" = reason;
    return signal.aborted ? null : why + previous;
  },
  times: { ping: 1 },
  onProblem: ({ kind, message }) => console.warn(kind, message),
  onFrame: (direction, text) => console.log(direction, text),
});
connect(new URL("https://chat.example.com"), { token: "t", tokenIn: "message", service: "shop", rooms: true });
// @ts-expect-error no such place for a token
connect("/", { tokenIn: "cookie" });
// @ts-expect-error a token is a text
connect("/", { getToken: () => 7 });

export async function calls(wide: string, signal: AbortSignal) {
  const { message, duplicate } = await gateway.call("chat.send", { room: "lobby", text: "hi" }, { signal, timeout: 5 });
  const again: boolean = duplicate || message.deleted;
  const { value } = await gateway.call("dice.roll", { sides: 6 });
  const { server_time } = await gateway.call("ping");
  await gateway.call("ping", {}, { signal });
  await gateway.call("room.list");
  await gateway.call("ünïcode-1");
  const { seen } = await gateway.call("chat.typing", { room: "lobby", mood: "good" });
  const anything = await gateway.call(wide, [1, 2, 3]);
  anything.whatever();
  // @ts-expect-error a mistyped type
  await gateway.call("chat.sned", { room: "lobby", text: "hi" });
  // @ts-expect-error a room is missing
  await gateway.call("chat.send", { text: "hi" });
  // @ts-expect-error a text or a body, and not both
  await gateway.call("chat.send", { room: "lobby", text: "hi", body: {} });
  // @ts-expect-error the data is missing
  await gateway.call("dice.roll");
  // @ts-expect-error no such field
  await gateway.call("dice.roll", { sides: 6, colour: "red" });
  // @ts-expect-error the application's own type wins
  await gateway.call("chat.typing", { room: "lobby" });
  // @ts-expect-error no such field in the reply
  (await gateway.call("dice.roll", { sides: 6 })).total;
  return { again, value, server_time, seen };
}

export async function streams(signal: AbortSignal) {
  const stream = gateway.stream("story.tell", { about: "foxes" }, { signal });
  for await (const chunk of stream) chunk.trim();
  const { words } = await stream.reply;
  // @ts-expect-error a chunk is a text
  for await (const chunk of gateway.stream("story.tell", { about: "foxes" })) chunk.toFixed();
  return words;
}

export async function events(signal: AbortSignal) {
  for await (const { sender, text, done } of gateway.events("chat.message", { signal, limit: 10 })) console.log(sender, text, done);
  for await (const event of gateway.events("*")) {
    if (event.type === "dice.rolled") event.data.value.toFixed();
    // @ts-expect-error another type's data
    if (event.type === "dice.rolled") event.data.sender;
  }
  const off: () => void = gateway.on("dice.rolled", ({ value }) => value.toFixed(), { signal });
  off();
  gateway.on("presence.changed", ({ mood }) => mood.trim());
  // @ts-expect-error a mistyped type
  gateway.on("chat.mesage", () => {});
  gateway.onState((state: State, why: Why | null) => console.log(state, why?.retryAt));
}

export async function rooms(wide: string) {
  const room = gateway.room("lobby");
  const position: Position | null = room.position;
  const reply = await room.join({ limit: 20 });
  const first: Message | undefined = reply.messages?.[0];
  room.on("message", ({ id, text }) => console.log(id, text));
  room.on("gap", ({ reason, messages }: Gap) => console.log(reason, messages.length));
  room.on("state", (state: RoomState) => console.log(state, room.why?.status));
  room.on("chat.read", ({ user, offset }) => console.log(user, offset));
  room.on("room.updated", (data) => data.room.title?.trim());
  room.on(wide, ({ anything }) => anything.trim());
  // @ts-expect-error no event of a room
  room.on("announcement", () => {});
  for await (const { text } of room.events()) console.log(text);
  for await (const { user } of room.events("chat.read", { limit: 5 })) console.log(user);
  await room.send("hi", { client_id: "mine" });
  await room.send({ body: [1, 2], reply_to: first?.id });
  // @ts-expect-error a text or a body
  await room.send({ reply_to: "x" });
  const { has_more } = await room.history({ before: 7 });
  await room.leave();
  room.quit();
  return [position, has_more];
}

export async function life() {
  const welcome: Welcome = await gateway.open({ timeout: 5 });
  gateway.check();
  const sent: boolean = gateway.send("{}");
  // @ts-expect-error the state is not for setting
  gateway.state = "open";
  await gateway.close();
  return [welcome.user, gateway.user, gateway.serverTime, sent];
}

export function failures(error: unknown) {
  if (error instanceof Refused) return [error.status, error.name, error.details[0].field, error.retryAfterMs];
  if (error instanceof Lost) return [error.sent, error.why?.code];
  return error instanceof Overflow;
}
