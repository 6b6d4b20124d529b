/**
 * Faces of a video: found by the detector, then followed by the box around their own landmarks, so
 * that the detector, the slower part, runs only when a face is new or lost.
 */

import { type Aligner, type Face, isReliable, meanConfidence } from "./aligner.ts";
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
  private places: Place[] = [];
  private sinceDetection = Infinity;

  constructor(
    private readonly detector: Pick<Detector, "detect">,
    private readonly aligner: Pick<Aligner, "align">,
  ) {}

  reset(): void {
    this.places = [];
    this.sinceDetection = Infinity;
  }

  /** The faces of the next frame. */
  async update(image: Pixels): Promise<Face[]> {
    const faces = await this.follow(image);
    this.sinceDetection += 1;
    const due = faces.length ? DETECT_EVERY : DETECT_EVERY_WITHOUT;
    const lost = faces.length < this.places.length;
    if (faces.length < MAX_FACES && (lost || this.sinceDetection >= due)) {
      this.sinceDetection = 0;
      await this.search(image, faces);
    }
    this.places = faces.map(nextPlace);
    return faces;
  }

  private async follow(image: Pixels): Promise<Face[]> {
    const faces: Face[] = [];
    const start = performance.now();
    for (const place of this.places) {
      const face = await this.aligner.align(image, place);
      const found = pointsBox(face.landmarks);
      const growth = Math.sqrt(boxArea(uprightBox(face)) / boxArea(place.box));
      const steady = growth < LARGEST_GROWTH && growth > 1 / LARGEST_GROWTH;
      const twice = faces.some((other) => boxOverlap(pointsBox(other.landmarks), found) > TWICE);
      if (steady && !twice && isFace(face, image)) faces.push(face);
    }
    if (this.places.length) this.times.align = (performance.now() - start) / this.places.length;
    return faces;
  }

  /** Adds the faces that are not followed yet. */
  private async search(image: Pixels, faces: Face[]): Promise<void> {
    const start = performance.now();
    const found = await this.detector.detect(image);
    this.times.detect = performance.now() - start;
    const isNew = (box: Box) =>
      faces.every((face) => boxOverlap(pointsBox(face.landmarks), box) <= SAME_FACE);
    for (const place of found.sort((a, b) => boxArea(b.box) - boxArea(a.box))) {
      if (faces.length >= MAX_FACES || !isNew(place.box)) continue;
      // Twice: from now on the box comes from the landmarks, and they must not jump then.
      const first = await this.aligner.align(image, place);
      if (!isFace(first, image) || !isReliable(first, place.score)) continue;
      const face = await this.aligner.align(image, nextPlace(first));
      if (isFace(face, image) && isNew(pointsBox(face.landmarks))) faces.push(face);
    }
  }
}

/** The box of a face's landmarks, turned back by its roll about their center. */
function uprightBox({ landmarks, roll }: Face): Box {
  if (!roll) return pointsBox(landmarks);
  const center = boxCenter(pointsBox(landmarks));
  return pointsBox(landmarks.map((point) => movePoint(turned(1, roll, center, center), point)));
}

/**
 * Where to look for a face in the next frame. The angle stays as it is while the face leans little in
 * the crop: the network is trained on such faces, and the landmarks would jump a little with every turn.
 */
export function nextPlace(face: Face): Place {
  let { roll } = face;
  if (face.landmarks.length === 68) {
    const eye = (first: number) => {
      const points = face.landmarks.slice(first, first + 6);
      const sum = (of: (point: Point) => number) => points.reduce((s, p) => s + of(p), 0);
      return { x: sum(({ x }) => x), y: sum(({ y }) => y) };
    };
    const [right, left] = [eye(36), eye(42)];
    const angle = (Math.atan2(left.y - right.y, left.x - right.x) * 180) / Math.PI;
    if (Math.abs(normalAngle(angle - roll)) > LEANING) roll = angle;
  }
  if (!roll) return { box: pointsBox(face.landmarks), roll };
  // The box is turned about its own center, which lies where that of the turned points does.
  const center = boxCenter(pointsBox(face.landmarks));
  const box = uprightBox({ ...face, roll });
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
