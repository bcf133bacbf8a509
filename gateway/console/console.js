// The page: the user, one room and its messages. It also shows every frame.

import { Calls } from "./calls.js";
import { asRefusal, Connection, Lost, Refusal, sentence } from "./connection.js";
import { Credential, post } from "./credential.js";
import { Members } from "./members.js";
import { clock, make, Messages, submitOnEnter, trim, unsentRow } from "./messages.js";

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {{client_id: string, room: string, text: string}} Unsent
 */

const STORED = "json-gateway"; // other pages of this origin use other names
const MAX_FRAMES = 500;
const BRIEF_CHARACTERS = 400;
const TYPING_EVERY_MS = 3000; // the gateway ends it after 6 s
const TYPING_ENDS_MS = 8000; // in case the gateway's event about its end is lost
const SIGNAL_SHOWN_MS = 5000;
const BREATH_MS = 1500; // the gateway closes connections that are refused again and again within a second
const MOST_MEMBERS = 1000;
const POSITION_LOST = 41000;

const WHY_NOT_RESUMED = {
  too_many: "Too many messages came meanwhile to show them all.",
  too_old: "The messages of the meantime are no longer kept.",
};

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const stored = JSON.parse(sessionStorage.getItem(STORED));

/**
 * Stored by the tab, so that two tabs can be two users, and unsent messages survive a reload.
 * @type {{user: string, token: string, room?: string, unsent: Unsent[]} | null}
 */
let session = stored && { unsent: [], ...stored };
/** The position up to which the room has been shown, for resuming. @type {{epoch: string, offset: number} | null} */
let seen = null;
/** Whether the room is joined and complete up to `seen`. */
let isCurrent = false;
let isSending = false;
let toldTyping = 0;
/** The users that are typing, each with the timer that ends it. @type {Map<string, number>} */
const typing = new Map();
let signalTimer = 0;
/** The texts that the filter searches, since a row shows only the beginning. @type {WeakMap<Element, string>} */
const frameTexts = new WeakMap();

const members = new Members(page.memberRows);
/** The tokens. `session` has the one that a reload can continue with. */
const credential = new Credential();
credential.know(session?.token);

const messages = new Messages(page.messageRows, ({ sender }) => sender === session.user, changeMessage);

const connection = new Connection({
  state(state, words) {
    forgetTyping();
    calls.lose();
    if (state === "refused") comeBack(words);
    else show(state, words);
  },
  event({ type, data, ...rest }) {
    if (type === "error") page.rawProblem.textContent = new Refusal(rest).words;
    else if (Object.hasOwn(EVENTS, type)) EVENTS[type](data);
  },
  frame(arrow, text, frame) {
    logFrame(arrow, text, frame);
    if (arrow === "←") return calls.received(frame);
    calls.sent(frame);
    return false;
  },
  note,
});

const calls = new Calls(page.calls, (id) => connection.ask("cancel", { id }).catch(asRefusal));

const EVENTS = {
  async welcome({ user, rooms }) {
    keep({ ...session, user }); // as the gateway writes it
    show("online", `Connected as ${user}`);
    if (rooms) suggest(rooms);
    if (session.room) await enter(session.room);
    else listRooms();
    sendUnsent();
  },
  "token.expiring": stayLoggedIn,
  "chat.message": takeMessage,
  "chat.edited": takeMessage,
  "chat.deleted": takeMessage,
  "chat.appended": takePiece,
  "chat.typing": inThisRoom(({ user, typing: isTyping }) => {
    endTyping(user);
    if (isTyping) typing.set(user, setTimeout(endTyping, TYPING_ENDS_MS, user));
    showTyping();
  }),
  "room.signal": inThisRoom(({ user, name, data }) => showSignal(user, name, data)),
  "presence.changed": inThisRoom(({ user, state, custom_state: custom }) => {
    members.tell(user, state, custom);
    showMembers();
  }),
  "room.joined": inThisRoom(({ user }) => {
    members.join(user);
    remark(`${user} joined`);
  }),
  "room.left": inThisRoom(({ room, user, by }) => {
    if (user === session.user) leaveRoom(by ? `${by} has removed you from ${room}.` : `You have left ${room}.`);
    else {
      members.leave(user);
      remark(by ? `${by} removed ${user}` : `${user} left`);
    }
  }),
  "room.deleted": inThisRoom(({ room }) => leaveRoom(`${room} has been deleted.`)),
  "room.role": inThisRoom(({ user, role }) => {
    members.tellRole(user, role);
    remark(`${user} is ${role === "owner" ? "an" : "a"} ${role} now`);
  }),
  "room.invited": ({ room, by }) => {
    remark(`${by} invites you to ${room.name}: join it to accept`);
    listRooms();
  },
  "room.added": ({ room, by }) => {
    remark(`${by} has made you a member of ${room.name}`);
    listRooms();
  },
  resync: inThisRoom(({ room }) => {
    isCurrent = false;
    enter(room);
  }),
  announcement: ({ sender, text, body }) => remark(`${sender} announces: ${text ?? JSON.stringify(body)}`),
};

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
  return post("token", new URLSearchParams({ username, password }));
}

