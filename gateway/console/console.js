// What comes over the wire is hostile: it is shown with `textContent` and nothing else.

/**
 * @typedef {{type: string, id?: string | number | null, status?: number, message?: string, data?: any}} Frame
 * @typedef {{room: string, offset: number, sender: string, text?: string, body?: any, sent_at: string}} Message
 * @typedef {{reason: string, reconnect: "never" | "new_credential" | "after_delay" | "with_backoff",
 *            after_ms?: number}} Bye
 */

const STORED = "json-gateway"; // other pages of this origin have names of their own
const MAX_ROWS = 500;
const BRIEF_CHARACTERS = 400;
const TYPING_EVERY_MS = 3000; // the gateway lets it end after 6 s
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const STEADY_MS = 10000; // a connection that lived this long was a good one: the waits begin anew
const FAREWELL_MS = 2000;

// For a close that no `bye` explains; all others are worth another try.
const AFTER_CLOSE = {
  1000: "never", 1008: "new_credential", 4400: "never", 4410: "new_credential", 4411: "new_credential",
};

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

/** Kept by the tab, so that two tabs can be two users. @type {{user: string, token: string, room?: string} | null} */
let session = JSON.parse(sessionStorage.getItem(STORED));
/** @type {WebSocket | null} */
let socket = null;
let attempts = 0;
let retry = 0;
let lastId = 0;
let members = 0;
let toldTyping = 0;
/** Who waits for an answer, by the message's id. */
const pending = new Map();
/** @type {Set<string>} */
const typing = new Set();
/** What the filter looks at: a row shows only the beginning. @type {WeakMap<Element, string>} */
const frameTexts = new WeakMap();

/** What the gateway refused, in words. */
class Refusal extends Error {
  constructor({ message, retry_after_ms: wait, details = [] }) {
    super(sentence(message) + (wait ? ` Try again in ${seconds(wait)}.` : ""));
    this.details = details;
  }

  get words() {
    return this.details.map(({ field, message }) => `${field}: ${message}.`).join(" ") || this.message;
  }
}

// Logging in

async function submitLogin(event) {
  event.preventDefault();
  const user = page.username.value.trim();
  tellLogin();
  page.loginFields.disabled = true;
  const outcome = await fetchToken(user, page.password.value, event.submitter === page.register).catch(asRefusal);
  page.loginFields.disabled = false;
  if (outcome instanceof Refusal) tellLogin(outcome);
  else logIn(user, outcome);
}

async function fetchToken(username, password, isNew) {
  if (isNew) await post("users", JSON.stringify({ username, password }), { "Content-Type": "application/json" });
  return (await post("token", new URLSearchParams({ username, password }))).access_token;
}

