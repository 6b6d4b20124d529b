import { defineConfig } from "vitest/config";

// Shared memory, which WebAssembly's threads need, is given to pages with these two headers only.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // Relative addresses: the built page works in any folder of a server.
  base: "./",
  build: { target: "es2022" },
  server: { headers },
  preview: { headers },
  test: { include: ["tests/*.test.ts"], testTimeout: 60_000, hookTimeout: 120_000 },
});
