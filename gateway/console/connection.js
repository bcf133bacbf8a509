// The connection of the page. After a loss it reconnects as the gateway asks. It matches replies to their requests.

/**
 * @typedef {{type: string, id?: string | number | null, status?: number, message?: string, data?: any}} Frame
 * @typedef {{reason: string, reconnect: "never" | "new_credential" | "after_delay" | "with_backoff",
 *            after_ms?: number}} Bye
 * @typedef {"connecting" | "waiting" | "offline" | "refused"} State
 * @typedef {{state(state: State, words: string): void, event(frame: Frame): void,
 *            frame(arrow: "→" | "←", text: string, frame: Frame): boolean, note(text: string): void}} Told
 */

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const STEADY_MS = 10000; // after a connection that lasted this long, the waits start small again
const ANSWER_MS = 20000; // a phone that changes its network may not notice; a missing answer shows it
const FAREWELL_MS = 2000;

// For a close without a `bye`. After any other close, a new attempt is worthwhile.
const AFTER_CLOSE = {
  1000: "never", 1008: "new_credential", 4400: "never", 4403: "never", 4410: "new_credential", 4411: "new_credential",
};

/** A refusal of the gateway, with its message. */
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

/** There was no connection, or it broke before the answer. The gateway may have done the request or not. */
export class Lost extends Refusal {}

export class Connection {
  #token = "";
  /** @type {WebSocket | null} */
  #socket = null;
  #attempts = 0;
  #retry = 0;
  #lastId = 0;
  /** The requests that wait for an answer, by the message's id. */
  #pending = new Map();
  #told;

  /** @param {Told} told */
  constructor(told) {
    this.#told = told;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Reconnect with this token after a loss. @param {string} token */
  renew(token) {
    this.#token = token;
  }

  open(token) {
    this.#token = token;
    this.#attempts = 0;
    this.#connect();
  }

  /** Drop the connection in any state. */
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

  /** Replace this connection by a new one. @param {string} why @param {number} [after] in milliseconds */
  restart(why, after) {
    this.hangUp();
    const backoff = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts) * (0.5 + Math.random() / 2);
    const wait = after ?? backoff;
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#connect(), wait);
    this.#told.state("waiting", `${sentence(why)} Connecting again in ${seconds(wait)}.`);
  }

  /** Send `bye`, so that the gateway closes the connection. */
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
    const url = new URL("ws/chat?rooms=1", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    this.#told.note(`connect to ${url} as gateway.v1, bearer.…`);
    this.#told.state("connecting", "Connecting…");
    const began = Date.now();
    // Not in the URL, because logs contain URLs. The gateway answers with the first of the two.
    const opened = new WebSocket(url, ["gateway.v1", `bearer.${this.#token}`]);
    /** @type {Bye | undefined} */
    let bye;
    opened.onmessage = ({ data }) => {
      if (opened !== this.#socket) return;
      const frame = read(data);
      const isShown = this.#told.frame("←", data, frame);
      if (frame.type === "bye") bye = frame.data;
      this.#receive(frame, isShown);
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

  /** @param {Frame} frame @param {boolean} isShown whether `told.frame` has shown all of it */
  #receive(frame, isShown) {
    if (frame.type === "chunk") return; // `told.frame` has it
    const asked = this.#pending.get(frame.id);
    clearTimeout(asked?.late);
    this.#pending.delete(frame.id);
    if (frame.type === "reply") asked?.resolve(frame.data);
    else if (frame.type === "error" && asked) asked.reject(new Refusal(frame));
    else if (!isShown) this.#told.event(frame);
  }
}

/** Return a refusal as the outcome. Throw any other error: it is a mistake of this page. */
export function asRefusal(error) {
  if (error instanceof Refusal) return error;
  throw error;
}

export function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}

/** @param {string} text @returns {Frame} without a type if the text is no frame: a user may send any text by hand */
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
