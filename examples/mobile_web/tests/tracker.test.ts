/** Following a face, with a detector and a network that know where it is. */

import { expect, test } from "vitest";
import type { Face } from "../src/aligner.ts";
import type { Detection } from "../src/detector.ts";
import { movePoint, type Place, turned } from "../src/geometry.ts";
import { IBUG68, type Scheme } from "../src/scheme.ts";
import { continues, nextPlace, Tracker } from "../src/tracker.ts";

const image = { data: new Uint8ClampedArray(640 * 480 * 4), width: 640, height: 480 };

const THREE: Scheme = { edges: [], faceBox: [0, 0, 1, 1] };

class World {
  x = 100;
  confidence = 0.8;
  reliable = true;
  searches = 0;
  readonly places: Place[] = [];

  async detect(): Promise<Detection[]> {
    this.searches += 1;
    const box = [this.x - 5, 95, this.x + 115, 210] as const;
    return this.confidence > 0.5 ? [{ box, roll: 0, score: 0.9 }] : [];
  }

  async align(_: unknown, place: Place): Promise<Face> {
    this.places.push(place);
    const landmarks = [
      { x: this.x, y: 100 },
      { x: this.x + 100, y: 100 },
      { x: this.x + 50, y: 200 },
    ];
    return {
      landmarks,
      confidence: landmarks.map(() => this.confidence),
      ...place,
      reliable: this.reliable,
    };
  }
}

test("one search, then the landmarks' own box", async () => {
  const world = new World();
  const tracker = new Tracker(world, world, THREE);
  for (let i = 0; i < 20; i++) {
    world.x += 4;
    const faces = await tracker.update(image);
    expect(faces).toHaveLength(1);
    expect(faces[0]?.landmarks[0]?.x).toBe(world.x);
  }
  expect(world.searches).toBe(1);
  // In the last frame the network looked where the landmarks were in the one before.
  expect(world.places.at(-1)?.box).toEqual([world.x - 4, 100, world.x + 96, 200]);
});

test("a lost face is searched for at once, and found again", async () => {
  const world = new World();
  const tracker = new Tracker(world, world, THREE);
  await tracker.update(image);
  world.confidence = 0.2;
  expect(await tracker.update(image)).toHaveLength(0);
  expect(world.searches).toBe(2);
  world.confidence = 0.8;
  const found = [];
  for (let i = 0; i < 3; i++) found.push((await tracker.update(image)).length);
  expect(found).toEqual([0, 0, 1]);
});

test("a face that leaves the picture is dropped", async () => {
  const world = new World();
  const tracker = new Tracker(world, world, THREE);
  await tracker.update(image);
  world.x = 620;
  expect(await tracker.update(image)).toHaveLength(0);
});

test("new faces are looked for now and then", async () => {
  const world = new World();
  const tracker = new Tracker(world, world, THREE);
  for (let i = 0; i < 61; i++) await tracker.update(image);
  expect(world.searches).toBe(3);
});

test("the crop turns with a face that leans", () => {
  const angle = (k: number) => (2 * Math.PI * k) / 68;
  const upright = Array.from({ length: 68 }, (_, k) => ({
    x: 300 + 50 * Math.cos(angle(k)),
    y: 200 + 40 * Math.sin(angle(k)),
  }));
  for (let k = 36; k < 42; k++) upright[k] = { x: 280, y: 190 };
  for (let k = 42; k < 48; k++) upright[k] = { x: 320, y: 190 };
  const lean = (roll: number, before: number, scheme = IBUG68) => {
    const transform = turned(1, -roll, { x: 300, y: 200 }, { x: 330, y: 170 });
    const landmarks = upright.map((point) => movePoint(transform, point));
    const rest = { confidence: [], box: [0, 0, 1, 1], reliable: true } as const;
    return nextPlace({ landmarks, roll: before, ...rest }, scheme);
  };
  expect(lean(15, 0).roll).toBe(0);
  for (const roll of [30, 90, 175, -120]) {
    const place = lean(roll, 0);
    expect(place.roll).toBeCloseTo(roll, 6);
    // The box of the upright face, moved to where the turned one is.
    for (const [i, side] of [280, 130, 380, 210].entries()) {
      expect(place.box[i]).toBeCloseTo(side, 6);
    }
  }
  // Within 20 degrees of the last crop, its angle stays.
  expect(lean(50, 40).roll).toBe(40);
  // Without eyes it is never known.
  expect(lean(90, 0, THREE).roll).toBe(0);
  // A scheme whose faces are cropped by more than its points: the center moves with the angle.
  const { box } = lean(90, 0, { ...IBUG68, faceBox: [0, -1, 1, 1] });
  for (const [i, side] of [320, 90, 420, 250].entries()) expect(box[i]).toBeCloseTo(side, 6);
});

test("a face that the network does not believe in is not followed, and said", async () => {
  const world = new World();
  world.reliable = false;
  const tracker = new Tracker(world, world, THREE);
  expect(await tracker.update(image)).toHaveLength(0);
  expect(tracker.doubtful).toBe(true);
  world.reliable = true;
  for (let i = 0; i < 3; i++) await tracker.update(image);
  expect(tracker.doubtful).toBe(false);
});

test("points that take a small part of the face are cropped by the face's box", async () => {
  const world = new World();
  // The points fill the upper half of the face.
  const tracker = new Tracker(world, world, { edges: [], faceBox: [0, 0, 1, 2] });
  for (let i = 0; i < 35; i++) expect(await tracker.update(image)).toHaveLength(1);
  expect(world.searches).toBe(2);
  expect(world.places.at(-1)?.box).toEqual([world.x, 100, world.x + 100, 300]);
});

test("what continues a face is that face moved, turned and scaled a little", () => {
  const face = Array.from({ length: 68 }, (_, k) => ({
    x: 300 + 50 * Math.cos(k) + (k % 7),
    y: 200 + 40 * Math.sin(k) - (k % 5),
  }));
  const moved = (scale: number, roll: number, x: number) =>
    face.map((p) => movePoint(turned(scale, roll, { x: 300, y: 200 }, { x, y: 200 }), p));
  expect(continues(face, moved(1, 0, 340))).toBe(true);
  expect(continues(face, moved(1.5, 60, 310))).toBe(true);
  expect(continues(face, moved(1, 0, 380))).toBe(false);
  expect(continues(face, moved(1.7, 0, 300))).toBe(false);
  expect(continues(face, moved(0.55, 0, 300))).toBe(false);
  // Of another shape: noise of a share of the spread, which is its root mean square distance.
  const spread = Math.sqrt((50 ** 2 + 40 ** 2) / 2);
  const noisy = (share: number) =>
    face.map(({ x, y }, k) => ({ x: x + share * spread * (k % 2 ? 1 : -1), y }));
  expect(continues(face, noisy(0.08))).toBe(true);
  expect(continues(face, noisy(0.16))).toBe(false);
});
