/**
 * MTCNN (Zhang et al., 2016): three networks, of which each keeps and corrects what the one before
 * proposed. The steps and numbers are those of `keras_facealign/detection/mtcnn/cascade.py`.
 */

import { type Box, type Scored, shiftAndScaleBox, squareBox, withoutOverlaps } from "./geometry.ts";
import { type Pixels, shrink, toPixels } from "./pixels.ts";
import { scanPyramid } from "./pyramid.ts";
import type { Network } from "./runtime.ts";

const NATIVE_FACE = 20;
const MIN_SIDE = 48;
const MAX_SIDE = 1024;
const SCORES = { pnet: 0.6, rnet: 0.7, onet: 0.8 };
const OUTSIDE = 127.5;
// From MTCNN's boxes, forehead to chin, to boxes around the landmarks.
const SHIFT = { x: 0.004, y: 0.155 };
const SCALE = 0.926;

export interface DetectorNetworks {
  readonly pnet: Network;
  readonly rnet: Network;
  readonly onet: Network;
}

export class Detector {
  constructor(private readonly networks: DetectorNetworks) {}

  /** Finds faces of at least `minFace` pixels, with boxes tight around brows and chin; the surest first. */
  async detect(image: Pixels, minFace = NATIVE_FACE): Promise<Scored[]> {
    const { width, height } = image;
    const scale = Math.min(NATIVE_FACE / minFace, MAX_SIDE / Math.max(width, height), 1);
    const seenWidth = Math.max(1, Math.round(width * scale));
    const seenHeight = Math.max(1, Math.round(height * scale));
    const seen =
      scale < 1 ? toPixels(shrink(image, seenWidth, seenHeight), seenWidth, seenHeight) : image;
    const found = await this.cascade(padded(seen));
    const [fx, fy] = [width / seenWidth, height / seenHeight];
    return found
      .map(({ box, score }) => {
        // Half-pixel centers: the pixel x of the smaller copy is (x + 0.5) * factor - 0.5 here.
        const back = (p: number, factor: number) => (p + 0.5) * factor - 0.5;
        const raw: Box = [back(box[0], fx), back(box[1], fy), back(box[2], fx), back(box[3], fy)];
        return { raw, score };
      })
      .filter(({ raw }) => raw[2] > raw[0] && raw[3] > raw[1])
      .map(({ raw, score }) => ({ box: shiftAndScaleBox(raw, SHIFT, SCALE), score }))
      .filter(({ box }) => {
        const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
        return x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1;
      });
  }

  private async cascade(image: Pixels): Promise<Scored[]> {
    const { pnet, rnet, onet } = this.networks;
    const canvas = pnet.inputShape[1] as number;
    const levels = await scanPyramid(image, canvas, SCORES.pnet, (input) => pnet.run(input));
    let found = withoutOverlaps(
      levels.flatMap((level) => withoutOverlaps(level, 0.5)),
      0.7,
    );
    found = withoutOverlaps(await refine(image, found, rnet, SCORES.rnet), 0.7);
    return withoutOverlaps(await refine(image, found, onet, SCORES.onet), 0.7, true);
  }
}

/** At least 48 pixels a side, by repeating the last row and column. */
function padded(image: Pixels): Pixels {
  const width = Math.max(image.width, MIN_SIDE);
  const height = Math.max(image.height, MIN_SIDE);
  if (width === image.width && height === image.height) return image;
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = Math.min(y, image.height - 1) * image.width + Math.min(x, image.width - 1);
      data.set(image.data.subarray(from * 4, from * 4 + 4), (y * width + x) * 4);
    }
  }
  return { data, width, height };
}

/** Keeps the boxes that a network takes for faces, corrected by it. */
async function refine(
  image: Pixels,
  found: readonly Scored[],
  network: Network,
  threshold: number,
): Promise<Scored[]> {
  const [batch, size] = network.inputShape as [number, number];
  const squares = found.map(({ box }) => squareBox(box));
  const kept: Scored[] = [];
  for (let start = 0; start < squares.length; start += batch) {
    const part = squares.slice(start, start + batch);
    // The file's batch is fixed: what is left over of it stays gray and is not read.
    const input = new Float32Array(batch * size * size * 3);
    for (const [i, square] of part.entries()) {
      samplePatch(
        image,
        square,
        size,
        input.subarray(i * size * size * 3, (i + 1) * size * size * 3),
      );
    }
    const { boxes, scores } = await network.run(input);
    if (!boxes || !scores) throw new Error("the network gives no boxes and scores");
    for (const [i, square] of part.entries()) {
      const score = scores[i] as number;
      if (!(score > threshold)) continue;
      const [width, height] = [square[2] - square[0] + 1, square[3] - square[1] + 1];
      const side = (k: number) =>
        (square[k] as number) + (boxes[i * 4 + k] as number) * (k % 2 ? height : width);
      kept.push({ box: [side(0), side(1), side(2), side(3)], score });
    }
  }
  return kept;
}

/**
 * Samples a box bilinearly. As MTCNN's networks were used, the first and the last sample lie on the
 * box's sides, and coordinates shrink by (side - 1) / side of the picture.
 */
export function samplePatch(image: Pixels, box: Box, size: number, out: Float32Array): void {
  const { data, width, height } = image;
  const along = (low: number, high: number, side: number, step: number) =>
    ((low + (step / (size - 1)) * (high - low)) * (side - 1)) / side;
  for (let row = 0; row < size; row++) {
    const y = along(box[1], box[3], height, row);
    for (let column = 0; column < size; column++) {
      const x = along(box[0], box[2], width, column);
      const to = (row * size + column) * 3;
      if (!(x >= 0 && y >= 0 && x <= width - 1 && y <= height - 1)) {
        out.fill(OUTSIDE, to, to + 3);
        continue;
      }
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, bottom] = [Math.min(left + 1, width - 1), Math.min(top + 1, height - 1)];
      const [fx, fy] = [x - left, y - top];
      for (let channel = 0; channel < 3; channel++) {
        const at = (px: number, py: number) => data[(py * width + px) * 4 + channel] as number;
        const upper = at(left, top) * (1 - fx) + at(right, top) * fx;
        const lower = at(left, bottom) * (1 - fx) + at(right, bottom) * fx;
        out[to + channel] = upper * (1 - fy) + lower * fy;
      }
    }
  }
}
