/** What is drawn how strongly, seen by a canvas that takes notes. */

import { describe, expect, test } from "vitest";
import type { Face } from "../src/aligner.ts";
import { drawFaces } from "../src/drawing.ts";
import { IBUG68, type Scheme } from "../src/scheme.ts";

interface Note {
  readonly what: "line" | "dot";
  /** Ends of the line, or the dot's center. */
  readonly places: readonly (readonly [number, number])[];
  readonly alpha: number;
}

function draw(
  face: Face,
  edges: Scheme["edges"] = IBUG68.edges,
): { notes: Note[]; alphaAfter: number } {
  const notes: Note[] = [];
  let places: [number, number][] = [];
  const note = (what: Note["what"]) => notes.push({ what, places, alpha: context.globalAlpha });
  const context = {
    canvas: { width: 200, height: 200 },
    globalAlpha: 1,
    drawImage: () => expect(context.globalAlpha).toBe(1),
    beginPath: () => {
      places = [];
    },
    moveTo: (x: number, y: number) => places.push([x, y]),
    lineTo: (x: number, y: number) => places.push([x, y]),
    arc: (x: number, y: number) => places.push([x, y]),
    stroke: () => note("line"),
    fill: () => note("dot"),
  };
  const none = {} as CanvasImageSource;
  drawFaces(context as unknown as CanvasRenderingContext2D, none, [face], edges);
  return { notes, alphaAfter: context.globalAlpha };
}

function faceOf(count: number, visibility?: number[]): Face {
  const landmarks = Array.from({ length: count }, (_, i) => ({ x: i, y: 2 * i }));
  const confidence = landmarks.map(() => 0.9);
  const seen = visibility && { visibility };
  return { landmarks, confidence, box: [0, 0, 90, 90], roll: 0, reliable: true, ...seen };
}

describe("a face", () => {
  test("has lines along its features and a dot on every landmark", () => {
    const { notes } = draw(faceOf(68));
    const dots = notes.filter(({ what }) => what === "dot");
    expect(dots.map(({ places }) => places)).toEqual(
      Array.from({ length: 68 }, (_, i) => [[i + 0.5, 2 * i + 0.5]]),
    );
    // Jaw, brows, nose and nostrils are open; eyes and lips are closed.
    const lines = notes.filter(({ what }) => what === "line").map(({ places }) => places);
    expect(lines).toHaveLength(16 + 4 + 4 + 3 + 4 + 6 + 6 + 12 + 8);
    expect(lines).toContainEqual([
      [41.5, 82.5],
      [36.5, 72.5],
    ]);
    expect(notes.every(({ alpha }) => alpha === 1)).toBe(true);
  });

  test("shows hidden landmarks, and the lines that end in them, faintly", () => {
    const visibility = Array.from({ length: 68 }, (_, i) => (i < 5 ? 0 : i === 5 ? 0.6 : 1));
    const { notes, alphaAfter } = draw(faceOf(68, visibility));
    const alphas = notes.filter(({ what }) => what === "dot").map(({ alpha }) => alpha);
    expect(alphas.slice(0, 5)).toEqual([0.25, 0.25, 0.25, 0.25, 0.25]);
    expect(alphas[5]).toBeCloseTo(0.7, 9);
    expect(alphas.slice(6).every((alpha) => alpha === 1)).toBe(true);
    const jaw = notes.filter(({ what }) => what === "line").slice(0, 16);
    expect(jaw.slice(0, 5).every(({ alpha }) => alpha === 0.25)).toBe(true);
    expect(jaw[5]?.alpha).toBeCloseTo(0.7, 9);
    expect(jaw.slice(6).every(({ alpha }) => alpha === 1)).toBe(true);
    // The next frame is not drawn faintly.
    expect(alphaAfter).toBe(1);
  });

  test("has the lines of its own scheme, whatever the number of its landmarks", () => {
    const edges = [
      [0, 2],
      [2, 1],
    ] as const;
    const { notes } = draw(faceOf(3), edges);
    expect(notes.slice(0, 2).map(({ places }) => places)).toEqual([
      [
        [0.5, 0.5],
        [2.5, 4.5],
      ],
      [
        [2.5, 4.5],
        [1.5, 2.5],
      ],
    ]);
    expect(notes.slice(2).map(({ what }) => what)).toEqual(["dot", "dot", "dot"]);
    expect(draw(faceOf(68), []).notes).toHaveLength(68);
  });

  test("that is likely none is faint", () => {
    const { notes } = draw({ ...faceOf(68, Array(68).fill(1)), reliable: false });
    expect(notes.every(({ alpha }) => alpha === 0.25)).toBe(true);
  });
});
