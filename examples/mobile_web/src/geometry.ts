/** Boxes and points in pixels: x to the right, y down, (0, 0) the center of the top-left pixel. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** x0, y0, x1, y1. */
export type Box = readonly [number, number, number, number];

/** Scaling, turning and translation: `x' = a x - b y + dx`, `y' = b x + a y + dy`. */
export interface Transform {
  readonly a: number;
  readonly b: number;
  readonly dx: number;
  readonly dy: number;
}

/** Where a face is: its box lies on it when it is turned about its center, clockwise, by `roll` degrees. */
export interface Place {
  readonly box: Box;
  readonly roll: number;
}

/** Scales about a point of the picture, which goes to `target`, and turns back by `roll` degrees. */
export function turned(scale: number, roll: number, center: Point, target: Point): Transform {
  const angle = (-roll * Math.PI) / 180;
  const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  return {
    a,
    b,
    dx: target.x - a * center.x + b * center.y,
    dy: target.y - b * center.x - a * center.y,
  };
}

/** From picture to the upright square crop whose side is `margin` times the box's longer side. */
export function cropTransform({ box, roll }: Place, size: number, margin: number): Transform {
  const [x0, y0, x1, y1] = box;
  const scale = size / (margin * Math.max(x1 - x0, y1 - y0));
  const half = (size - 1) / 2;
  return turned(scale, roll, boxCenter(box), { x: half, y: half });
}

export function movePoint({ a, b, dx, dy }: Transform, { x, y }: Point): Point {
  return { x: a * x - b * y + dx, y: b * x + a * y + dy };
}

export function invert({ a, b, dx, dy }: Transform): Transform {
  const area = a * a + b * b;
  return { a: a / area, b: -b / area, dx: -(a * dx + b * dy) / area, dy: (b * dx - a * dy) / area };
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

export function boxCenter(box: Box): Point {
  return { x: (box[0] + box[2]) / 2, y: (box[1] + box[3]) / 2 };
}

/** A square about a center. */
export function squareAround({ x, y }: Point, side: number): Box {
  return [x - side / 2, y - side / 2, x + side / 2, y + side / 2];
}

export function boxArea(box: Box): number {
  return (box[2] - box[0]) * (box[3] - box[1]);
}

/** Intersection over union; 0 where both boxes are empty. */
export function boxOverlap(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  const union = boxArea(a) + boxArea(b) - shared;
  return union > 0 ? shared / union : 0;
}

/** Degrees from -180 to 180. */
export function normalAngle(degrees: number): number {
  return ((((degrees + 180) % 360) + 360) % 360) - 180;
}
