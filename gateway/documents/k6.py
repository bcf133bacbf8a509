"""A k6 script: virtual users connect, join a room, send a message again and again, and measure each answer."""

import re

from gateway.documents.catalog import Catalog
from gateway.documents.place import Files, Place
from gateway.documents.requests import PASSWORD, USERNAME, carries_token, json_text

NAME = "json-gateway.k6.js"
_PLACES = re.compile("@([A-Z_]+)@")

_SCRIPT = r"""// Made by `gateway export k6`: k6 run json-gateway.k6.js
// Each virtual user connects, joins the room, and sends MESSAGE every INTERVAL_MS for SESSION_SECONDS.
// Variables: k6 run -e MESSAGE=ping -e VUS=100 -e HOLD=1m json-gateway.k6.js
// The user must exist; -e REGISTER=1 registers it. The gateway's limits hold here too: for a load test, set
// GATEWAY_MESSAGE_RATE_PER_USER, GATEWAY_MESSAGE_RATE_PER_ADDRESS, GATEWAY_CONNECTION_RATE,
// GATEWAY_CONNECTION_RATE_PER_USER, GATEWAY_MAX_CONNECTIONS_PER_USER and GATEWAY_MAX_CONNECTIONS_PER_ADDRESS.
import { check, fail } from "k6";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import { setInterval, setTimeout, clearInterval, clearTimeout } from "k6/timers";
import { WebSocket } from "k6/websockets";

/** The messages of this gateway, each with examples of its data. @type {Map<string, any[]>} */
const MESSAGES = new Map(/** @type {[string, any[]][]} */ (@MESSAGES@));

const HTTP_URL = __ENV.HTTP_URL || @HTTP_URL@;
const WS_URL = __ENV.WS_URL || @WS_URL@;
const GATEWAY_USER = __ENV.GATEWAY_USER || @USERNAME@;
const GATEWAY_PASSWORD = __ENV.GATEWAY_PASSWORD || @PASSWORD@;
const MESSAGE = __ENV.MESSAGE || @MESSAGE@;
const ROOM = __ENV.ROOM || "load-test";
const INTERVAL_MS = Number(__ENV.INTERVAL_MS || 1000);
const SESSION_SECONDS = Number(__ENV.SESSION_SECONDS || 10);
const ANSWER_SECONDS = 10;

export const options = {
  scenarios: {
    talk: {
      executor: "ramping-vus",
      startVUs: 0,
      gracefulStop: "30s",
      stages: [
        { duration: __ENV.RAMP || "10s", target: Number(__ENV.VUS || 10) },
        { duration: __ENV.HOLD || "30s", target: Number(__ENV.VUS || 10) },
        { duration: __ENV.RAMP || "10s", target: 0 },
      ],
    },
  },
  thresholds: {
    checks: ["rate>0.99"],
    gateway_reply_time: [`p(95)<${Number(__ENV.P95_MS || 500)}`],
    gateway_refused: ["rate<0.01"],
    gateway_unanswered: ["count==0"],
  },
};

const replyTime = new Trend("gateway_reply_time", true);
const refused = new Rate("gateway_refused");
const unanswered = new Counter("gateway_unanswered");

/** @typedef {{ value: string, ends: number }} Token */

/** Log in once for all virtual users. */
export function setup() {
  const examples = MESSAGES.get(MESSAGE);
  if (examples === undefined) fail(`MESSAGE: expected one of ${[...MESSAGES.keys()].join(", ")}, got ${MESSAGE}`);
  if (__ENV.REGISTER) {
    const user = JSON.stringify({ username: GATEWAY_USER, password: GATEWAY_PASSWORD });
    http.post(`${HTTP_URL}/users`, user, { headers: { "Content-Type": "application/json" } });
  }
  return logIn();
}

/** Return a token, with the time at which another one is due. @returns {Token} */
function logIn() {
  const form = { grant_type: "password", username: GATEWAY_USER, password: GATEWAY_PASSWORD };
  const response = http.post(`${HTTP_URL}/token`, form);
  if (!check(response, { "the gateway has issued a token": (answer) => answer.status === 200 })) {
    fail(`POST /token: expected 200, got ${response.status} ${response.body}`);
  }
  const answer = /** @type {{ access_token: string, expires_in: number }} */ (
    /** @type {unknown} */ (response.json())
  );
  return { value: answer.access_token, ends: Date.now() + (answer.expires_in - 60) * 1000 };
}

/** The token of this virtual user, once that of the setup ends. @type {Token | undefined} */
let later;

/** Hold one conversation. k6 waits until the connection is closed. */
export default function (/** @type {Token} */ first) {
  let token = later ?? first;
  if (Date.now() + SESSION_SECONDS * 1000 > token.ends) token = later = logIn();
  const ws = new WebSocket(`${WS_URL}/ws/chat`, null, {
    headers: { Authorization: `Bearer ${token.value}` },
    tags: { message: MESSAGE },
  });
  /** When each message without an answer was sent. @type {Map<number, number>} */
  const sent = new Map();
  /** @type {number | undefined} */
  let sending;
  /** @type {number | undefined} */
  let ending;
  let id = 0;
  let welcomed = false;

  function send(/** @type {string} */ type, /** @type {any} */ data) {
    id += 1;
    sent.set(id, Date.now());
    ws.send(JSON.stringify({ type, id, data }));
  }

  function talk() {
    const examples = MESSAGES.get(MESSAGE) ?? [{}];
    send(MESSAGE, inRoom(examples[exec.vu.iterationInInstance % examples.length]));
  }

  function end() {
    if (sending !== undefined) clearInterval(sending);
    // The last answers may still come.
    ending = setTimeout(() => ws.close(1000), sent.size > 0 ? ANSWER_SECONDS * 1000 : 0);
    sending = undefined;
    closeIfAnswered();
  }

  function closeIfAnswered() {
    if (ending === undefined || sent.size > 0) return;
    clearTimeout(ending);
    ending = undefined;
    ws.close(1000);
  }

  function begin() {
    welcomed = true;
    if (needsRoom()) send("room.join", { room: ROOM, limit: 0 });
    talk();
    sending = setInterval(talk, INTERVAL_MS);
    setTimeout(end, SESSION_SECONDS * 1000);
  }

  ws.addEventListener("message", (event) => {
    const frame = JSON.parse(/** @type {{ data: string }} */ (/** @type {unknown} */ (event)).data);
    if (frame.type === "welcome") return begin();
    if (frame.type !== "reply" && frame.type !== "error") return;
    const since = sent.get(frame.id);
    if (since === undefined) return;
    sent.delete(frame.id);
    replyTime.add(Date.now() - since);
    refused.add(frame.type === "error");
    check(frame, { "the answer is a reply": (answer) => answer.type === "reply" });
    if (frame.type === "error") console.warn(`${frame.status} ${frame.name}: ${frame.message}`);
    closeIfAnswered();
  });

  ws.addEventListener("error", (event) => {
    console.error(/** @type {{ error: string }} */ (/** @type {unknown} */ (event)).error);
  });

  ws.addEventListener("close", () => {
    if (sending !== undefined) clearInterval(sending);
    if (ending !== undefined) clearTimeout(ending);
    sending = ending = undefined;
    unanswered.add(sent.size);
    check(welcomed, { "the gateway has welcomed the connection": (was) => was });
  });
}

/** Return data with the room of this test, if it names one. */
function inRoom(/** @type {any} */ data) {
  return data !== null && typeof data === "object" && typeof data.room === "string" ? { ...data, room: ROOM } : data;
}

/** Return whether the message is about a room, which this user must be in. */
function needsRoom() {
  const [example] = MESSAGES.get(MESSAGE) ?? [];
  return MESSAGE !== "room.join" && MESSAGES.has("room.join") && inRoom(example) !== example;
}
"""


def k6(catalog: Catalog, place: Place) -> Files:
    """Return the script. It sends `chat.send`, or the first message of a gateway that has none."""
    messages = [[each.type, list(each.examples)] for each in catalog.messages if not carries_token(each)]
    types = [each.type for each in catalog.messages]
    values = {
        "MESSAGES": json_text(messages, 2),
        "HTTP_URL": json_text(place.http_url),
        "WS_URL": json_text(place.ws_url),
        "USERNAME": json_text(USERNAME),
        "PASSWORD": json_text(PASSWORD),
        "MESSAGE": json_text("chat.send" if "chat.send" in types else next(iter(types), "")),
    }
    return {NAME: _PLACES.sub(lambda found: values[found[1]], _SCRIPT)}
