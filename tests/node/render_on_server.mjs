// Render a page of the tests as a server does, without a window, and print it: render_on_server.mjs CLIENT PAGE

import { build } from "esbuild";
import { join } from "node:path";

const [client, page] = process.argv.slice(2);
const { outputFiles } = await build({
  entryPoints: [page],
  bundle: true,
  write: false,
  format: "esm",
  platform: "node",
  jsx: "automatic",
  logLevel: "warning",
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire("/");' },
  alias: {
    "gateway-client/react": join(client, "react.js"),
    "gateway-client": join(client, "gateway-client.js"),
  },
  nodePaths: [join(import.meta.dirname, "node_modules")],
});
await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
