// The log of frames: a row for each, which opens to all of it.

import { make, trim } from "./messages.js";

/**
 * @typedef {{type: string, id?: string | number | null, stream?: boolean, seq?: number, status?: number, message?: string,
 *            data?: any}} Frame
 */

const MAX_ROWS = 500;
const BRIEF_CHARACTERS = 400;

export class Frames {
  /** The texts that the filter searches, since a row shows only the beginning. @type {WeakMap<Element, string>} */
  #texts = new WeakMap();
  #sought = "";
  #rows;
  #redact;

  /** @param {HTMLElement} rows @param {(text: string) => string} redact returns the text without any token */
  constructor(rows, redact) {
    this.#rows = rows;
    this.#redact = redact;
  }

  /** @param {"out" | "in"} direction @param {string} text @param {Frame} frame */
  add(direction, text, frame) {
    const row = make("details", frame.type === "error" ? "error" : direction);
    const summary = make("summary");
    const brief = frame.type === "error" ? `${frame.status} ${frame.message}` : JSON.stringify(frame.data) ?? "";
    const shown = this.#redact(frame.type ? brief : text).slice(0, BRIEF_CHARACTERS);
    summary.append(make("time", "", stopwatch()), make("i", "", direction === "out" ? "→" : "←"), make("b", "", frame.type));
    summary.append(make("small", "", frame.id == null ? "" : `#${frame.id}`), make("span", "", shown));
    row.append(summary);
    const whole = this.#redact(frame.type ? JSON.stringify(frame, null, 2) : text);
    row.addEventListener("toggle", () => row.append(make("pre", "", whole)), { once: true });
    this.#append(row, this.#redact(text));
  }

  /** Add what is no frame. */
  note(text) {
    const row = make("p", "note");
    row.append(make("time", "", stopwatch()), make("i", "", "·"), make("span", "", text));
    this.#append(row, text);
  }

  /** Show only the frames with a text. */
  filter(text) {
    this.#sought = text.trim().toLowerCase();
    for (const row of this.#rows.children) this.#hide(row);
  }

  clear() {
    this.#rows.replaceChildren();
  }

  #append(row, text) {
    this.#texts.set(row, text.toLowerCase());
    this.#hide(row);
    this.#rows.append(row);
    trim(this.#rows, MAX_ROWS);
  }

  #hide(row) {
    row.hidden = !this.#texts.get(row).includes(this.#sought);
  }
}

/** @param {string} text @returns {Frame} without a type if the text is no frame: a user may send any text by hand */
export function read(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === "string" ? frame : { ...frame, type: "" };
  } catch {
    return { type: "" };
  }
}

/** Return the time to the millisecond. */
function stopwatch() {
  const now = new Date();
  return `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}
