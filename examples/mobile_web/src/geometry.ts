/** Boxes and points in pixels: x to the right, y down, (0, 0) the center of the top-left pixel. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** x0, y0, x1, y1. */
export type Box = readonly [number, number, number, number];

/** Scaling and translation: `x' = scale * x + dx`, `y' = scale * y + dy`. */
export interface Transform {
  readonly scale: number;
  readonly dx: number;
  readonly dy: number;
}

/** From picture to the square crop whose side is `margin` times the box's longer side. */
export function cropTransform(box: Box, size: number, margin: number): Transform {
  const [x0, y0, x1, y1] = box;
  const scale = size / (margin * Math.max(x1 - x0, y1 - y0));
  const half = (size - 1) / 2;
  return {
    scale,
    dx: half - (scale * (x0 + x1)) / 2,
    dy: half - (scale * (y0 + y1)) / 2,
  };
}

/** The transform undone, for one point. */
export function invertPoint(transform: Transform, x: number, y: number): Point {
  return { x: (x - transform.dx) / transform.scale, y: (y - transform.dy) / transform.scale };
}

/** The tight box around points. */
export function pointsBox(points: readonly Point[]): Box {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of points) {
    x0 = Math.min(x0, x);
    y0 = Math.min(y0, y);
    x1 = Math.max(x1, x);
    y1 = Math.max(y1, y);
  }
  return [x0, y0, x1, y1];
}

export function boxArea(box: Box): number {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

function sharedArea(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

/** Intersection over union; 0 where both boxes are empty. */
export function boxOverlap(a: Box, b: Box): number {
  const shared = sharedArea(a, b);
  const union = boxArea(a) + boxArea(b) - shared;
  return union > 0 ? shared / union : 0;
}

/** The square as large as the longer side, about the same center. */
export function squareBox(box: Box): Box {
  const [cx, cy] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const half = Math.max(box[2] - box[0], box[3] - box[1]) / 2;
  return [cx - half, cy - half, cx + half, cy + half];
}

/** A square about the box's center, shifted and scaled in units of sqrt(width * height). */
export function shiftAndScaleBox(box: Box, shift: Point, scale: number): Box {
  const size = Math.sqrt(boxArea(box));
  const cx = (box[0] + box[2]) / 2 + size * shift.x;
  const cy = (box[1] + box[3]) / 2 + size * shift.y;
  const half = (size * scale) / 2;
  return [cx - half, cy - half, cx + half, cy + half];
}

export interface Scored {
  readonly box: Box;
  readonly score: number;
}

/**
 * Drops boxes that overlap one with a higher score, whether or not that one stays.
 *
 * With `ofSmaller`, overlap is the share of the smaller box that lies in the other, instead of
 * intersection over union. The highest score comes first.
 */
export function withoutOverlaps(
  found: readonly Scored[],
  most: number,
  ofSmaller = false,
): Scored[] {
  const sorted = [...found].sort((a, b) => b.score - a.score);
  const areas = sorted.map(({ box }) => boxArea(box));
  return sorted.filter(({ box }, i) => {
    const area = areas[i] as number;
    for (let j = 0; j < i; j++) {
      const other = areas[j] as number;
      const shared = sharedArea(box, (sorted[j] as Scored).box);
      const whole = ofSmaller ? Math.min(area, other) : area + other - shared;
      if (shared / whole > most) return false;
    }
    return true;
  });
}
