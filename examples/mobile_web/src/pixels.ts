/** Pictures: cutting squares out of them, as the Python package does it. */

import { type Box, boxCenter, invert, movePoint, type Transform } from "./geometry.ts";

/** 8-bit RGBA, rows from the top; what a canvas gives as `ImageData`. */
export interface Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** Below half size, bilinear sampling would skip pixels. */
const SAFE_SCALE = 0.5;

/**
 * Samples a square, RGB; what lies outside the picture is black.
 *
 * Where the square reduces the picture to less than half its size, blocks of 2 x 2, 4 x 4, ... pixels
 * are averaged first, which prevents aliasing.
 */
export function cutSquare(
  image: Pixels,
  transform: Transform,
  size: number,
): Uint8Array<ArrayBuffer> {
  const back = invert(transform);
  const times = Math.ceil(Math.log2(SAFE_SCALE * Math.hypot(back.a, back.b)) - 1e-9);
  const most = Math.floor(Math.log2(Math.min(image.width, image.height)));
  const block = 2 ** Math.max(0, Math.min(times, most));
  if (block === 1) return sample(image, back, size);
  const part = wholeBlocks(image, back, size, block);
  // Half-pixel centers: the pixel x of the part's means is (x + 0.5) * block - 0.5 + left.
  const move = (place: number, start: number) => (place + 0.5 - start) / block - 0.5;
  const onMeans = {
    a: back.a / block,
    b: back.b / block,
    dx: move(back.dx, part[0]),
    dy: move(back.dy, part[1]),
  };
  return sample(blockMeans(image, part, block), onMeans, size);
}

/** The part of the picture that a square shows, in whole blocks, as far as the picture reaches. */
function wholeBlocks(image: Pixels, back: Transform, size: number, block: number): Box {
  const corners = [-1, size].flatMap((x) => [-1, size].map((y) => movePoint(back, { x, y })));
  const along = (places: number[], side: number): [number, number] => {
    const end = Math.min(side, Math.max(block, Math.ceil(Math.max(...places) + block + 1)));
    const low = Math.min(Math.min(...places) - block, end - 1);
    const start = Math.max(0, end - Math.ceil((end - low) / block) * block);
    return [start, start + Math.floor((end - start) / block) * block];
  };
  const [left, right] = along(
    corners.map(({ x }) => x),
    image.width,
  );
  const [top, bottom] = along(
    corners.map(({ y }) => y),
    image.height,
  );
  return [left, top, right, bottom];
}

/** Means of square blocks, of up to 256 x 256 pixels, of a part of a picture. */
export function blockMeans(image: Pixels, part: Box, block: number): Pixels {
  const [left, top, right, bottom] = part;
  const [width, height] = [(right - left) / block, (bottom - top) / block];
  const data = new Uint8ClampedArray(width * height * 4);
  const sums = new Uint32Array(width * 3);
  const area = block * block;
  // Pixels as numbers, red in the lowest byte: red and blue are summed as the halves of one number,
  // which is several times as fast as byte by byte.
  const { buffer, byteOffset } = image.data;
  const pixels = new Uint32Array(buffer, byteOffset, image.width * image.height);
  for (let row = 0; row < height; row++) {
    sums.fill(0);
    for (let line = 0; line < block; line++) {
      let from = (top + row * block + line) * image.width + left;
      for (let to = 0; to < sums.length; to += 3) {
        let redBlue = 0;
        let green = 0;
        for (const end = from + block; from < end; from++) {
          const pixel = pixels[from] as number;
          redBlue = (redBlue + (pixel & 0xff00ff)) | 0;
          green += (pixel >>> 8) & 0xff;
        }
        sums[to] = (sums[to] as number) + (redBlue & 0xffff);
        sums[to + 1] = (sums[to + 1] as number) + green;
        sums[to + 2] = (sums[to + 2] as number) + (redBlue >>> 16);
      }
    }
    for (let x = 0, to = row * width * 4; x < width; x++, to += 4) {
      for (let c = 0; c < 3; c++) data[to + c] = (sums[x * 3 + c] as number) / area;
      data[to + 3] = 255;
    }
  }
  return { data, width, height };
}

/** Bilinear sampling on a black ground; `back` leads from the square to the picture. */
function sample(image: Pixels, back: Transform, size: number): Uint8Array<ArrayBuffer> {
  const { data, width, height } = image;
  const result = new Uint8Array(size * size * 3);
  const sums = new Float64Array(3);
  for (let row = 0, to = 0; row < size; row++) {
    for (let column = 0; column < size; column++, to += 3) {
      const px = back.a * column - back.b * row + back.dx;
      const py = back.b * column + back.a * row + back.dy;
      const [left, top] = [Math.floor(px), Math.floor(py)];
      if (left < -1 || top < -1 || left >= width || top >= height) continue;
      const [right, down] = [px - left, py - top];
      if (left >= 0 && top >= 0 && left < width - 1 && top < height - 1) {
        const above = (top * width + left) * 4;
        const below = above + width * 4;
        for (let channel = 0; channel < 3; channel++) {
          const [a, b] = [above + channel, below + channel];
          const upper = (data[a] as number) * (1 - right) + (data[a + 4] as number) * right;
          const lower = (data[b] as number) * (1 - right) + (data[b + 4] as number) * right;
          result[to + channel] = Math.round(upper * (1 - down) + lower * down);
        }
        continue;
      }
      // At the border, pixel by pixel: some are outside.
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
        result[to + channel] = Math.round(sums[channel] as number);
      }
    }
  }
  return result;
}

/** Whether a box's center is in the picture. */
export function isInside(image: Pixels, box: Box): boolean {
  const { x, y } = boxCenter(box);
  return x >= 0 && y >= 0 && x <= image.width - 1 && y <= image.height - 1;
}
