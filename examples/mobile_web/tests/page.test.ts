/** The built page in headless Chromium: camera, photo, models, keyboard, small screens, mishaps. */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folder, motion, obstacle, portrait, type Shot, Stage, turnedPortrait } from "./browser.ts";
import committed from "./reference.json";

interface Reference {
  sha256: string;
  photo: number[][];
  confidence: number[];
  visibility?: number[];
  camera: number[][];
}

/** Of a network of own landmarks, whose heads are those of the bundled network's landmarks `near`. */
interface OwnReference extends Reference {
  near: number[];
}

const repository = join(folder, "..", "..");
const served = join(folder, "dist", "models");
const manifest = join(served, "manifest.json");
interface Model {
  file: string;
  label: string;
}

const models: Model[] = existsSync(manifest)
  ? JSON.parse(readFileSync(manifest, "utf8")).models
  : [];
const threeD = models.find(({ label }) => label.startsWith("3D"));

if (obstacle) console.log(`The page is not tested in a browser: ${obstacle}`);
else if (!models.length) console.log("Landmarks are not tested: no model*.tflite is bundled.");
else if (!threeD) console.log("3D is not tested: no preset of 3D landmarks is bundled.");

function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

interface References {
  /** By the checksum of the model. */
  models: Map<string, Reference>;
  own?: OwnReference;
}

/** What Python finds: computed now where the package is installed, else as it was committed. */
function referencesOf(paths: readonly string[], own: string): References {
  const work = mkdtempSync(join(tmpdir(), "mobile-web-"));
  const output = join(work, "reference.json");
  const script = join(folder, "scripts", "make_reference.py");
  const python = process.env.PYTHON ?? "python3";
  const env = { ...process.env, PYTHONPATH: repository };
  const run = spawnSync(python, [script, output, "--own", own, ...paths], {
    env,
    encoding: "utf8",
  });
  let found: { models: Reference[]; own?: OwnReference } = committed;
  if (run.status === 0) found = JSON.parse(readFileSync(output, "utf8"));
  else {
    const reason = (run.error?.message ?? run.stderr).trim().split("\n").at(-1);
    console.log(
      `Python's numbers are taken from reference.json: ${python} cannot make them (${reason})`,
    );
  }
  rmSync(work, { recursive: true });
  const byModel = found.models.map((reference) => [reference.sha256, reference] as const);
  return { models: new Map(byModel), ...(found.own && { own: found.own }) };
}

type Points = readonly { x: number; y: number }[];