/** @param {Refusal} [refusal] without one, earlier problems disappear */
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

/** @param {string} typed the name @param {import("./credential.js").Grant} grant */
function logIn(typed, grant) {
  const user = typed.toLowerCase();
  for (const told of [page.roomProblem, page.sendProblem, page.rawProblem]) told.textContent = "";
  page.password.value = "";
  if (session?.user !== user) {
    leaveRoom();
    session = null;
  }
  credential.forget();
  keep({ unsent: [], ...session, user, token: credential.keep(grant) });
  connection.open(session.token);
  page.roomName.focus();
  tryLinked();
}

function logOut() {
  const count = session.unsent.length;
  if (count && !confirm(`Not sent yet: ${count}. Log out all the same?`)) return;
  leaveRoom();
  credential.logOut(session.token).catch(asRefusal); // if that fails, the session ends by itself
  keep(null);
  for (const rows of [page.frameRows, page.rooms]) rows.replaceChildren();
  calls.clear();
  for (const field of [page.username, page.text]) field.value = "";
  showLogin();
}

/** Renew the token, so that the connection outlives it. */
async function stayLoggedIn({ token_expires_at: end }) {
  const user = session?.user;
  await credential.rest();
  const renewed = await renewToken();
  if (session?.user !== user) return;
  const outcome = renewed ?? (await connection.ask("auth.refresh", { token: session.token }).catch(asRefusal));
  if (!(outcome instanceof Refusal) || outcome instanceof Lost) return; // then the next connection uses the new token
  if (connection.isOpen) show("online", `Your token ends at ${clock(end)}; then you log in again.`);
}

/** Reconnect the same user with a new token to the same room. @param {string} why */
async function comeBack(why) {
  if (credential.isRenewable) show("waiting", `${why} Getting a new token.`);
  const user = session.user;
  const problem = await renewToken();
  if (session?.user !== user) return; // the user has logged out or changed meanwhile
  if (!problem) connection.open(session.token);
  else {
    keep({ ...session, token: "" });
    showLogin(new Refusal({ message: `${why} Log in again.` }));
  }
}

/** Get a new access token for everything that follows. Return a refusal, or nothing. */
async function renewToken() {
  const token = await credential.renew().catch(asRefusal);
  if (token instanceof Refusal) return token;
  keep({ ...session, token });
  connection.renew(token);
  return undefined;
}

/** @param {Refusal} [refusal] */
function showLogin(refusal) {
  connection.hangUp();
  show("out", "");
  page.username.value ||= session?.user ?? "";
  page.username.focus();
  tellLogin(refusal);
}

function keep(next) {
  session = next;
  sessionStorage.setItem(STORED, JSON.stringify(next));
}

// The room

/** Join a room, or resume it and show the missed messages. */
async function enter(name) {
  const since = name === session.room && seen ? seen : undefined;
  let reply = await (since ? resume(name, since) : connection.ask("room.join", { room: name })).catch(asRefusal);
  if (reply.status === POSITION_LOST) reply = await connection.ask("room.join", { room: name }).catch(asRefusal);
  if (reply instanceof Refusal) tellNoRoom(name, reply);
  else if (!since || name === session.room) showJoined(reply, since); // otherwise the membership has ended meanwhile
}

/** Join a room that the page has shown up to a position. Throw `Refusal`. */
async function resume(room, since) {
  const { rooms: [found] } = await connection.ask("room.resume", { rooms: [{ room, since }] });
  if (found.error) throw new Refusal(found.error);
  return found;
}

/** @param {Refusal} refusal */
function tellNoRoom(name, refusal) {
  if (name !== session?.room) page.roomProblem.textContent = refusal.words;
  else if (refusal.retryable) connection.restart(refusal.message, refusal.wait);
  else if (!(refusal instanceof Lost)) leaveRoom(`${name}: ${refusal.words}`);
}

