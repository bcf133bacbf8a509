// The client of the gateway, for browsers, Node, Deno, Bun and React Native. docs/clients.md has its rules.

const TIMES = {
  ping: 5000, answer: 60000, patience: 20000, token: 30000, margin: 60000, rest: 10000, welcome: 20000, backoff: 1000,
  longest: 30000, steady: 10000,
};
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const MOST_WAITING = 1000; // calls that wait for an answer, and events that wait for a loop
const MOST_ROOMS = 128; // of one `room.resume`
const MOST_REFUSALS = 2; // in a row, with another token each time
const KEPT_TEXTS = 64; // of a room, for the pieces that may follow
const MOST_READS = 5; // of a message that is behind its pieces
const LOGGED = ["chat.message", "chat.edited", "chat.deleted", "chat.appended"];

// For a close without a `bye`. After any other close, a new attempt is worthwhile.
const AFTER_CLOSE = {
  1000: "never", 1008: "new_credential", 4400: "never", 4403: "never", 4410: "new_credential", 4411: "new_credential",
};
const HOPELESS = ["forbidden_origin", "not_found"]; // reasons of 1008 that no token changes

/** The gateway has answered with an error. */
export class Refused extends Error {
  constructor({ message, status, name, retryable = false, retry_after_ms: retryAfterMs, details = [] }) {
    super(message);
    Object.assign(this, { status, name, retryable, retryAfterMs, details });
  }
}

/** There was no connection, or it broke before the answer. */
export class Lost extends Error {
  constructor(message, sent, why) {
    super(message);
    Object.assign(this, { name: "Lost", sent, why });
  }
}

/** A loop was slower than its events. */
export class Overflow extends Error {
  name = "Overflow";
}

/** Return a gateway, which connects at its first use. */
export function connect(url, options) {
  return new Gateway(url, options);
}

/** Functions by type of event. */
class Listeners {
  #byType = new Map();

  /** @param {(error: unknown) => void} report what a listener throws */
  constructor(report) {
    this.report = report;
  }

