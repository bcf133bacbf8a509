// The client of the gateway, for browsers, Node, Deno, Bun and React Native. docs/clients.md has its rules.
//
// It is made of closures and not of classes, because it must be small: a minifier shortens a variable and leaves a property.

/** @typedef {{type: string, id?: string | number | null, status?: number, message?: string, data?: any}} Frame */

const TIMES = {
  ping: 5000, answer: 60000, patience: 20000, token: 30000, margin: 60000, rest: 10000, welcome: 20000, backoff: 1000,
  longest: 30000, steady: 10000,
};
const LONGEST_ASKED_MS = 3600000; // by the gateway
const LONGEST_REPEAT_MS = 80000000; // the gateway remembers a client_id for 24 hours
const OWN_EVENTS = /^(message|gap|joined|state)$/; // of a room
const MOST_WAITING = 1000; // calls without an answer, and events that wait for a loop
const MOST_ROOMS = 128; // of one `room.resume`
const MOST_REFUSALS = 2; // in a row, of another token each time
const MOST_READS = 5; // of a message that is behind its pieces
const KEPT_TEXTS = 64; // of a room, for the pieces that may follow

const NEVER = "never";
const NEW_CREDENTIAL = "new_credential";
const WITH_BACKOFF = "with_backoff";
// For a close without a `bye`. After any other close, a new attempt is worthwhile.
const AFTER_CLOSE = {
  1000: NEVER, 1008: NEW_CREDENTIAL, 4400: NEVER, 4403: NEVER, 4410: NEW_CREDENTIAL, 4411: NEW_CREDENTIAL,
};
const HOPELESS = /^(forbidden|not)_/; // origins and places, the reasons of 1008 that no token changes
const CLOSED = { code: 1000, reason: "bye", message: "Closed.", reconnect: NEVER };

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
export function connect(url, options = {}) {
  const [path, query] = address(url);
  const times = { ...TIMES, ...options.times };
  const { getToken, onFrame, onProblem = console.warn } = options;

  let state = "idle";
  let why = null;
  let welcome = null;
  let welcomedAt;
  let heardAt;
  /** @type {WebSocket | null} */
  let socket = null;
  /** Whether the rooms are back, so that messages may go out. */
  let isReady = false;
  let isResuming = false;
  let stalls = 0; // answers in a row that brought no room back
  let held; // a repeat without an answer, before which no later one may go out
  let author; // the user of this life of the client
  let attempts = 0;
  let refusals = 0;
  let mayHurry = true;
  let turn; // changes with each attempt and each end
  let said = ""; // the last error before the welcome
  let sendsByHand = false;
  let opening;

  let token = getToken ? undefined : options.token;
  let tokenEnds = NaN; // by the gateway's clock
  let tokenAt; // when the newest was asked for
  /** @type {"connect" | "refused" | null} why the next connection needs another token */
  let needs = getToken && "connect";
  let asking;

  /** The timers of this attempt or connection, by what they are for. */
  let timers = {};
  /** The calls without an answer, by id, oldest first. */
  const calls = new Map();
  let lastId = 0;
  const tag = Math.random(); // of each client_id that this client makes
  const rooms = new Map();
  const { on, emit } = listening();
  const watchers = listening();
  /** The loops over events, which end with the gateway. */
  const loops = new Set();

  // ── What a program uses ──

  const gateway = {
    get state() {
      return state;
    },
    get why() {
      return why;
    },
    get welcome() {
      return welcome;
    },
    get user() {
      return welcome?.user ?? null;
    },
    get serverTime() {
      return welcome ? Date.parse(welcome.server_time) + since(welcomedAt) : Date.now();
    },
    async open({ signal, timeout = times.patience } = {}) {
      if (state === "closed") state = "idle";
      start();
      if (state === "open") return welcome;
      opening ??= deferred();
      return bounded(opening.promise, signal, timeout);
    },
    async close() {
      const leaving = socket?.readyState === 1 && socket; // an earlier one may never say that it has closed
      if (state !== "closed") shut(CLOSED);
      if (!leaving) return;
      const gone = deferred();
      leaving.onclose = gone.resolve;
      await bounded(gone.promise, null, times.ping).catch(() => {});
    },
    check,
    onState: (fn, options) => watchers.on("", () => fn(state, why), options),
    call: (type, data, options) => ask(type, data, options),
    stream(type, data, options) {
      const asked = ask(type, data, options, false, (chunk) => loop.add(chunk));
      const loop = queue(MOST_WAITING, () => asked.abandon?.(reasonOf()), true);
      asked.then(() => loop.finish(), loop.finish);
      loop.reply = asked;
      return loop;
    },
    events: (type, options) => start() ?? iterate(on, type, options),
    on: (type, fn, options) => start() ?? on(type, fn, options),
    room: (name) => (rooms.get(name) ?? makeRoom(name)).room,
    send(text) {
      if (state !== "open") return false;
      sendsByHand = true; // so no call knows the answer
      out(text);
      return true;
    },
  };
  return gateway;

  // ── The connection ──

  function start() {
    if (state !== "idle") return;
    attempts = refusals = 0;
    watch("addEventListener");
    dial();
  }

  function change(to, reason = why) {
    state = to;
    why = reason;
    watchers.emit("");
  }

  /** Get a token if there is no good one, and open a socket. */
  async function dial() {
    clear();
    const mine = (turn = {});
    change("connecting");
    if (mine !== turn) return; // a listener has closed it
    if (getToken && tokenEnds - gateway.serverTime < times.margin) needs ??= "connect";
    try {
      await (needs && renew(needs));
    } catch (error) {
      if (mine === turn) retry({ reason: "no_token", message: `getToken failed: ${error?.trim ? error : error?.message}` });
      return;
    }
    if (mine !== turn) return;
    if (getToken && !token) shut({ reason: "no_token", message: "getToken returned no token" });
    else if (needs) refuse({ ...why, message: "getToken returned the refused token" });
    else openSocket();
  }

  function openSocket() {
    const { tokenIn = "subprotocol", WebSocket: Socket = globalThis.WebSocket, service, rooms } = options;
    // Not in the URL, because logs contain URLs. The gateway answers with the first of the two.
    const protocols = token && tokenIn === "subprotocol" ? ["gateway.v1", `bearer.${token}`] : [];
    const part = (name, value) => value && `${name}=${encodeURIComponent(value)}`;
    try {
      const parts = [query, part("service", service), rooms && "rooms=1", tokenIn === "query" && part("token", token)];
      const whole = parts.filter((each) => each).join("&");
      socket = new Socket(path + (whole && `?${whole}`), protocols);
    } catch { // its error may contain the token
      return shut({ reason: "no_socket", message: `No WebSocket at ${path}. Check the address and tokenIn.` });
    }
    let isOpen = false;
    socket.onopen = () => {
      isOpen = true;
      if (token && tokenIn === "message") out(JSON.stringify({ type: "auth", data: { token } }));
    };
    socket.onerror = () => {}; // the end follows; some classes throw what no listener takes
    socket.onmessage = ({ data }) => receive(data);
    socket.onclose = ({ code, reason }) => {
      reason ||= "";
      const isWord = /^\w+$/.test(reason); // as the gateway has them; React Native writes here what it knows of a failure
      end({
        code,
        reason: isWord ? reason : isOpen ? "lost" : "unreachable",
        message: !isOpen && `No WebSocket at ${path}. Check the address, the gateway, each proxy and`
          + ` GATEWAY_ALLOWED_ORIGINS.${reason && !isWord ? ` ${reason}` : ""}`,
        reconnect: HOPELESS.test(reason) ? NEVER : AFTER_CLOSE[code],
      });
    };
    after("welcome", times.welcome, () => end({ reason: "no_welcome" }));
  }

  /** Go on after the end of a connection, as the gateway has asked. */
  function end({ code, reason, message, reconnect = WITH_BACKOFF, after_ms: wait }) {
    if (state === "open" && since(welcomedAt) > times.steady) attempts = refusals = 0;
    message ||= said || `The connection ended: ${String(reason).replaceAll("_", " ")}.`;
    why = { code, reason, message, reconnect };
    clear();
    if (state === "closed") return; // by a listener of a room
    fail();
    if (reconnect === NEVER) shut(why);
    else if (reconnect === NEW_CREDENTIAL) refuse(why);
    else retry(why, wait);
  }

  /** Try again with another token. */
  function refuse(reason) {
    needs = "refused";
    if (!getToken || refusals >= MOST_REFUSALS) shut(reason);
    else retry(reason, refusals++ || attempts ? undefined : 0);
  }

  /** @param {number} [asked] the wait that the gateway asks for; one that asks again and again is not sure of it */
  function retry(reason, asked) {
    const spread = Math.random() * Math.min(times.longest, times.backoff * 2 ** attempts);
    mayHurry = !(asked >= 0);
    const least = mayHurry || attempts || reason.reconnect === WITH_BACKOFF ? spread : 0;
    const wait = Math.max(least, Math.min(asked, LONGEST_ASKED_MS) || 0);
    attempts += 1;
    clear();
    after("retry", wait, dial);
    change("waiting", { ...reason, retryAt: Date.now() + wait });
  }

  /** Close for good. */
  function shut(reason) {
    clear();
    asking?.stop.abort();
    asking = author = null;
    watch("removeEventListener");
    needs = getToken && "connect";
    state = "closed";
    why = reason;
    fail(true);
    opening?.reject(lost());
    opening = null;
    for (const each of rooms.values()) each.shut();
    for (const loop of [...loops]) loop.finish(reason !== CLOSED && lost());
    change(state); // at last, because a listener may open it again
  }

  /** Let go of the socket, and of all that waits for it. */
  function clear() {
    for (const name in timers) clearTimeout(timers[name]);
    timers = {};
    turn = held = null;
    stalls = 0;
    said = "";
    isReady = isResuming = false;
    const former = socket;
    socket = null;
    if (!former) return;
    for (const each of rooms.values()) each.lose();
    former.onopen = former.onmessage = former.onclose = null;
    former.close(1000);
  }

  /** Reject all calls, or else what went out and is not repeated. */
  function fail(isAll) {
    for (const call of calls.values()) {
      const repeats = call.repeats && since(call.at) < LONGEST_REPEAT_MS;
      if (isAll || (call.tries && !repeats)) call.reject(lost(call));
      else call.isOut = false;
    }
  }

  function lost(call) {
    return new Lost(why?.message ?? "no connection yet", call?.tries > 0, why);
  }

  /** Return a promise of the same outcome, which the signal or the time may end earlier. */
  function bounded(promise, signal, wait) {
    const { promise: first, resolve, reject } = deferred();
    const late = timer(wait, () => reject(lost()));
    const off = whenAborted(signal, () => reject(reasonOf(signal)));
    promise.then(resolve, reject);
    return first.finally(() => off(clearTimeout(late)));
  }

  function watch(verb) {
    // Chrome may leave out `visibilitychange` after it has frozen a page, and not `resume`.
    for (const name of ["online", "pageshow", "visibilitychange", "resume"]) {
      for (const target of [globalThis, globalThis.document]) target?.[verb]?.(name, wake);
    }
  }

  function wake({ type }) {
    if (type !== "visibilitychange" || document.visibilityState === "visible") check();
  }

  function check() {
    if (state === "waiting" && mayHurry) dial();
    if (state !== "open" || timers.ping) return;
    ping();
    after("ping", times.ping, () => end({ reason: "no_pong" }));
  }

  function ping() {
    ask("ping", undefined, {}, true).catch(() => {});
  }

  /** Send a ping after a silence: some proxies close a connection after 60 s without a frame. */
  function beat(wait) {
    after("beat", wait, () => {
      const silence = since(heardAt);
      if (silence > 2 * wait) check();
      else if (silence > wait / 2) ping();
      beat(wait);
    });
  }

  function after(name, wait, fn) {
    clearTimeout(timers[name]);
    timers[name] = timer(wait, () => {
      timers[name] = 0;
      fn();
    });
  }

  // ── Tokens ──

  /** Get another token. Simultaneous calls share one request. */
  function renew(reason) {
    asking ??= request(reason);
    return asking.done;
  }

  function request(reason) {
    const stop = new AbortController();
    const { signal } = stop;
    const previous = token;
    const found = (async () => getToken({ reason, previous, signal }))();
    const mine = { stop };
    const late = timer(times.token, () => stop.abort());
    tokenAt = now();
    mine.done = bounded(found, signal).then((next) => {
      token = next;
      tokenEnds = NaN;
      needs = reason === "refused" && next === previous ? reason : null;
    }).finally(() => {
      clearTimeout(late);
      if (asking === mine) asking = null;
    });
    return mine;
  }

  /** Get another token for the open connection. */
  async function refresh(tries) {
    const mine = socket;
    const previous = token;
    try {
      await renew("expiring");
      if (mine !== socket) return;
      if (!token || token === previous) throw new Error("getToken returned no token");
      tokenEnds = Date.parse((await ask("auth.refresh", { token }, {}, true)).token_expires_at);
    } catch (error) {
      if (mine !== socket) return;
      report("token", { error });
      if (tries > 1) after("token", times.rest, () => refresh(tries - 1));
    }
  }

  // ── Messages out ──

  /**
   * Send a message when there is a connection, and return its reply's data. An urgent one does not wait for the rooms.
   * `chunk` gets each chunk. `take` gets the data at once. `abandon` of the promise rejects it and cancels the message.
   */
  function ask(type, data, options = {}, isUrgent, chunk, take = async (reply) => reply) {
    const { signal, timeout, traceparent, repeats = type === "chat.send" } = options;
    const id = `c${(lastId += 1)}`;
    let abandon;
    const promise = new Promise((resolve, reject) => {
      if (signal?.aborted) throw reasonOf(signal);
      if (isUrgent ? state !== "open" : state === "closed" || calls.size >= MOST_WAITING) throw lost();
      if (type === "chat.send" && data) data = { ...data, client_id: data.client_id ?? tag + id };
      const text = JSON.stringify({ type, id, data, stream: chunk && true, traceparent });
      let late;
      const expire = (wait) => {
        clearTimeout(late);
        late = timer(wait, () => abandon(lost(call)));
      };
      const settling = (fn) => (value) => {
        calls.delete(id);
        clearTimeout(late);
        forget();
        fn(value);
        if (held === call) flush();
      };
      const call = {
        resolve: settling((reply) => resolve(take(reply))),
        reject: settling(reject),
        repeats,
        chunk,
        at: now(),
        isOut: false,
        tries: 0,
        send() {
          if (held && repeats) return;
          const problem = unsendable(text, welcome.max_message_bytes);
          if (problem) return call.reject(new Refused(problem));
          call.isOut = true;
          call.tries += 1;
          if (call.tries > 1) held = call;
          if (timeout === undefined) expire(repeats || chunk ? Infinity : times.answer);
          try {
            out(text);
          } catch (error) {
            call.reject(error);
          }
        },
      };
      /** Forget the caller. The answer may still come, unless the gateway stops the work. */
      abandon = (error) => {
        if (calls.get(id) !== call) return;
        call.reject(error);
        if (!call.isOut) return;
        const end = () => calls.delete(id);
        calls.set(id, { isOut: true, tries: 1, chunk() {}, resolve: end, reject: end });
        if (!isUrgent) ask("cancel", { id }, {}, true).catch(() => {});
      };
      calls.set(id, call);
      const forget = whenAborted(signal, () => abandon(reasonOf(signal)));
      expire(timeout ?? (repeats && welcome ? Infinity : times.patience));
      start();
      if (isUrgent || isReady) call.send();
    });
    return Object.assign(promise, { abandon });
  }

  /** Send what waits, oldest first. Repeats go one by one, since each may be refused for the moment. */
  function flush() {
    held = null;
    for (const call of calls.values()) {
      if (isReady && !call.isOut) call.send();
    }
  }

  function out(text) {
    onFrame?.("out", text);
    socket.send(text);
  }

  // ── Frames in ──

  function receive(text) {
    heardAt = now();
    clearTimeout(timers.ping);
    timers.ping = 0;
    if (!text.trim) {
      if (text.size ?? text.byteLength) report("frame");
      return;
    }
    onFrame?.("in", text);
    try {
      const frame = JSON.parse(text);
      const { type, data } = frame;
      const isExpected = type === "welcome" ? state !== "open" && Date.parse(data.server_time) : state === "open" || type === "bye";
      if (/^(reply|error|chunk)$/.test(type)) answer(frame, text);
      else if (type.trim && isExpected) hear(type, data ?? {});
      else throw text;
    } catch {
      report("frame", { text });
    }
  }

  function answer(frame, text) {
    const { type, id, data, message } = frame;
    const call = calls.get(id);
    if (type === "error" && id == null) {
      if (state === "open") report("error", { message, text });
      else said = String(message); // of a handshake: the `bye` has a word only
    } else if (!call?.isOut || (type === "chunk" && !call.chunk)) {
      if (!sendsByHand) report("answer", { text });
    } else if (type === "chunk") {
      call.chunk(data);
    } else if (frame.retryable && call.tries > 1) {
      // An earlier one may be stored, so no refusal of the moment is the answer.
      call.isOut = false;
      after("repeat", pause(frame.retry_after_ms), flush);
    } else if (type === "reply") {
      call.resolve(data);
    } else {
      call.reject(new Refused(frame));
    }
  }

  function hear(type, data) {
    const mine = socket;
    const each = rooms.get(data.room?.name ?? data.room);
    if (type === "welcome") begin(data);
    else if (each) each.take(type, data);
    else tell(type, data);
    if (mine !== socket) return; // a listener has closed it
    if (type === "bye") end({ reason: "lost", ...data });
    if (type === "token.expiring" && getToken) {
      after("token", Math.max(0, times.rest - since(tokenAt)), () => refresh(2));
    }
  }

  function tell(type, data) {
    emit(type, data);
    emit("*", { type, data });
  }

  function begin(data) {
    const mine = socket;
    tokenEnds = Date.parse(data.token_expires_at);
    beat(times.heartbeat ?? Math.max(1000, data.heartbeat_seconds * 1000 || 25000));
    clearTimeout(timers.welcome);
    said = "";
    welcome = data;
    welcomedAt = now();
    // What waits is of the former user.
    if (author && author !== data.user) return shut({ reason: "another_user", message: "getToken returned another user's token" });
    author = data.user;
    change("open");
    opening?.resolve(data);
    opening = null;
    tell("welcome", data);
    resume().then(() => {
      if (mine !== socket) return;
      isReady = true;
      flush();
      if (!timers.resume) resume(); // rooms that were joined meanwhile
    });
  }

  // ── Rooms ──

  /** Join the rooms that wait for it, with one message if it takes them all. */
  async function resume() {
    const mine = socket;
    if (isResuming || state !== "open") return;
    isResuming = true;
    const isMissing = ({ room }) => room.state === "joining";
    let most = MOST_ROOMS;
    let wait = 0;
    while (!wait) {
      const batch = [...rooms.values()].filter(isMissing).slice(0, most);
      if (!batch.length) break;
      // At once, and not in a promise: Node may hear the next frame before a promise goes on.
      const take = async (reply) => {
        let later = times.backoff;
        for (const each of reply.rooms) {
          const { error } = each;
          if (error?.retryable) later = pause(error.retry_after_ms);
          else rooms.get(each.room)?.[error ? "refuse" : "joined"](error ? new Refused(error) : each);
        }
        if (batch.every(isMissing)) wait = later;
        else stalls = 0;
      };
      try {
        await ask("room.resume", { rooms: batch.map((each) => each.request()) }, {}, true, undefined, take);
        if (mine !== socket) return;
        most = MOST_ROOMS;
      } catch (error) {
        if (mine !== socket) return;
        if (error.retryable ?? true) wait = pause(error.retryAfterMs);
        // One bad name spoils the whole message: look for it. Or it is too long (41300).
        else if (error.status > 41000 && batch.length > 1) most = batch.length >> 1;
        else batch.forEach((each) => each.refuse(error));
      }
    }
    isResuming = false;
    if (wait) after("resume", Math.min(wait * 2 ** stalls++, times.longest), resume);
  }

  function pause(asked) {
    return asked > 0 ? Math.min(asked, times.longest) : times.backoff;
  }

  function makeRoom(name) {
    let state = "idle";
    let why = null;
    let position = null;
    let limit;
    let joining; // what `join()` has promised
    let hole; // the position from which the gateway could not go on
    /** The newest messages with a text, for the pieces that may follow. */
    const texts = new Map();
    /** The messages that are read anew, and the `changed` that each must reach. */
    const reading = new Map();
    const { on, emit } = listening();

    const room = {
      name,
      get state() {
        return state;
      },
      get why() {
        return why;
      },
      get position() {
        return position;
      },
      async join({ since, limit: most, signal, timeout } = {}) {
        if (gateway.state === "closed") throw lost();
        if (!joining) {
          limit = most;
          position = since ?? position;
          joining = deferred();
          rejoin();
        }
        return bounded(joining.promise, signal, timeout);
      },
      async leave(options) {
        forget("left");
        await gateway.call("room.leave", { room: name }, options);
      },
      quit: () => forget("idle"),
      send(content, { client_id, ...options } = {}) {
        const said = typeof content === "string" ? { text: content } : content;
        return gateway.call("chat.send", { room: name, ...said, client_id }, options);
      },
      history: (page, options) => gateway.call("chat.history", { room: name, ...page }, options),
      on,
      events: (type, options) => (type?.trim ? iterate(on, type, options) : iterate(on, "message", type)),
    };
    const own = {
      room,
      request: () => ({ room: name, since: position ?? undefined, limit: position ? undefined : limit }),
      lose: () => state === "joined" && change("joining"),
      shut() {
        if (joining) forget("idle"); // a room that was joined before comes back with the gateway
      },
      joined(reply) {
        if (state !== "joining") return; // left meanwhile
        const { epoch, offset, events = [], messages = [], reason = "position_lost" } = reply;
        const from = hole ?? position;
        hole = null;
        if (from && reply.recovered) {
          for (const { type, data } of events) {
            if (position) log(type, data);
          }
          if (position) position = { epoch, offset: Math.max(offset, position.offset) };
        } else {
          position = { epoch, offset };
          texts.clear();
          messages.forEach(keep);
          if (from) emit("gap", { reason, from, to: position, messages });
        }
        if (!position) return; // a listener has quit
        change("joined");
        settle("resolve", reply);
        emit("joined", reply);
      },
      refuse(error) {
        if (state !== "joining") return;
        if (error.status !== 41000 || !position) return forget("refused", error);
        hole = position; // the next request is without it
        position = null;
      },
      take(type, data) {
        const isLogged = data.changed && type.startsWith("chat.");
        if (isLogged && state === "joined") log(type, data);
        else if (!isLogged || state !== "joining") both(type, data); // else the reply of the join has it
        if (state !== "joined") return;
        if (type === "resync") rejoin();
        else if (type === "room.deleted" || (type === "room.left" && data.user === gateway.user)) forget("left");
      },
    };
    rooms.set(name, own);
    return own;

    function change(to, error = null) {
      if (to === state) return;
      state = to;
      why = error;
      emit("state", to);
    }

    function settle(verb, value) {
      joining?.[verb](value);
      joining = null;
    }

    function forget(to, error) {
      position = hole = null;
      texts.clear();
      change(to, error);
      settle("reject", error ?? lost());
    }

    function rejoin() {
      change("joining");
      start();
      if (isReady) queueMicrotask(resume); // with the others of this moment
    }

    function both(type, data) {
      if (!OWN_EVENTS.test(type)) emit(type, data);
      tell(type, data);
    }

    /** Emit a change of the log, unless it was emitted before. */
    function log(type, data) {
      const { epoch, changed } = data;
      if (epoch !== position.epoch) return rejoin();
      if (!(changed > position.offset)) return;
      position = { epoch, offset: changed };
      both(type, data);
      if (type === "chat.appended") grow(data);
      else show(data);
    }

    function show(message) {
      keep(message);
      emit("message", message);
    }

    function keep(message) {
      const { id, text, done, deleted } = message;
      texts.delete(id); // so that it becomes the newest
      if (text && !done && !deleted) texts.set(id, message);
      if (texts.size > KEPT_TEXTS) texts.delete(texts.keys().next().value);
    }

    function grow(piece) {
      const { id, changed, at, text, done } = piece;
      const message = texts.get(id);
      if (message?.changed >= changed) return; // the history was ahead
      if (!message || [...message.text].length !== at) read(piece); // characters are code points, and not units of UTF-16
      else show({ ...message, text: message.text + text, changed, ...(done && { done }) });
    }

    /** Read a message of which a piece is missing here. */
    async function read({ id, offset, changed }) {
      const isReading = reading.has(id);
      reading.set(id, changed);
      if (isReading) return;
      try {
        for (let tries = 0; tries < MOST_READS; tries += 1) {
          const found = await room.history({ after: offset - 1, limit: 1 }, { timeout: Infinity, repeats: true });
          const message = found.messages[0];
          if (!position || message?.id !== id || texts.get(id)?.changed >= message.changed) break;
          if (message.changed < reading.get(id)) continue;
          show(message);
          break;
        }
      } catch {} // refused, or closed
      reading.delete(id);
    }
  }

  // ── Listeners ──

  /** Return listeners by type of event. */
  function listening() {
    const byType = new Map();
    return {
      on(type, fn, { signal } = {}) {
        const entry = { fn }; // the same function may listen twice
        const all = byType.get(type) ?? new Set();
        byType.set(type, all.add(entry));
        const forget = whenAborted(signal, () => all.delete(entry));
        return () => {
          all.delete(entry);
          forget();
        };
      },
      emit(type, value) {
        const all = byType.get(type);
        for (const entry of [...(all ?? [])]) {
          try {
            if (all.has(entry)) entry.fn(value);
          } catch (error) {
            report("listener", { error });
          }
        }
      },
    };
  }

  /** Return a loop over events. It ends with the signal, with `close()`, and with an error if the gateway ends itself. */
  function iterate(on, type, { signal, limit = MOST_WAITING } = {}) {
    const loop = queue(limit, () => {
      loops.delete(loop);
      off();
      forget();
    });
    const off = on(type, loop.add);
    const forget = whenAborted(signal, loop.return);
    loops.add(loop);
    if (state === "closed") loop.finish(lost());
    return loop;
  }

  function report(kind, more) {
    onProblem({ kind, ...more });
  }
}

