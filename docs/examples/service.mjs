// A service in Node, without a package: `ORDERS_SECRET=whsec_… PORT=9000 node service.mjs`.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = Buffer.from(process.env.ORDERS_SECRET.replace("whsec_", ""), "base64");
let orders = 0;

const paths = {
  "/orders": ({ type, data, user }) => {
    if (type !== "orders.create" || !data.sku) {
      return { error: { status: 60001, name: "no_order", message: "expected `orders.create` with a `sku`" } };
    }
    const news = { room: "kitchen", text: `Order ${++orders}: ${data.sku}, for ${user}` };
    return { data: { order: orders }, effects: [{ publish: news }] };
  },
  "/events": ({ type, data }) => {
    console.log(type, data.message?.text ?? data);
    return {};
  },
};

// https://www.standardwebhooks.com: one signature that fits is enough, and none may be old.
function isSigned(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - seconds) < 300)) return false;
  const right = createHmac("sha256", secret).update(`${id}.${seconds}.${body}`).digest();
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature.replace("v1,", ""), "base64");
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (!isSigned(request.headers, body)) return response.writeHead(401).end();
  const answer = paths[request.url];
  if (!answer) return response.writeHead(404).end();
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(answer(JSON.parse(body))));
}).listen(process.env.PORT ?? 9000, "127.0.0.1");
