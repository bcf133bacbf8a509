// The page: the user, one room and its messages. It also shows every frame. All that it knows of connections is in the client.

import { Calls } from "./calls.js";
import { connect, Lost, Refused } from "./client/gateway-client.js";
import { Credential, post } from "./credential.js";
import { Frames, read } from "./frames.js";
import { Members } from "./members.js";
import { clock, make, Messages, submitOnEnter, unsentRow } from "./messages.js";
import { asProblem, isProblem, reasonOf, seconds, sentence, wordsOf } from "./words.js";

/**
 * @import { JoinReply, Message, Problem, Room, TokenRequest, Why } from "../../clients/javascript/gateway-client.js"
 * @typedef {import("./frames.js").Frame} Frame
 * @typedef {{client_id: string, room: string, text: string}} Unsent
 */

const STORED = "json-gateway"; // other pages of this origin use other names
const SIGNAL_CHARACTERS = 400;
const TYPING_EVERY_MS = 3000; // the gateway ends it after 6 s
const TYPING_ENDS_MS = 8000; // in case the gateway's event about its end is lost
const SIGNAL_SHOWN_MS = 5000;
const BREATH_MS = 1500; // the gateway closes connections that are refused again and again within a second
const MOST_MEMBERS = 1000;

const GAPS = {
  too_many: "Too many messages came meanwhile to show them all.",
  too_old: "The messages of the meantime are no longer kept.",
};

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));

/**
 * Stored by the tab, so that two tabs can be two users, and unsent messages survive a reload.
 * @type {{user: string, token: string, room?: string, unsent: Unsent[]} | null}
 */
let session = load();
/** The room on the page. The user may be in others too. @type {Room | null} */
let room = null;
let listening = new AbortController();
/** Why the gateway took no token. */
let refused = "";
let isSending = false;
let toldTyping = 0;
/** The users that are typing, each with the timer that ends it. @type {Map<string, number>} */
const typing = new Map();
let signalTimer = 0;
let countdown = 0;

const members = new Members(page.memberRows);
/** The tokens. `session` has the one that a reload can continue with. */
const credential = new Credential();
credential.know(session?.token);

const frames = new Frames(page.frameRows, (text) => credential.redact(text));

const messages = new Messages(page.messageRows, ({ sender }) => sender === session.user, changeMessage);

const gateway = connect(".", { getToken, rooms: true, onFrame: takeFrame, onProblem: tellIgnored });

const calls = new Calls(page.calls, (id) => gateway.call("cancel", { id }).catch(asProblem));

const STATES = {
  connecting() {
    frames.note("connect");
    show("connecting", "Connecting…");
  },
  open() {
    const { user, rooms } = gateway.welcome;
    keep({ ...session, user }); // as the gateway writes it
    refused = "";
    show("online", `Connected as ${user}`);
    if (rooms) suggest(rooms);
    if (!session.room) listRooms();
    sendUnsent();
  },
  waiting(why) {
    noteEnd(why);
    show("waiting", `${reasonOf(why)} Connecting again in `);
    countDown(why.retryAt);
  },
  closed(why) {
    noteEnd(why);
    if (why.reason === "no_token") askToLogIn(refused || "The session has ended.");
    else if (why.reconnect === "new_credential") askToLogIn(reasonOf(why));
    else show("offline", why.reason === "bye" ? "Disconnected." : `Disconnected: ${reasonOf(why)}`);
  },
};

const EVENTS = {
  "token.expiring": ({ token_expires_at: end }) => {
    if (!credential.isRenewable) show("online", `Your token ends at ${clock(end)}; then you log in again.`);
  },
  "room.invited": ({ room, by }) => {
    remark(`${by} invites you to ${room.name}: join it to accept`);
    listRooms();
  },
  "room.added": ({ room, by }) => {
    remark(`${by} has made you a member of ${room.name}`);
    listRooms();
  },
  announcement: ({ sender, text, body }) => remark(`${sender} announces: ${text ?? JSON.stringify(body)}`),
};

