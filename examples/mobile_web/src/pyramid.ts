/**
 * The levels of MTCNN's image pyramid, cut into tiles that fill pictures of one fixed size.
 *
 * LiteRT.js runs networks only on inputs of the size that their file says. PNet looks at 12 x 12
 * pixels every 2 pixels, so tiles that overlap by 10 pixels give together what one large picture
 * would, and small levels lie side by side without touching each other's cells.
 */

import type { Scored } from "./geometry.ts";
import { type Pixels, shrink } from "./pixels.ts";

export const CELL = 12;
export const STRIDE = 2;
const SMALLEST_FACE = 20;
const STEP = 0.709;

export interface Tile {
  readonly level: number;
  /** Top-left corner in pixels of the level. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Which canvas it is on, and where. */
  canvas: number;
  left: number;
  top: number;
}

/** Scales of the levels, until the picture is about as small as a cell. */
export function pyramidScales(width: number, height: number): number[] {
  const steps = Math.log(Math.min(width, height) / CELL) / -Math.log(STEP);
  const count = Math.max(0, Math.round(steps - 1));
  return Array.from({ length: count }, (_, i) => (CELL / SMALLEST_FACE) * STEP ** i);
}

/** Starts and even lengths of tiles along a side of a level. */
function cuts(side: number, canvas: number): { start: number; length: number }[] {
  const even = side + (side % STRIDE);
  const result: { start: number; length: number }[] = [];
  for (
    let start = 0;
    start === 0 || start + CELL - STRIDE < even;
    start += canvas - CELL + STRIDE
  ) {
    result.push({ start, length: Math.min(canvas, even - start) });
  }
  return result;
}

/** Cuts levels of the given sizes into tiles and lays these out, row by row, the tallest first. */
export function layTiles(
  sizes: readonly { width: number; height: number }[],
  canvas: number,
): Tile[] {
  const tiles = sizes.flatMap(({ width, height }, level) =>
    cuts(height, canvas).flatMap((y) =>
      cuts(width, canvas).map((x): Tile => {
        const place = { canvas: 0, left: 0, top: 0 };
        return { level, x: x.start, y: y.start, width: x.length, height: y.length, ...place };
      }),
    ),
  );
  tiles.sort((a, b) => b.height - a.height || b.width - a.width);
  const shelves: { canvas: number; top: number; height: number; used: number }[] = [];
  const bottoms: number[] = [];
  for (const tile of tiles) {
    let shelf = shelves.find((s) => s.height >= tile.height && s.used + tile.width <= canvas);
    if (shelf === undefined) {
      let index = bottoms.findIndex((bottom) => bottom + tile.height <= canvas);
      if (index < 0) index = bottoms.push(0) - 1;
      shelf = { canvas: index, top: bottoms[index] as number, height: tile.height, used: 0 };
      bottoms[index] = shelf.top + tile.height;
      shelves.push(shelf);
    }
    Object.assign(tile, { canvas: shelf.canvas, left: shelf.used, top: shelf.top });
    shelf.used += tile.width;
  }
  return tiles;
}

/** Runs PNet over all levels; gives the squares with a score above `threshold`, by level. */
export async function scanPyramid(
  image: Pixels,
  canvas: number,
  threshold: number,
  run: (input: Float32Array) => Promise<Record<string, Float32Array>>,
): Promise<Scored[][]> {
  const scales = pyramidScales(image.width, image.height);
  const levels = scales.map((scale) => {
    const width = Math.floor(image.width * scale);
    const height = Math.floor(image.height * scale);
    return { width, height, scale, rgb: shrink(image, width, height) };
  });
  const tiles = layTiles(levels, canvas);
  const found: Scored[][] = levels.map(() => []);
  const count = Math.max(0, ...tiles.map((tile) => tile.canvas + 1));
  for (let index = 0; index < count; index++) {
    const here = tiles.filter((tile) => tile.canvas === index);
    const input = new Float32Array(canvas * canvas * 3);
    for (const tile of here) paint(input, canvas, tile, levels[tile.level] as Level);
    const { boxes, scores } = await run(input);
    if (!boxes || !scores) throw new Error("PNet gives no boxes and scores");
    for (const tile of here) {
      const { scale } = levels[tile.level] as Level;
      found[tile.level]?.push(...readTile(tile, canvas, scale, boxes, scores, threshold));
    }
  }
  return found;
}

interface Level {
  readonly width: number;
  readonly height: number;
  readonly scale: number;
  readonly rgb: Float32Array;
}

/** Copies a tile's pixels; a level of odd size repeats its last row or column. */
function paint(input: Float32Array, canvas: number, tile: Tile, level: Level): void {
  for (let y = 0; y < tile.height; y++) {
    const row = Math.min(tile.y + y, level.height - 1) * level.width;
    for (let x = 0; x < tile.width; x++) {
      const from = (row + Math.min(tile.x + x, level.width - 1)) * 3;
      input.set(level.rgb.subarray(from, from + 3), ((tile.top + y) * canvas + tile.left + x) * 3);
    }
  }
}

function readTile(
  tile: Tile,
  canvas: number,
  scale: number,
  boxes: Float32Array,
  scores: Float32Array,
  threshold: number,
): Scored[] {
  const cells = (side: number) => (side - CELL) / STRIDE + 1;
  const found: Scored[] = [];
  for (let i = 0; i < cells(tile.height); i++) {
    for (let j = 0; j < cells(tile.width); j++) {
      const cell = (tile.top / STRIDE + i) * cells(canvas) + tile.left / STRIDE + j;
      const score = scores[cell] as number;
      if (!(score > threshold)) continue;
      const x = tile.x + j * STRIDE;
      const y = tile.y + i * STRIDE;
      const side = (offset: number, start: number, first: number) =>
        (start + first + (boxes[cell * 4 + offset] as number) * (CELL - 1)) / scale;
      found.push({
        box: [side(0, x, 1), side(1, y, 1), side(2, x, CELL), side(3, y, CELL)],
        score,
      });
    }
  }
  return found;
}
