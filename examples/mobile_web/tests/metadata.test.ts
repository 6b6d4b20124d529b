/** Files that are not ours, or not whole, give a clear message. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { UserError } from "../src/errors.ts";
import { readMetadata } from "../src/metadata.ts";

const repository = join(import.meta.dirname, "..", "..", "..");
const foreign = readFileSync(
  join(repository, "keras_facealign", "detection", "blazeface", "short_range.tflite"),
);
const folder = join(import.meta.dirname, "..", "public", "models");
const manifest = join(folder, "manifest.json");
const models: { file: string; label: string }[] = existsSync(manifest)
  ? JSON.parse(readFileSync(manifest, "utf8")).models
  : [];

/** The least file with metadata: Model with one buffer and one metadata entry. */
function smallModel(json: string, name = "keras_facealign"): Uint8Array {
  const text = new TextEncoder();
  const bytes = new Uint8Array(256 + json.length);
  const view = new DataView(bytes.buffer);
  const put = (place: number, ...words: number[]) => {
    for (const [i, word] of words.entries()) view.setUint32(place + 4 * i, word, true);
  };
  const table = (place: number, description: number, fields: Record<number, number>) => {
    const count = Math.max(...Object.keys(fields).map(Number)) + 1;
    view.setUint16(description, 4 + 2 * count, true);
    for (const [field, offset] of Object.entries(fields)) {
      view.setUint16(description + 4 + 2 * Number(field), offset, true);
    }
    view.setInt32(place, place - description, true);
  };
  put(0, 40); // the model
  bytes.set(text.encode("TFL3"), 4);
  table(40, 12, { 4: 4, 6: 8 });
  put(44, 64 - 44, 76 - 48); // buffers at 64, metadata at 76
  put(64, 1, 104 - 68); // one buffer, at 104
  put(76, 1, 120 - 80); // one entry, at 120
  table(104, 92, { 0: 4 });
  put(108, 200 - 108);
  table(120, 132, { 0: 4, 1: 8 });
  put(124, 148 - 124, 0);
  put(148, name.length);
  bytes.set(text.encode(name), 152);
  put(200, json.length);
  bytes.set(text.encode(json), 204);
  return bytes;
}

const good = {
  format: 1,
  preset: "p",
  scheme: "ibug68",
  num_landmarks: 68,
  input_size: 128,
  decode: true,
  batch: 1,
  quantize: "none",
  box_scale: 1.3,
  license: "l",
};

describe("metadata", () => {
  test("are read", () => {
    const metadata = readMetadata(smallModel(JSON.stringify(good)), "m.tflite");
    expect(metadata).toMatchObject({
      preset: "p",
      numLandmarks: 68,
      inputSize: 128,
      boxScale: 1.3,
    });
  });

  test.each([
    ["sat1_cab_mobile", "2D"],
    ["sat1_cab_mobile_3d", "3D"],
  ])("tell that %s is %s", (preset, kind) => {
    const bytes = smallModel(JSON.stringify({ ...good, preset }));
    expect(readMetadata(bytes, "m.tflite").kind).toBe(kind);
  });

  test("tell the lines, the eyes and the box of one's own landmarks", () => {
    const own = {
      scheme: "mine",
      num_landmarks: 5,
      edges: [
        [0, 1],
        [4, 2],
      ],
      eyes: [[0], [1, 3]],
      face_box: [-0.5, -1, 1.5, 2],
    };
    const read = (change: object) =>
      readMetadata(smallModel(JSON.stringify({ ...good, ...own, ...change })), "m.tflite");
    expect(read({})).toMatchObject({
      numLandmarks: 5,
      edges: own.edges,
      eyes: own.eyes,
      faceBox: own.face_box,
    });
    const bare = read({ edges: undefined, eyes: undefined, face_box: undefined });
    expect(bare).toMatchObject({ edges: [], faceBox: [0, 0, 1, 1] });
    expect(bare.eyes).toBeUndefined();
    // Of older files, the page knows the scheme of the bundled networks.
    const old = readMetadata(smallModel(JSON.stringify(good)), "m.tflite");
    expect(old.edges).toHaveLength(63);
    for (const change of [
      { edges: [[0, 5]] },
      { edges: [[0, 1, 2]] },
      { edges: [[0, -1]] },
      { edges: [[0, 1.5]] },
      { edges: "all" },
      { eyes: [[0]] },
      { eyes: [[0], []] },
      { eyes: [[0], [9]] },
      { face_box: [0, 0, 1] },
      { face_box: [0, 0, 0, 1] },
      { face_box: [0, 0, 1, 99] },
      { num_landmarks: 4.5 },
    ]) {
      const [key] = Object.keys(change);
      expect(() => read(change)).toThrow(`m.tflite: its metadata has no usable "${key}"`);
    }
  });

  test.each([
    ["heatmaps", { decode: false }, /export it with --decode/],
    ["batches", { batch: 8 }, /--batch 1/],
    ["a later format", { format: 2 }, /format 2/],
    ["an impossible size", { input_size: -3 }, /input_size/],
    ["a text for a number", { box_scale: "1.3" }, /box_scale/],
  ])("%s are turned down", (_, change, message) => {
    const read = () => readMetadata(smallModel(JSON.stringify({ ...good, ...change })), "m.tflite");
    expect(read).toThrow(message);
    expect(read).toThrow(UserError);
  });

  test("no JSON", () => {
    expect(() => readMetadata(smallModel("{"), "m.tflite")).toThrow(/cannot be read/);
  });

  test("no TFLite file", () => {
    expect(() => readMetadata(new TextEncoder().encode("hello, world"), "x.tflite")).toThrow(
      /x.tflite is not a TFLite model/,
    );
    expect(() => readMetadata(new Uint8Array(), "x.tflite")).toThrow(/not a TFLite model/);
  });

  test("a TFLite file of someone else", () => {
    expect(() => readMetadata(foreign, "short_range.tflite")).toThrow(/not one of keras-facealign/);
    expect(() => readMetadata(smallModel("{}", "other_program__"), "m")).toThrow(
      /not one of keras/,
    );
  });

  test("a file cut short anywhere gives a message and nothing else", () => {
    const whole = smallModel(JSON.stringify(good));
    for (let length = 8; length < 204; length += 1) {
      expect(() => readMetadata(whole.slice(0, length), "m.tflite")).toThrow(UserError);
    }
    for (let length = 8; length < foreign.length; length += 997) {
      expect(() => readMetadata(foreign.subarray(0, length), "m.tflite")).toThrow(UserError);
    }
  });

  test.skipIf(!models.length)("of the bundled models", () => {
    for (const { file, label } of models) {
      const metadata = readMetadata(readFileSync(join(folder, file)), file);
      expect(metadata.numLandmarks).toBeGreaterThan(0);
      expect(label.startsWith(`${metadata.kind}, `)).toBe(true);
      expect(label).toContain(metadata.preset);
    }
  });

  test.skipIf(!existsSync(manifest))("every bundled model is offered, 2D first", () => {
    const presets = join(repository, "saved_models");
    const bundled = readdirSync(presets).flatMap((preset) =>
      readdirSync(join(presets, preset))
        .filter((name) => name.startsWith("model") && name.endsWith(".tflite"))
        .map((name) => `${preset}/${name}`),
    );
    expect(models.map(({ file }) => file)).toEqual(expect.arrayContaining(bundled));
    const kinds = models.map(({ label }) => label.slice(0, 2));
    expect(kinds).toEqual(kinds.toSorted());
  });
});
