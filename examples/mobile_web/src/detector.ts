/**
 * BlazeFace, short range (Bazarevsky et al., 2019). The steps and numbers are those of
 * `keras_facealign/detection/blazeface`, whose full-range network is not used here: smaller faces are
 * searched for in tiles.
 */

import {
  type Box,
  boxCenter,
  boxOverlap,
  invert,
  movePoint,
  normalAngle,
  type Place,
  type Point,
  squareAround,
  type Transform,
  turned,
} from "./geometry.ts";
import { cutSquare, isInside, type Pixels } from "./pixels.ts";
import type { Network } from "./runtime.ts";

/** Side of the network's input in pixels; it finds faces of a sixth of it. */
export const SIZE = 128;
const SMALLEST = 20;
// Of a panorama, a view shows a part that is twice as long as high.
const LONGEST = 2;
const OVERLAP = 2.2 * SMALLEST;
const PROPOSAL = 0.3;
const TILE_PROPOSAL = 0.4;
const THRESHOLD = 0.6;
const ANY = 0.1;
const SURE = 0.85;
const TILTED = 20;
const SAME_FACE = 0.3;
const REPEATED = 0.2;
// The face's share of the view in a second look.
const SHARE = 0.45;
const DOMINANT = 0.35;
// Anchors: two in each cell of 8 pixels, six in each of 16.
const MAPS: readonly (readonly [number, number])[] = [
  [8, 2],
  [16, 6],
];
const NUMBERS = 16;
// `boxes.py`: from the key points to the box around the landmarks.
const ACROSS = [-1.429, 0.82, 1.526, -0.071];
const DOWN = [-0.172, 0.941, 0.212, -1.129, 0.58, -0.41, 0.189];
const LOG_SIDE = [-0.92, -1.684, 1.59, 1.062, -0.366, -3.1, 2.346];

/** A face as the network knows it. */
export interface RawFace {
  /** Its center and six points: right eye, left eye, nose, mouth, right ear, left ear. */
  readonly points: readonly Point[];
  readonly side: number;
  readonly score: number;
}

export interface Detection extends Place {
  readonly score: number;
}

export const anchors: readonly Point[] = MAPS.flatMap(([stride, count]) => {
  const cells = SIZE / stride;
  return Array.from({ length: cells * cells * count }, (_, i) => {
    const cell = Math.floor(i / count);
    return {
      x: ((cell % cells) + 0.5) * stride - 0.5,
      y: (Math.floor(cell / cells) + 0.5) * stride - 0.5,
    };
  });
});

export class Detector {
  constructor(private readonly network: Network) {}

  /**
   * Finds faces, with boxes tight around brows and chin; the surest first.
   *
   * `fine` is how often the picture is searched for faces of half the size again, unless one takes a
   * third of its shorter side. The first search finds those of a sixth of the longer side.
   */
  async detect(image: Pixels, fine = 0): Promise<Detection[]> {
    const shown = Math.min(
      Math.max(image.width, image.height),
      LONGEST * Math.min(image.width, image.height),
    );
    const dominant = DOMINANT * Math.min(image.width, image.height);
    let found: RawFace[] = [];
    for (let level = 0; level <= fine; level++) {
      if (found.some(({ side }) => side > dominant)) break;
      const scale = (2 ** level * SIZE) / shown;
      for (const turn of level ? [0] : [0, 90, 180, 270]) {
        for (const face of await this.propose(image, scale, turn, level > 0)) {
          found = await this.add(image, face, level > 0, found);
        }
        if (found.length) break;
      }
    }
    return found
      .map((face) => ({ ...landmarkPlace(face), score: face.score }))
      .filter(({ box }) => isInside(image, box))
      .sort((a, b) => b.score - a.score);
  }

