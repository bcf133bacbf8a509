// Reads the exported collection as Bruno's import does: YAML, the converter, and Bruno's own schema. Prints what Bruno
// then has, and what it would write again.
import { readFileSync } from "node:fs";
import { brunoToOpenCollection, openCollectionToBruno } from "@usebruno/converters";
import schema from "@usebruno/schema";
import yaml from "js-yaml";

const read = yaml.load(readFileSync(process.argv[2], "utf8"));
const collection = openCollectionToBruno(read);
await schema.collectionSchema.validate(withUids(collection), { strict: true });
console.log(JSON.stringify({ collection, again: brunoToOpenCollection(collection) }));

/** Add the identities that Bruno adds to variables after the converter. */
function withUids(/** @type {any} */ collection) {
  let number = 0;
  for (const variable of collection.root.request.vars.req) variable.uid ??= `variable0000000000${++number}`.slice(-21);
  return collection;
}
