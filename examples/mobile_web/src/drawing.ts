/** A frame with its landmarks, colored by confidence. */

import type { Face } from "./aligner.ts";
import type { Point } from "./geometry.ts";

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

// What is hidden stays in sight, faintly.
const LEAST_OPACITY = 0.25;

export function drawFaces(
  context: CanvasRenderingContext2D,
  frame: CanvasImageSource,
  faces: readonly Face[],
): void {
  const { width, height } = context.canvas;
  context.drawImage(frame, 0, 0, width, height);
  for (const face of faces) {
    const size = Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]);
    context.lineWidth = Math.max(1, size / 160);
    context.strokeStyle = "rgb(255 255 255 / 60%)";
    if (face.landmarks.length === 68) for (const line of LINES_68) drawLine(context, face, line);
    const radius = Math.max(1.2, size / 75);
    for (const [i, { x, y }] of face.landmarks.entries()) {
      context.globalAlpha = opacity(face, i);
      context.fillStyle = confidenceColor(face.confidence[i] ?? 0);
      context.beginPath();
      // A canvas counts from the corner of a pixel, landmarks from its center.
      context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }
}

/** Piece by piece, for a line may run out of sight: the far jaw in 3D does. */
function drawLine(
  context: CanvasRenderingContext2D,
  face: Face,
  [first, last, closed]: readonly [number, number, boolean],
): void {
  for (let i = first; i < (closed ? last + 1 : last); i++) {
    const next = i < last ? i + 1 : first;
    const [from, to] = [face.landmarks[i] as Point, face.landmarks[next] as Point];
    context.globalAlpha = Math.min(opacity(face, i), opacity(face, next));
    context.beginPath();
    context.moveTo(from.x + 0.5, from.y + 0.5);
    context.lineTo(to.x + 0.5, to.y + 0.5);
    context.stroke();
  }
}

/** Of a landmark, by its visibility; whole where the network does not tell. */
function opacity(face: Face, index: number): number {
  return LEAST_OPACITY + (1 - LEAST_OPACITY) * (face.visibility?.[index] ?? 1);
}

/** From red, unsure, over yellow to green. */
export function confidenceColor(confidence: number): string {
  const share = Math.min(1, Math.max(0, (confidence - 0.2) / 0.6));
  return `hsl(${Math.round(130 * share)} 95% 55%)`;
}