/** The events of the room on the page. */
const ROOM_EVENTS = {
  message: showMessage,
  gap({ reason, messages: newest }) {
    messages.replace(newest);
    messages.remark(`${GAPS[reason] ?? "The room has a new log."} These are the newest messages.`);
  },
  joined: showJoined,
  state(state) {
    if (state === "refused") leaveRoom(`${room.name}: ${wordsOf(room.why)}`);
  },
  "chat.typing": ({ user, typing: isTyping }) => {
    endTyping(user);
    if (isTyping) typing.set(user, setTimeout(endTyping, TYPING_ENDS_MS, user));
    showTyping();
  },
  "room.signal": ({ user, name, data }) => showSignal(user, name, data),
  "presence.changed": ({ user, state, custom_state: custom }) => {
    members.tell(user, state, custom);
    showMembers();
  },
  "room.joined": ({ user }) => {
    members.join(user);
    remark(`${user} joined`);
  },
  "room.left": ({ room, user, by }) => {
    if (user === session.user) leaveRoom(by ? `${by} has removed you from ${room}.` : `You have left ${room}.`);
    else {
      members.leave(user);
      remark(by ? `${by} removed ${user}` : `${user} left`);
    }
  },
  "room.deleted": ({ room }) => leaveRoom(`${room} has been deleted.`),
  "room.role": ({ user, role }) => {
    members.tellRole(user, role);
    remark(`${user} is ${role === "owner" ? "an" : "a"} ${role} now`);
  },
};

// Logging in

async function submitLogin(event) {
  event.preventDefault();
  const user = page.username.value.trim();
  tellLogin();
  page.loginFields.disabled = true;
  const outcome = await fetchToken(user, page.password.value, event.submitter === page.register).catch(asProblem);
  page.loginFields.disabled = false;
  if (isProblem(outcome)) tellLogin(wordsOf(outcome), outcome.details);
  else logIn(user, outcome);
}

async function fetchToken(username, password, isNew) {
  if (isNew) await post("users", JSON.stringify({ username, password }), { "Content-Type": "application/json" });
  return post("token", new URLSearchParams({ username, password }));
}

/** Without arguments, earlier problems disappear. @param {string} words @param {Refused["details"]} details */
function tellLogin(words = "", details = []) {
  const problems = new Map(details.map(({ field, message }) => [field, sentence(message)]));
  for (const field of ["username", "password"]) {
    page[`${field}Problem`].textContent = problems.get(field) ?? "";
    page[field].ariaInvalid = String(problems.has(field));
  }
  const isTold = problems.has("username") || problems.has("password");
  page.loginProblem.textContent = isTold ? "" : words;
  if (words) (problems.has("username") ? page.username : page.password).focus();
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
  keep({ unsent: [], ...session, user, token: credential.keep(grant) });
  begin();
  page.roomName.focus();
  tryLinked();
}

function logOut() {
  const count = session.unsent.length;
  if (count && !confirm(`Not sent yet: ${count}. Log out all the same?`)) return;
  leaveRoom();
  credential.logOut(session.token).catch(asProblem); // if that fails, the session ends by itself
  keep(null);
  gateway.close();
  page.rooms.replaceChildren();
  frames.clear();
  calls.clear();
  for (const field of [page.username, page.text]) field.value = "";
  showLogin();
}

/** Return a token that the client has not tried yet, or another one if that needs no password. @param {TokenRequest} request */
async function getToken({ reason, previous, signal }) {
  const { user, token } = session;
  if (token !== previous || (reason === "connect" && (credential.isFresh || !credential.isRenewable))) return token;
  if (reason === "refused") tellRefused();
  const renewed = await credential.renew(signal);
  if (renewed && session?.user === user) keep({ ...session, token: renewed });
  return renewed || (reason === "expiring" ? token : "");
}

function tellRefused() {
  if (gateway.why.reconnect === "new_credential") refused = reasonOf(gateway.why);
  if (credential.isRenewable) show("connecting", `${refused} Getting a new token.`);
}

/** Connect, and come back into the room of before. */
function begin() {
  const { state } = gateway;
  if (state === "waiting") gateway.close(); // and so do not wait
  gateway.open().catch(asProblem); // `STATES` shows it
  if (state === "idle") Object.entries(EVENTS).forEach(([type, act]) => gateway.on(type, act)); // an earlier `on` would connect
  if (session.room) enter(session.room);
}

/** @param {string} why */
function askToLogIn(why) {
  keep({ ...session, token: "" });
  showLogin(`${why} Log in again.`);
}

