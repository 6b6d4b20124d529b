// Copies what the page serves into public/: the repository's TFLite files and LiteRT's WebAssembly.
// Folders named on the command line, or in FACEALIGN_MODELS, are searched for models as well.

import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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

const mtcnn = join(repository, "keras_facealign", "inference", "mtcnn");
mkdirSync(join(models, "mtcnn"));
for (const name of ["pnet.tflite", "rnet.tflite", "onet.tflite"]) {
  copyFileSync(join(mtcnn, name), join(models, "mtcnn", name));
}

const presets = join(repository, "saved_models");
const extra = [...process.argv.slice(2), ...(process.env.FACEALIGN_MODELS ?? "").split(delimiter)];
const folders = readdirSync(presets).map((name) => join(presets, name));
const found = [];
for (const folder of [...folders, ...extra.filter((name) => name && existsSync(name))]) {
  const preset = basename(folder);
  for (const name of readdirSync(folder).filter((file) => /^model.*\.tflite$/.test(file))) {
    mkdirSync(join(models, preset), { recursive: true });
    copyFileSync(join(folder, name), join(models, preset, name));
    const weights = /int8|float16/.exec(name)?.[0] ?? "float32";
    const kind = preset.endsWith("_3d") ? "3D" : "2D";
    found.push({ file: `${preset}/${name}`, label: `${kind}, ${weights} (${preset})` });
  }
}
// 2D before 3D, full precision first: the first is what the page starts with.
found.sort((a, b) => a.label.localeCompare(b.label));
writeFileSync(join(models, "manifest.json"), JSON.stringify({ models: found }, null, 1));
console.log(
  `${found.length} landmark models: ${found.map(({ file }) => file).join(", ") || "none"}`,
);
