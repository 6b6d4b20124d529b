/** The landmark network: a picture and a face's box in, landmarks in the picture's pixels out. */

import { UserError } from "./errors.ts";
import { type Box, cropTransform, invert, movePoint, type Place, type Point } from "./geometry.ts";
import { type Metadata, readMetadata } from "./metadata.ts";
import { cutSquare, type Pixels } from "./pixels.ts";
import { type Accelerator, LiteRtNetwork, type Network } from "./runtime.ts";

export interface Face {
  readonly landmarks: readonly Point[];
  /** 0 to 1 for each landmark. */
  readonly confidence: readonly number[];
  /** Probability that each landmark is not hidden, of networks that tell. */
  readonly visibility?: readonly number[];
  /** The box that the face was cropped by; to lie on the face, it is turned by `roll` degrees. */
  readonly box: Box;
  readonly roll: number;
  /** False for what is likely no face, or mostly hidden: its landmarks mean little. */
  readonly reliable: boolean;
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

export function meanConfidence(face: Face): number {
  return mean(face.confidence);
}

// As in `keras_facealign/inference/reliability.py`.
const LEAST_VISIBILITY = 0.45;
const LEAST_CONFIDENCE = 0.65;
const SURE_SCORE = 0.8;

/** Whether confidence and visibility are those of a face that the detector gave a score. */
function isReliable(
  confidence: readonly number[],
  visibility: readonly number[] | undefined,
  score: number,
): boolean {
  const doubt = Math.max(SURE_SCORE - score, 0);
  if (visibility) return mean(visibility) >= LEAST_VISIBILITY + doubt;
  return mean(confidence) >= LEAST_CONFIDENCE + doubt;
}

export class Aligner {
  constructor(
    private readonly network: Network,
    readonly metadata: Metadata,
    readonly accelerator: Accelerator = "wasm",
    private readonly release: () => void = () => {},
  ) {}

  /** Opens an exported file, on the processor or on WebGPU. */
  static async open(content: Uint8Array, name: string, webgpu: boolean): Promise<Aligner> {
    const metadata = readMetadata(content, name);
    const load = async (accelerator: Accelerator) => {
      try {
        return await LiteRtNetwork.load(content, accelerator);
      } catch (error) {
        throw new UserError(`${name} cannot be run here (${String(error)}).`);
      }
    };
    const cpu = await load("wasm");
    checkGraph(cpu, metadata, name);
    const network = webgpu ? await checkGpu(cpu, await load("webgpu"), metadata.inputSize) : cpu;
    return new Aligner(network, metadata, network.accelerator, () => network.delete());
  }

  /** The landmarks of a face; `score` is the detector's, where it has found the face just now. */
  async align(image: Pixels, { box, roll }: Place, score = 1): Promise<Face> {
    const { inputSize, boxScale, numLandmarks } = this.metadata;
    const transform = cropTransform({ box, roll }, inputSize, boxScale);
    const crop = cutSquare(image, transform, inputSize);
    const outputs = await this.network.run(crop);
    const { landmarks } = outputs;
    if (!landmarks || !outputs.confidence) throw new Error("the network gives no landmarks");
    const confidence = Array.from(outputs.confidence);
    const visibility = outputs.visibility && Array.from(outputs.visibility);
    const back = invert(transform);
    const points = Array.from({ length: numLandmarks }, (_, i) =>
      movePoint(back, { x: landmarks[2 * i] as number, y: landmarks[2 * i + 1] as number }),
    );
    return {
      landmarks: points,
      confidence,
      ...(visibility && { visibility }),
      box,
      roll,
      reliable: isReliable(confidence, visibility, score),
    };
  }

  close(): void {
    this.release();
  }
}

/** Compares the graph with what the file says of itself. */
function checkGraph(network: LiteRtNetwork, metadata: Metadata, name: string): void {
  const { inputSize, numLandmarks } = metadata;
  const shapes = [
    [network.inputShape, [1, inputSize, inputSize, 3]],
    [network.outputShape("landmarks"), [1, numLandmarks, 2]],
    [network.outputShape("confidence"), [1, numLandmarks]],
  ];
  if (network.inputType() === "uint8" && shapes.every(([a, b]) => String(a) === String(b))) return;
  network.delete();
  throw new UserError(`${name} is not what its metadata say; export it again.`);
}

// Largest differences that may be rounding: pixels of the crop, and confidence.
const MOST_PIXELS = 0.5;
const MOST_CONFIDENCE = 0.05;

type Outputs = Record<string, Float32Array>;

/** The network on WebGPU, if it finds what the processor does: drivers have their faults. */
async function checkGpu(
  cpu: LiteRtNetwork,
  gpu: LiteRtNetwork,
  inputSize: number,
): Promise<LiteRtNetwork> {
  const crop = new Uint8Array(inputSize ** 2 * 3).map((_, i) => (i * 37) % 251);
  const good = agree(await cpu.run(crop), await gpu.run(crop));
  if (!good) console.warn("WebGPU gives other landmarks than the processor and is left aside.");
  (good ? cpu : gpu).delete();
  return good ? gpu : cpu;
}

/** Whether landmarks are the same, but for those of which the network is unsure on the pattern. */
function agree(wanted: Outputs, found: Outputs): boolean {
  const near = (name: string, most: number, least: number) =>
    wanted[name]?.every((value, i) => {
      const unsure = (wanted.confidence?.[name === "landmarks" ? i >> 1 : i] ?? 0) < least;
      return unsure || Math.abs(value - (found[name]?.[i] ?? Number.NaN)) < most;
    }) ?? false;
  return near("confidence", MOST_CONFIDENCE, 0) && near("landmarks", MOST_PIXELS, 0.3);
}