/** @param {string} [problem] */
function showLogin(problem) {
  show("out", "");
  page.username.value ||= session?.user ?? "";
  page.username.focus();
  tellLogin(problem);
}

function load() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(STORED));
    return stored && { unsent: [], ...stored };
  } catch {
    return null;
  }
}

function keep(next) {
  session = next;
  try {
    sessionStorage.setItem(STORED, JSON.stringify(next));
  } catch {} // the storage is full or blocked, so a reload forgets the session
}

// The room

/** Join a room and show it. The client comes back into it by itself, and emits the messages that were missed. */
async function enter(name) {
  page.roomProblem.textContent = "";
  const entered = gateway.room(name);
  const reply = await entered.join().catch(asProblem);
  if (entered === room) return; // the room itself says so
  if (isProblem(reply)) {
    tellNotEntered(name, reply);
    return;
  }
  if (name !== session.room) leaveRoom();
  room = entered;
  keep({ ...session, room: name });
  listening = new AbortController();
  for (const [type, act] of Object.entries(ROOM_EVENTS)) room.on(type, act, { signal: listening.signal });
  page.roomName.value = name;
  page.text.focus();
  messages.replace(reply.messages);
  showJoined(reply);
}

/** @param {Refused | Lost} problem */
function tellNotEntered(name, problem) {
  const isForgotten = problem instanceof Lost && gateway.state !== "closed"; // for another room
  if (!session || isForgotten) return;
  if (name === session.room && !(problem instanceof Lost)) leaveRoom(`${name}: ${wordsOf(problem)}`);
  else page.roomProblem.textContent = wordsOf(problem);
}

/** @param {JoinReply} reply */
function showJoined({ members: count }) {
  members.clear(count);
  showRoom();
  listRooms();
  listMembers();
}

async function listMembers() {
  const listed = room;
  const reply = await gateway.call("room.members", { room: listed.name, limit: MOST_MEMBERS }).catch(asProblem);
  if (room !== listed) return;
  if (reply.members) members.replace(reply.members, !reply.next_cursor);
  showRoom();
}

async function listRooms() {
  const { rooms } = await gateway.call("room.list", { limit: 100 }).catch(asProblem);
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
  const outcome = await gateway.call("room.leave", { room: session.room }).catch(asProblem);
  if (isProblem(outcome)) page.roomProblem.textContent = wordsOf(outcome);
  else {
    leaveRoom();
    page.roomName.focus();
  }
}

function leaveRoom(why = "") {
  listening.abort();
  if (session?.room) gateway.room(session.room).quit();
  if (session) keep({ ...session, room: undefined });
  room = null;
  members.clear();
  page.roomProblem.textContent = why;
  messages.replace([]);
  page.signal.textContent = "";
  forgetTyping();
  showRoom();
}

// Messages

/** @param {Message} message */
function showMessage(message) {
  if (message.client_id) forgetUnsent(message.client_id);
  if (message.room !== room?.name || message.epoch !== room.position?.epoch) return;
  endTyping(message.sender);
  messages.place(message);
  showRoom();
}

async function showEarlier() {
  const shown = room;
  const reply = await room.history({ before: messages.from }).catch(asProblem);
  if (isProblem(reply)) page.roomProblem.textContent = wordsOf(reply);
  else if (room === shown) messages.addEarlier(reply.messages, reply.has_more);
  showRoom();
}

/** Edit or delete. @param {Message} message @returns {Promise<string>} the problem, or nothing */
async function changeMessage(type, { room, id }, text) {
  const outcome = await gateway.call(type, { room, message_id: id, text }).catch(asProblem);
  if (isProblem(outcome)) return wordsOf(outcome);
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

/** Send the unacknowledged messages one after the other, until the connection ends. */
async function sendUnsent() {
  if (isSending) return;
  isSending = true;
  while (session?.unsent.length && (await sendOnce(session.unsent[0])));
  isSending = false;
}

/** Send a message, perhaps again: the gateway recognises it by its `client_id`. @param {Unsent} unsent */
async function sendOnce(unsent) {
  const outcome = await gateway.call("chat.send", unsent).catch(asProblem);
  if (outcome instanceof Lost) return false;
  if (outcome.retryable) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(BREATH_MS, outcome.retryAfterMs ?? 0)));
    return true;
  }
  forgetUnsent(unsent.client_id);
  if (isProblem(outcome)) giveBack(unsent, outcome);
  else showMessage(outcome.message);
  return true;
}