function showJoined(reply, since) {
  if (reply.room !== session.room) {
    leaveRoom();
    keep({ ...session, room: reply.room });
    page.text.focus();
  }
  page.roomName.value = reply.room;
  members.clear(reply.members);
  seen = { epoch: reply.epoch, offset: reply.offset };
  isCurrent = true;
  if (!reply.recovered) messages.replace(reply.messages);
  for (const message of reply.messages ?? reply.events.map(({ data }) => data)) showMessage(message);
  if (since && !reply.recovered) {
    const why = WHY_NOT_RESUMED[reply.reason] ?? "The room has a new log.";
    messages.remark(`${why} These are the newest messages.`);
  }
  showRoom();
  listRooms();
  listMembers(reply.room);
}

async function listMembers(room) {
  const reply = await connection.ask("room.members", { room, limit: MOST_MEMBERS }).catch(asRefusal);
  if (room !== session?.room) return;
  if (reply.members) members.replace(reply.members, !reply.next_cursor);
  showRoom();
}

async function listRooms() {
  const { rooms } = await connection.ask("room.list", { limit: 100 }).catch(asRefusal);
  if (rooms) suggest(rooms);
}

/** @param {{name: string, unread?: number, invited?: boolean}[]} rooms */
function suggest(rooms) {
  const options = rooms.map(({ name, unread, invited }) => {
    const about = invited ? "invited" : unread ? `${unread} unread` : "";
    return new Option(about ? `${name} · ${about}` : name, name); // some browsers show only the first of the two
  });
  page.rooms.replaceChildren(...options);
}

async function leave() {
  const outcome = await connection.ask("room.leave", { room: session.room }).catch(asRefusal);
  if (outcome instanceof Refusal) page.roomProblem.textContent = outcome.words;
  else {
    leaveRoom();
    page.roomName.focus();
  }
}

function leaveRoom(why = "") {
  if (session) keep({ ...session, room: undefined });
  seen = null;
  members.clear();
  page.roomProblem.textContent = why;
  messages.replace([]);
  page.signal.textContent = "";
  forgetTyping();
  showRoom();
}

/** Handle an event only if it is about the room on the page: the user may be in other rooms too. */
function inThisRoom(act) {
  return (data) => {
    if (data.room === session.room) act(data);
  };
}

// Messages

/** Show an event of the log, and move `seen` forward. @param {Message} message */
function takeMessage(message) {
  showMessage(message);
  if (isHere(message) && isCurrent) seen.offset = Math.max(seen.offset, message.changed);
}

/** @param {Message} message */
function showMessage(message) {
  if (message.client_id) forgetUnsent(message.client_id);
  if (!isHere(message)) return;
  endTyping(message.sender);
  messages.place(message);
  showRoom();
}

/** Let a message grow. If the page has not all of it, fetch it. @param {import("./messages.js").Piece} piece */
async function takePiece(piece) {
  if (!isHere(piece)) return;
  if (isCurrent) seen.offset = Math.max(seen.offset, piece.changed);
  if (messages.grow(piece)) return;
  const { room, offset } = piece;
  const reply = await connection.ask("chat.history", { room, before: offset + 1, limit: 1 }).catch(asRefusal);
  reply.messages?.forEach(showMessage);
}

function isHere({ room, epoch }) {
  return room === session.room && epoch === seen?.epoch;
}

async function showEarlier() {
  const { room } = session;
  const reply = await connection.ask("chat.history", { room, before: messages.from }).catch(asRefusal);
  if (reply instanceof Refusal) page.roomProblem.textContent = reply.words;
  else if (room === session.room) messages.addEarlier(reply.messages, reply.has_more);
  showRoom();
}

/** Edit or delete. @param {Message} message @returns {Promise<string>} the problem, or nothing */
async function changeMessage(type, { room, id }, text) {
  const outcome = await connection.ask(type, { room, message_id: id, text }).catch(asRefusal);
  if (outcome instanceof Refusal) return outcome.words;
  showMessage(outcome.message);
  return "";
}

function sendMessage(event) {
  event.preventDefault();
  const text = page.text.value;
  if (!text.trim()) return;
  page.text.value = page.sendProblem.textContent = "";
  toldTyping = 0;
  keep({ ...session, unsent: [...session.unsent, { client_id: newId(), room: session.room, text }] });
  showRoom();
  page.messages.scrollTop = 0;
  sendUnsent();
}

