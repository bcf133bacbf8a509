// The messages that the user has sent by hand. One that streams, or takes its time, has a card with a button to cancel it.

import { make } from "./messages.js";
import { isProblem, wordsOf } from "./words.js";

/**
 * @typedef {import("./frames.js").Frame} Frame
 * @typedef {{card: HTMLElement, isShown: boolean, isRunning: boolean, left: number}} Call `left` counts the answers to
 *     come, as an id may be sent again
 */

const MAX_CARDS = 5;
const SLOW_MS = 400;
const TAKEN = 40900; // the id of another message in progress
const CANCELLED = 49900;
const MAX_CHARACTERS = 100000; // of one answer: a longer one loses its beginning

export class Calls {
  /** The messages without an answer so far, by id. @type {Map<string | number, Call>} */
  #calls = new Map();
  #cards;
  #cancel;

  /** @param {HTMLElement} cards @param {(id: string | number) => Promise<unknown>} cancel returns the problem, if there is one */
  constructor(cards, cancel) {
    this.#cards = cards;
    this.#cancel = cancel;
  }

  /** Take a frame that the user has sent. @param {Frame} frame */
  sent({ type, id }) {
    const known = this.#calls.get(id);
    if (known) known.left += 1;
    if (known || id == null) return;
    const call = { card: this.#newCard(type, id), isShown: false, isRunning: true, left: 1 };
    this.#calls.set(id, call);
    setTimeout(() => this.#show(call), SLOW_MS);
  }

  /** Forget the newest one without a card: the gateway cannot read it, and so answers without its id. */
  unread() {
    const [id, call] = [...this.#calls].at(-1) ?? [];
    if (!call || call.isShown) return;
    call.isRunning = false;
    this.#calls.delete(id);
  }

  /** An id for the next frame that no running call has. @returns {string} */
  freeId() {
    const taken = new Set([...this.#calls.keys()].map(String));
    let number = 1;
    while (taken.has(`${number}`)) number += 1;
    return `${number}`;
  }

  /** Take a frame that has come. @param {Frame} frame @returns {boolean} whether it answers a frame by hand, and no card shows it */
  received(frame) {
    const call = this.#calls.get(frame.id);
    if (!call) return false;
    if (frame.type === "chunk") {
      this.#show(call);
      add(call.card, frame);
      return false;
    }
    call.left -= 1;
    if (!call.left) this.#calls.delete(frame.id);
    if (frame.status === TAKEN && call.left) return true; // the gateway refuses the second one, and the first goes on
    if (frame.type === "reply") end(call, `reply ${JSON.stringify(frame.data)}`);
    else end(call, `${frame.status} ${frame.message}`, frame.status === CANCELLED ? "done" : "failed");
    return !call.isShown;
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
  #show(call) {
    if (!call.isRunning || call.isShown) return;
    call.isShown = true;
    this.#cards.prepend(call.card);
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
