/** What the page has to know of a set of landmarks: lines, eyes, and the box that a face is cropped by. */

import { type Box, type Point, pointsBox } from "./geometry.ts";

export interface Scheme {
  /** Pairs of landmarks to join by a line. */
  readonly edges: readonly (readonly [number, number])[];
  /** Landmarks of the right and the left eye: the line between their means shows how a face leans. */
  readonly eyes?: readonly [readonly number[], readonly number[]];
  /** The box that a face is cropped by, in units of the tight box of its landmarks. */
  readonly faceBox: Box;
}

// Far more than any drawing has; each is drawn in every frame.
const MOST_EDGES = 40_000;
const MOST_REACH = 20;
const TIGHT: Box = [0, 0, 1, 1];

const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** Lines of the 68 iBUG landmarks: first and last index, and whether they close. */
const LINES_68: readonly (readonly [number, number, boolean])[] = [
  [0, 16, false],
  [17, 21, false],
  [22, 26, false],
  [27, 30, false],
  [31, 35, false],
  [36, 41, true],
  [42, 47, true],
  [48, 59, true],
  [60, 67, true],
];

/** That of older files, which tell its name alone. */
export const IBUG68: Scheme = {
  edges: LINES_68.flatMap(([first, last, closed]) =>
    range(first, closed ? last : last - 1).map((i) => [i, i < last ? i + 1 : first] as const),
  ),
  eyes: [range(36, 41), range(42, 47)],
  faceBox: TIGHT,
};

/** Reads `edges`, `eyes` and `face_box` of the metadata; `fail` throws what is said of a wrong one. */
export function readScheme(
  fields: Record<string, unknown>,
  numLandmarks: number,
  fail: (key: string) => never,
): Scheme {
  if (fields.edges === undefined && fields.scheme === "ibug68" && numLandmarks === 68) {
    return IBUG68;
  }
  const list = (key: string, value: unknown, least: number, most: number): unknown[] =>
    Array.isArray(value) && value.length >= least && value.length <= most ? value : fail(key);
  const points = (key: string, value: unknown, least: number, most: number): number[] => {
    const numbers = list(key, value, least, most);
    const good = (n: unknown) => Number.isInteger(n) && Number(n) >= 0 && Number(n) < numLandmarks;
    return numbers.every(good) ? (numbers as number[]) : fail(key);
  };
  const edges = list("edges", fields.edges ?? [], 0, MOST_EDGES).map(
    (edge) => points("edges", edge, 2, 2) as unknown as readonly [number, number],
  );
  const faceBox = list("face_box", fields.face_box ?? TIGHT, 4, 4) as unknown as Box;
  const inReach = faceBox.every((v) => typeof v === "number" && Math.abs(v) <= MOST_REACH);
  if (!inReach || faceBox[2] <= faceBox[0] || faceBox[3] <= faceBox[1]) fail("face_box");
  if (fields.eyes === undefined) return { edges, faceBox };
  const [right, left] = list("eyes", fields.eyes, 2, 2).map((eye) =>
    points("eyes", eye, 1, numLandmarks),
  ) as [number[], number[]];
  return { edges, eyes: [right, left], faceBox };
}

/** The box that a face with these landmarks is cropped by. */
export function cropBox({ faceBox }: Scheme, points: readonly Point[]): Box {
  const [x0, y0, x1, y1] = pointsBox(points);
  const [width, height] = [x1 - x0, y1 - y0];
  return [
    x0 + faceBox[0] * width,
    y0 + faceBox[1] * height,
    x0 + faceBox[2] * width,
    y0 + faceBox[3] * height,
  ];
}

/** Degrees by which a face leans clockwise on the screen; unknown without eyes. */
export function leaning({ eyes }: Scheme, points: readonly Point[]): number | undefined {
  if (!eyes) return undefined;
  const center = (eye: readonly number[], of: (point: Point) => number) =>
    eye.reduce((sum, i) => sum + of(points[i] as Point), 0) / eye.length;
  const along = (of: (point: Point) => number) => center(eyes[1], of) - center(eyes[0], of);
  return (
    (Math.atan2(
      along(({ y }) => y),
      along(({ x }) => x),
    ) *
      180) /
    Math.PI
  );
}