  /** What may be faces in views of one scale that cover the picture. */
  private async propose(
    image: Pixels,
    scale: number,
    turn: number,
    small: boolean,
  ): Promise<RawFace[]> {
    const middle = { x: (SIZE - 1) / 2, y: (SIZE - 1) / 2 };
    const proposals: RawFace[] = [];
    const overlap = small ? OVERLAP : SIZE / 2;
    const columns = starts(image.width * scale, overlap);
    for (const top of starts(image.height * scale, overlap)) {
      for (const left of columns) {
        const center = { x: (left + SIZE / 2) / scale - 0.5, y: (top + SIZE / 2) / scale - 0.5 };
        const transform = turned(scale, turn, center, middle);
        const faces = await this.look(image, transform, small ? TILE_PROPOSAL : PROPOSAL);
        proposals.push(...faces);
      }
    }
    return proposals.sort((a, b) => b.score - a.score);
  }

  /** Adds a proposal if it is a new face, or a surer one than those in its place. */
  private async add(
    image: Pixels,
    proposal: RawFace,
    small: boolean,
    found: RawFace[],
  ): Promise<RawFace[]> {
    const here = (face: RawFace) =>
      found.filter((other) => boxOverlap(rawBox(face), rawBox(other)) > REPEATED);
    if (here(proposal).some(({ score }) => score >= SURE)) return found;
    const clear = proposal.score >= SURE && Math.abs(rollOf(proposal)) <= TILTED;
    const face = clear && !small ? proposal : await this.settle(image, proposal);
    if (!face || face.score < THRESHOLD) return found;
    const rivals = here(face);
    if (rivals.some(({ score }) => score >= face.score)) return found;
    return [...found.filter((other) => !rivals.includes(other)), face];
  }

  /** Looks at a face again, turned upright: the network reads those upside down with low scores. */
  private async settle(image: Pixels, face: RawFace): Promise<RawFace | undefined> {
    const start = rollOf(face);
    let best: RawFace | undefined;
    let off = 0;
    for (const turn of [start, start + 180, start + 90, start + 270]) {
      const seen = await this.lookAt(image, face, turn);
      if (!seen || seen.score <= (best?.score ?? 0)) continue;
      best = seen;
      off = Math.abs(normalAngle(rollOf(seen) - turn));
      if (seen.score >= SURE && off <= TILTED) break;
    }
    if (best && off > TILTED) {
      const again = await this.lookAt(image, best, rollOf(best));
      if (again && again.score > best.score) best = again;
    }
    return best;
  }

  private async lookAt(image: Pixels, face: RawFace, roll: number): Promise<RawFace | undefined> {
    const middle = { x: (SIZE - 1) / 2, y: (SIZE - 1) / 2 };
    const center = face.points[0] as Point;
    const reach = SHARE * SIZE;
    const transform = turned(reach / face.side, roll, center, middle);
    const faces = await this.look(image, transform, ANY);
    return faces.find(({ points }) => {
      const { x, y } = movePoint(transform, points[0] as Point);
      return Math.max(Math.abs(x - middle.x), Math.abs(y - middle.y)) < reach / 2;
    });
  }

  /** The faces of one view, in pixels of the picture. */
  private async look(image: Pixels, transform: Transform, least: number): Promise<RawFace[]> {
    const view = cutSquare(image, transform, SIZE);
    const input = new Float32Array(view.length);
    // `Float32Array.from` takes 4 ms for it.
    for (let i = 0; i < input.length; i++) input[i] = (view[i] as number) / 127.5 - 1;
    const { boxes, scores } = await this.network.run(input);
    if (!boxes || !scores) throw new Error("the detector gives no boxes and scores");
    const back = invert(transform);
    const scale = Math.hypot(back.a, back.b);
    return suppress(decode(boxes, scores, least)).map(({ points, side, score }) => ({
      points: points.map((point) => movePoint(back, point)),
      side: side * scale,
      score,
    }));
  }
}

