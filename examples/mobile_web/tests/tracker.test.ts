/** Following a face, with a detector and a network that know where it is. */

import { expect, test } from "vitest";
import type { Face } from "../src/aligner.ts";
import type { Box, Scored } from "../src/geometry.ts";
import { Tracker } from "../src/tracker.ts";

const image = { data: new Uint8ClampedArray(640 * 480 * 4), width: 640, height: 480 };

class World {
  x = 100;
  confidence = 0.8;
  searches = 0;
  readonly boxes: Box[] = [];

  async detect(): Promise<Scored[]> {
    this.searches += 1;
    return this.confidence > 0.5 ? [{ box: [this.x - 5, 95, this.x + 115, 210], score: 0.9 }] : [];
  }

  async align(_: unknown, box: Box): Promise<Face> {
    this.boxes.push(box);
    const landmarks = [
      { x: this.x, y: 100 },
      { x: this.x + 100, y: 100 },
      { x: this.x + 50, y: 200 },
    ];
    return { landmarks, confidence: landmarks.map(() => this.confidence), box };
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
  expect(world.boxes.at(-1)).toEqual([world.x - 4, 100, world.x + 96, 200]);
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
