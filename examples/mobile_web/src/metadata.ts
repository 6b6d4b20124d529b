/**
 * What an exported file says of itself: the JSON in a `.tflite` file's metadata `keras_facealign`.
 *
 * A TFLite file is a FlatBuffer: tables whose fields are found through offsets. Every offset is
 * checked, for any file may be opened here.
 */

import { UserError } from "./errors.ts";
import { readScheme, type Scheme } from "./scheme.ts";

export interface Metadata extends Scheme {
  readonly preset: string;
  /** Of the picture, or projections of points in space: then hidden ones lie behind the face. */
  readonly kind: "2D" | "3D";
  readonly scheme: string;
  readonly numLandmarks: number;
  readonly inputSize: number;
  readonly quantize: string;
  /** Side of the crop in units of the face box's longer side. */
  readonly boxScale: number;
  readonly license: string;
}

const NAME = "keras_facealign";
const FORMAT = 1;
const MOST_JSON_BYTES = 1_000_000;
const EXPORT_HINT = "Make one with: keras-facealign export PRESET --format tflite --batch 1";

export function readMetadata(bytes: Uint8Array, name: string): Metadata {
  const magic = String.fromCharCode(...bytes.subarray(4, 8));
  if (magic !== "TFL3") throw new UserError(`${name} is not a TFLite model. ${EXPORT_HINT}`);
  let text: Uint8Array | undefined;
  try {
    text = new FlatBuffer(bytes).metadata(NAME);
  } catch (error) {
    if (error instanceof RangeError) {
      throw new UserError(`${name} is damaged or cut short; export it again.`);
    }
    throw error;
  }
  if (text === undefined) {
    throw new UserError(
      `${name} is a TFLite model, but not one of keras-facealign. ${EXPORT_HINT}`,
    );
  }
  return check(text, name);
}

function check(text: Uint8Array, name: string): Metadata {
  let json: unknown;
  try {
    if (text.length > MOST_JSON_BYTES) throw new SyntaxError("too long");
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch {
    throw new UserError(`${name} has metadata that cannot be read; export it again.`);
  }
  const fields = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  if (fields.format !== FORMAT) {
    throw new UserError(
      `${name} has metadata of format ${String(fields.format)}, and this page reads ${FORMAT}; ` +
        "export it with the version that this page came with.",
    );
  }
  if (fields.decode !== true) {
    throw new UserError(`${name} gives heatmaps; export it with --decode.`);
  }
  if (fields.batch !== 1) {
    throw new UserError(
      `${name} takes batches of ${String(fields.batch)}; export it with --batch 1.`,
    );
  }
  const fail = (key: string): never => {
    throw new UserError(`${name}: its metadata has no usable "${key}"; export it again.`);
  };
  const word = (key: string): string => {
    const value = fields[key];
    return typeof value === "string" ? value : fail(key);
  };
  const number = (key: string, least: number, most: number): number => {
    const value = fields[key];
    return typeof value === "number" && value >= least && value <= most ? value : fail(key);
  };
  const preset = word("preset");
  const numLandmarks = number("num_landmarks", 1, 10_000);
  if (!Number.isInteger(numLandmarks)) fail("num_landmarks");
  return {
    ...readScheme(fields, numLandmarks, fail),
    preset,
    kind: preset.endsWith("_3d") ? "3D" : "2D",
    scheme: word("scheme"),
    numLandmarks,
    inputSize: number("input_size", 16, 1024),
    quantize: word("quantize"),
    boxScale: number("box_scale", 0.1, 10),
    license: word("license"),
  };
}

// Places of fields in the tables Model, Metadata and Buffer of TFLite's schema.
const MODEL_BUFFERS = 4;
const MODEL_METADATA = 6;
const METADATA_FIELD_NAME = 0;
const METADATA_FIELD_BUFFER = 1;
const BUFFER_DATA = 0;

/** DataView throws RangeError where an offset leads out of the file. */
class FlatBuffer {
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  metadata(name: string): Uint8Array | undefined {
    const model = this.uint(0);
    // All buffers are looked at, so that a file whose end is missing does not pass for whole.
    const buffers = this.tables(this.field(model, MODEL_BUFFERS)).map((table) =>
      this.content(this.field(table, BUFFER_DATA)),
    );
    for (const table of this.tables(this.field(model, MODEL_METADATA))) {
      const found = new TextDecoder().decode(this.content(this.field(table, METADATA_FIELD_NAME)));
      if (found !== name) continue;
      const place = this.field(table, METADATA_FIELD_BUFFER);
      const content = buffers[place ? this.uint(place) : 0];
      if (content === undefined) throw new RangeError("no such buffer");
      return content;
    }
    return undefined;
  }

  private uint(place: number): number {
    return this.view.getUint32(place, true);
  }

  /** Where a table has a field; 0 where it has none. */
  private field(table: number, index: number): number {
    const description = table - this.view.getInt32(table, true);
    const entry = 4 + 2 * index;
    if (entry + 2 > this.view.getUint16(description, true)) return 0;
    const offset = this.view.getUint16(description + entry, true);
    return offset ? table + offset : 0;
  }

  private vector(place: number, itemSize: number): { start: number; count: number } {
    if (!place) return { start: 0, count: 0 };
    const start = place + this.uint(place);
    const count = this.uint(start);
    if (start + 4 + count * itemSize > this.bytes.length) throw new RangeError("vector");
    return { start: start + 4, count };
  }

  private tables(place: number): number[] {
    const { start, count } = this.vector(place, 4);
    return Array.from({ length: count }, (_, i) => start + 4 * i + this.uint(start + 4 * i));
  }

  private content(place: number): Uint8Array {
    const { start, count } = this.vector(place, 1);
    return this.bytes.subarray(start, start + count);
  }
}
