// Bundle the pages of tests/browser/pages for a browser: bundle_pages.mjs CLIENT EXAMPLES OUT PAGE…

import { compileScript, parse } from "@vue/compiler-sfc";
import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { compile } from "svelte/compiler";

const [client, examples, outdir, ...entryPoints] = process.argv.slice(2);

/** What Vue's own plugin for bundlers does, as far as a component without a style needs it. */
const vue = {
  name: "vue",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor, errors } = parse(await readFile(path, "utf8"), { filename: path });
      if (errors.length) throw errors[0];
      const { content } = compileScript(descriptor, { id: basename(path), inlineTemplate: true });
      return { contents: content, loader: "ts" };
    }),
};

const svelte = {
  name: "svelte",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const { js, warnings } = compile(await readFile(path, "utf8"), { filename: path });
      if (warnings.length) throw new Error(warnings.map(({ message }) => message).join("\n"));
      return { contents: js.code, loader: "js" };
    }),
};

await build({
  entryPoints,
  outdir,
  bundle: true,
  format: "esm",
  jsx: "automatic",
  jsxDev: false,
  logLevel: "warning",
  conditions: ["browser", "svelte", "development"],
  define: {
    "process.env.NODE_ENV": '"development"', // React's StrictMode mounts twice in development only
    __VUE_OPTIONS_API__: "false", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false",
  },
  alias: {
    "gateway-client/react": join(client, "react.js"),
    "gateway-client/room-view": join(client, "room-view.js"),
    "gateway-client": join(client, "gateway-client.js"),
    examples,
  },
  nodePaths: [join(import.meta.dirname, "node_modules")],
  plugins: [vue, svelte],
});
