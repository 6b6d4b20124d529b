/** Following a face, with a detector and a network that know where it is. */

import { expect, test } from "vitest";
import type { Face } from "../src/aligner.ts";
import type { Detection } from "../src/detector.ts";
import { movePoint, type Place, turned } from "../src/geometry.ts";
import { nextPlace, Tracker } from "../src/tracker.ts";

const image = { data: new Uint8ClampedArray(640 * 480 * 4), width: 640, height: 480 };

class World {
  x = 100;
  confidence = 0.8;
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
    return { landmarks, confidence: landmarks.map(() => this.confidence), ...place };
  }
}

test("one search, then the landmarks' own box", async () => {
  const world = new World();
  const tracker = new Tracker(world, world);
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
  const tracker = new Tracker(world, world);
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
  const tracker = new Tracker(world, world);
  await tracker.update(image);
  world.x = 620;
  expect(await tracker.update(image)).toHaveLength(0);
});

test("new faces are looked for now and then", async () => {
  const world = new World();
  const tracker = new Tracker(world, world);
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
  const lean = (roll: number, before: number) => {
    const transform = turned(1, -roll, { x: 300, y: 200 }, { x: 330, y: 170 });
    const landmarks = upright.map((point) => movePoint(transform, point));
    return nextPlace({ landmarks, confidence: [], box: [0, 0, 1, 1], roll: before });
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
});
