import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Both servers pass on what is for the gateway, so the page and the gateway have one origin.
const target = process.env.GATEWAY ?? "http://127.0.0.1:8000";
const proxy = { "/token": target, "/users": target, "/ws": { target, ws: true } };

export default defineConfig({
  base: "./",
  plugins: [react()],
  // gateway-client is a link to a folder of this repository, and finds React through the link alone.
  resolve: { preserveSymlinks: true },
  server: { proxy },
  preview: { proxy },
});