/** Send the unacknowledged messages one after the other, while there is a connection. */
async function sendUnsent() {
  if (isSending) return;
  isSending = true;
  while (connection.isOpen && session?.unsent.length) await sendOnce(session.unsent[0]);
  isSending = false;
}

/** Send a message, perhaps again: the gateway recognises it by its `client_id`. @param {Unsent} unsent */
async function sendOnce(unsent) {
  const outcome = await connection.ask("chat.send", unsent).catch(asRefusal);
  if (outcome instanceof Lost) return;
  if (outcome.retryable) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(BREATH_MS, outcome.wait ?? 0)));
    return;
  }
  forgetUnsent(unsent.client_id);
  if (outcome instanceof Refusal) giveBack(unsent, outcome);
  else showMessage(outcome.message);
}

/** @param {Unsent} unsent @param {Refusal} refusal */
function giveBack({ room, text }, refusal) {
  page.sendProblem.textContent = room === session.room ? refusal.words : `${room}: ${refusal.words}`;
  page.text.value = [text, page.text.value].filter(Boolean).join("\n");
}

function forgetUnsent(id) {
  keep({ ...session, unsent: session.unsent.filter(({ client_id }) => client_id !== id) });
  showRoom();
}

function newId() {
  // `crypto.randomUUID` is missing on a page that comes over plain http.
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
}

function tellTyping() {
  if (!page.text.value || Date.now() - toldTyping < TYPING_EVERY_MS) return;
  toldTyping = Date.now();
  connection.transmit(JSON.stringify({ type: "chat.typing", data: { room: session.room } }));
}

/** Show the newest signal for a while: there may be twenty a second. */
function showSignal(user, name, data) {
  clearTimeout(signalTimer);
  const about = data === undefined ? "" : ` ${JSON.stringify(data)}`;
  page.signal.textContent = `${user} signals ${name}${about}`.slice(0, BRIEF_CHARACTERS);
  signalTimer = setTimeout(() => (page.signal.textContent = ""), SIGNAL_SHOWN_MS);
}

function endTyping(user) {
  clearTimeout(typing.get(user));
  typing.delete(user);
  showTyping();
}

function forgetTyping() {
  [...typing.keys()].forEach(endTyping);
}

// Frames by hand

/** The examples by type, in the gateway's order. They include an application's own types. @type {Map<string, any>} */
let examples = new Map([["ping", { type: "ping", about: "Returns the time." }]]);

async function listExamples() {
  const answer = await fetch("examples.json").catch(() => null);
  if (answer?.ok) examples = new Map((await answer.json()).map((example) => [example.type, example]));
  page.examples.replaceChildren(...[...examples.keys()].map((type) => new Option(type)));
  if (!tryLinked()) fillExample();
}

/** Fill in the message of a link such as `#try=chat.send`, as the reference at `/docs/messages` has them. */
function tryLinked() {
  const type = new URLSearchParams(location.hash.slice(1)).get("try");
  if (!examples.has(type)) return false;
  page.examples.value = type;
  fillExample();
  page.raw.focus();
  return true;
}

function fillExample() {
  const { type, about, scope, data, streams } = examples.get(page.examples.value);
  page.raw.value = JSON.stringify({ type, id: calls.freeId(), stream: streams || undefined, data: data && fitted(data) });
  showWhetherStreams();
  page.exampleHint.textContent = scope ? `${about} Needs ${scope}.` : about;
}

/** Return an example's data for this room and this user, or undefined if it has no data. */
function fitted(data) {
  if (typeof data !== "object" || Array.isArray(data)) return data;
  const { user = "alice", room } = session ?? {};
  const known = { room: room ?? "lobby", users: [user] };
  const pairs = Object.entries(data).map(([name, value]) => [name, known[name] ?? value]);
  return pairs.length ? Object.fromEntries(pairs) : undefined;
}

/** Ask for chunks in the frame to send, or not. */
function setStream() {
  const frame = rawFrame();
  if (!frame) return;
  const { type, id, data, ...rest } = frame;
  page.raw.value = JSON.stringify({ type, id, ...rest, stream: page.stream.checked || undefined, data });
}

function showWhetherStreams() {
  const frame = rawFrame();
  page.stream.disabled = !frame;
  page.stream.checked = frame?.stream === true;
}

