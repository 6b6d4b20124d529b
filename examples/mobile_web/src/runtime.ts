/** LiteRT.js: loading it with the best WebAssembly of this browser, and running networks. */

import {
  type CompiledModel,
  getWebGpuDevice,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  Tensor,
} from "@litertjs/core";

export type Accelerator = "wasm" | "webgpu";

export type NetworkInput = Float32Array | Uint8Array<ArrayBuffer>;

/** A network: one picture or batch in, arrays by name out. */
export interface Network {
  readonly inputShape: readonly number[];
  run(input: NetworkInput): Promise<Record<string, Float32Array>>;
}

export interface RuntimeInfo {
  readonly threads: boolean;
  readonly webgpu: boolean;
}

/**
 * Loads LiteRT.js, once a page.
 *
 * With `gpu`, its variant that hands networks back and forth between WebGPU and the processor, which
 * no browser combines with threads; else the one with threads, if the page may share memory.
 */
export async function loadRuntime(folder: string, gpu: boolean): Promise<RuntimeInfo> {
  const [simd, shared, jspi] = await Promise.all([
    supportsFeature("relaxedSimd"),
    supportsFeature("threads"),
    supportsFeature("jspi"),
  ]);
  const threads = !gpu && globalThis.crossOriginIsolated && simd && shared;
  // LiteRT logs what it does as errors; only what is one stays one.
  Object.assign(globalThis, { Module: { printErr: log } });
  await loadLiteRt(folder, gpu && jspi ? { jspi } : { threads });
  return { threads, webgpu: gpu && getWebGpuDevice() !== null };
}

// What a graphics unit cannot run, LiteRT gives to the processor, and says so as an error.
let compilingForGpu = false;

function log(line: string): void {
  if (compilingForGpu || /^(INFO|WARNING|VERBOSE)\b/.test(line)) console.debug(line);
  else console.error(line);
}

export class LiteRtNetwork implements Network {
  readonly inputShape: readonly number[];
  private readonly inputName: string;

  private constructor(
    private readonly model: CompiledModel,
    readonly accelerator: Accelerator,
  ) {
    const inputs = model.getInputDetails();
    const [input] = inputs;
    if (input === undefined || inputs.length !== 1) {
      throw new Error(`the network has ${inputs.length} inputs instead of one`);
    }
    this.inputName = input.name;
    this.inputShape = [...input.shape];
  }

  static async load(
    content: Uint8Array,
    accelerator: Accelerator = "wasm",
  ): Promise<LiteRtNetwork> {
    compilingForGpu = accelerator === "webgpu";
    try {
      const gpuOptions = { precision: "fp32" as const };
      const model = await loadAndCompile(content, { accelerator, gpuOptions });
      return new LiteRtNetwork(model, model.options.accelerator === "webgpu" ? "webgpu" : "wasm");
    } finally {
      compilingForGpu = false;
    }
  }

  outputShape(name: string): readonly number[] | undefined {
    const output = this.model.getOutputDetails().find((details) => details.name === name);
    return output && [...output.shape];
  }

  inputType(): string {
    return this.model.getInputDetails()[0]?.dtype ?? "none";
  }

  async run(input: NetworkInput): Promise<Record<string, Float32Array>> {
    const tensor = new Tensor(input, [...this.inputShape]);
    const outputs = await this.model
      .run({ [this.inputName]: tensor })
      .finally(() => tensor.delete());
    const arrays: Record<string, Float32Array> = {};
    for (const [name, output] of Object.entries(outputs)) {
      arrays[name] = Float32Array.from(await output.data());
      output.delete();
    }
    return arrays;
  }

  delete(): void {
    this.model.delete();
  }
}
