// Reads AsyncAPI documents from stdin, a JSON array of texts, and prints what the parser finds in each.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const parser = new Parser();
const found = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const { document, diagnostics } = await parser.parse(text);
  found.push({
    diagnostics: diagnostics.map(({ code, severity, message, path }) => ({ code, severity, message, path: path.join("/") })),
    messages: document?.allMessages().all().map((message) => message.name()) ?? [],
    operations: document?.operations().all().map((operation) => operation.id()) ?? [],
  });
}
console.log(JSON.stringify(found));