/** @returns {Frame | null} the frame to send, or null if the text is no JSON object */
function rawFrame() {
  try {
    const frame = JSON.parse(page.raw.value);
    return typeof frame === "object" && !Array.isArray(frame) ? frame : null;
  } catch {
    return null;
  }
}

function sendRaw(event) {
  event.preventDefault();
  page.rawProblem.textContent = connection.transmit(page.raw.value) ? "" : "Not connected.";
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
  const unsent = session?.unsent.filter((message) => message.room === room) ?? [];
  page.membersPanel.hidden = !room;
  showMembers();
  page.leave.hidden = !room;
  page.text.disabled = page.send.disabled = !room;
  page.text.placeholder = room ? `Message to ${room}` : "Message";
  page.earlier.hidden = !messages.hasEarlier;
  page.unsentRows.replaceChildren(...unsent.map(unsentRow));
  page.noMessages.hidden = unsent.length > 0 || page.messageRows.hasChildNodes();
  page.noMessages.textContent = room ? "There are no messages yet." : "Join a room to see its messages.";
}

function showMembers() {
  const { count, here } = members;
  page.members.textContent = `${count} ${count === 1 ? "member" : "members"}${here === null ? "" : `, ${here} here`}`;
}

function showTyping() {
  const users = [...typing.keys()];
  const who = users.length > 3 ? `${users.length} people` : users.join(", ");
  page.typing.textContent = who && `${who} ${users.length === 1 ? "is" : "are"} typing…`;
}

function remark(text) {
  messages.remark(text);
  showRoom();
}

/** @param {"→" | "←"} arrow @param {string} text @param {Frame} frame */
function logFrame(arrow, text, frame) {
  const row = make("details", frame.type === "error" ? "error" : arrow === "→" ? "out" : "in");
  const summary = make("summary");
  const brief = frame.type === "error" ? `${frame.status} ${frame.message}` : JSON.stringify(frame.data) ?? "";
  const shown = withoutToken(frame.type ? brief : text).slice(0, BRIEF_CHARACTERS);
  summary.append(make("time", "", stopwatch()), make("i", "", arrow), make("b", "", frame.type));
  summary.append(make("small", "", frame.id == null ? "" : `#${frame.id}`), make("span", "", shown));
  row.append(summary);
  const whole = withoutToken(frame.type ? JSON.stringify(frame, null, 2) : text);
  row.addEventListener("toggle", () => row.append(make("pre", "", whole)), { once: true });
  addFrameRow(row, withoutToken(text));
}

function note(text) {
  const row = make("p", "note");
  row.append(make("time", "", stopwatch()), make("i", "", "·"), make("span", "", text));
  addFrameRow(row, text);
}

function addFrameRow(row, text) {
  frameTexts.set(row, text.toLowerCase());
  filterFrame(row);
  page.frameRows.append(row);
  trim(page.frameRows, MAX_FRAMES);
}

function filterFrame(row) {
  row.hidden = !frameTexts.get(row).includes(page.filter.value.trim().toLowerCase());
}

function withoutToken(text) {
  return credential.redact(text);
}

/** Return the time to the millisecond. */
function stopwatch() {
  const now = new Date();
  return `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
}

page.login.addEventListener("submit", submitLogin);
page.logOut.addEventListener("click", logOut);
page.connection.addEventListener("click", () => {
  if (document.body.dataset.state === "online") connection.leave();
  else connection.open(session.token);
});
addEventListener("online", () => {
  if (document.body.dataset.state === "waiting") connection.open(session.token);
});
page.roomForm.addEventListener("submit", (event) => {
  event.preventDefault();
  page.roomProblem.textContent = "";
  enter(page.roomName.value.trim());
});
page.leave.addEventListener("click", leave);
page.earlier.addEventListener("click", showEarlier);
page.composer.addEventListener("submit", sendMessage);
page.text.addEventListener("keydown", submitOnEnter);
page.text.addEventListener("input", tellTyping);
page.rawForm.addEventListener("submit", sendRaw);
page.raw.addEventListener("keydown", submitOnEnter);
page.raw.addEventListener("input", showWhetherStreams);
page.stream.addEventListener("change", setStream);
page.examples.addEventListener("change", fillExample);
addEventListener("hashchange", tryLinked);
page.filter.addEventListener("input", () => [...page.frameRows.children].forEach(filterFrame));
page.clear.addEventListener("click", () => page.frameRows.replaceChildren());

listExamples();
if (session?.token) connection.open(session.token);
else showLogin();
