// What a page shows of a room, as values that never change: for React, Vue, Svelte and any other framework.

/** @import { Message, Room } from "./gateway-client.js" */
/** @import { RoomSnapshot, RoomView, Sending } from "./room-view.js" */

/** @type {WeakMap<Room, RoomView>} */
const views = new WeakMap();

/** Return the view of a room, always the same one. @param {Room} room @returns {RoomView} */
export function viewOf(room) {
  const view = views.get(room) ?? makeView(room);
  views.set(room, view);
  return view;
}

/** @param {Room} room @returns {RoomView} */
function makeView(room) {
  /** @type {Set<() => void>} */
  const subscribers = new Set();
  /** @type {RoomSnapshot} */
  const initial = {
    room, state: "idle", why: null, messages: [], sending: [], typing: [], gap: null, hasOlder: false, send, older,
    discard: (client_id) => show(sent(client_id)),
  };
  let now = initial;
  /** @type {AbortController | null} */
  let life = null;

  /** @param {Partial<RoomSnapshot>} changes */
  function show(changes) {
    now = { ...now, ...changes };
    subscribers.forEach((tell) => tell());
  }

  /** @param {() => void} tell */
  function subscribe(tell) {
    subscribers.add(tell);
    if (!life) begin();
    return () => {
      subscribers.delete(tell);
      queueMicrotask(end); // React's StrictMode unsubscribes and subscribes again in between
    };
  }

  async function begin() {
    life = new AbortController();
    const { signal } = life;
    /** @type {(type: any, fn: (data: any) => void) => void} */
    const hear = (type, fn) => room.on(type, fn, { signal });
    hear("state", look);
    hear("joined", joined);
    hear("message", put);
    hear("gap", (gap) => show({ gap, messages: [] }));
    hear("chat.typing", ({ user, typing }) => {
      show({ typing: now.typing.filter((other) => other !== user).concat(typing ? user : []) });
    });
    // A room that the program has joined itself goes on being heard.
    if (!/^join/.test(room.state)) signal.addEventListener("abort", () => room.quit());
    look();
    try {
      const { messages } = room.state === "joined" ? /** @type {any} */ ({}) : await room.join({ signal });
      if (!messages?.length) joined(await room.history({}, { signal }));
    } catch {} // the state says why
  }

  function look() {
    show({ state: room.state, why: room.why });
  }

  function end() {
    if (subscribers.size) return;
    life?.abort();
    life = null;
    now = { ...initial, sending: now.sending };
  }

  /** @param {{messages?: readonly Message[]}} reply of a join, or a page of the history */
  function joined({ messages = now.messages }) {
    const heard = now.messages; // some may have come after the gateway read the page
    show({ messages, typing: [], hasOlder: messages[0]?.offset > 1 });
    heard.forEach(put);
  }

  /** Put a message in its place. Between the shown messages and older ones there is none. @param {Message} message */
  function put(message) {
    const { offset, changed, client_id } = message;
    const known = now.messages.find((other) => other.offset === offset);
    const isStale = known ? known.changed > changed : now.hasOlder && offset < now.messages[0]?.offset;
    const messages = now.messages.filter((other) => other !== known).concat(message).sort((a, b) => a.offset - b.offset);
    show({ ...sent(client_id), ...(!isStale && { messages }) });
  }

  /** Replace what is on its way with this id. @param {string | undefined} client_id @param {Sending | []} by */
  function sent(client_id, by = []) {
    return { sending: now.sending.filter((other) => other.client_id !== client_id).concat(by) };
  }

  /** @type {RoomSnapshot["send"]} */
  function send(content, { client_id = Date.now() + "-" + Math.random(), ...options } = {}) {
    /** @param {Error | null} error */
    const showSending = (error) => show(sent(client_id, { client_id, content, error }));
    showSending(null);
    const answer = room.send(content, { ...options, client_id });
    answer.then(({ message }) => put({ ...message, client_id })).catch(showSending);
    return answer;
  }

  /** @param {number} [limit] */
  async function older(limit) {
    const first = () => now.messages[0]?.offset;
    const page = await room.history({ before: first(), limit }, { signal: life?.signal });
    const messages = page.messages.filter(({ offset }) => !(offset >= first()));
    show({ messages: [...messages, ...now.messages], hasOlder: page.has_more });
  }

  return { subscribe, get: () => now, initial };
}
