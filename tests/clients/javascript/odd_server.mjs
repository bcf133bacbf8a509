// A server for WebSockets that does what a test says: also half frames, nonsense, and silence.

import { createHash } from "node:crypto";
import { createServer } from "node:http";

const WAIT_MS = 10000;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;

export const WELCOME = {
  connection: "c0ffee", user: "alice", scopes: ["chat:read", "chat:write"], heartbeat_seconds: 25, max_message_bytes: 65536,
  protocol: 1,
};

/** What arrives, one by one. A wait for it ends with an error. */
class Inbox {
  #arrived = [];
  #takers = [];

  add(item) {
    if (this.#takers.length) this.#takers.shift()(item);
    else this.#arrived.push(item);
  }

  get size() {
    return this.#arrived.length;
  }

  next(what) {
    if (this.#arrived.length) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${what} did not come`)), WAIT_MS);
      this.#takers.push((item) => resolve(item, clearTimeout(late)));
    });
  }
}

/** The server's end of a connection. */
class Peer {
  #socket;
  #left = Buffer.alloc(0);
  #frames = new Inbox();
  #end = new Inbox();
  isOpen = true;

  constructor(socket, request) {
    this.#socket = socket;
    this.url = new URL(request.url, "http://localhost");
    this.protocols = (request.headers["sec-websocket-protocol"] ?? "").split(/, */);
    this.token = this.protocols.find((each) => each.startsWith("bearer."))?.slice("bearer.".length);
    socket.on("data", (data) => this.#read(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isOpen = false;
      this.#end.add(null);
    });
  }

  /** Send the welcome, and with it what a test has. */
  welcome(data = {}, now = Date.now()) {
    const times = { server_time: new Date(now).toISOString(), token_expires_at: new Date(now + 900000).toISOString() };
    this.event("welcome", { ...WELCOME, ...times, ...data });
    return this;
  }

  event(type, data) {
    this.send({ type, data });
  }

  /** Send `bye` and close. */
  bye(code, reason, reconnect, after_ms) {
    this.event("bye", { code, reason, reconnect, after_ms });
    this.close(code, reason);
  }

  reply({ id }, data) {
    this.send({ type: "reply", id, status: 20000, data });
  }

  refuse({ id }, status, name, more = {}) {
    this.send({ type: "error", id, status, name, message: name.replaceAll("_", " "), retryable: false, ...more });
  }

  send(frame) {
    this.bytes(encode(TEXT, Buffer.from(typeof frame === "string" ? frame : JSON.stringify(frame))));
  }

  /** Send frames in one segment, so that the client has no pause between them. */
  sendAtOnce(...frames) {
    this.bytes(Buffer.concat(frames.map((frame) => encode(TEXT, Buffer.from(JSON.stringify(frame))))));
  }

  binary(data) {
    this.bytes(encode(BINARY, Buffer.from(data)));
  }

  /** Send bytes as they are. */
  bytes(data) {
    this.#socket.write(data);
  }

  close(code, reason = "") {
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
    this.#socket.end(encode(CLOSE, payload));
  }

  /** Cut the connection off without a word. */
  cut() {
    this.#socket.destroy();
  }

  /** The next message. With a type, it must be of this type. */
  async next(type) {
    const frame = await this.#frames.next(`a message ${type ?? ""}`);
    if (type && frame.type !== type) throw new Error(`expected ${type}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  /** How many messages came that no test has taken. */
  get waiting() {
    return this.#frames.size;
  }

  ended() {
    return this.#end.next("the end of the connection");
  }

  #read(data) {
    this.#left = Buffer.concat([this.#left, data]);
    for (;;) {
      const found = decode(this.#left);
      if (!found) return;
      this.#left = found.rest;
      if (found.opcode === TEXT) this.#frames.add(JSON.parse(found.payload.toString()));
      else if (found.opcode === CLOSE) this.#socket.end(encode(CLOSE, found.payload));
      else if (found.opcode === PING) this.bytes(encode(PING + 1, found.payload));
    }
  }
}

export class OddServer {
  #peers = new Inbox();
  #open = new Set();
  #http = createServer((_, response) => response.writeHead(404).end());
  /** What becomes of an upgrade: a status that refuses it, or 101. */
  status = 101;
  connections = 0;

  async start() {
    this.#http.on("upgrade", (request, socket) => this.#upgrade(request, socket));
    await new Promise((resolve) => this.#http.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.#http.address().port}`;
    return this;
  }

  #upgrade(request, socket) {
    this.connections += 1;
    if (this.status !== 101) {
      socket.end(`HTTP/1.1 ${this.status} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    const chosen = request.headers["sec-websocket-protocol"] ? "Sec-WebSocket-Protocol: gateway.v1\r\n" : "";
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${chosen}`
        + `Sec-WebSocket-Accept: ${key.digest("base64")}\r\n\r\n`,
    );
    this.#open.add(socket);
    socket.on("close", () => this.#open.delete(socket));
    this.#peers.add(new Peer(socket, request));
  }

  /** The next connection. */
  next() {
    return this.#peers.next("a connection");
  }

  async stop() {
    for (const socket of this.#open) socket.destroy();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}

/** Return a whole frame. */
export function encode(opcode, payload) {
  const { length } = payload;
  const head = length < 126 ? [length] : length < 65536 ? [126, length >> 8, length & 255] : [127, 0, 0, 0, 0,
    (length >> 24) & 255, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from([128 | opcode, ...head]), payload]);
}

/** Return the first frame of a client and the rest, or null if it is not whole yet. */
function decode(data) {
  if (data.length < 2) return null;
  const short = data[1] & 127;
  const at = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (data.length < at + 4) return null;
  const length = short < 126 ? short : short === 126 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
  const end = at + 4 + length;
  if (data.length < end) return null;
  const mask = data.subarray(at, at + 4);
  const payload = Buffer.from(data.subarray(at + 4, end).map((byte, index) => byte ^ mask[index % 4]));
  return { opcode: data[0] & 15, payload, rest: data.subarray(end) };
}
