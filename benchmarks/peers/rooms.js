// What the Node servers with rooms share: the check of a token, and rooms in memory with their newest messages.
const { createHmac, randomUUID, timingSafeEqual } = require('crypto');

const KEPT = 100; // messages of a room
const SENT = 50; // of them at a join without a position

const parsed = (part) => JSON.parse(Buffer.from(part, 'base64url'));

// Return the user's id, or throw. JSON Web Tokens with HMAC and SHA-256 need no package.
exports.userOf = (token) => {
  const [head, claims, signature] = token.split('.');
  const expected = createHmac('sha256', process.env.PEER_KEY).update(`${head}.${claims}`).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error('a bad signature');
  if (parsed(head).alg !== 'HS256') throw new Error('another algorithm');
  const { sub, exp, iss, aud } = parsed(claims);
  if (exp * 1000 <= Date.now() || iss !== 'json-gateway' || aud !== 'json-gateway') throw new Error('a bad token');
  return sub;
};

class Room {
  constructor(name) {
    this.name = name;
    this.epoch = randomUUID();
    this.offset = 0;
    this.members = new Set();
    this.history = [];
  }

  add(sender, text) {
    const message = { room: this.name, offset: ++this.offset, sender, text, sent_at: Date.now() };
    this.history.push(message);
    if (this.history.length > KEPT) this.history.shift();
    return message;
  }

  // Return what a member gets at a join: the messages after its position, or the newest ones.
  view(since) {
    const behind = since && since.epoch === this.epoch ? this.offset - since.offset : SENT;
    const messages = behind > 0 ? this.history.slice(-behind) : [];
    return { room: this.name, epoch: this.epoch, offset: this.offset, messages };
  }
}

const rooms = new Map();

exports.room = (name) => {
  let found = rooms.get(name);
  if (found === undefined) rooms.set(name, (found = new Room(name)));
  return found;
};
