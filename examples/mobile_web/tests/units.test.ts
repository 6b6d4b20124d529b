/** Geometry, sampling and faces of the detector against numbers of the Python package (reference.json). */

import { describe, expect, test } from "vitest";
import { decode, landmarkPlace, type RawFace, suppress } from "../src/detector.ts";
import {
  type Box,
  cropTransform,
  invert,
  movePoint,
  normalAngle,
  type Point,
  turned,
} from "../src/geometry.ts";
import { blockMeans, cutSquare, type Pixels } from "../src/pixels.ts";
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

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))));
}

describe("crops", () => {
  test.each(reference.sampling.crops)("box $box, roll $roll", ({ box, roll, pixels }) => {
    const transform = cropTransform({ box: box as unknown as Box, roll }, 16, 1.3);
    const data = cutSquare(drawnPicture(90, 120), transform, 16);
    const differences = Array.from(data, (value, i) => Math.abs(value - (pixels[i] as number)));
    // OpenCV knows positions to 1/32 pixel only, and green jumps from 255 to 0 in this picture.
    const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
    expect(mean).toBeLessThan(0.7);
    expect(Math.max(...differences)).toBeLessThanOrEqual(9);
  });

  test.each([0, 30, -170])("points come back from a crop turned by %d degrees", (roll) => {
    const transform = cropTransform({ box: [10, 20, 60, 90], roll }, 128, 1.3);
    const { x, y } = movePoint(invert(transform), movePoint(transform, { x: 31, y: 47 }));
    expect(x).toBeCloseTo(31, 9);
    expect(y).toBeCloseTo(47, 9);
    // The middle of the box is the middle of the crop.
    expect(movePoint(transform, { x: 35, y: 55 }).x).toBeCloseTo(63.5, 9);
  });

  test("a box far outside is black", () => {
    const transform = cropTransform({ box: [500, 500, 520, 520], roll: 0 }, 16, 1.3);
    expect(cutSquare(drawnPicture(20, 20), transform, 16).every((v) => v === 0)).toBe(true);
  });

  test("blocks are averaged", () => {
    const image = drawnPicture(12, 16);
    const { data, width, height } = blockMeans(image, [4, 4, 12, 12], 4);
    expect([width, height]).toEqual([2, 2]);
    let sum = 0;
    for (let y = 8; y < 12; y++) {
      for (let x = 4; x < 8; x++) sum += image.data[(y * 16 + x) * 4 + 1] as number;
    }
    expect(Math.abs((data[2 * 4 + 1] as number) - sum / 16)).toBeLessThanOrEqual(0.5);
  });
});

describe("faces of the network's numbers", () => {
  const { anchors, raw, logits, least, faces } = reference.faces;
  const boxes = new Float32Array(896 * 16);
  const scores = new Float32Array(896).fill(-20);
  for (const [i, anchor] of anchors.entries()) {
    boxes.set(raw[i] as number[], anchor * 16);
    scores[anchor] = logits[i] as number;
  }
  const found = suppress(decode(boxes, scores, least));

  test("are those of Python", () => {
    expect(found).toHaveLength(faces.length);
    for (const [i, face] of faces.entries()) {
      const { points, score } = found[i] as RawFace;
      const flat = points.slice(1).flatMap(({ x, y }) => [x, y]);
      expect(largestDifference(flat, face.keypoints.flat())).toBeLessThan(0.01);
      expect(score).toBeCloseTo(face.score, 3);
      const { box, roll } = landmarkPlace(found[i] as RawFace);
      expect(largestDifference(box, face.box)).toBeLessThan(0.02);
      expect(Math.abs(roll - face.roll)).toBeLessThan(0.01);
    }
  });

  test("turn with the picture", () => {
    const [face] = found as [RawFace, ...RawFace[]];
    const center = { x: 20, y: 90 };
    const transform = turned(2, -75, center, { x: 5, y: 6 });
    const points = face.points.map((point) => movePoint(transform, point));
    const place = landmarkPlace({ ...face, points, side: face.side * 2 });
    // Of the upright face, whose box is not turned.
    const straight = faces[0] as { box: number[]; tilt: number };
    expect(normalAngle(place.roll - straight.tilt)).toBeCloseTo(75, 2);
    const [x0, y0, x1, y1] = straight.box as unknown as Box;
    const middle: Point = movePoint(transform, { x: (x0 + x1) / 2, y: (y0 + y1) / 2 });
    const [a, b, c, d] = place.box;
    expect(largestDifference([(a + c) / 2, (b + d) / 2], [middle.x, middle.y])).toBeLessThan(0.05);
    expect(c - a).toBeCloseTo(2 * (x1 - x0), 1);
  });
});
