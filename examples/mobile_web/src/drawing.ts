/** A frame with its landmarks, colored by confidence. */

import type { Face } from "./aligner.ts";
import type { Point } from "./geometry.ts";
import type { Scheme } from "./scheme.ts";

// What is hidden stays in sight, faintly; so does a face that is likely none.
const LEAST_OPACITY = 0.25;

export function drawFaces(
  context: CanvasRenderingContext2D,
  frame: CanvasImageSource,
  faces: readonly Face[],
  edges: Scheme["edges"],
): void {
  const { width, height } = context.canvas;
  context.drawImage(frame, 0, 0, width, height);
  for (const face of faces) {
    const size = Math.max(face.box[2] - face.box[0], face.box[3] - face.box[1]);
    context.lineWidth = Math.max(1, size / 160);
    context.strokeStyle = "rgb(255 255 255 / 60%)";
    for (const edge of edges) drawLine(context, face, edge);
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

/** As faint as its fainter end: the far jaw in 3D runs out of sight. */
function drawLine(
  context: CanvasRenderingContext2D,
  face: Face,
  [start, end]: readonly [number, number],
): void {
  const [from, to] = [face.landmarks[start] as Point, face.landmarks[end] as Point];
  context.globalAlpha = Math.min(opacity(face, start), opacity(face, end));
  context.beginPath();
  context.moveTo(from.x + 0.5, from.y + 0.5);
  context.lineTo(to.x + 0.5, to.y + 0.5);
  context.stroke();
}

/** Of a landmark, by its visibility; whole where the network does not tell. */
function opacity(face: Face, index: number): number {
  const seen = face.reliable ? (face.visibility?.[index] ?? 1) : 0;
  return LEAST_OPACITY + (1 - LEAST_OPACITY) * seen;
}

/** From red, unsure, over yellow to green. */
export function confidenceColor(confidence: number): string {
  const share = Math.min(1, Math.max(0, (confidence - 0.2) / 0.6));
  return `hsl(${Math.round(130 * share)} 95% 55%)`;
}