/** @param {Unsent} unsent @param {Refused} refusal */
function giveBack({ room: name, text }, refusal) {
  page.sendProblem.textContent = name === session.room ? wordsOf(refusal) : `${name}: ${wordsOf(refusal)}`;
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
  gateway.send(JSON.stringify({ type: "chat.typing", data: { room: session.room } }));
}

/** Show the newest signal for a while: there may be twenty a second. */
function showSignal(user, name, data) {
  clearTimeout(signalTimer);
  const about = data === undefined ? "" : ` ${JSON.stringify(data)}`;
  page.signal.textContent = `${user} signals ${name}${about}`.slice(0, SIGNAL_CHARACTERS);
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
  const known = { room: session?.room ?? "lobby", users: [session?.user ?? "alice"] };
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
  const text = page.raw.value;
  const isOut = gateway.send(text);
  if (isOut) calls.sent(read(text));
  page.rawProblem.textContent = isOut ? "" : "Not connected.";
}

/** @param {"out" | "in"} direction @param {string} text */
function takeFrame(direction, text) {
  const frame = read(text);
  frames.add(direction, text, frame);
  if (direction === "in" && calls.received(frame) && frame.type === "error") tellRaw(text);
}

/** @param {string} text an error that belongs to a frame by hand, or to none */
function tellRaw(text) {
  page.rawProblem.textContent = wordsOf(new Refused(JSON.parse(text)));
}

/** @param {Problem} problem what the client ignores */
function tellIgnored({ kind, message, text, error }) {
  if (kind === "listener") reportError(error);
  else if (kind !== "error") frames.note(message);
  else {
    calls.unread();
    tellRaw(text);
  }
}

// Showing

/** @param {"out" | "connecting" | "online" | "waiting" | "offline"} state @param {string} words */
function show(state, words) {
  const isOut = state === "out";
  document.body.dataset.state = state;
  document.title = isOut ? "json-gateway" : `${session.user} · json-gateway`;
  clearTimeout(countdown);
  page.status.textContent = words;
  page.welcome.hidden = !isOut;
  page.console.hidden = page.connection.hidden = page.logOut.hidden = isOut;
  page.connection.textContent = state === "online" ? "Disconnect" : "Connect";
  page.connection.disabled = state === "connecting";
  showRoom();
}

/** Say how long it is until a moment, each second. */
function countDown(end) {
  const left = make("span");
  left.ariaLive = "off"; // nothing may read out each second
  page.status.append(left);
  const tell = () => {
    left.textContent = `${seconds(end - Date.now())}.`;
    countdown = setTimeout(tell, 1000);
  };
  tell();
}

function showRoom() {
  const name = session?.room;
  const unsent = session?.unsent.filter((message) => message.room === name) ?? [];
  page.membersPanel.hidden = !name;
  showMembers();
  page.leave.hidden = !name;
  page.text.disabled = page.send.disabled = !name;
  page.text.placeholder = name ? `Message to ${name}` : "Message";
  page.earlier.hidden = !messages.hasEarlier;
  page.unsentRows.replaceChildren(...unsent.map(unsentRow));
  page.noMessages.hidden = unsent.length > 0 || page.messageRows.hasChildNodes();
  page.noMessages.textContent = name ? "There are no messages yet." : "Join a room to see its messages.";
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

/** @param {Why} why */
function noteEnd({ code, message }) {
  frames.note(code ? `closed with ${code}: ${message}` : message);
}

page.login.addEventListener("submit", submitLogin);
page.logOut.addEventListener("click", logOut);
page.connection.addEventListener("click", () => {
  if (gateway.state === "open") gateway.close();
  else begin();
});
page.roomForm.addEventListener("submit", (event) => {
  event.preventDefault();
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
page.filter.addEventListener("input", () => frames.filter(page.filter.value));
page.clear.addEventListener("click", () => frames.clear());

// Until now, a click would have been lost.
page.loginFields.disabled = false;
listExamples();
gateway.onState((state, why) => {
  forgetTyping();
  if (state !== "open") calls.lose();
  if (session) STATES[state](why);
});
if (session?.token) begin();
else showLogin();
