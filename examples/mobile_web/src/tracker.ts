/**
 * Faces of a video: found by the detector, then followed by the box around their own landmarks, so
 * that the detector, the slower part, runs only when a face is new or lost.
 */

import { type Aligner, type Face, meanConfidence } from "./aligner.ts";
import type { Detector } from "./detector.ts";
import {
  type Box,
  boxArea,
  boxCenter,
  boxOverlap,
  movePoint,
  normalAngle,
  type Place,
  type Point,
  pointsBox,
  turned,
} from "./geometry.ts";
import type { Pixels } from "./pixels.ts";
import { cropBox, leaning, type Scheme } from "./scheme.ts";

// On pictures without a face, confidence reaches 0.45; on faces it is 0.5 and more.
export const LEAST_CONFIDENCE = 0.45;
const LEAST_INSIDE = 0.5;
const SAME_FACE = 0.3;
const TWICE = 0.6;
// From one frame to the next a face's center moves by no more than this, in units of its size; it
// does not grow or shrink by more, nor change its shape (see `continues`).
const LARGEST_SHIFT = 0.6;
const LARGEST_GROWTH = 1.6;
const LARGEST_CHANGE = 0.12;
const MAX_FACES = 4;
const DETECT_EVERY = 30;
// Nor is the detector tried on every frame while there is no face: that would stop the picture.
const DETECT_EVERY_WITHOUT = 3;
// The crop is turned anew when the face leans by more degrees than this in it.
const LEANING = 20;

export interface TrackerTimes {
  /** Milliseconds of the last search for faces. */
  detect: number;
  /** Milliseconds for one face in the last frame. */
  align: number;
}

export class Tracker {
  readonly times: TrackerTimes = { detect: 0, align: 0 };
  /** Whether the last search found faces that the network does not believe in. */
  doubtful = false;
  private faces: readonly Face[] = [];
  private sinceDetection = Infinity;

  constructor(
    private readonly detector: Pick<Detector, "detect">,
    private readonly aligner: Pick<Aligner, "align">,
    private readonly scheme: Scheme,
  ) {}

  reset(): void {
    this.faces = [];
    this.sinceDetection = Infinity;
  }

  /** The faces of the next frame. */
  async update(image: Pixels): Promise<Face[]> {
    const faces = await this.follow(image);
    this.sinceDetection += 1;
    const due = faces.length ? DETECT_EVERY : DETECT_EVERY_WITHOUT;
    const lost = faces.length < this.faces.length;
    if (faces.length < MAX_FACES && (lost || this.sinceDetection >= due)) {
      this.sinceDetection = 0;
      await this.search(image, faces);
    }
    this.faces = faces;
    return faces;
  }

  private async follow(image: Pixels): Promise<Face[]> {
    const faces: Face[] = [];
    const start = performance.now();
    for (const before of this.faces) {
      const face = await this.aligner.align(image, nextPlace(before, this.scheme));
      const found = pointsBox(face.landmarks);
      const steady = continues(before.landmarks, face.landmarks);
      const twice = faces.some((other) => boxOverlap(pointsBox(other.landmarks), found) > TWICE);
      if (steady && !twice && isFace(face, image)) faces.push(face);
    }
    if (this.faces.length) this.times.align = (performance.now() - start) / this.faces.length;
    return faces;
  }

  /** Adds the faces that are not followed yet. */
  private async search(image: Pixels, faces: Face[]): Promise<void> {
    const start = performance.now();
    const found = await this.detector.detect(image);
    this.times.detect = performance.now() - start;
    const boxOf = (face: Face) => cropBox(this.scheme, face.landmarks);
    const isNew = (box: Box) => faces.every((face) => boxOverlap(boxOf(face), box) <= SAME_FACE);
    this.doubtful = false;
    for (const place of found.sort((a, b) => boxArea(b.box) - boxArea(a.box))) {
      if (faces.length >= MAX_FACES || !isNew(place.box)) continue;
      // Twice: from now on the box comes from the landmarks, and they must not jump then.
      const first = await this.aligner.align(image, place, place.score);
      this.doubtful ||= !first.reliable;
      if (!isFace(first, image) || !first.reliable) continue;
      const face = await this.aligner.align(image, nextPlace(first, this.scheme));
      if (isFace(face, image) && isNew(boxOf(face))) faces.push(face);
    }
  }
}

/**
 * Whether landmarks can be those of the same face in the next frame.
 *
 * The change of shape is what remains after the best shift, turn and scaling: the root mean square
 * distance in units of the later face's spread.
 */
export function continues(before: readonly Point[], after: readonly Point[]): boolean {
  const [a, b] = [centered(before), centered(after)];
  const spread = Math.hypot(...b.points.flatMap(({ x, y }) => [x, y])) || 1e-9;
  const earlier = Math.hypot(...a.points.flatMap(({ x, y }) => [x, y])) || 1e-9;
  const [x0, y0, x1, y1] = pointsBox(before);
  const shift = Math.hypot(b.center.x - a.center.x, b.center.y - a.center.y);
  // The best factor, a complex number; its length in units of both spreads is their correlation.
  let [along, across] = [0, 0];
  for (const [i, { x, y }] of a.points.entries()) {
    const to = b.points[i] as Point;
    along += x * to.x + y * to.y;
    across += x * to.y - y * to.x;
  }
  const correlation = Math.hypot(along, across) / (spread * earlier);
  const change = Math.sqrt(Math.max(0, 1 - correlation ** 2));
  const growth = Math.max(spread / earlier, earlier / spread);
  const near = shift <= LARGEST_SHIFT * Math.max(x1 - x0, y1 - y0);
  return near && growth < LARGEST_GROWTH && change < LARGEST_CHANGE;
}

function centered(points: readonly Point[]): { center: Point; points: Point[] } {
  const mean = (of: (point: Point) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const center = { x: mean(({ x }) => x), y: mean(({ y }) => y) };
  return { center, points: points.map(({ x, y }) => ({ x: x - center.x, y: y - center.y })) };
}

/** The box of a face, turned back by its roll about the center of its landmarks. */
function uprightBox({ landmarks, roll }: Face, scheme: Scheme): Box {
  if (!roll) return cropBox(scheme, landmarks);
  const center = boxCenter(pointsBox(landmarks));
  const transform = turned(1, roll, center, center);
  return cropBox(
    scheme,
    landmarks.map((point) => movePoint(transform, point)),
  );
}

/**
 * Where to look for a face in the next frame. The angle stays as it is while the face leans little in
 * the crop: the network is trained on such faces, and the landmarks would jump a little with every turn.
 */
export function nextPlace(face: Face, scheme: Scheme): Place {
  const angle = leaning(scheme, face.landmarks) ?? face.roll;
  const roll = Math.abs(normalAngle(angle - face.roll)) > LEANING ? angle : face.roll;
  const box = uprightBox({ ...face, roll }, scheme);
  if (!roll) return { box, roll };
  // The box is turned about its own center, which lies where that of the turned points does.
  const center = boxCenter(pointsBox(face.landmarks));
  const middle = boxCenter(box);
  const there = movePoint(turned(1, -roll, center, center), middle);
  const [dx, dy] = [there.x - middle.x, there.y - middle.y];
  return { box: [box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy], roll };
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
