/** Pictures: shrinking by averaging, and cutting out faces, as the Python package does it. */

import type { Box } from "./geometry.ts";
import { cropTransform, type Transform } from "./geometry.ts";

/** 8-bit RGBA, rows from the top; what a canvas gives as `ImageData`. */
export interface Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** Below half size, bilinear sampling would skip pixels. */
const SAFE_SCALE = 0.5;

interface Share {
  readonly from: number;
  readonly weights: readonly number[];
}

/** Which source pixels each target pixel averages, along one side. */
function shares(source: number, target: number): Share[] {
  const step = source / target;
  return Array.from({ length: target }, (_, i) => {
    const start = i * step;
    const end = Math.min(start + step, source);
    const from = Math.floor(start + 1e-6);
    const weights: number[] = [];
    for (let p = from; p < end - 1e-6; p++) {
      weights.push((Math.min(p + 1, end) - Math.max(p, start)) / (end - start));
    }
    return { from, weights };
  });
}

/** Shrinks a part of a picture by averaging areas: RGB floats, row by row. */
export function shrink(
  image: Pixels,
  width: number,
  height: number,
  part: Box = [0, 0, image.width, image.height],
): Float32Array {
  const [left, top, right, bottom] = part;
  const columns = shares(right - left, width);
  const rows = shares(bottom - top, height);
  const line = new Float32Array(width * 3);
  const result = new Float32Array(width * height * 3);
  // Every source row is averaged once along x; neighboring target rows may share it.
  let cached = -1;
  for (const [y, row] of rows.entries()) {
    const out = result.subarray(y * width * 3, (y + 1) * width * 3);
    for (const [k, weight] of row.weights.entries()) {
      const sourceRow = top + row.from + k;
      if (sourceRow !== cached) averageRow(image, sourceRow, left, columns, line);
      cached = sourceRow;
      for (let i = 0; i < out.length; i++)
        out[i] = (out[i] as number) + weight * (line[i] as number);
    }
  }
  return result;
}

function averageRow(
  image: Pixels,
  row: number,
  left: number,
  columns: readonly Share[],
  line: Float32Array,
): void {
  const { data } = image;
  for (const [x, column] of columns.entries()) {
    let [r, g, b] = [0, 0, 0];
    let place = (row * image.width + left + column.from) * 4;
    for (const weight of column.weights) {
      r += weight * (data[place] as number);
      g += weight * (data[place + 1] as number);
      b += weight * (data[place + 2] as number);
      place += 4;
    }
    line.set([r, g, b], x * 3);
  }
}

/** RGB floats as a picture; values are rounded. */
export function toPixels(rgb: Float32Array, width: number, height: number): Pixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0, j = 0; i < rgb.length; i += 3, j += 4) {
    data[j] = rgb[i] as number;
    data[j + 1] = rgb[i + 1] as number;
    data[j + 2] = rgb[i + 2] as number;
    data[j + 3] = 255;
  }
  return { data, width, height };
}

export interface Crop {
  /** RGB, `size` by `size`. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** From pixels of the picture to those of the crop. */
  readonly transform: Transform;
}

/** Cuts a square around a face out of a picture; what lies outside is black. */
export function cropFace(image: Pixels, box: Box, size: number, margin: number): Crop {
  const transform = cropTransform(box, size, margin);
  let source = image;
  let x = { scale: transform.scale, offset: transform.dx };
  let y = { scale: transform.scale, offset: transform.dy };
  if (transform.scale < SAFE_SCALE) {
    const reduced = reduce(image, transform, size, transform.scale / SAFE_SCALE);
    source = reduced.image;
    x = chain(x, reduced.x);
    y = chain(y, reduced.y);
  }
  return { data: sample(source, x, y, size), transform };
}

/** Along one side: `p' = scale * p + offset`. */
interface Line {
  readonly scale: number;
  readonly offset: number;
}

/** `second` after `first` undone. */
function chain(second: Line, first: Line): Line {
  const scale = second.scale / first.scale;
  return { scale, offset: second.offset - scale * first.offset };
}

/** Averages the part of the picture that the crop shows down by about `factor`. */
function reduce(
  image: Pixels,
  transform: Transform,
  size: number,
  factor: number,
): { image: Pixels; x: Line; y: Line } {
  // One pixel of the smaller picture more on each side, so that its rim averages whole pixels.
  const rim = 1 / factor;
  const along = (offset: number, side: number) => {
    const low = Math.max(0, Math.floor((-1 - offset) / transform.scale - rim));
    const high = Math.min(side, Math.ceil((size - offset) / transform.scale + rim) + 1);
    const start = Math.min(low, side - 1);
    const length = Math.max(high, start + 1) - start;
    const target = Math.max(1, Math.round(length * factor));
    const scale = target / length;
    // Half-pixel centers: p' = (p - start + 0.5) * scale - 0.5.
    return { start, length, target, line: { scale, offset: (0.5 - start) * scale - 0.5 } };
  };
  const x = along(transform.dx, image.width);
  const y = along(transform.dy, image.height);
  const part: Box = [x.start, y.start, x.start + x.length, y.start + y.length];
  const rgb = shrink(image, x.target, y.target, part);
  return { image: toPixels(rgb, x.target, y.target), x: x.line, y: y.line };
}

/** Bilinear sampling on a black ground. */
function sample(image: Pixels, x: Line, y: Line, size: number): Uint8Array<ArrayBuffer> {
  const { data, width, height } = image;
  const result = new Uint8Array(size * size * 3);
  const sums = new Float64Array(3);
  for (let row = 0; row < size; row++) {
    const py = (row - y.offset) / y.scale;
    const top = Math.floor(py);
    for (let column = 0; column < size; column++) {
      const px = (column - x.offset) / x.scale;
      const left = Math.floor(px);
      sums.fill(0);
      for (let corner = 0; corner < 4; corner++) {
        const cx = left + (corner & 1);
        const cy = top + (corner >> 1);
        if (cx < 0 || cy < 0 || cx >= width || cy >= height) continue;
        const weight = (1 - Math.abs(px - cx)) * (1 - Math.abs(py - cy));
        const place = (cy * width + cx) * 4;
        for (let channel = 0; channel < 3; channel++) {
          sums[channel] = (sums[channel] as number) + weight * (data[place + channel] as number);
        }
      }
      for (let channel = 0; channel < 3; channel++) {
        result[(row * size + column) * 3 + channel] = Math.round(sums[channel] as number);
      }
    }
  }
  return result;
}