/** Return an iterator over what is added. `leave` ends the interest in more. With `joins`, texts that wait become one. */
function queue(limit, leave, joins) {
  const waiting = [];
  let ended;
  let wake;
  const loop = (async function* () {
    for (;;) {
      if (waiting.length) yield waiting.shift();
      else if (!ended) await new Promise((resolve) => (wake = resolve));
      else if (ended.error) throw ended.error;
      else return;
    }
  })();
  return Object.assign(loop, {
    add(value) {
      const last = waiting.length - 1;
      if (ended) return;
      if (last + 1 < limit) waiting.push(value);
      else if (joins && typeof value === "string" && typeof waiting[last] === "string") waiting[last] += value;
      else loop.finish(new Overflow(`too slow: ${limit} wait`));
      wake?.();
    },
    /** End the loop after what waits, with an error if there is one. */
    finish(error) {
      if (ended) return;
      ended = { error };
      leave();
      wake?.();
    },
    async return() {
      waiting.length = 0;
      loop.finish();
      return { done: true };
    },
  });
}

/** Return the address of the socket, without its query and with it. */
function address(url) {
  let text = String(url);
  if (!/^(ws|http)s?:/i.test(text)) text = new URL(text, globalThis.location?.href).href; // React Native has no such URL
  const [path, query = ""] = text.replace(/#.*/, "").replace(/^http/i, "ws").split("?");
  return [path.replace(/(\/ws\/chat)?\/*$/, "/ws/chat"), query];
}

/** Return the error that the gateway would have for this text, or none. For the second, it could not even name the call. */
function unsendable(text, limit) {
  const size = encodeURI(text).replace(/%../g, "x").length; // the bytes of UTF-8; an old React Native has no encoder
  if (size > limit) return { status: 41300, name: "too_large", message: `at most ${limit} bytes, got ${size}` };
  if (/\\u(d|0000)/.test(text.replaceAll("\\\\", ""))) {
    return { status: 40000, name: "bad_frame", message: "U+0000 or a lone surrogate" };
  }
}

/** Call `fn` when the signal is aborted, or soon. Return what forgets it. */
function whenAborted(signal, fn) {
  signal?.addEventListener("abort", fn);
  if (signal?.aborted) queueMicrotask(fn);
  return () => signal?.removeEventListener("abort", fn);
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/** Start a timer, unless the time never ends. */
function timer(wait, fn) {
  return wait < 2 ** 31 ? setTimeout(fn, wait) : undefined;
}

/** Return the present moment for `since`. Either clock may stand still or jump, so there are two. */
function now() {
  return [Date.now(), globalThis.performance?.now() ?? 0];
}

function since(moment) {
  return Math.max(...now().map((value, index) => value - moment[index]));
}

/** Return the reason of an aborted signal, or one for a loop that has ended. A signal of React Native has none. */
function reasonOf(signal) {
  return signal?.reason ?? Object.assign(new Error("aborted"), { name: "AbortError" });
}