async function post(path, body, headers) {
  const response = await fetch(path, { method: "POST", headers, body }).catch(() => {
    throw new Refusal({ message: "the gateway cannot be reached" });
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal({ message: `the gateway answered ${response.status}`, ...answer });
  return answer;
}

/** @param {Refusal} [refusal] without one, what was told before is taken back */
function tellLogin(refusal) {
  const problems = new Map(refusal?.details.map(({ field, message }) => [field, sentence(message)]));
  for (const field of ["username", "password"]) {
    page[`${field}Problem`].textContent = problems.get(field) ?? "";
    page[field].ariaInvalid = String(problems.has(field));
  }
  const isTold = problems.has("username") || problems.has("password");
  page.loginProblem.textContent = isTold ? "" : refusal?.words ?? "";
  if (refusal) (problems.has("username") ? page.username : page.password).focus();
}

function logIn(user, token) {
  for (const told of [page.roomProblem, page.sendProblem, page.rawProblem]) told.textContent = "";
  page.password.value = "";
  if (session?.user !== user) leaveRoom();
  keep({ user, token, room: session?.room });
  attempts = 0;
  connect();
  page.roomName.focus();
}

function logOut() {
  leaveRoom();
  keep(null);
  for (const rows of [page.frameRows, page.rooms]) rows.replaceChildren();
  for (const field of [page.username, page.text]) field.value = "";
  showLogin();
}

/** Let the same user come back with a new token, into the same room. @param {string} why */
function renewToken(why) {
  keep({ ...session, token: "" });
  showLogin(new Refusal({ message: `${why} Log in again.` }));
}

/** @param {Refusal} [refusal] */
function showLogin(refusal) {
  hangUp();
  show("out", "");
  page.username.value ||= session?.user ?? "";
  page.username.focus();
  tellLogin(refusal);
}

function keep(next) {
  session = next;
  sessionStorage.setItem(STORED, JSON.stringify(next));
}

// The connection

function connect() {
  hangUp();
  const url = new URL("ws/chat", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  note(`connect to ${url}?token=…`);
  url.searchParams.set("token", session.token);
  show("connecting", "Connecting…");
  const began = Date.now();
  const opened = new WebSocket(url);
  /** @type {Bye | undefined} */
  let bye;
  opened.onmessage = ({ data }) => {
    if (opened !== socket) return;
    const frame = read(data);
    logFrame("←", data, frame);
    if (frame.type === "bye") bye = frame.data;
    receive(frame);
  };
  opened.onclose = ({ code, reason }) => {
    if (opened !== socket) return;
    note(`closed with ${code} ${reason}`);
    if (Date.now() - began > STEADY_MS) attempts = 0;
    hangUp();
    afterClose(bye ?? { reason, reconnect: AFTER_CLOSE[code] ?? "with_backoff" });
  };
  socket = opened;
}

/** Forget the connection, whatever its state. */
function hangUp() {
  clearTimeout(retry);
  const former = socket;
  socket = null;
  former?.close();
  for (const { reject } of pending.values()) {
    reject(new Refusal({ message: "the connection was lost before the answer came" }));
  }
  pending.clear();
  typing.clear();
  showTyping();
}

function disconnect() {
  const leaving = socket;
  ask("bye").catch(asRefusal);
  setTimeout(() => leaving.close(), FAREWELL_MS);
}

/** @param {Bye} bye */
function afterClose({ reason, reconnect, after_ms }) {
  const why = sentence(reason.replaceAll("_", " ") || "the connection was lost");
  if (reconnect === "new_credential") renewToken(why);
  else if (reconnect === "never") show("offline", reason === "bye" ? "Disconnected." : `Disconnected: ${why}`);
  else {
    const backoff = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempts) * (0.5 + Math.random() / 2);
    const wait = after_ms ?? backoff;
    attempts += 1;
    retry = setTimeout(connect, wait);
    show("waiting", `${why} Connecting again in ${seconds(wait)}.`);
  }
}

/** Send a message and wait for its reply's data. @param {string} type @returns {Promise<any>} */
function ask(type, data = {}) {
  const id = `page-${(lastId += 1)}`;
  return new Promise((resolve, reject) => {
    if (transmit(JSON.stringify({ type, id, data }))) pending.set(id, { resolve, reject });
    else reject(new Refusal({ message: "not connected" }));
  });
}

/** @param {string} text @returns {boolean} whether there was a connection */
function transmit(text) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(text);
  logFrame("→", text, read(text));
  return true;
}

/** @param {string} text @returns {Frame} without a type if it is none: a person may send anything by hand */
function read(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.type === "string" ? frame : { type: "" };
  } catch {
    return { type: "" };
  }
}

/** @param {Frame} frame */
function receive(frame) {
  const asked = pending.get(frame.id);
  pending.delete(frame.id);
  if (frame.type === "reply") asked?.resolve(frame.data);
  else if (frame.type === "error" && asked) asked.reject(new Refusal(frame));
  else if (frame.type === "error") page.rawProblem.textContent = new Refusal(frame).words;
  else if (Object.hasOwn(EVENTS, frame.type)) EVENTS[frame.type](frame.data);
}

const EVENTS = {
  welcome({ user }) {
    show("online", `Connected as ${user}`);
    if (session.room) join(session.room);
    else listRooms();
  },
  "token.expiring": ({ token_expires_at: end }) => {
    show("online", `Your token ends at ${clock(end)}; then you log in again.`);
  },
  "chat.message"(message) {
    showMessages([message]);
    trim(page.messageRows);
  },
  "chat.typing"(event) {
    if (event.room !== session.room) return;
    if (event.typing) typing.add(event.user);
    else typing.delete(event.user);
    showTyping();
  },
  "room.joined": (event) => countMember(event, 1, "joined"),
  "room.left": (event) => countMember(event, -1, "left"),
  announcement: ({ sender, text, body }) => showRemark(`${sender} announces: ${text ?? JSON.stringify(body)}`),
};

// The room

async function join(name) {
  await inRoomBar(async () => {
    const reply = await ask("room.join", { room: name });
    const isNew = reply.room !== session.room;
    leaveRoom();
    keep({ ...session, room: reply.room });
    members = reply.members;
    page.roomName.value = reply.room;
    showMessages(reply.messages);
    listRooms();
    if (isNew) page.text.focus();
  });
}

