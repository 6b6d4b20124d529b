/** Geometry, sampling and suppression against numbers of the Python package (reference.json). */

import { describe, expect, test } from "vitest";
import { samplePatch } from "../src/detector.ts";
import { type Box, cropTransform, invertPoint, withoutOverlaps } from "../src/geometry.ts";
import { cropFace, type Pixels, shrink } from "../src/pixels.ts";
import { layTiles, pyramidScales, scanPyramid } from "../src/pyramid.ts";
import reference from "./reference.json";

/** The picture of scripts/make_reference.py. */
function drawnPicture(height: number, width: number): Pixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const red = 128 + 100 * Math.sin(x / 9) * Math.cos(y / 7);
      const rgba = [red, (x * 3 + y * 5) % 256, (255 * (x + y)) / (width + height), 255];
      data.set(rgba, (y * width + x) * 4);
    }
  }
  return { data, width, height };
}

/** The input of a drawn picture as RGB floats. */
function rgb(image: Pixels): Float32Array {
  return Float32Array.from(image.data.filter((_, i) => i % 4 < 3));
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))));
}

describe("crops", () => {
  test.each(reference.sampling.crops)("box $box", ({ box, pixels }) => {
    const { data } = cropFace(drawnPicture(90, 120), box as unknown as Box, 16, 1.3);
    const differences = Array.from(data, (value, i) => Math.abs(value - (pixels[i] as number)));
    // OpenCV knows positions to 1/32 pixel only, and green jumps from 255 to 0 in this picture.
    const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
    expect(mean).toBeLessThan(0.7);
    expect(Math.max(...differences)).toBeLessThanOrEqual(9);
  });

  test("points come back from the crop", () => {
    const transform = cropTransform([10, 20, 60, 90], 128, 1.3);
    const x = transform.scale * 31 + transform.dx;
    const y = transform.scale * 47 + transform.dy;
    const point = invertPoint(transform, x, y);
    expect(point.x).toBeCloseTo(31, 9);
    expect(point.y).toBeCloseTo(47, 9);
    // The middle of the box is the middle of the crop.
    expect(transform.scale * 35 + transform.dx).toBeCloseTo(63.5, 9);
  });

  test("a box far outside is black", () => {
    expect(
      cropFace(drawnPicture(20, 20), [500, 500, 520, 520], 16, 1.3).data.every((v) => v === 0),
    ).toBe(true);
  });
});

describe("patches of MTCNN", () => {
  test.each(reference.sampling.patches)("box $box", ({ box, values }) => {
    const out = new Float32Array(8 * 8 * 3);
    samplePatch(drawnPicture(90, 120), box as unknown as Box, 8, out);
    expect(largestDifference(out, values)).toBeLessThan(0.02);
  });
});

describe("shrinking", () => {
  test("averages every pixel with the share that it has", () => {
    const image = drawnPicture(9, 10);
    const [width, height] = [4, 4];
    const result = shrink(image, width, height);
    const slow: number[] = [];
    // Each pixel cut into 4 x 4 parts (10 / 4 and 9 / 4 are whole multiples of 1 / 4).
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let channel = 0; channel < 3; channel++) {
          let sum = 0;
          for (let v = y * 9; v < (y + 1) * 9; v++) {
            for (let u = x * 10; u < (x + 1) * 10; u++) {
              sum += image.data[
                (Math.floor(v / 4) * 10 + Math.floor(u / 4)) * 4 + channel
              ] as number;
            }
          }
          slow.push(sum / 90);
        }
      }
    }
    expect(largestDifference(result, slow)).toBeLessThan(1e-3);
  });

  test("leaves a picture of the same size alone", () => {
    const image = drawnPicture(12, 13);
    expect(largestDifference(shrink(image, 13, 12), rgb(image))).toBe(0);
  });
});

describe("suppression", () => {
  const { boxes, scores, union, smaller } = reference.suppression;
  const found = boxes.map((box, i) => ({ box: box as unknown as Box, score: scores[i] as number }));

  test("by intersection over union", () => {
    expect(withoutOverlaps(found, 0.5).map(({ box }) => box)).toEqual(union);
  });

  test("by the share of the smaller box", () => {
    expect(withoutOverlaps(found, 0.5, true).map(({ box }) => box)).toEqual(smaller);
  });
});

describe("tiles of the pyramid", () => {
  const sizes = [
    { width: 614, height: 461 },
    { width: 256, height: 256 },
    { width: 101, height: 57 },
    { width: 13, height: 12 },
  ];

  test("cover every cell once, on places of their own", () => {
    const taken = new Set<string>();
    const cells = sizes.map(() => new Set<string>());
    let count = 0;
    for (const tile of layTiles(sizes, 256)) {
      expect(tile.left + tile.width).toBeLessThanOrEqual(256);
      expect(tile.top + tile.height).toBeLessThanOrEqual(256);
      expect([tile.left % 2, tile.top % 2, tile.x % 2, tile.y % 2]).toEqual([0, 0, 0, 0]);
      for (let y = 0; y < tile.height; y += 2) {
        for (let x = 0; x < tile.width; x += 2) {
          const place = `${tile.canvas} ${tile.left + x} ${tile.top + y}`;
          expect(taken.has(place)).toBe(false);
          taken.add(place);
          if (x + 12 > tile.width || y + 12 > tile.height) continue;
          cells[tile.level]?.add(`${tile.x + x} ${tile.y + y}`);
          count += 1;
        }
      }
    }
    const wanted = sizes.map(
      ({ width, height }) => (Math.ceil(width / 2) - 5) * (Math.ceil(height / 2) - 5),
    );
    expect(cells.map((set) => set.size)).toEqual(wanted);
    expect(count).toBe(wanted.reduce((a, b) => a + b));
  });

  test("give each cell the pixels it looks at", async () => {
    const image = drawnPicture(460, 500);
    // A network that answers with the pixel in the corner of each cell.
    const run = async (input: Float32Array) => {
      const boxes = new Float32Array(123 * 123 * 4);
      const scores = new Float32Array(123 * 123);
      for (let i = 0; i < 123; i++) {
        for (let j = 0; j < 123; j++)
          scores[i * 123 + j] = input[(i * 2 * 256 + j * 2) * 3] as number;
      }
      return { boxes, scores };
    };
    const [first] = await scanPyramid(image, 256, -1, run);
    const scale = pyramidScales(500, 460)[0] as number;
    const level = shrink(image, 300, 276);
    expect(first).toHaveLength((150 - 5) * (138 - 5));
    for (const { box, score } of first ?? []) {
      const [x, y] = [Math.round(box[0] * scale - 1), Math.round(box[1] * scale - 1)];
      expect(score).toBeCloseTo(level[(y * 300 + x) * 3] as number, 3);
    }
  });
});
