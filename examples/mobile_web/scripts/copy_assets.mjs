// Copies what the page serves into public/: the repository's TFLite files and LiteRT's WebAssembly.
// Folders named on the command line, or in FACEALIGN_MODELS, are searched for models as well.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const repository = join(here, "..", "..");
const models = join(here, "public", "models");
const wasm = join(here, "public", "wasm");

for (const folder of [models, wasm]) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
}

const runtime = join(here, "node_modules", "@litertjs", "core", "wasm");
for (const name of readdirSync(runtime)) {
  copyFileSync(join(runtime, name), join(wasm, name));
}

const detector = "short_range.tflite";
copyFileSync(
  join(repository, "keras_facealign", "detection", "blazeface", detector),
  join(models, detector),
);

// The page's own reader: a file that the page could not run stops the build with its message.
const { module } = await runnerImport(join(here, "src", "metadata.ts"));

const presets = join(repository, "saved_models");
const folders = readdirSync(presets).map((name) => join(presets, name));
const named = [...process.argv.slice(2), ...(process.env.FACEALIGN_MODELS ?? "").split(delimiter)];
const found = [];
for (const folder of [...folders, ...named.filter(Boolean)]) {
  for (const name of readdirSync(folder).filter((file) => /^model.*\.tflite$/.test(file))) {
    const file = `${basename(folder)}/${name}`;
    const { kind, preset, quantize } = module.readMetadata(readFileSync(join(folder, name)), file);
    if (existsSync(join(models, file))) throw new Error(`Two folders have ${file}; rename one.`);
    mkdirSync(dirname(join(models, file)), { recursive: true });
    copyFileSync(join(folder, name), join(models, file));
    const weights = quantize === "none" ? "float32" : quantize;
    found.push({ file, label: `${kind}, ${weights} (${preset})`, order: `${kind} ${file}` });
  }
}
// 2D before 3D, and model.tflite before model_int8.tflite: the first is what the page starts with.
found.sort((a, b) => (a.order < b.order ? -1 : 1));
const manifest = found.map(({ file, label }) => ({ file, label }));
writeFileSync(join(models, "manifest.json"), JSON.stringify({ models: manifest }, null, 1));
console.log(found.map(({ file, label }) => `${file}: ${label}`).join("\n") || "no landmark models");
