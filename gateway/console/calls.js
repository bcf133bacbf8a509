// The messages that the user has sent by hand. One that streams, or takes its time, has a card with a button that cancels it.

import { isProblem, wordsOf } from "./words.js";
import { make } from "./messages.js";

/**
 * @typedef {{type: string, id?: string | number | null, stream?: boolean, seq?: number, status?: number, message?: string,
 *            data?: any}} Frame
 * @typedef {{card: HTMLElement, isRunning: boolean, left: number}} Call
 */

const MAX_CARDS = 5;
const SLOW_MS = 400;
const TAKEN = 40900; // the id of another message in progress
const CANCELLED = 49900;
const MAX_CHARACTERS = 100000; // of one answer: a longer one loses its beginning

export class Calls {
  /** The messages without an answer so far, by id. `left` counts the answers to come: an id may be sent again. @type {Map<string | number, Call>} */
  #calls = new Map();
  #cards;
  #cancel;

  /** @param {HTMLElement} cards @param {(id: string | number) => Promise<unknown>} cancel returns the problem, if there is one */
  constructor(cards, cancel) {
    this.#cards = cards;
    this.#cancel = cancel;
  }

  /** Take a frame that the user has sent. @param {Frame} frame */
  sent({ type, id, stream }) {
    const known = this.#calls.get(id);
    if (known) known.left += 1;
    if (known || id == null) return;
    const call = { card: this.#newCard(type, id), isRunning: true, left: 1 };
    this.#calls.set(id, call);
    if (stream === true) this.#show(call);
    else setTimeout(() => this.#show(call), SLOW_MS);
  }

  /** An id for the next frame that no running call has. @returns {string} */
  freeId() {
    const taken = new Set([...this.#calls.keys()].map(String));
    let number = 1;
    while (taken.has(`${number}`)) number += 1;
    return `${number}`;
  }

  /** Take a frame that has come. @param {Frame} frame @returns {boolean} whether it is the answer to a frame by hand, and no card shows it */
  received(frame) {
    const call = this.#calls.get(frame.id);
    if (!call) return false;
    if (frame.type === "chunk") {
      add(call.card, frame);
      return false;
    }
    call.left -= 1;
    if (!call.left) this.#calls.delete(frame.id);
    if (frame.status === TAKEN && call.left) return true; // the gateway refuses the second one, and the first goes on
    if (frame.type === "reply") end(call, `reply ${JSON.stringify(frame.data)}`);
    else end(call, `${frame.status} ${frame.message}`, frame.status === CANCELLED ? "done" : "failed");
    return !call.card.isConnected;
  }

  /** End all: their connection has ended, and with it they. */
  lose() {
    for (const call of this.#calls.values()) end(call, "the connection was lost", "failed");
    this.#calls.clear();
  }

  clear() {
    this.lose();
    this.#cards.replaceChildren();
  }

  #newCard(type, id) {
    const card = make("article", "call");
    const head = make("header");
    const state = make("span", "state", "running");
    const cancel = Object.assign(make("button", "", "Cancel"), { type: "button" });
    cancel.addEventListener("click", async () => {
      cancel.disabled = true;
      const outcome = await this.#cancel(id);
      if (!isProblem(outcome) || !cancel.isConnected) return;
      cancel.disabled = false;
      state.textContent = wordsOf(outcome);
    });
    head.append(make("b", "", type), make("span", "", `#${id}`), state, cancel);
    card.append(head, make("div", "answer"));
    card.lastElementChild.append(make("pre"));
    return card;
  }

  /** @param {Call} call */
  #show({ card, isRunning }) {
    if (!isRunning) return;
    this.#cards.prepend(card);
    while (this.#cards.childElementCount > MAX_CARDS) this.#cards.lastElementChild.remove();
  }
}

/** Add a chunk. */
function add(card, { seq, data }) {
  const answer = card.querySelector("pre");
  answer.append(typeof data === "string" ? data : `${JSON.stringify(data)}\n`);
  let surplus = answer.textContent.length - MAX_CHARACTERS;
  while (surplus > 0) {
    surplus -= answer.firstChild.length;
    answer.firstChild.remove();
  }
  card.querySelector(".state").textContent = `running, ${seq} ${seq === 1 ? "chunk" : "chunks"}`;
}

/** @param {Call} call */
function end(call, words, className = "done") {
  if (!call.isRunning) return;
  call.isRunning = false;
  call.card.classList.add(className);
  call.card.querySelector(".state").textContent = words;
  call.card.querySelector("button").remove();
}