  on(type, fn, { signal } = {}) {
    if (signal?.aborted) return () => {};
    const entry = { fn }; // the same function may listen twice
    const all = this.#byType.get(type) ?? new Set();
    this.#byType.set(type, all.add(entry));
    const off = () => {
      all.delete(entry);
      if (!all.size && this.#byType.get(type) === all) this.#byType.delete(type);
      signal?.removeEventListener("abort", off);
    };
    signal?.addEventListener("abort", off);
    return off;
  }

  emit(type, ...values) {
    for (const { fn } of [...(this.#byType.get(type) ?? [])]) {
      try {
        fn(...values);
      } catch (error) {
        this.report(error);
      }
    }
  }
}

/** What a loop takes one by one. `add` says whether there was room. */
class Queue {
  #waiting = [];
  #takers = [];
  #end = null;

  /** @param {number} limit @param {() => void} leave what ends the loop's interest */
  constructor(limit, leave) {
    this.limit = limit;
    this.leave = leave;
  }

  add(value) {
    if (this.#end) return;
    const last = this.#waiting.length - 1;
    if (this.#takers.length) this.#takers.shift().resolve({ value, done: false });
    else if (last + 1 < this.limit) this.#waiting.push(value);
    else if (this.joins && typeof value === "string" && typeof this.#waiting[last] === "string") this.#waiting[last] += value;
    else this.finish(new Overflow(`the loop is too slow: ${this.limit} wait`));
  }

  /** End the loop after what waits, with an error if there is one. */
  finish(error) {
    if (this.#end) return;
    this.#end = { error };
    this.leave();
    for (const taker of this.#takers.splice(0)) this.#settle(taker);
  }

  #settle({ resolve, reject }) {
    const { error } = this.#end;
    this.#end.error = undefined; // it is thrown once
    if (error) reject(error);
    else resolve({ value: undefined, done: true });
  }

  next() {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length) resolve({ value: this.#waiting.shift(), done: false });
      else if (this.#end) this.#settle({ resolve, reject });
      else this.#takers.push({ resolve, reject });
    });
  }

  return() {
    this.#waiting = [];
    this.finish();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/** Rooms ask the gateway for these. Nothing else may. */
const inner = Symbol("inner");

class Gateway {
  #url;
  #options;
  #times;
  #state = "idle";
  #why = null;
  #welcome = null;
  #heardAt = null;
  #welcomedAt = null;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Whether the rooms are back, so that messages may go out. */
  #isReady = false;
  #attempts = 0;
  #refusals = 0;
  #mayHurry = true;
  #turn = null;
  /** The last error before the welcome. */
  #said = "";
  #timers = {};
  /** The calls without an answer, by id, oldest first. */
  #calls = new Map();
  #lastId = 0;
  #tag = random();
  #rooms = new Map();
  #isResuming = false;
  #listeners = new Listeners((error) => this.#report("listener", "a listener failed", { error }));
  /** The loops over events, which end with the gateway. */
  #loops = new Set();
  #token;
  #tokenEnds = NaN; // on the gateway's clock
  #tokenAt = null;
  /** @type {"connect" | "refused" | null} why the next connection needs another token */
  #needs = "connect";
  #asking = null;

  constructor(url, options = {}) {
    this.#url = address(url);
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
  }

  get state() {
    return this.#state;
  }

  get why() {
    return this.#why;
  }

  get welcome() {
    return this.#welcome;
  }

  get user() {
    return this.#welcome?.user ?? null;
  }

  get serverTime() {
    return this.#welcomedAt ? Date.parse(this.#welcome.server_time) + since(this.#welcomedAt) : Date.now();
  }

  open({ signal, timeout = this.#times.patience } = {}) {
    if (this.#state === "closed") this.#state = "idle";
    this.#start();
    return new Promise((resolve, reject) => {
      const settle = (fn, value) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        off();
        fn(value);
      };
      const look = () => {
        if (this.#state === "open") settle(resolve, this.#welcome);
        else if (this.#state === "closed") settle(reject, this.#lost(false));
      };
      const onAbort = () => settle(reject, reasonOf(signal));
      const off = this.onState(look);
      const timer = after(timeout, () => settle(reject, this.#lost(false)));
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted) onAbort();
      else look();
    });
  }

  async close() {
    const leaving = this.#socket;
    if (this.#state !== "closed") this.#shut({ code: 1000, reason: "bye", message: "Closed by this client.", reconnect: "never" }, 1);
    if (leaving && leaving.readyState < 3) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, this.#times.ping);
        leaving.onclose = () => resolve(clearTimeout(timer));
      });
    }
  }

  check() {
    if (this.#state === "waiting" && this.#mayHurry) this.#connect();
    if (this.#state !== "open" || this.#timers.ping) return;
    const socket = this.#socket;
    const heardAt = this.#heardAt;
    this.#ping();
    this.#after("ping", this.#times.ping, () => {
      if (heardAt === this.#heardAt) this.#drop(socket, "silent", "The gateway did not answer a ping.");
    });
  }

  onState(fn, options) {
    return this.#listeners.on(inner, fn, options);
  }

  call(type, data, options) {
    return this.#ask(type, data, options);
  }

  stream(type, data, { signal, timeout = Infinity } = {}) {
    const stop = new AbortController();
    const forward = () => stop.abort(reasonOf(signal));
    if (signal?.aborted) forward();
    signal?.addEventListener("abort", forward);
    const queue = new Queue(MOST_WAITING, () => {
      signal?.removeEventListener("abort", forward);
      stop.abort();
    });
    queue.joins = true;
    queue.reply = this.#ask(type, data, { signal: stop.signal, timeout }, (chunk) => queue.add(chunk));
    queue.reply.then(() => queue.finish(), (error) => queue.finish(error));
    return queue;
  }

  events(type, options) {
    this.#start();
    return this[inner].loop(this.#listeners, type, options);
  }

  on(type, fn, options) {
    this.#start();
    return this.#listeners.on(type, fn, options);
  }

  room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(this, name));
    return this.#rooms.get(name);
  }

  send(text) {
    if (this.#state !== "open") return false;
    this.#out(text);
    return true;
  }

  [inner] = {
    emit: (type, data) => this.#emit(type, data),
    listeners: () => new Listeners((error) => this.#report("listener", "a listener failed", { error })),
    loop: (listeners, type, { signal, limit = MOST_WAITING } = {}) => {
      const queue = new Queue(limit, () => {
        off();
        this.#loops.delete(queue);
        signal?.removeEventListener("abort", end);
      });
      const end = () => queue.return();
      const off = listeners.on(type, (data) => queue.add(data));
      this.#loops.add(queue);
      signal?.addEventListener("abort", end);
      if (signal?.aborted) end();
      else if (this.#state === "closed") queue.finish(this.#lost(false));
      return queue;
    },
    /** Join the rooms that wait for it. Rooms of the same moment share one message. */
    resume: () => {
      this.#start();
      if (this.#isReady) Promise.resolve().then(() => this.#resume());
    },
    lost: () => this.#lost(false),
  };

  // ── The connection ──

  #start() {
    if (this.#state !== "idle") return;
    this.#attempts = this.#refusals = 0;
    this.#watch("addEventListener");
    this.#connect();
  }

  #set(state, why = this.#why) {
    this.#state = state;
    this.#why = why;
    this.#listeners.emit(inner, state, why);
  }

  async #connect() {
    this.#clear();
    const turn = (this.#turn = {}); // another attempt, or the end, replaces it
    this.#set("connecting");
    if (this.#tokenEnds - this.serverTime < this.#times.margin) this.#needs ??= "connect";
    try {
      if (this.#needs) await this.#renew(this.#needs);
    } catch (error) {
      if (turn === this.#turn) this.#wait({ reason: "no_token", message: `getToken failed: ${error?.message ?? error}` });
      return;
    }
    if (turn !== this.#turn) return;
    if (this.#options.getToken && !this.#token) {
      this.#shut({ reason: "no_token", message: "getToken returned no token: log in again." });
    } else if (this.#needs === "refused") {
      this.#refuse({ ...this.#why, message: "getToken returned the refused token again." });
    } else {
      this.#dial();
    }
  }

  #dial() {
    const { tokenIn = "subprotocol", service, rooms, WebSocket: Socket = globalThis.WebSocket } = this.#options;
    const token = this.#token;
    const query = [
      service && `service=${encodeURIComponent(service)}`,
      rooms && "rooms=1",
      token && tokenIn === "query" && `token=${encodeURIComponent(token)}`,
    ].filter(Boolean).join("&");
    const url = query ? this.#url + (this.#url.includes("?") ? "&" : "?") + query : this.#url;
    let socket;
    try {
      // Not in the URL, because logs contain URLs. The gateway answers with the first of the two.
      socket = token && tokenIn === "subprotocol" ? new Socket(url, ["gateway.v1", `bearer.${token}`]) : new Socket(url);
    } catch (error) {
      this.#shut({ reason: "no_socket", message: `This address or token makes no WebSocket: ${error.message}` });
      return;
    }
    let detail = "";
    let isOpen = false;
    const mine = (fn) => (event) => {
      if (socket === this.#socket) fn(event);
    };
    this.#socket = socket;
    socket.onopen = mine(() => {
      isOpen = true;
      if (token && tokenIn === "message") this.#out(JSON.stringify({ type: "auth", data: { token } }));
    });
    socket.onerror = mine((event) => (detail = event?.message ?? ""));
    socket.onmessage = mine(({ data }) => this.#receive(data));
    socket.onclose = mine(({ code, reason }) => {
      const isWord = /^\w+$/.test(reason);
      detail = (isWord ? "" : reason) || detail;
      const message = isOpen ? "" : unreachable(this.#url) + (detail && ` (${detail})`);
      const reconnect = HOPELESS.includes(reason) ? "never" : AFTER_CLOSE[code];
      this.#end({ code, reason: isWord ? reason : isOpen ? "lost" : "unreachable", message, reconnect });
    });
    this.#after("welcome", this.#times.welcome, () => this.#drop(socket, "silent", "No welcome came."));
  }

  #drop(socket, reason, message) {
    if (socket === this.#socket) this.#end({ reason, message });
  }

  /** Go on after the end of a connection, as the gateway has asked. */
  #end({ code, reason, reconnect = "with_backoff", message, after_ms: afterMs }) {
    const isSteady = this.#state === "open" && since(this.#welcomedAt) > this.#times.steady;
    if (isSteady) this.#attempts = this.#refusals = 0;
    const sentence = message || this.#said || `The connection ended: ${reason.replaceAll("_", " ")}.`;
    const why = (this.#why = { code, reason, reconnect, message: sentence });
    this.#clear();
    this.#fail((call) => call.sent > 0 && !call.repeats);
    if (reconnect === "never") this.#shut(why);
    else if (reconnect === "new_credential") this.#refuse(why);
    else this.#wait(why, afterMs);
  }

  /** Try again with another token. */
  #refuse(why) {
    this.#needs = "refused";
    if (!this.#options.getToken || this.#refusals >= MOST_REFUSALS) this.#shut(why);
    else this.#wait(why, this.#refusals++ || this.#attempts ? undefined : 0);
  }

  #wait(why, asked) {
    const spread = Math.random() * Math.min(this.#times.longest, this.#times.backoff * 2 ** this.#attempts++);
    const isAsked = asked >= 0;
    let wait = isAsked ? Math.min(asked, LONGEST_TIMER_MS) : spread;
    if (isAsked && why.reconnect === "with_backoff") wait = Math.max(wait, spread);
    this.#mayHurry = !isAsked;
    this.#clear();
    this.#after("retry", wait, () => this.#connect());
    this.#set("waiting", { ...why, retryAt: Date.now() + wait });
  }

  /** Close for good. */
  #shut(why, isAsked) {
    this.#clear();
    this.#asking?.stop.abort();
    this.#watch("removeEventListener");
    this.#needs = "connect";
    this.#set("closed", why);
    this.#fail(() => true);
    for (const room of this.#rooms.values()) room[inner].shut();
    for (const loop of [...this.#loops]) loop.finish(isAsked ? undefined : this.#lost(false));
  }

  /** Let go of the socket and of everything that waits for it. */
  #clear() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    this.#turn = null;
    this.#said = "";
    this.#isReady = this.#isResuming = false;
    const former = this.#socket;
    this.#socket = null;
    if (!former) return;
    for (const room of this.#rooms.values()) room[inner].lose();
    try {
      former.close(1000);
    } catch {} // some sockets do not let go before they are open
  }

  #fail(isOver) {
    for (const call of [...this.#calls.values()]) {
      if (isOver(call)) call.settle(call.reject, this.#lost(call.sent > 0));
      call.sent &&= -1; // to be sent again
    }
  }

  #lost(sent) {
    return new Lost(this.#why?.message ?? `No connection to ${this.#url}.`, sent, this.#why);
  }

  #watch(verb) {
    globalThis[verb]?.("online", this.#wake);
    globalThis[verb]?.("pageshow", this.#wake);
    // Chrome does not always say `visibilitychange` after it has frozen a page.
    globalThis.document?.[verb]?.("visibilitychange", this.#wake);
    globalThis.document?.[verb]?.("resume", this.#wake);
  }

  #wake = ({ type }) => {
    if (type !== "visibilitychange" || document.visibilityState === "visible") this.check();
  };

  #after(name, wait, fn) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(() => {
      delete this.#timers[name];
      fn();
    }, wait);
  }

  #ping() {
    this.#ask("ping", undefined, { timeout: this.#times.answer }, undefined, true).catch(() => {});
  }

  /** Send a ping after a silence: some proxies close a connection after 60 s without a frame. */
  #beat(wait) {
    this.#after("beat", wait, () => {
      const silence = since(this.#heardAt);
      if (silence > 2 * wait) this.check();
      else if (silence > wait / 2) this.#ping();
      this.#beat(wait);
    });
  }

  // ── Tokens ──

  /** Get another token. Simultaneous calls share one request. */
  #renew(reason) {
    const { getToken, token } = this.#options;
    if (!getToken) {
      this.#token = token;
      this.#needs = null;
      return;
    }
    this.#asking ??= this.#request(getToken, reason);
    return this.#asking.done;
  }

  #request(getToken, reason) {
    const stop = new AbortController();
    const asking = { stop };
    const previous = this.#token;
    const late = new Promise((_, reject) => {
      stop.signal.addEventListener("abort", () => reject(new Error("it took too long")));
    });
    const timer = setTimeout(() => stop.abort(), this.#times.token);
    const found = (async () => getToken({ reason, previous, signal: stop.signal }))();
    asking.done = Promise.race([found, late]).then((token) => {
      this.#token = token;
      this.#tokenAt = now();
      this.#tokenEnds = NaN;
      this.#needs = reason === "refused" && token === previous ? reason : null;
    }).finally(() => {
      clearTimeout(timer);
      if (this.#asking === asking) this.#asking = null;
    });
    return asking;
  }

  /** Give the open connection another token. */
  async #refresh(tries) {
    const turn = this.#socket;
    const previous = this.#token;
    try {
      await this.#renew("expiring");
      if (turn !== this.#socket) return;
      if (!this.#token || this.#token === previous) throw new Error("getToken returned no new token");
      const { token_expires_at: end } = await this.#ask("auth.refresh", { token: this.#token }, {}, undefined, true);
      this.#tokenEnds = Date.parse(end);
    } catch (error) {
      this.#report("token", `the token was not renewed: ${error.message}`, { error });
      if (turn === this.#socket && tries > 1) this.#after("token", this.#times.rest, () => this.#refresh(tries - 1));
    }
  }

  // ── Messages out ──

  /** Send a message when there is a connection, and return its reply's data. An urgent one does not wait for the rooms. */
  #ask(type, data, { signal, timeout } = {}, chunk, isUrgent = false) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw reasonOf(signal);
      const isHopeless = isUrgent ? this.#state !== "open" : this.#state === "closed" || this.#calls.size >= MOST_WAITING;
      if (isHopeless) throw this.#lost(false);
      const id = `c${(this.#lastId += 1)}`;
      const repeats = type === "chat.send";
      if (repeats && data) data = { ...data, client_id: data.client_id ?? this.#tag + id };
      const text = JSON.stringify({ type, id, data, stream: chunk && true });
      const call = {
        id, text, repeats, chunk, resolve, reject, sent: 0,
        /** Set the time that is left. */
        expire: (wait) => {
          clearTimeout(call.timer);
          call.timer = after(wait, () => call.abandon(this.#lost(call.sent > 0)));
        },
        settle: (fn, value) => {
          this.#calls.delete(id);
          clearTimeout(call.timer);
          signal?.removeEventListener("abort", onAbort);
          fn(value);
        },
        /** Forget the caller. The answer may still come, and the gateway may stop the work. */
        abandon: (error) => {
          const wasSent = call.sent > 0 && this.#socket;
          call.settle(reject, error);
          if (!wasSent) return;
          this.#calls.set(id, { ...call, repeats: false, chunk() {}, expire() {}, settle: () => this.#calls.delete(id) });
          if (type !== "ping" && type !== "cancel") this.#ask("cancel", { id }, {}, undefined, true).catch(() => {});
        },
        onSent: () => timeout ?? call.expire(repeats || chunk ? Infinity : this.#times.answer),
      };
      const onAbort = () => call.abandon(reasonOf(signal));
      signal?.addEventListener("abort", onAbort);
      call.expire(timeout ?? (repeats && this.#welcome ? Infinity : this.#times.patience));
      this.#calls.set(id, call);
      this.#start();
      if (isUrgent || this.#isReady) this.#transmit(call);
    });
  }

  #transmit(call) {
    const { text } = call;
    const limit = this.#welcome.max_message_bytes;
    const size = bytes(text);
    const unreadable = /\\u(d|0000)/.test(text.replaceAll("\\\\", ""));
    if (size > limit) {
      const message = `the message has ${size} bytes; the gateway takes ${limit}`;
      call.settle(call.reject, new Refused({ status: 41300, name: "too_large", message }));
    } else if (unreadable) {
      const message = "a text has U+0000, or half of a surrogate pair";
      call.settle(call.reject, new Refused({ status: 40000, name: "bad_frame", message }));
    } else {
      call.isRepeat = call.sent < 0;
      call.sent = 1;
      call.onSent();
      this.#out(text);
    }
  }

  #out(text) {
    this.#options.onFrame?.("out", text);
    this.#socket.send(text);
  }

  // ── Frames in ──

  #receive(text) {
    this.#heardAt = now();
    if (typeof text !== "string") {
      if (text.size ?? text.byteLength) this.#report("frame", "a binary frame came");
      return;
    }
    this.#options.onFrame?.("in", text);
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {}
    if (typeof frame?.type !== "string") this.#report("frame", "a frame is not of the protocol", { text });
    else if (["reply", "error", "chunk"].includes(frame.type)) this.#answer(frame, text);
    else if (this.#state !== "open" && !["welcome", "bye"].includes(frame.type)) {
      this.#report("frame", "an event came before the welcome", { text });
    } else this.#event(frame, text);
  }

  #answer(frame, text) {
    const { type, id, data, message } = frame;
    const call = this.#calls.get(id);
    if (call?.sent > 0) {
      if (type === "chunk") {
        if (call.chunk) call.chunk(data);
        else this.#report("answer", "a chunk came that was not asked for", { text });
      } else if (type === "reply") call.settle(call.resolve, data);
      else if (frame.retryable && call.isRepeat) this.#repeat(call, frame.retry_after_ms);
      else call.settle(call.reject, new Refused(frame));
    } else if (type === "error" && id == null) {
      if (this.#state === "open") this.#report("error", String(message), { text });
      else this.#said = message; // of a handshake, whose end says no more than a word
    } else {
      this.#report("answer", "an answer came to no call", { text });
    }
  }

  /** A repeat must not fail because of the moment: an earlier one may have been stored. */
  #repeat(call, wait = this.#times.backoff) {
    const socket = this.#socket;
    setTimeout(() => {
      if (socket === this.#socket && this.#calls.has(call.id)) this.#out(call.text);
    }, wait);
  }

  #event({ type, data }, text) {
    if (type === "welcome") {
      if (this.#state === "open" || !(data?.user && Date.parse(data.server_time))) this.#report("frame", "an odd welcome came", { text });
      else this.#begin(data);
    } else if (type === "bye") {
      if (!data?.reason) return this.#report("frame", "an odd bye came", { text });
      this.#emit(type, data);
      this.#end(data);
    } else {
      if (type === "token.expiring" && this.#options.getToken) {
        const rest = this.#tokenAt ? this.#times.rest - since(this.#tokenAt) : 0;
        this.#after("token", rest, () => this.#refresh(2));
      }
      const room = this.#rooms.get(data?.room?.name ?? data?.room);
      if (room) room[inner].take(type, data);
      else this.#emit(type, data);
    }
  }

  #emit(type, data) {
    this.#listeners.emit(type, data);
    this.#listeners.emit("*", { type, data });
  }

  async #begin(welcome) {
    const socket = this.#socket;
    clearTimeout(this.#timers.welcome);
    this.#said = "";
    this.#welcome = welcome;
    this.#welcomedAt = now();
    this.#tokenEnds = Date.parse(welcome.token_expires_at);
    this.#beat(this.#times.heartbeat ?? Math.max(1000, welcome.heartbeat_seconds * 1000 || 25000));
    this.#set("open");
    this.#emit("welcome", welcome);
    await this.#resume();
    if (socket !== this.#socket) return;
    this.#isReady = true;
    for (const call of this.#calls.values()) {
      if (call.sent <= 0 && this.#isReady) this.#transmit(call);
    }
    if (!this.#timers.resume) this.#resume(); // rooms that were joined meanwhile
  }

  /** Join the rooms that wait for it, all of them with one message if it takes them. */
  async #resume() {
    const socket = this.#socket;
    if (this.#isResuming || this.#state !== "open") return;
    this.#isResuming = true;
    let most = MOST_ROOMS;
    let wait;
    for (;;) {
      const rooms = [...this.#rooms.values()].filter((room) => room.state === "joining").slice(0, most);
      if (!rooms.length || wait !== undefined) break;
      try {
        const data = { rooms: rooms.map((room) => room[inner].request()) };
        const reply = await this.#ask("room.resume", data, {}, undefined, true);
        if (socket !== this.#socket) return;
        for (const each of reply.rooms) {
          const { error } = each;
          const room = this.#rooms.get(each.room);
          if (error?.retryable) wait = Math.max(wait ?? 0, error.retry_after_ms ?? this.#times.backoff);
          else if (error) room?.[inner].refuse(new Refused(error));
          else room?.[inner].joined(each);
        }
        if (!reply.rooms.length) wait = this.#times.backoff;
        most = MOST_ROOMS;
      } catch (error) {
        if (socket !== this.#socket) return;
        if (!(error instanceof Refused) || error.retryable) wait = error.retryAfterMs ?? this.#times.backoff;
        // One bad name or position spoils the whole message: look for it.
        else if (error.status === 42200 && rooms.length > 1) most = rooms.length >> 1;
        else rooms.forEach((room) => room[inner].refuse(error));
      }
    }
    this.#isResuming = false;
    if (wait !== undefined) this.#after("resume", wait, () => this.#resume());
  }

  #report(kind, message, more) {
    const problem = { kind, message, ...more };
    const { onProblem = (each) => globalThis.console?.warn("gateway-client:", each.message, each.error ?? each.text ?? "") } = this.#options;
    onProblem(problem);
  }
}

class Room {
  #gateway;
  #listeners;
  #state = "idle";
  #why = null;
  #position = null;
  #limit;
  /** What `join()` has promised. */
  #joining = null;
  /** The newest messages, for the pieces that may follow: each with its text's length in characters. */
  #texts = new Map();
  /** The messages that are read anew, and the `changed` that each must have. */
  #reading = new Map();
  /** The position that the gateway could not go on from. */
  #hole = null;

  constructor(gateway, name) {
    this.#gateway = gateway;
    this.#listeners = gateway[inner].listeners();
    this.name = name;
  }

  get state() {
    return this.#state;
  }

  get why() {
    return this.#why;
  }

  get position() {
    return this.#position;
  }

  join({ limit, since: position, signal, timeout } = {}) {
    if (signal?.aborted) return Promise.reject(reasonOf(signal));
    if (this.#gateway.state === "closed") return Promise.reject(this.#gateway[inner].lost());
    if (!this.#joining) {
      this.#limit = limit;
      if (position) this.#position = { ...position };
      this.#joining = {};
      this.#joining.done = new Promise((resolve, reject) => Object.assign(this.#joining, { resolve, reject }));
      this.#joining.done.catch(() => {});
      this.#set("joining");
      this.#gateway[inner].resume();
    }
    const { done } = this.#joining;
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(reasonOf(signal));
      const timer = after(timeout ?? Infinity, () => reject(this.#gateway[inner].lost()));
      signal?.addEventListener("abort", onAbort);
      done.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      });
    });
  }

  async leave(options) {
    this.#forget("left");
    await this.#gateway.call("room.leave", { room: this.name }, options);
  }

  quit() {
    this.#forget("idle");
  }

  send(content, { client_id, ...options } = {}) {
    const said = typeof content === "string" ? { text: content } : content;
    return this.#gateway.call("chat.send", { room: this.name, ...said, client_id }, options);
  }

  history(page, options) {
    return this.#gateway.call("chat.history", { room: this.name, ...page }, options);
  }

  on(type, fn, options) {
    return this.#listeners.on(type, fn, options);
  }

  events(type = "message", options) {
    if (typeof type === "object") return this.events("message", type);
    return this.#gateway[inner].loop(this.#listeners, type, options);
  }

  [inner] = {
    request: () => {
      const since = this.#position ?? undefined;
      return { room: this.name, since, limit: since ? undefined : this.#limit };
    },
    lose: () => {
      if (this.#state === "joined") this.#set("joining");
    },
    shut: () => {
      this.#joining?.reject(this.#gateway[inner].lost());
      this.#joining = null;
      if (this.#state === "joining") this.#set("idle");
    },
    joined: (reply) => this.#joined(reply),
    refuse: (error) => this.#refuse(error),
    take: (type, data) => this.#take(type, data),
  };

  #set(state, why = null) {
    if (state === this.#state && why === this.#why) return;
    this.#state = state;
    this.#why = why;
    this.#listeners.emit("state", state);
  }

  #forget(state, error) {
    this.#position = this.#hole = null;
    this.#texts.clear();
    this.#joining?.reject(error ?? this.#gateway[inner].lost());
    this.#joining = null;
    this.#set(state, error);
  }

  #joined(reply) {
    if (this.#state !== "joining") return; // left meanwhile
    const { epoch, offset, recovered, reason = "position_lost", events = [], messages = [] } = reply;
    const from = this.#hole ?? this.#position;
    this.#hole = null;
    if (from && recovered) {
      for (const { type, data } of events) this.#log(type, data);
      this.#position = { epoch, offset: Math.max(offset, this.#position.offset) };
    } else {
      this.#position = { epoch, offset };
      this.#texts.clear();
      messages.forEach((message) => this.#keep(message));
      if (from) this.#listeners.emit("gap", { reason, from, to: this.#position, messages });
    }
    this.#set("joined");
    this.#joining?.resolve(reply);
    this.#joining = null;
    this.#listeners.emit("joined", reply);
  }

  #refuse(error) {
    if (this.#state !== "joining") return;
    if (error.status === 41000 && this.#position) {
      this.#hole = this.#position; // the next request is without a position
      this.#position = null;
      return;
    }
    this.#forget("refused", error);
  }

  #take(type, data) {
    if (!LOGGED.includes(type)) this.#tell(type, data);
    else if (this.#state === "joined") this.#log(type, data);
    else if (this.#state !== "joining") this.#tell(type, data); // else the reply of the join has it too
    if (this.#state !== "joined") return;
    const isOver = type === "room.deleted" || (type === "room.left" && data.user === this.#gateway.user);
    if (isOver) this.#forget("left");
    else if (type === "resync") this.#rejoin();
  }

  #rejoin() {
    this.#set("joining");
    this.#gateway[inner].resume();
  }

  #tell(type, data) {
    this.#listeners.emit(type, data);
    this.#gateway[inner].emit(type, data);
  }

  /** Tell a change of the log, unless it was told before. */
  #log(type, data) {
    const { epoch, offset } = this.#position;
    if (data.epoch !== epoch) return this.#rejoin();
    if (!(data.changed > offset)) return;
    this.#position = { epoch, offset: data.changed };
    this.#tell(type, data);
    if (type === "chat.appended") this.#grow(data);
    else this.#show(data);
  }

  #show(message, length) {
    this.#keep(message, length);
    this.#listeners.emit("message", message);
  }

  #keep(message, length) {
    const { id, text, done, deleted } = message;
    this.#texts.delete(id); // so that it becomes the newest
    if (typeof text !== "string" || done || deleted) return;
    this.#texts.set(id, { message, length: length ?? count(text) });
    if (this.#texts.size > KEPT_TEXTS) this.#texts.delete(this.#texts.keys().next().value);
  }

  #grow(piece) {
    const { id, changed, at, text, done } = piece;
    const { message, length } = this.#texts.get(id) ?? {};
    if (message?.changed >= changed) return; // read from the history, which was ahead
    if (length !== at) this.#read(piece);
    else this.#show({ ...message, text: message.text + text, changed, ...(done && { done }) }, length + count(text));
  }

  /** Read a message of which pieces are missing here. */
  async #read({ id, offset, changed }) {
    const isReading = this.#reading.has(id);
    this.#reading.set(id, changed);
    if (isReading) return;
    for (let tries = 0; tries < MOST_READS && this.#position; ) {
      try {
        const { messages } = await this.history({ after: offset - 1, limit: 1 }, { timeout: Infinity });
        tries += 1;
        const message = messages[0];
        if (message?.id !== id || this.#texts.get(id)?.message.changed >= message.changed) break;
        if (message.changed >= this.#reading.get(id)) {
          this.#show(message);
          break;
        }
      } catch (error) {
        if (!(error instanceof Lost) || this.#gateway.state === "closed") break;
      }
    }
    this.#reading.delete(id);
  }
}

/** Return the address of the socket. */
function address(url) {
  let text = String(url);
  if (!/^(ws|http)s?:\/\//i.test(text)) {
    const base = globalThis.location?.href;
    if (!base) throw new TypeError(`expected an address such as https://chat.example.com, got ${text}`);
    text = new URL(text, base).href;
  }
  const [path, query] = text.replace(/#.*/, "").replace(/^http/i, "ws").split("?");
  const whole = path.replace(/\/*$/, "").replace(/(\/ws\/chat)?$/, "/ws/chat");
  return query ? `${whole}?${query}` : whole;
}

function unreachable(url) {
  return `No WebSocket opened at ${url}. Check the address, that the gateway runs, that each proxy passes Upgrade on, and`
    + " that GATEWAY_ALLOWED_ORIGINS has the page's origin.";
}

/** Return how many bytes a text has in UTF-8. A surrogate pair has four. */
function bytes(text) {
  const more = (pattern) => text.match(pattern)?.length ?? 0;
  return text.length + more(/[\u0080-\uffff]/g) + more(/[\u0800-\ud7ff\ue000-\uffff]/g);
}

/** Return how many characters a text has: code points, and not units of UTF-16. */
function count(text) {
  return [...text].length;
}

function random() {
  return Date.now().toString(36) + Math.random().toString(36).slice(2);
}

/** Return the present moment for `since`. Either clock may stand still or jump, so there are two. */
function now() {
  return { wall: Date.now(), steady: globalThis.performance?.now() ?? 0 };
}

function since({ wall, steady }) {
  const { wall: wallNow, steady: steadyNow } = now();
  return Math.max(wallNow - wall, steadyNow - steady);
}

/** Start a timer, unless the time never ends. */
function after(wait, fn) {
  return wait <= LONGEST_TIMER_MS ? setTimeout(fn, wait) : undefined;
}

/** Return the reason of an aborted signal. React Native has none. */
function reasonOf(signal) {
  return signal.reason ?? Object.assign(new Error("aborted"), { name: "AbortError" });
}
