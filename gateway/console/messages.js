// The messages of a room: rows in the order of offsets, each message once, in its newest state.

/**
 * @import { Message } from "../../clients/javascript/gateway-client.js"
 * @typedef {(type: "chat.edit" | "chat.delete", message: Message, text?: string) => Promise<string>} Change
 */

const MAX_ROWS = 500;

export class Messages {
  hasEarlier = false;
  /** All messages from this offset on are shown. */
  #from = 1;
  /** @type {WeakMap<Element, Message>} */
  #shown = new WeakMap();
  #rows;
  #change;
  #isOwn;

  /**
   * @param {HTMLElement} rows
   * @param {(message: Message) => boolean} isOwn whether it may be edited and deleted here
   * @param {Change} change makes a change, and returns the problem, or nothing
   */
  constructor(rows, isOwn, change) {
    this.#rows = rows;
    this.#isOwn = isOwn;
    this.#change = change;
  }

  get from() {
    return this.#from;
  }

  /** Show only these messages. @param {Message[]} messages */
  replace(messages) {
    this.#rows.replaceChildren();
    this.#from = messages[0]?.offset ?? 1;
    this.hasEarlier = this.#from > 1;
    messages.forEach((message) => this.#put(message));
  }

  /** @param {Message[]} messages @param {boolean} hasMore whether there are still earlier ones */
  addEarlier(messages, hasMore) {
    this.#from = messages[0]?.offset ?? this.#from;
    this.hasEarlier = hasMore;
    messages.forEach((message) => this.#put(message));
  }

  /** Show a message in its new state, unless it is older than the first one shown. @param {Message} message */
  place(message) {
    if (message.offset >= this.#from) this.#put(message);
    this.#trim();
  }

  remark(text) {
    this.#rows.append(make("p", "remark", text));
    this.#trim();
  }

  /** @param {Message} message */
  #put(message) {
    let next = null;
    for (const row of [...this.#rows.querySelectorAll(".message")].reverse()) {
      const shown = this.#shown.get(row);
      if (shown.offset === message.offset) {
        if (shown.changed < message.changed) this.#update(row, message);
        return;
      }
      if (shown.offset < message.offset) break;
      next = row;
    }
    const row = make("article");
    row.tabIndex = -1; // a tap focuses it, and that shows its buttons
    this.#update(row, message);
    this.#rows.insertBefore(row, next);
  }

  #update(row, message) {
    const before = this.#shown.get(row);
    this.#shown.set(row, message);
    if (row.querySelector("form")) return; // it is drawn at the end of the edit
    const hasGrown = isGrown(before, message);
    // Not the whole row: its buttons must stay under the pointer.
    if (hasGrown) row.querySelector(":scope > p").textContent = message.text;
    else this.#draw(row);
    row.classList.toggle("growing", hasGrown && !message.done);
  }

  #draw(row) {
    const message = this.#shown.get(row);
    const isOwn = this.#isOwn(message);
    row.className = isOwn ? "message own" : "message";
    const head = make("header");
    head.append(make("b", "", message.sender), moment(message.sent_at), make("span", "", `#${message.offset}`));
    if (message.reply_to) head.append(make("span", "", this.#answered(message.reply_to)));
    if (message.edited_at && !message.deleted) head.append(moment(message.edited_at, "edited"));
    if (isOwn && !message.deleted) head.prepend(this.#buttons(row, message));
    row.replaceChildren(head, content(message));
  }

  #answered(id) {
    const row = [...this.#rows.querySelectorAll(".message")].find((row) => this.#shown.get(row).id === id);
    const message = this.#shown.get(row);
    return message ? `to ${message.sender} #${message.offset}` : "to an earlier message";
  }

  #buttons(row, message) {
    const buttons = make("span", "buttons");
    const remove = button("Delete", () => {
      if (remove.textContent === "Delete") {
        remove.textContent = "Really delete?";
        remove.focus(); // some browsers do not focus it on a click
      } else this.#delete(row, message);
    });
    remove.addEventListener("blur", () => (remove.textContent = "Delete"));
    if (message.text !== undefined) buttons.append(button("Edit", () => this.#edit(row, message.text)));
    buttons.append(remove);
    return buttons;
  }

  async #delete(row, message) {
    row.focus();
    const problem = await this.#change("chat.delete", message);
    row.querySelector(".problem")?.remove();
    if (problem) row.append(problemLine(problem));
  }

  #edit(row, text) {
    const form = make("form");
    const box = Object.assign(make("textarea"), { value: text, rows: 1, ariaLabel: "New text" });
    const problem = problemLine("");
    const end = () => {
      this.#draw(row);
      (row.querySelector("button") ?? row).focus();
    };
    form.append(box, problem, button("Cancel", end), make("button", "primary", "Save"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (box.readOnly || !box.value.trim()) return;
      box.readOnly = true;
      problem.textContent = box.value === text ? "" : await this.#change("chat.edit", this.#shown.get(row), box.value);
      box.readOnly = false;
      if (!problem.textContent && form.isConnected) end();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) end();
    });
    box.addEventListener("keydown", submitOnEnter);
    row.querySelector(".buttons").remove();
    row.querySelector(".problem")?.remove();
    row.lastElementChild.replaceWith(form);
    box.focus();
  }

  #trim() {
    if (this.#rows.childElementCount <= MAX_ROWS) return;
    trim(this.#rows, MAX_ROWS);
    this.#from = this.#shown.get(this.#rows.querySelector(".message"))?.offset ?? this.#from;
    this.hasEarlier = true;
  }
}

/** A message that the gateway has not acknowledged. @param {{text: string}} unsent */
export function unsentRow({ text }) {
  const row = make("article", "message own unsent");
  const head = make("header");
  head.append(make("span", "", "not sent yet"));
  row.append(head, make("p", "", text));
  return row;
}

/** Text from the wire may be hostile, so it is shown only with `textContent`. */
export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

export function trim(rows, most) {
  while (rows.childElementCount > most) rows.firstElementChild.remove();
}

export function clock(moment) {
  const date = new Date(moment);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], { dateStyle: isToday ? undefined : "short", timeStyle: "short" });
}

export function submitOnEnter(event) {
  // During the composition of a word, Enter chooses it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

/** Whether a message differs from its state before by more text alone. @param {Message} [before] @param {Message} message */
function isGrown(before, { deleted, text, edited_at }) {
  return !deleted && before?.text !== undefined && before.edited_at === edited_at && text?.startsWith(before.text);
}

/** @param {Message} message */
function content({ deleted, text, body }) {
  if (deleted) return make("p", "deleted", "deleted");
  return text === undefined ? make("pre", "", JSON.stringify(body, null, 2)) : make("p", "", text);
}

function moment(time, words = clock(time)) {
  return Object.assign(make("time", "", words), { dateTime: time, title: time });
}

function button(words, act) {
  const made = Object.assign(make("button", "", words), { type: "button" });
  made.addEventListener("click", act);
  return made;
}

function problemLine(words) {
  return Object.assign(make("p", "problem", words), { role: "alert" });
}
