// The tokens of a log-in. The refresh token is in the memory of this tab and nowhere else, so a reload forgets it.

import { Refusal } from "./connection.js";

const FIRST_WAIT_MS = 1000; // an answer that got lost may be asked for again, within 10 s
const LONGEST_WAIT_MS = 30000;
const LEAST_LIFE_MS = 10000; // the gateway bounds how often a session is refreshed

/** @typedef {{access_token: string, refresh_token: string}} Grant */

export class Credential {
  /** All tokens that this tab has had: none of them is shown. @type {Set<string>} */
  #known = new Set();
  #refreshToken = "";
  #renewedAt = 0;
  /** @type {Promise<string> | null} */
  #renewal = null;
  #login = 0;

  /** Whether there may be a new access token without a password. */
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

  /** Get a new access token; calls made meanwhile get the same. Throws `Refusal` if there is no way to one. */
  renew() {
    this.#renewal ??= this.#renew(this.#login).finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  /** End the session, with all its tokens and connections. @param {string} token the access token */
  async logOut(token) {
    const last = this.#refreshToken || token;
    this.forget();
    // The page may be closed before the answer is there.
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

  /** Wait until it is not too soon for another token: some gateways say at once that one is about to end. */
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

/** Post something, and return the answer. A failure that may pass is `retryable`. */
export async function post(path, body, headers, options = {}) {
  const response = await fetch(path, { method: "POST", headers, body, ...options }).catch(() => {
    throw new Refusal({ message: "the gateway cannot be reached", retryable: true });
  });
  const answer = await response.json().catch(() => ({}));
  const { status } = response;
  if (!response.ok) {
    const retryable = status === 429 || status >= 500;
    throw new Refusal({ message: `the gateway answered ${status}`, retryable, ...answer });
  }
  return answer;
}

/** Wait; the return of the network ends it, as a user that wakes a laptop up does not like to wait. */
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
