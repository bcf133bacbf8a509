// The tokens of a log-in. Only the memory of this tab has the refresh token, so a reload forgets it.

import { Refusal } from "./connection.js";

const FIRST_WAIT_MS = 1000; // a lost answer may be requested again within 10 s
const LONGEST_WAIT_MS = 30000;
const LEAST_LIFE_MS = 10000; // the gateway limits how often a session is refreshed

/** @typedef {{access_token: string, refresh_token: string}} Grant */

export class Credential {
  /** All tokens that this tab has had, so that it never shows one. @type {Set<string>} */
  #known = new Set();
  #refreshToken = "";
  #renewedAt = 0;
  /** @type {Promise<string> | null} */
  #renewal = null;
  #login = 0;

  /** Whether a new access token may be available without a password. */
  get isRenewable() {
    return this.#refreshToken !== "";
  }

  /** @param {Grant} grant @returns {string} the access token */
  keep({ access_token: token, refresh_token: next }) {
    this.#refreshToken = next;
    this.#renewedAt = Date.now();
    this.know(token);
    this.know(next);
    return token;
  }

  know(token) {
    if (token) this.#known.add(token);
  }

  /** Get a new access token. Simultaneous calls get the same one. Throw `Refusal` if none is available. */
  renew() {
    this.#renewal ??= this.#renew(this.#login).finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  /** End the session, with all its tokens and connections. @param {string} token the access token */
  async logOut(token) {
    const last = this.#refreshToken || token;
    this.forget();
    // The user may close the page before the answer arrives.
    if (last) await post("token/revoke", new URLSearchParams({ token: last }), undefined, { keepalive: true });
  }

  forget() {
    this.#login += 1;
    this.#refreshToken = "";
  }

  /** @param {string} text @returns {string} the text without any token */
  redact(text) {
    for (const token of this.#known) text = text.replaceAll(token, "…");
    return text;
  }

  /** Wait until another token is due: some gateways announce the end of a new token at once. */
  rest() {
    return pause(this.#renewedAt + LEAST_LIFE_MS - Date.now());
  }

  async #renew(login) {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      if (login !== this.#login || !this.isRenewable) throw new Refusal({ message: "logged out" });
      try {
        const form = { grant_type: "refresh_token", refresh_token: this.#refreshToken };
        const grant = await post("token", new URLSearchParams(form));
        if (login === this.#login) return this.keep(grant);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        if (!error.retryable) {
          if (login === this.#login) this.forget();
          throw error;
        }
        await pause(Math.max(wait, error.wait ?? 0));
      }
    }
  }
}

/** Send a POST request, and return the answer. A failure that may pass is `retryable`. */
export async function post(path, body, headers, options = {}) {
  const response = await fetch(path, { method: "POST", headers, body, ...options }).catch(() => {
    throw new Refusal({ message: "the gateway is out of reach", retryable: true });
  });
  const answer = await response.json().catch(() => ({}));
  const { status } = response;
  if (!response.ok) {
    const retryable = status === 429 || status >= 500;
    throw new Refusal({ message: `the gateway answered ${status}`, retryable, ...answer });
  }
  return answer;
}

/** Wait, or until the network returns: a user that wakes a laptop up does not like to wait. */
function pause(milliseconds) {
  if (milliseconds <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      removeEventListener("online", go);
      resolve();
    };
    const timer = setTimeout(go, milliseconds);
    addEventListener("online", go);
  });
}
