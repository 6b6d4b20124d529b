/**
 * Faces of a video: found by the detector, then followed by the box around their own landmarks, so
 * that the detector, the slower part, runs only when a face is new or lost.
 */

import { type Aligner, type Face, meanConfidence } from "./aligner.ts";
import type { Detector } from "./detector.ts";
import { type Box, boxArea, boxOverlap, pointsBox } from "./geometry.ts";
import type { Pixels } from "./pixels.ts";

// On pictures without a face, confidence reaches 0.45; on faces it is 0.5 and more.
export const LEAST_CONFIDENCE = 0.45;
const LEAST_INSIDE = 0.5;
const SAME_FACE = 0.3;
const TWICE = 0.6;
// From one frame to the next a face does not grow or shrink by more than this.
const LARGEST_GROWTH = 1.6;
const MAX_FACES = 4;
const DETECT_EVERY = 30;
// Nor is the detector tried on every frame while there is no face: that would stop the picture.
const DETECT_EVERY_WITHOUT = 3;
// The smallest face that the camera mode looks for, as a part of the shorter side.
const SMALLEST_FACE = 1 / 8;

export interface TrackerTimes {
  /** Milliseconds of the last search for faces. */
  detect: number;
  /** Milliseconds for one face in the last frame. */
  align: number;
}

export class Tracker {
  readonly times: TrackerTimes = { detect: 0, align: 0 };
  private boxes: Box[] = [];
  private sinceDetection = Infinity;

  constructor(
    private readonly detector: Pick<Detector, "detect">,
    private readonly aligner: Pick<Aligner, "align">,
  ) {}

  reset(): void {
    this.boxes = [];
    this.sinceDetection = Infinity;
  }

  /** The faces of the next frame. */
  async update(image: Pixels): Promise<Face[]> {
    const faces = await this.follow(image);
    this.sinceDetection += 1;
    const due = faces.length ? DETECT_EVERY : DETECT_EVERY_WITHOUT;
    const lost = faces.length < this.boxes.length;
    if (faces.length < MAX_FACES && (lost || this.sinceDetection >= due)) {
      this.sinceDetection = 0;
      await this.search(image, faces);
    }
    this.boxes = faces.map((face) => pointsBox(face.landmarks));
    return faces;
  }

  private async follow(image: Pixels): Promise<Face[]> {
    const faces: Face[] = [];
    const start = performance.now();
    for (const box of this.boxes) {
      const face = await this.aligner.align(image, box);
      const found = pointsBox(face.landmarks);
      const growth = Math.sqrt(boxArea(found) / boxArea(box));
      const steady = growth < LARGEST_GROWTH && growth > 1 / LARGEST_GROWTH;
      const twice = faces.some((other) => boxOverlap(pointsBox(other.landmarks), found) > TWICE);
      if (steady && !twice && isFace(face, image)) faces.push(face);
    }
    if (this.boxes.length) this.times.align = (performance.now() - start) / this.boxes.length;
    return faces;
  }

  /** Adds the faces that are not followed yet. */
  private async search(image: Pixels, faces: Face[]): Promise<void> {
    const start = performance.now();
    const minFace = Math.max(20, Math.min(image.width, image.height) * SMALLEST_FACE);
    const found = await this.detector.detect(image, minFace);
    this.times.detect = performance.now() - start;
    const isNew = (box: Box) =>
      faces.every((face) => boxOverlap(pointsBox(face.landmarks), box) <= SAME_FACE);
    const fresh = found.map(({ box }) => box).sort((a, b) => boxArea(b) - boxArea(a));
    for (const box of fresh) {
      if (faces.length >= MAX_FACES || !isNew(box)) continue;
      // Twice: from now on the box comes from the landmarks, and they must not jump then.
      const first = await this.aligner.align(image, box);
      if (!isFace(first, image)) continue;
      const face = await this.aligner.align(image, pointsBox(first.landmarks));
      if (isFace(face, image) && isNew(pointsBox(face.landmarks))) faces.push(face);
    }
  }
}

/** Whether the network is sure of it, and enough of it is in the picture. */
function isFace(face: Face, image: Pixels): boolean {
  if (!(meanConfidence(face) >= LEAST_CONFIDENCE)) return false;
  const [x0, y0, x1, y1] = pointsBox(face.landmarks);
  if (!(x1 - x0 > 1 && y1 - y0 > 1)) return false;
  const inside = face.landmarks.filter(
    ({ x, y }) => x >= -0.5 && y >= -0.5 && x < image.width - 0.5 && y < image.height - 0.5,
  );
  return inside.length >= LEAST_INSIDE * face.landmarks.length;
}