/** Where views of the network's size start along a side, in pixels of the view. */
function starts(side: number, overlap: number): number[] {
  if (side < SIZE + 0.5) return [(side - SIZE) / 2];
  const count = Math.ceil((side - overlap) / (SIZE - overlap));
  return Array.from({ length: count }, (_, i) => ((side - SIZE) * i) / (count - 1));
}

/** The network's numbers as faces in pixels of the view. */
export function decode(boxes: Float32Array, scores: Float32Array, least: number): RawFace[] {
  const faces: RawFace[] = [];
  for (const [i, logit] of scores.entries()) {
    const score = 1 / (1 + Math.exp(-logit));
    if (!(score >= least)) continue;
    const raw = boxes.subarray(i * NUMBERS, (i + 1) * NUMBERS);
    const [width, height] = [raw[2] as number, raw[3] as number];
    if (!(width > 0 && height > 0)) continue;
    const { x, y } = anchors[i] as Point;
    // The center, then, after width and height, the points.
    const points = [0, 2, 3, 4, 5, 6, 7].map((k) => ({
      x: x + (raw[2 * k] as number),
      y: y + (raw[2 * k + 1] as number),
    }));
    faces.push({ points, side: Math.sqrt(width * height), score });
  }
  return faces;
}

/** Joins faces that overlap: means weighted by the scores, under the highest score. */
export function suppress(faces: readonly RawFace[]): RawFace[] {
  let left = [...faces].sort((a, b) => b.score - a.score);
  const joined: RawFace[] = [];
  for (let first = left[0]; first; first = left[0]) {
    const best = first;
    const same = left.filter(
      (face) => face === best || boxOverlap(rawBox(face), rawBox(best)) > SAME_FACE,
    );
    left = left.filter((face) => !same.includes(face));
    const total = same.reduce((sum, { score }) => sum + score, 0);
    const mean = (of: (face: RawFace) => number) =>
      same.reduce((sum, face) => sum + face.score * of(face), 0) / total;
    joined.push({
      points: best.points.map((_, k) => ({
        x: mean(({ points }) => (points[k] as Point).x),
        y: mean(({ points }) => (points[k] as Point).y),
      })),
      side: mean(({ side }) => side),
      score: best.score,
    });
  }
  return joined;
}

function rawBox({ points, side }: RawFace): Box {
  return squareAround(points[0] as Point, side);
}

/** Degrees by which the line of the eyes is turned clockwise on the screen. */
function rollOf({ points }: RawFace): number {
  const [right, left] = [points[1] as Point, points[2] as Point];
  return (Math.atan2(left.y - right.y, left.x - right.x) * 180) / Math.PI;
}

const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);

/** The square around the landmarks; small angles count as none, for which networks are trained. */
export function landmarkPlace(face: RawFace): Place {
  const roll = rollOf(face);
  const center = face.points[0] as Point;
  const upright = turned(1 / face.side, roll, center, { x: 0, y: 0 });
  const [right, left, nose, mouth, rightEar, leftEar] = face.points
    .slice(1)
    .map((point) => movePoint(upright, point)) as [Point, Point, Point, Point, Point, Point];
  const middles = [
    nose,
    mouth,
    boxCenter(between(right, left)),
    boxCenter(between(rightEar, leftEar)),
  ];
  const even = [
    1,
    ...middles.map(({ y }) => y),
    Math.hypot(left.x - right.x, left.y - right.y),
    Math.hypot(leftEar.x - rightEar.x, leftEar.y - rightEar.y),
  ];
  const shift = {
    x: dot(
      middles.map(({ x }) => x),
      ACROSS,
    ),
    y: dot(even, DOWN),
  };
  const side = face.side * Math.exp(dot(even, LOG_SIDE));
  return {
    box: squareAround(movePoint(invert(upright), shift), side),
    roll: Math.abs(roll) > TILTED ? roll : 0,
  };
}

function between(a: Point, b: Point): Box {
  return [a.x, a.y, b.x, b.y];
}