async function leave() {
  await inRoomBar(async () => {
    await ask("room.leave", { room: session.room });
    leaveRoom();
    page.roomName.focus();
  });
}

async function showEarlier() {
  await inRoomBar(async () => {
    showMessages((await ask("chat.history", { room: session.room, before: firstOffset() })).messages);
  });
}

/** Do it, and tell what was refused where rooms are chosen. */
async function inRoomBar(action) {
  page.roomProblem.textContent = "";
  page.roomProblem.textContent = (await action().catch(asRefusal))?.words ?? "";
}

async function listRooms() {
  const { rooms = [] } = await ask("room.list", { limit: 100 }).catch(asRefusal);
  page.rooms.replaceChildren(...rooms.map(({ name }) => new Option(name)));
}

function leaveRoom() {
  if (session) keep({ ...session, room: undefined });
  typing.clear();
  page.messageRows.replaceChildren();
  showRoom();
}

function countMember({ room, user }, change, verb) {
  if (room !== session.room) return;
  if (user === session.user) {
    leaveRoom();
    return;
  }
  members += change;
  showRemark(`${user} ${verb}`);
}

async function sendMessage(event) {
  event.preventDefault();
  const text = page.text.value;
  if (!text.trim()) return;
  page.text.value = "";
  toldTyping = 0;
  const outcome = await ask("chat.send", { room: session.room, text }).catch(asRefusal);
  page.sendProblem.textContent = outcome.words ?? "";
  if (outcome instanceof Refusal) page.text.value ||= text;
  else page.messages.scrollTop = 0;
}

function tellTyping() {
  if (!page.text.value || Date.now() - toldTyping < TYPING_EVERY_MS) return;
  toldTyping = Date.now();
  transmit(JSON.stringify({ type: "chat.typing", data: { room: session.room } }));
}

// Frames by hand

const EXAMPLES = {
  ping: () => undefined,
  echo: () => ({ anything: [1, "two", null] }),
  "room.list": () => undefined,
  "room.members": (room) => ({ room }),
  "chat.history": (room) => ({ room, limit: 10 }),
  "chat.send": (room) => ({ room, body: { any: "JSON" } }),
  "presence.get": () => ({ users: [session.user] }),
  announce: () => ({ text: "Coffee!" }),
};

function fillExample() {
  const type = page.examples.value;
  page.raw.value = JSON.stringify({ type, id: "1", data: EXAMPLES[type](session?.room ?? "lobby") });
}

function sendRaw(event) {
  event.preventDefault();
  page.rawProblem.textContent = transmit(page.raw.value) ? "" : "Not connected.";
}

// Showing

/** @param {"out" | "connecting" | "online" | "waiting" | "offline"} state @param {string} words */
function show(state, words) {
  const isOut = state === "out";
  document.body.dataset.state = state;
  document.title = isOut ? "json-gateway" : `${session.user} · json-gateway`;
  page.status.textContent = words;
  page.welcome.hidden = !isOut;
  page.console.hidden = page.connection.hidden = page.logOut.hidden = isOut;
  page.connection.textContent = state === "online" ? "Disconnect" : "Connect";
  page.connection.disabled = state === "connecting";
  showRoom();
}

function showRoom() {
  const room = session?.room;
  page.members.textContent = room ? `${members} ${members === 1 ? "member" : "members"}` : "";
  page.leave.hidden = !room;
  page.text.disabled = page.send.disabled = !room;
  page.text.placeholder = room ? `Message to ${room}` : "Message";
  page.earlier.hidden = firstOffset() <= 1;
  page.noMessages.hidden = page.messageRows.hasChildNodes();
  page.noMessages.textContent = room ? "Nothing has been said here yet." : "Join a room to see what is said there.";
  showTyping();
}

function showTyping() {
  const users = [...typing];
  const who = users.length > 3 ? `${users.length} people` : users.join(", ");
  page.typing.textContent = who && `${who} ${users.length === 1 ? "is" : "are"} typing…`;
}

/** @param {Message[]} messages */
function showMessages(messages) {
  for (const message of messages) {
    if (message.room === session.room) placeMessage(message);
  }
  showRoom();
}

