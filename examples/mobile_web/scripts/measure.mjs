// Measures the built page in headless Chromium, in milliseconds, the least and the median:
//
//     npm run measure [-- FRAMES [MODEL]]
//
// In every frame the face is somewhere else, so that it is lost and searched for. MODEL is one of the
// page's, such as sat1_cab_mobile/model_int8.tflite; by default that which the page starts with.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const tests = join(dirname(fileURLToPath(import.meta.url)), "..", "tests");
const { module } = await runnerImport(join(tests, "browser.ts"));
if (module.obstacle) throw new Error(module.obstacle);
const frames = Number(process.argv[2] ?? 40);
const model = process.argv[3];
// Of the face in the portrait.
const center = [222, 130];

const summary = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, median] = [sorted[0], sorted[sorted.length >> 1]];
  return `${least.toFixed(1)} least, ${median.toFixed(1)} median of ${sorted.length}`;
};

const stage = await module.Stage.open();
for (const [width, height] of [
  [640, 480],
  [1280, 720],
]) {
  const { page, actor } = await stage.visitWithActor(width, height);
  if (model) {
    await page.getByRole("combobox", { name: "Model" }).selectOption(model);
    await page.locator("#status").getByText("Ready.").waitFor();
  }
  await page.getByRole("button", { name: "Start camera" }).click();
  const show = (x, degrees = 0) =>
    actor.show({ center, at: [x * width, height / 2], degrees, scale: width / 450 });
  const found = [];
  for (let i = 0; i < frames; i++) found.push(await show(i % 2 ? 0.25 : 0.75));
  const faces = found.filter((shot) => shot.faces.length === 1).length;
  const line = (what, values) => console.log(`${width} x ${height}, ${what}: ${summary(values)}`);
  line(
    `search, face found in ${faces} of ${frames} frames`,
    found.map(({ times }) => times.detect),
  );
  line(
    "network, a face",
    found.slice(1).map(({ times }) => times.align),
  );
  const followed = [];
  for (let i = 0; i < frames; i++) followed.push(await show(0.5 + 0.002 * i));
  line(
    "whole frame, followed",
    followed.slice(2).map(({ times }) => times.frame),
  );
  // Without a face it is searched at four angles, in every third frame.
  const empty = [];
  for (let i = 0; i < frames; i++) empty.push(await show(-9));
  line("search without a face", [...new Set(empty.slice(3).map(({ times }) => times.detect))]);
  await page.context().close();
}
await stage.end();
