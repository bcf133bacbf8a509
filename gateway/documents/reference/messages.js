// The page of messages: its search, its tabs, its copy buttons, and the mark of the entry that is being read.

const filter = document.querySelector("#filter");
const contents = document.querySelector("#contents");
const links = [...contents.querySelectorAll("li a")];
const groups = [...contents.querySelectorAll("details")];
/** Which groups were open before the search. @type {Map<HTMLDetailsElement, boolean>} */
const wereOpen = new Map();
const COPIED_MS = 1500;
const LANGUAGE = "json-gateway: language";

// The search

/** Show the links that have all the words, each in its type, its summary or the names of its fields. */
function search() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const link of links) {
    const text = `${link.textContent} ${link.dataset.words ?? ""}`.toLowerCase();
    link.parentElement.hidden = !words.every((word) => text.includes(word));
  }
  for (const group of groups) {
    if (!wereOpen.has(group)) wereOpen.set(group, group.open);
    group.hidden = !group.querySelector("li:not([hidden])");
    group.open = words.length > 0 || wereOpen.get(group);
  }
  if (!words.length) wereOpen.clear();
  document.querySelector("#nothing").hidden = groups.some((group) => !group.hidden);
}

filter.addEventListener("input", search);
filter.addEventListener("keydown", (event) => {
  if (event.key === "Enter") links.find((link) => !link.parentElement.hidden && !link.closest("[hidden]"))?.click();
  if (event.key === "Escape") {
    filter.value = "";
    search();
  }
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  filter.focus();
});
contents.addEventListener("click", (event) => {
  if (event.target.closest("a") && contents.matches(":popover-open")) contents.hidePopover();
});

// The entry that is being read

/** @type {Map<string, HTMLAnchorElement>} */
const linkOf = new Map(links.map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
const seen = new Set();
let marked;

function mark() {
  const first = [...linkOf.keys()].find((id) => seen.has(id));
  const link = linkOf.get(first);
  if (!link || link === marked) return;
  marked?.removeAttribute("aria-current");
  marked = link;
  link.setAttribute("aria-current", "true");
  if (!contents.matches(":hover, :focus-within")) keepInView(link);
}

/** Scroll the list, and not the page. */
function keepInView(link) {
  const { top, bottom } = link.getBoundingClientRect();
  const frame = contents.getBoundingClientRect();
  const margin = 80;
  if (top < frame.top + margin) contents.scrollTop -= frame.top + margin - top;
  else if (bottom > frame.bottom - margin) contents.scrollTop += bottom - frame.bottom + margin;
}

const observer = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) seen[isIntersecting ? "add" : "delete"](target.id);
    mark();
  },
  { rootMargin: "-110px 0px -65% 0px" },
);
for (const id of linkOf.keys()) {
  const entry = document.getElementById(id);
  if (entry) observer.observe(entry);
}

// The tabs: a language that was chosen once is shown everywhere

/** @param {HTMLElement} card @param {string} language */
function showTab(card, language) {
  const tabs = [...card.querySelectorAll("[role=tab]")];
  const chosen = tabs.findIndex((tab) => tab.textContent === language);
  if (chosen < 0) return;
  tabs.forEach((tab, number) => {
    tab.setAttribute("aria-selected", String(number === chosen));
    tab.tabIndex = number === chosen ? 0 : -1;
  });
  card.querySelectorAll("pre").forEach((panel, number) => (panel.hidden = number !== chosen));
}

function stored() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    return null; // the browser keeps nothing for this page
  }
}

function choose(tab) {
  const before = tab.getBoundingClientRect().top;
  for (const card of document.querySelectorAll(".card")) showTab(card, tab.textContent);
  scrollBy(0, tab.getBoundingClientRect().top - before); // cards above have other heights now
  try {
    localStorage.setItem(LANGUAGE, tab.textContent);
  } catch {
    // it is forgotten with the page
  }
}

for (const list of document.querySelectorAll("[role=tablist]")) {
  list.hidden = false;
  list.addEventListener("click", ({ target }) => {
    if (target.matches("[role=tab]")) choose(target);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...list.children];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
}
for (const card of document.querySelectorAll(".card")) showTab(card, stored() ?? "JSON");

// Copying

async function copy(button) {
  const panel = button.closest(".card").querySelector("pre:not([hidden])");
  try {
    await navigator.clipboard.writeText(panel.textContent);
  } catch {
    getSelection().selectAllChildren(panel); // a page over plain http may not write: the user presses the keys
    button.textContent = "Selected";
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}