/** Distances in pixels, `shift` taken off first. */
function distances(points: Points, wanted: readonly number[][], shift = { x: 0, y: 0 }): number[] {
  expect(points).toHaveLength(wanted.length);
  return points.map(({ x, y }, i) => {
    const [wx, wy] = wanted[i] as [number, number];
    return Math.hypot(x - shift.x - wx, y - shift.y - wy);
  });
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** In the mean; 0 of two empty lists. */
function difference(values: readonly number[], wanted: readonly number[]): number {
  expect(values).toHaveLength(wanted.length);
  return values.length ? mean(values.map((v, i) => Math.abs(v - (wanted[i] as number)))) : 0;
}

/** The camera's landmarks are Python's: within a pixel in the median, three in most frames. */
function expectCamera(what: string, shots: readonly Shot[], reference: Reference): void {
  const off = shots
    .filter(({ faces }) => faces.length)
    .map(({ frame, faces }) =>
      mean(distances(faces[0]?.landmarks as Points, reference.camera, motion(frame))),
    );
  off.sort((a, b) => a - b);
  const middle = off[off.length >> 1] as number;
  const worst = off[off.length - 1] as number;
  console.log(
    `${what}: ${middle.toFixed(3)} px from Python in the median, worst ${worst.toFixed(3)}`,
  );
  // A busy machine skips frames: the face is then far from where the last box was.
  expect(middle).toBeLessThan(1);
  expect(off.filter((distance) => distance > 3).length).toBeLessThan(0.25 * off.length);
}

describe.skipIf(obstacle)("the page", () => {
  let stage: Stage;
  let references = new Map<string, Reference>();
  let own: OwnReference | undefined;
  const work = mkdtempSync(join(tmpdir(), "mobile-web-"));
  const ownFile = join(work, "own.tflite");
  beforeAll(async () => {
    stage = await Stage.open();
    if (!models.length) return;
    const paths = models.map(({ file }) => join(served, file));
    ({ models: references, own } = referencesOf(paths, ownFile));
  }, 300_000);
  afterAll(async () => {
    await stage?.end();
    rmSync(work, { recursive: true });
  });

  describe.skipIf(!models.length)("with a model", () => {
    test.each(models)("a photo through $file", async ({ file }) => {
      const { page, problems } = await stage.visit();
      await page.getByRole("combobox", { name: "Model" }).selectOption(file);
      await page.locator("#status").getByText("Ready.").waitFor();
      await page.getByLabel("Open photo").setInputFiles(portrait);
      const [shot] = await Stage.results(page, 1);
      expect(shot?.faces).toHaveLength(1);
      await page.locator("#status").getByText("1 face found.").waitFor();
      expect(problems).toEqual([]);
      await page.context().close();
      const reference = references.get(sha256(join(served, file)));
      if (!reference) {
        console.log(`${file} is not compared: neither Python nor reference.json has its numbers.`);
        return;
      }
      const face = shot?.faces[0] as Shot["faces"][number];
      const off = mean(distances(face.landmarks, reference.photo));
      console.log(`photo, ${file}: ${off.toFixed(3)} px from Python in the mean`);
      expect(off).toBeLessThan(1);
      expect(difference(face.confidence, reference.confidence)).toBeLessThan(0.05);
      expect(face.visibility === undefined).toBe(reference.visibility === undefined);
      expect(difference(face.visibility ?? [], reference.visibility ?? [])).toBeLessThan(0.05);
    });

    test.each([90, 180])("a photo turned by %d degrees", async (degrees) => {
      const { page, problems } = await stage.visit();
      const photo = await turnedPortrait(page, degrees);
      await page.getByLabel("Open photo").setInputFiles(photo);
      const [shot] = await Stage.results(page, 1);
      expect(shot?.faces).toHaveLength(1);
      expect(problems).toEqual([]);
      await page.context().close();
      const face = shot?.faces[0] as Shot["faces"][number];
      const { roll, landmarks } = face;
      expect(Math.abs(Math.abs(roll) - degrees)).toBeLessThan(15);
      const reference = references.get(sha256(join(served, (models[0] as Model).file)));
      if (!reference) {
        console.log("The turned photo is not compared: no numbers of Python.");
        return;
      }
      // The portrait is a square of 512 pixels.
      const wanted = reference.photo.map(([x, y]) =>
        degrees === 90
          ? [511 - (y as number), x as number]
          : [511 - (x as number), 511 - (y as number)],
      );
      const off = mean(distances(landmarks, wanted));
      console.log(`turned by ${degrees} degrees: ${off.toFixed(3)} px from Python in the mean`);
      expect(off).toBeLessThan(2);
    });

    test("a network of own landmarks, a photo and the camera", { timeout: 120_000 }, async () => {
      if (!own) {
        console.log("Own landmarks are not tested: Python has exported no network of them.");
        return;
      }
      const { page, problems, actor } = await stage.visitWithActor();
      await page.getByLabel("Open .tflite").setInputFiles(ownFile);
      await page.locator("#about-model").getByText(`${own.near.length} landmarks`).waitFor();
      await page.getByLabel("Open photo").setInputFiles(portrait);
      const [shot] = await Stage.results(page, 1);
      const face = shot?.faces[0] as Shot["faces"][number];
      expect(face.reliable).toBe(true);
      expect(face.visibility).toBeUndefined();
      const off = mean(distances(face.landmarks, own.photo));
      console.log(`own landmarks, photo: ${off.toFixed(3)} px from Python in the mean`);
      expect(off).toBeLessThan(1);
      expect(difference(face.confidence, own.confidence)).toBeLessThan(0.05);
      // They are where the bundled network has the landmarks that they come from.
      const bundled = references.get(sha256(join(served, (models[0] as Model).file)));
      const near = own.near.map((i) => bundled?.photo[i] as number[]);
      expect(mean(distances(face.landmarks, near))).toBeLessThan(1);
      // Without chin and ears, the box of the landmarks alone would be too small a crop.
      await page.getByRole("button", { name: "Start camera" }).click();
      const pose = { center: [0, 0], at: [64, 0], degrees: 0 } as const;
      let last: Shot | undefined;
      for (let i = 0; i < 4; i++) last = await actor.show(pose);
      const followed = mean(distances(last?.faces[0]?.landmarks as Points, own.camera));
      console.log(`own landmarks, followed: ${followed.toFixed(3)} px from Python in the mean`);
      expect(followed).toBeLessThan(1);
      expect(problems).toEqual([]);
      await page.context().close();
    });

    test("a head that turns over, followed", { timeout: 120_000 }, async () => {
      const reference = references.get(sha256(join(served, (models[0] as Model).file)));
      if (!reference) {
        console.log("The turning head is not compared: no numbers of Python.");
        return;
      }
      const { page, problems, actor } = await stage.visitWithActor();
      await page.getByRole("button", { name: "Start camera" }).click();
      // About the tip of the nose, to the middle of the picture.
      const center = reference.photo[30] as [number, number];
      const at = [320, 240] as const;
      const off: number[] = [];
      for (let degrees = 0; degrees <= 360; degrees += 10) {
        const { faces } = await actor.show({ center, at, degrees });
        expect(faces, `turned by ${degrees} degrees`).toHaveLength(1);
        const [cos, sin] = [Math.cos, Math.sin].map((of) => of((degrees * Math.PI) / 180)) as [
          number,
          number,
        ];
        const wanted = reference.photo.map(([x, y]) => {
          // A canvas counts from the corner of a pixel, landmarks from its center.
          const [right, down] = [(x as number) + 0.5 - center[0], (y as number) + 0.5 - center[1]];
          return [at[0] + cos * right - sin * down - 0.5, at[1] + sin * right + cos * down - 0.5];
        });
        off.push(mean(distances(faces[0]?.landmarks as Points, wanted)));
      }
      // Where it was, the network still finds something, though not a face: it is searched for.
      const elsewhere = await actor.show({ center, at: [120, 240], degrees: 0 });
      await page.context().close();
      expect(problems).toEqual([]);
      const nose = elsewhere.faces[0]?.landmarks[30];
      expect(Math.hypot((nose?.x ?? 0) - 119.5, (nose?.y ?? 0) - 239.5)).toBeLessThan(3);
      const worst = Math.max(...off);
      console.log(
        `turned by 0 to 360 degrees: ${mean(off).toFixed(2)} px in the mean, worst ${worst.toFixed(2)}`,
      );
      // The face is 110 pixels wide; a crop is turned anew when it leans by 20 degrees.
      expect(mean(off)).toBeLessThan(1.5);
      expect(worst).toBeLessThan(3);
    });

    test("the camera, followed", async () => {
      const { page, problems } = await stage.visit({ permissions: ["camera"] });
      expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(true);
      await page.getByRole("button", { name: "Start camera" }).click();
      const shots = (await Stage.results(page, 60)).filter(({ faces }) => faces.length);
      await page.locator("#status").getByText("Following.").waitFor();
      expect(Number(await page.locator("#fps").textContent())).toBeGreaterThan(0);
      expect(Number(await page.locator("#confidence").textContent())).toBeGreaterThan(0.45);
      expect(await page.locator("#runs-on").textContent()).toBe("WebAssembly, threads");
      const search = await page.locator("#detect-time").textContent();
      console.log(`camera: the last search took ${search}`);
      await page.getByRole("button", { name: "Stop camera" }).click();
      await page.locator("#status").getByText("Stopped.").waitFor();
      expect(problems).toEqual([]);
      const fps = await page.locator("#fps").textContent();
      await page.context().close();
      // The face moved, and the landmarks with it.
      const frames = new Set(shots.map(({ frame }) => frame));
      expect(frames.size).toBeGreaterThan(20);
      const first = models[0] as { file: string };
      const reference = references.get(sha256(join(served, first.file)));
      if (!reference) {
        console.log("The camera is not compared: no numbers of Python.");
        return;
      }
      expectCamera(`camera, ${fps} frames a second`, shots, reference);
    });

    test.skipIf(!threeD)("3D chosen while the camera runs", async () => {
      const { file } = threeD as Model;
      const { page, problems } = await stage.visit({ permissions: ["camera"] });
      await page.getByRole("button", { name: "Start camera" }).click();
      const before = await Stage.results(page, 10);
      await page.getByRole("combobox", { name: "Model" }).selectOption(file);
      await page.locator("#about-model").getByText("68 landmarks in 3D").waitFor();
      const seen = await page.evaluate(
        () => (globalThis as unknown as { results: [] }).results.length,
      );
      const shots = (await Stage.results(page, seen + 30)).slice(seen);
      await page.getByRole("button", { name: "Stop camera" }).click();
      expect(problems).toEqual([]);
      await page.context().close();
      expect(before.every(({ source }) => source === "camera")).toBe(true);
      const reference = references.get(sha256(join(served, file)));
      if (!reference) {
        console.log(`${file} is not compared: neither Python nor reference.json has its numbers.`);
        return;
      }
      expectCamera("camera, 3D", shots, reference);
    });

    test("on WebGPU", { timeout: 120_000 }, async () => {
      const { browser, page, problems } = await stage.visitOnGpu();
      const adapter = await page.evaluate(async () => !!(await navigator.gpu?.requestAdapter()));
      if (!adapter) {
        console.log("WebGPU is not tested: this Chromium has none in software.");
        await browser.close();
        return;
      }
      expect(await page.getByRole("combobox", { name: "Run on" }).inputValue()).toBe("gpu");
      expect(await page.locator("#runs-on").textContent()).toBe("WebGPU");
      await page.getByLabel("Open photo").setInputFiles(portrait);
      const [shot] = await Stage.results(page, 1);
      expect(problems).toEqual([]);
      await browser.close();
      const reference = references.get(sha256(join(served, (models[0] as Model).file)));
      if (!reference) {
        console.log("WebGPU is not compared: no numbers of Python.");
        return;
      }
      const off = mean(distances(shot?.faces[0]?.landmarks as Points, reference.photo));
      console.log(`WebGPU: ${off.toFixed(3)} px from Python in the mean`);
      expect(off).toBeLessThan(1);
    });

    test("by keyboard alone, on a small screen", async () => {
      const { page, problems } = await stage.visit({
        permissions: ["camera"],
        viewport: { width: 360, height: 640 },
      });
      const reached: (string | undefined)[] = [];
      for (let i = 0; i < 4; i++) {
        await page.keyboard.press("Tab");
        reached.push(await page.evaluate(() => document.activeElement?.id));
      }
      expect(reached).toEqual(["camera", "photo", "model", "file"]);
      await page.getByRole("button", { name: "Start camera" }).focus();
      await page.keyboard.press("Enter");
      await Stage.results(page, 3);
      const { width, height } = await page.evaluate(() => ({
        width: document.documentElement.scrollWidth,
        height: (document.getElementById("camera") as HTMLElement).getBoundingClientRect().bottom,
      }));
      expect(width).toBeLessThanOrEqual(360);
      expect(height).toBeLessThanOrEqual(640);
      await page.keyboard.press("Tab");
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("flip");
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Space");
      await page.locator("#status").getByText("Stopped.").waitFor();
      expect(problems).toEqual([]);
      await page.context().close();
    });

    test("a wrong file changes nothing", async () => {
      const { page, problems } = await stage.visit();
      const file = page.getByLabel("Open .tflite");
      await file.setInputFiles(join(served, "short_range.tflite"));
      await page
        .locator("#status.error")
        .getByText(/not one of keras-facealign/)
        .waitFor();
      const whole = readFileSync(join(served, (models[0] as { file: string }).file));
      const cut = { name: "cut.tflite", mimeType: "", buffer: whole.subarray(0, whole.length / 2) };
      await file.setInputFiles(cut);
      await page
        .locator("#status.error")
        .getByText(/cut.tflite is damaged/)
        .waitFor();
      await page
        .getByLabel("Open photo")
        .setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no") });
      await page
        .locator("#status.error")
        .getByText(/a.png is no picture/)
        .waitFor();
      await page.getByLabel("Open photo").setInputFiles(portrait);
      await Stage.results(page, 1);
      await file.setInputFiles({ name: "mine.tflite", mimeType: "", buffer: whole });
      await Stage.results(page, 2);
      expect(problems).toEqual([]);
      await page.context().close();
    });
  });

  test("no camera allowed", async () => {
    // Without the permission that the other visits have, headless Chromium denies it.
    const { page, problems } = await stage.visit();
    await page.getByRole("button", { name: "Start camera" }).click();
    await page
      .locator("#status.error")
      .getByText(/camera was denied/)
      .waitFor();
    expect(await page.getByRole("button", { name: "Start camera" }).isEnabled()).toBe(true);
    expect(problems).toEqual([]);
    await page.context().close();
  });
});
