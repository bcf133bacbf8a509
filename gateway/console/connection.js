// The socket: it comes back after a loss, as the gateway asks, and tells which reply belongs to what was asked.

/**
 * @typedef {{type: string, id?: string | number | null, status?: number, message?: string, data?: any}} Frame
 * @typedef {{reason: string, reconnect: "never" | "new_credential" | "after_delay" | "with_backoff",
 *            after_ms?: number}} Bye
 * @typedef {"connecting" | "waiting" | "offline" | "refused"} State
 * @typedef {{state(state: State, words: string): void, event(frame: Frame): void,
 *            frame(arrow: "→" | "←", text: string, frame: Frame): void, note(text: string): void}} Told
 */

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const STEADY_MS = 10000; // a connection that lived this long was a good one: the waits begin anew
const ANSWER_MS = 20000; // a phone that has changed its network may not notice; no answer tells
const FAREWELL_MS = 2000;

// For a close that no `bye` explains; all others are worth another try.
const AFTER_CLOSE = {
  1000: "never", 1008: "new_credential", 4400: "never", 4410: "new_credential", 4411: "new_credential",
};

/** What the gateway refused, in words. */
export class Refusal extends Error {
  constructor({ message, status, retryable = false, retry_after_ms: wait, details = [] }) {
    super(sentence(message) + (wait ? ` Try again in ${seconds(wait)}.` : ""));
    Object.assign(this, { status, retryable, wait, details });
  }

  get words() {
    const details = this.details.map(({ field, message }) => `${field.replace("data.", "")}: ${message}.`);
    return details.join(" ") || this.message;
  }
}

/** There was no connection, or it broke before the answer came: the gateway may have done it or not. */
export class Lost extends Refusal {}

export class Connection {
  #token = "";
  /** @type {WebSocket | null} */
  #socket = null;
  #attempts = 0;
  #retry = 0;
  #lastId = 0;
  /** Who waits for an answer, by the message's id. */
  #pending = new Map();
  #told;

  /** @param {Told} told */
  constructor(told) {
    this.#told = told;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Come back with this token after a loss. @param {string} token */
  renew(token) {
    this.#token = token;
  }

  open(token) {
    this.#token = token;
    this.#attempts = 0;
    this.#connect();
  }

  /** Forget the connection, whatever its state. */
  hangUp() {
    clearTimeout(this.#retry);
    const former = this.#socket;
    this.#socket = null;
    former?.close();
    for (const { reject, late } of this.#pending.values()) {
      clearTimeout(late);
      reject(new Lost({ message: "the connection was lost before the answer came" }));
    }
    this.#pending.clear();
  }

  /** Leave this connection for a new one. @param {string} why @param {number} [after] in milliseconds */
  restart(why, after) {
    this.hangUp();
    const backoff = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    const wait = after ?? backoff;
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#connect(), wait);
    this.#told.state("waiting", `${sentence(why)} Connecting again in ${seconds(wait)}.`);
  }

  /** Say goodbye; the gateway closes then. */
  leave() {
    const leaving = this.#socket;
    this.ask("bye").catch(asRefusal);
    setTimeout(() => leaving?.close(), FAREWELL_MS);
  }

  /** Send a message and wait for its reply's data. @param {string} type @returns {Promise<any>} */
  ask(type, data = {}) {
    const id = `page-${(this.#lastId += 1)}`;
    return new Promise((resolve, reject) => {
      if (!this.transmit(JSON.stringify({ type, id, data }))) {
        reject(new Lost({ message: "not connected" }));
        return;
      }
      const late = setTimeout(() => this.restart("the gateway does not answer"), ANSWER_MS);
      this.#pending.set(id, { resolve, reject, late });
    });
  }

  /** @param {string} text @returns {boolean} whether there was a connection */
  transmit(text) {
    if (!this.isOpen) return false;
    this.#socket.send(text);
    this.#told.frame("→", text, read(text));
    return true;
  }

  #connect() {
    this.hangUp();
    const url = new URL("ws/chat", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#told.note(`connect to ${url} as gateway.v1, bearer.…`);
    this.#told.state("connecting", "Connecting…");
    const began = Date.now();
    // Not in the URL, which ends up in logs. Of the two, the gateway answers with the first.
    const opened = new WebSocket(url, ["gateway.v1", `bearer.${this.#token}`]);
    /** @type {Bye | undefined} */
    let bye;
    opened.onmessage = ({ data }) => {
      if (opened !== this.#socket) return;
      const frame = read(data);
      this.#told.frame("←", data, frame);
      if (frame.type === "bye") bye = frame.data;
      this.#receive(frame);
    };
    opened.onclose = ({ code, reason }) => {
      if (opened !== this.#socket) return;
      this.#told.note(`closed with ${code} ${reason}`);
      if (Date.now() - began > STEADY_MS) this.#attempts = 0;
      this.#afterClose(bye ?? { reason, reconnect: AFTER_CLOSE[code] ?? "with_backoff" });
    };
    this.#socket = opened;
  }

  /** @param {Bye} bye */
  #afterClose({ reason, reconnect, after_ms }) {
    this.hangUp();
    const why = sentence(reason.replaceAll("_", " ") || "the connection was lost");
    if (reconnect === "new_credential") this.#told.state("refused", why);
    else if (reconnect !== "never") this.restart(why, after_ms);
    else this.#told.state("offline", reason === "bye" ? "Disconnected." : `Disconnected: ${why}`);
  }

  /** @param {Frame} frame */
  #receive(frame) {
    const asked = this.#pending.get(frame.id);
    clearTimeout(asked?.late);
    this.#pending.delete(frame.id);
    if (frame.type === "reply") asked?.resolve(frame.data);
    else if (frame.type === "error" && asked) asked.reject(new Refusal(frame));
    else this.#told.event(frame);
  }
}

/** Go on with a refusal as the outcome; any other error is a mistake of this page. */
export function asRefusal(error) {
  if (error instanceof Refusal) return error;
  throw error;
}

export function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}

/** @param {string} text @returns {Frame} without a type if it is none: a person may send anything by hand */
function read(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === "string" ? frame : { type: "" };
  } catch {
    return { type: "" };
  }
}

function seconds(milliseconds) {
  return `${Math.ceil(milliseconds / 1000)}\u00a0s`;
}
