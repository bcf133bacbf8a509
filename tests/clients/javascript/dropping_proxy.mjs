// A way to the gateway that breaks: after some bytes, often in the middle of a frame, or after a while.

import { connect, createServer } from "node:net";

const MOST_BYTES = 12000;
const MOST_MS = 20;

export class DroppingProxy {
  #open = new Set();
  #target;
  /** Whether connections break. */
  drops = false;
  dropped = 0;

  /** @param {string} url the gateway's */
  constructor(url) {
    this.#target = new URL(url);
  }

  async start() {
    this.server = createServer((near) => this.#serve(near));
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  #serve(near) {
    const far = connect(this.#target.port, this.#target.hostname);
    const drop = () => {
      if (this.drops && this.#open.has(end)) {
        this.dropped += 1;
        end();
      }
    };
    const late = this.drops ? setTimeout(drop, Math.random() * MOST_MS) : undefined;
    const end = () => {
      clearTimeout(late);
      near.destroy();
      far.destroy();
      this.#open.delete(end);
    };
    this.#open.add(end);
    for (const [from, to] of [[near, far], [far, near]]) {
      let left = this.drops ? Math.random() ** 2 * MOST_BYTES : Infinity; // so that many break in their handshake
      from.setNoDelay(true);
      from.on("error", end);
      from.on("close", end);
      from.on("data", (data) => {
        if ((left -= data.length) > 0 || !this.drops) return to.write(data);
        to.write(data.subarray(0, Math.max(0, data.length + left)), drop);
      });
    }
  }

  /** Break all connections now. */
  cut() {
    for (const end of [...this.#open]) end();
  }

  async stop() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