/** In the order of offsets, and each once. @param {Message} message */
function placeMessage(message) {
  let next = null;
  for (const row of [...page.messageRows.querySelectorAll(".message")].reverse()) {
    if (Number(row.dataset.offset) === message.offset) return;
    if (Number(row.dataset.offset) < message.offset) break;
    next = row;
  }
  page.messageRows.insertBefore(messageRow(message), next);
}

/** @param {Message} message */
function messageRow({ offset, sender, text, body, sent_at }) {
  const row = make("article", sender === session.user ? "message own" : "message");
  row.dataset.offset = offset;
  const time = Object.assign(make("time", "", clock(sent_at)), { dateTime: sent_at, title: sent_at });
  const head = make("header");
  head.append(make("b", "", sender), time, make("span", "", `#${offset}`));
  row.append(head, text === undefined ? make("pre", "", JSON.stringify(body, null, 2)) : make("p", "", text));
  return row;
}

function firstOffset() {
  return Number(page.messageRows.querySelector(".message")?.dataset.offset ?? 1);
}

function showRemark(text) {
  page.messageRows.append(make("p", "remark", text));
  trim(page.messageRows);
  showRoom();
}

/** @param {"→" | "←"} arrow @param {string} text @param {Frame} frame */
function logFrame(arrow, text, frame) {
  const row = make("details", frame.type === "error" ? "error" : arrow === "→" ? "out" : "in");
  const summary = make("summary");
  const brief = frame.type === "error" ? `${frame.status} ${frame.message}` : JSON.stringify(frame.data) ?? "";
  const shown = withoutToken(frame.type ? brief : text).slice(0, BRIEF_CHARACTERS);
  summary.append(make("time", "", clock(new Date(), true)), make("i", "", arrow), make("b", "", frame.type));
  summary.append(make("small", "", frame.id == null ? "" : `#${frame.id}`), make("span", "", shown));
  row.append(summary);
  const whole = withoutToken(frame.type ? JSON.stringify(frame, null, 2) : text);
  row.addEventListener("toggle", () => row.append(make("pre", "", whole)), { once: true });
  addFrameRow(row, withoutToken(text));
}

function note(text) {
  const row = make("p", "note");
  row.append(make("time", "", clock(new Date(), true)), make("i", "", "·"), make("span", "", text));
  addFrameRow(row, text);
}

function addFrameRow(row, text) {
  frameTexts.set(row, text.toLowerCase());
  filterFrame(row);
  page.frameRows.append(row);
  trim(page.frameRows);
}

function filterFrame(row) {
  row.hidden = !frameTexts.get(row).includes(page.filter.value.trim().toLowerCase());
}

function withoutToken(text) {
  return session?.token ? text.replaceAll(session.token, "…") : text;
}

function trim(rows) {
  while (rows.childElementCount > MAX_ROWS) rows.firstElementChild.remove();
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

/** @param {string | Date} moment @param {boolean} [exact] to the millisecond, for frames */
function clock(moment, exact = false) {
  const date = new Date(moment);
  if (exact) return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], { dateStyle: isToday ? undefined : "short", timeStyle: "short" });
}

function seconds(milliseconds) {
  return `${Math.ceil(milliseconds / 1000)}\u00a0s`;
}

function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}

/** Go on with a refusal as the outcome; any other error is a mistake of this page. */
function asRefusal(error) {
  if (error instanceof Refusal) return error;
  throw error;
}

function sendOnEnter(event) {
  // While a word is being composed, Enter chooses it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

page.login.addEventListener("submit", submitLogin);
page.logOut.addEventListener("click", logOut);
page.connection.addEventListener("click", () => (document.body.dataset.state === "online" ? disconnect() : connect()));
page.roomForm.addEventListener("submit", (event) => {
  event.preventDefault();
  join(page.roomName.value.trim());
});
page.leave.addEventListener("click", leave);
page.earlier.addEventListener("click", showEarlier);
page.composer.addEventListener("submit", sendMessage);
page.text.addEventListener("keydown", sendOnEnter);
page.text.addEventListener("input", tellTyping);
page.rawForm.addEventListener("submit", sendRaw);
page.raw.addEventListener("keydown", sendOnEnter);
page.examples.addEventListener("change", fillExample);
page.filter.addEventListener("input", () => [...page.frameRows.children].forEach(filterFrame));
page.clear.addEventListener("click", () => page.frameRows.replaceChildren());

page.examples.append(...Object.keys(EXAMPLES).map((type) => new Option(type)));
fillExample();
if (session?.token) connect();
else showLogin();
