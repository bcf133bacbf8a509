// The calls with `"stream": true` that the user has sent by hand: a card for each, with its chunks as they come.

import { make } from "./messages.js";

/** @typedef {import("./connection.js").Frame & {stream?: boolean, seq?: number}} Frame */

const MAX_CARDS = 5;
const TAKEN = 40900; // the id of another message in progress
const CANCELLED = 49900;
const MAX_CHARACTERS = 100000; // of one answer: a longer one loses its beginning

export class Calls {
  /** The cards of the calls without an answer so far, by id. @type {Map<string | number, HTMLElement>} */
  #running = new Map();
  /** How many more frames with the id of a running call went out: the gateway refuses them. @type {Map<string | number, number>} */
  #repeats = new Map();
  #cards;
  #cancel;

  /** @param {HTMLElement} cards @param {(id: string | number) => void} cancel */
  constructor(cards, cancel) {
    this.#cards = cards;
    this.#cancel = cancel;
  }

  /** Take a frame that the page has sent. @param {Frame} frame */
  sent({ type, id, stream }) {
    if (this.#running.has(id)) {
      this.#repeats.set(id, (this.#repeats.get(id) ?? 0) + 1);
      return;
    }
    if (stream !== true || id == null) return;
    this.#repeats.delete(id);
    const card = make("article", "call");
    const head = make("header");
    const cancel = Object.assign(make("button", "", "Cancel"), { type: "button" });
    cancel.addEventListener("click", () => {
      cancel.disabled = true;
      this.#cancel(id);
    });
    head.append(make("b", "", type), make("span", "", `#${id}`), make("span", "state", "running"), cancel);
    card.append(head, make("div", "answer"));
    card.lastElementChild.append(make("pre"));
    this.#running.set(id, card);
    this.#cards.prepend(card);
    while (this.#cards.childElementCount > MAX_CARDS) this.#forget(this.#cards.lastElementChild);
  }

  /** An id for the next frame that no running call has. @returns {string} */
  freeId() {
    const taken = new Set([...this.#running.keys()].map(String));
    let number = 1;
    while (taken.has(`${number}`)) number += 1;
    return `${number}`;
  }

  /** Take a frame that has come. @param {Frame} frame @returns {boolean} whether the card of a call shows it */
  received(frame) {
    const card = this.#running.get(frame.id);
    if (!card) return false;
    const repeats = this.#repeats.get(frame.id) ?? 0;
    if (frame.status === TAKEN && repeats > 0) {
      this.#repeats.set(frame.id, repeats - 1);
      return false;
    }
    if (frame.type === "chunk") this.#add(card, frame);
    else if (frame.type === "reply") this.#end(frame.id, `reply ${JSON.stringify(frame.data)}`);
    else if (frame.type === "error") {
      this.#end(frame.id, `${frame.status} ${frame.message}`, frame.status === CANCELLED ? "done" : "failed");
    }
    return true;
  }

  /** End all: their connection has ended, and with it they. */
  lose() {
    for (const id of this.#running.keys()) this.#end(id, "the connection was lost", "failed");
  }

  clear() {
    this.#running.clear();
    this.#cards.replaceChildren();
  }

  #add(card, { seq, data }) {
    const answer = card.querySelector("pre");
    answer.append(typeof data === "string" ? data : `${JSON.stringify(data)}\n`);
    let surplus = answer.textContent.length - MAX_CHARACTERS;
    while (surplus > 0) {
      surplus -= answer.firstChild.length;
      answer.firstChild.remove();
    }
    card.querySelector(".state").textContent = `running, ${seq} ${seq === 1 ? "chunk" : "chunks"}`;
  }

  #end(id, words, className = "done") {
    const card = this.#running.get(id);
    this.#running.delete(id);
    card.classList.add(className);
    card.querySelector(".state").textContent = words;
    card.querySelector("button").remove();
  }

  #forget(card) {
    for (const [id, running] of this.#running) if (running === card) this.#running.delete(id);
    card.remove();
  }
}
