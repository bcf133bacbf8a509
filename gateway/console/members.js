// The list of a room's members: a row for each, sorted by name.

import { make } from "./messages.js";

/** @typedef {"online" | "away" | "offline"} State @typedef {{user: string, state: State, role: string, custom_state?: any}} Member */

export class Members {
  /** The number of members. The list may lack some of them. */
  count = 0;
  #isWhole = false;
  #here = 0;
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  #list;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  /** The number of members that are present, or null if the list lacks some. */
  get here() {
    return this.#isWhole ? this.#here : null;
  }

  /** Show an empty list. @param {number} count */
  clear(count = 0) {
    this.count = count;
    this.#here = 0;
    this.#isWhole = false;
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  /** @param {Member[]} members in the order of names @param {boolean} isWhole whether these are all */
  replace(members, isWhole) {
    this.clear(isWhole ? members.length : Math.max(this.count, members.length));
    this.#isWhole = isWhole;
    for (const { user, state, role, custom_state: custom } of members) {
      this.#list.append(this.#add(user, state, role, custom));
    }
    this.#tellRest();
  }

  /** @param {string} user @param {State} state @param {any} [custom] the state that the user has set */
  tell(user, state, custom) {
    const row = this.#rows.get(user);
    if (!row) return;
    this.#here += Number(state === "online") - Number(row.dataset.state === "online");
    row.dataset.state = state;
    row.querySelector(".state").textContent = state;
    showCustom(row, custom);
  }

  join(user) {
    if (this.#rows.has(user)) return;
    this.count += 1;
    if (!this.#isWhole) {
      this.#tellRest();
      return;
    }
    const next = [...this.#rows.keys()].filter((other) => other > user).sort()[0];
    this.#list.insertBefore(this.#add(user, "online", "member"), this.#rows.get(next) ?? null);
  }

  leave(user) {
    this.count -= 1;
    this.tell(user, "offline");
    this.#rows.get(user)?.remove();
    this.#rows.delete(user);
    this.#tellRest();
  }

  tellRole(user, role) {
    const row = this.#rows.get(user);
    if (row) row.querySelector(".role").textContent = role === "member" ? "" : role;
  }

  #add(user, state, role, custom) {
    const row = make("li");
    row.dataset.state = state;
    row.append(make("b", "", user), make("span", "role", role === "member" ? "" : role), make("span", "state", state));
    row.append(make("span", "custom"));
    showCustom(row, custom);
    this.#rows.set(user, row);
    if (state === "online") this.#here += 1;
    return row;
  }

  #tellRest() {
    this.#list.querySelector(".rest")?.remove();
    const rest = this.count - this.#rows.size;
    if (!this.#isWhole && rest > 0) this.#list.append(make("li", "rest", `and ${rest} more`));
  }
}

/** Show the state that a user has set: any JSON object. */
function showCustom(row, custom) {
  const shown = row.querySelector(".custom");
  shown.textContent = custom === undefined ? "" : JSON.stringify(custom);
  shown.title = shown.textContent;
}
