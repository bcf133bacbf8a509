// The tokens of a log-in. Only the memory of this tab has the refresh token, so a reload forgets it.

import { Refused } from "./client/gateway-client.js";

const LEAST_LIFE_MS = 10000; // the gateway limits how often a session is refreshed

/** @typedef {{access_token: string, refresh_token: string}} Grant */

export class Credential {
  /** All tokens that this tab has had, so that it never shows one. @type {Set<string>} */
  #known = new Set();
  #refreshToken = "";
  #renewedAt = 0;

  /** Whether a new access token may be available without a password. */
  get isRenewable() {
    return this.#refreshToken !== "";
  }

  /** Whether the access token is so new that no other one is needed. */
  get isFresh() {
    return Date.now() - this.#renewedAt < LEAST_LIFE_MS;
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

  /** Get a new access token, or an empty one if that needs the password. Throw `Refused` if it may succeed later. */
  async renew(signal) {
    if (!this.isRenewable) return "";
    const form = { grant_type: "refresh_token", refresh_token: this.#refreshToken };
    try {
      return this.keep(await post("token", new URLSearchParams(form), undefined, { signal }));
    } catch (error) {
      if (error.retryable ?? true) throw error;
      this.forget();
      return "";
    }
  }

  /** End the session, with all its tokens and connections. @param {string} token the access token */
  async logOut(token) {
    const last = this.#refreshToken || token;
    this.forget();
    // The user may close the page before the answer arrives.
    if (last) await post("token/revoke", new URLSearchParams({ token: last }), undefined, { keepalive: true });
  }

  forget() {
    this.#refreshToken = "";
  }

  /** @param {string} text @returns {string} the text without any token */
  redact(text) {
    for (const token of this.#known) text = text.replaceAll(token, "…");
    return text;
  }
}

/** Send a POST request, and return the answer. Throw `Refused`: a failure that may pass is `retryable`. */
export async function post(path, body, headers, options = {}) {
  const response = await fetch(path, { method: "POST", headers, body, ...options }).catch(() => {
    throw new Refused({ message: "the gateway is out of reach", retryable: true });
  });
  const answer = await response.json().catch(() => null);
  const { ok, status } = response;
  if (ok && answer) return answer;
  const retryable = ok || status === 429 || status >= 500;
  throw new Refused({ message: `the gateway answered ${status}`, retryable, ...answer });
}
