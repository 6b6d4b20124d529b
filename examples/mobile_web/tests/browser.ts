/** Chromium on the built page, with a camera that shows a moving portrait. */

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { preview } from "vite";

export const folder = join(import.meta.dirname, "..");
export const portrait = join(folder, "..", "astronaut.jpg");

const PLACES = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const executablePath = PLACES.find((path) => path && existsSync(path));

/** Why the page cannot be tested here; undefined where it can. */
export const obstacle = !executablePath
  ? "no Chromium was found (set CHROMIUM to its path)"
  : !existsSync(join(folder, "dist", "index.html"))
    ? "the page is not built (npm run build)"
    : undefined;

/** The video: frames of 640 x 480 with the portrait 64 pixels from the left, moved by `motion`. */
export const FRAMES = 120;
const CODE_BITS = 7;
const CODE_SIDE = 16;

export function motion(frame: number): { x: number; y: number } {
  const turn = (2 * Math.PI * frame) / FRAMES;
  return { x: Math.round(40 * Math.sin(turn)), y: Math.round(20 - 20 * Math.cos(turn)) };
}

/** Draws frame after frame in the browser, with its number as black and white squares below. */
async function makeVideo(browser: Browser, path: string): Promise<void> {
  const page = await browser.newPage();
  const source = portraitUrl();
  const frames = await page.evaluate(
    async ({ source, moves, bits, side }) => {
      const image = new Image();
      image.src = source;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
      const context = canvas.getContext("2d") as CanvasRenderingContext2D;
      return moves.map(({ x, y }, frame) => {
        context.fillStyle = "rgb(128 128 128)";
        context.fillRect(0, 0, 640, 480);
        context.drawImage(image, 64 + x, y);
        for (let bit = 0; bit < bits; bit++) {
          context.fillStyle = (frame >> bit) & 1 ? "white" : "black";
          context.fillRect(bit * side, 480 - side, side, side);
        }
        return canvas.toDataURL("image/jpeg", 0.95).split(",")[1] as string;
      });
    },
    {
      source,
      moves: Array.from({ length: FRAMES }, (_, i) => motion(i)),
      bits: CODE_BITS,
      side: CODE_SIDE,
    },
  );
  await page.close();
  writeFileSync(path, Buffer.concat(frames.map((frame) => Buffer.from(frame, "base64"))));
}

export interface Shot {
  readonly source: string;
  readonly frame: number;
  readonly times: { detect: number; align: number; frame: number };
  readonly faces: {
    landmarks: { x: number; y: number }[];
    roll: number;
    reliable: boolean;
    confidence: number[];
    visibility?: number[];
  }[];
}

function portraitUrl(): string {
  return `data:image/jpeg;base64,${readFileSync(portrait).toString("base64")}`;
}

/** Where `Actor` puts the portrait: a point of it, and what it is turned about, clockwise. */
export interface Pose {
  /** The point of the portrait that is shown at `at`. */
  readonly center: readonly [number, number];
  readonly at: readonly [number, number];
  readonly degrees: number;
  readonly scale?: number;
}

/** In the page: a camera that shows one picture after the other, when it is told to. */
function actAsCamera(given: {
  source: string;
  size: readonly [number, number];
  bits: number;
  side: number;
}): void {
  const { source, size, bits, side } = given;
  const image = new Image();
  image.src = source;
  const canvas = Object.assign(document.createElement("canvas"), {
    width: size[0],
    height: size[1],
  });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const stream = canvas.captureStream(0);
  const [track] = stream.getVideoTracks() as [CanvasCaptureMediaStreamTrack];
  const show = ({ center, at, degrees, scale = 1 }: Pose, frame: number) => {
    context.resetTransform();
    context.fillStyle = "rgb(128 128 128)";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.translate(at[0], at[1]);
    context.rotate((degrees * Math.PI) / 180);
    context.scale(scale, scale);
    context.drawImage(image, -center[0], -center[1]);
    context.resetTransform();
    for (let bit = 0; bit < bits; bit++) {
      context.fillStyle = (frame >> bit) & 1 ? "white" : "black";
      context.fillRect(bit * side, canvas.height - side, side, side);
    }
    track.requestFrame();
  };
  Object.assign(globalThis, { show });
  Object.defineProperty(navigator.mediaDevices, "getUserMedia", {
    value: async () => {
      await image.decode();
      return stream;
    },
  });
}

/** The camera of a page, which shows the portrait as the test wants it. */
export class Actor {
  private frame = 0;

  private constructor(private readonly page: Page) {}

  /** Takes the place of the camera of a visit that has not begun. */
  static async join(page: Page, width: number, height: number): Promise<Actor> {
    await page.addInitScript(actAsCamera, {
      source: portraitUrl(),
      size: [width, height] as const,
      bits: CODE_BITS,
      side: CODE_SIDE,
    });
    return new Actor(page);
  }

  /** Shows a picture; the page's result for it. */
  async show(pose: Pose): Promise<Shot> {
    this.frame = (this.frame + 1) % 2 ** CODE_BITS;
    const found = await this.page.evaluate(
      async ([pose, frame]) => {
        const { results, show } = globalThis as unknown as {
          results: Shot[];
          show: (pose: Pose, frame: number) => void;
        };
        // A picture may be shown while the page is not waiting for one: it is shown again.
        for (let tries = 0; tries < 2000 && results.at(-1)?.frame !== frame; tries++) {
          if (tries % 20 === 0) show(pose, frame);
          await new Promise((done) => setTimeout(done, 10));
        }
        return results.findLast((result) => result.frame === frame);
      },
      [pose, this.frame] as const,
    );
    if (!found) throw new Error("the page gave no result");
    return found;
  }
}

/** The portrait turned clockwise, as a file to open on the page. */
export async function turnedPortrait(
  page: Page,
  degrees: number,
): Promise<{ name: string; mimeType: string; buffer: Buffer }> {
  const source = portraitUrl();
  const data = await page.evaluate(
    async ({ source, degrees }) => {
      const image = new Image();
      image.src = source;
      await image.decode();
      const { width, height } = image;
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d") as CanvasRenderingContext2D;
      context.translate(width / 2, height / 2);
      context.rotate((degrees * Math.PI) / 180);
      context.drawImage(image, -width / 2, -height / 2);
      return canvas.toDataURL("image/png").split(",")[1] as string;
    },
    { source, degrees },
  );
  return { name: "turned.png", mimeType: "image/png", buffer: Buffer.from(data, "base64") };
}

export interface Visit {
  readonly page: Page;
  /** What the page's console and network complain of. */
  readonly problems: string[];
}

/** In the page: keeps every result, with the number that its picture shows. */
function collect({ bits, side }: { bits: number; side: number }): void {
  const results: unknown[] = [];
  Object.assign(globalThis, { results });
  document.addEventListener("landmarks", (event) => {
    const { source, faces, height, times } = (event as CustomEvent).detail;
    const canvas = document.getElementById("view") as HTMLCanvasElement;
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    let frame = 0;
    for (let bit = 0; bit < bits; bit++) {
      const x = bit * side + side / 2;
      const [gray] = context.getImageData(x, height - side / 2, 1, 1).data;
      if ((gray as number) > 127) frame |= 1 << bit;
    }
    results.push({ source, faces, times, frame });
  });
}

// Without a graphics unit: SwiftShader, which Chromium brings along, computes on the processor.
const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

function launch(extra: readonly string[]): Promise<Browser> {
  return chromium.launch({
    executablePath: executablePath as string,
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...extra,
    ],
  });
}

export class Stage {
  private constructor(
    readonly url: string,
    private readonly camera: Browser,
    private readonly close: () => Promise<void>,
  ) {}

  static async open(): Promise<Stage> {
    const work = mkdtempSync(join(tmpdir(), "mobile-web-"));
    const video = join(work, "face.mjpeg");
    const plain = await launch(["--disable-gpu"]);
    await makeVideo(plain, video);
    await plain.close();
    const camera = await launch([
      "--disable-gpu",
      "--use-fake-device-for-media-stream",
      `--use-file-for-fake-video-capture=${video}`,
    ]);
    const server = await preview({ root: folder, preview: { port: 0, host: "127.0.0.1" } });
    const address = server.httpServer.address();
    const port = typeof address === "object" && address ? address.port : 0;
    return new Stage(`http://127.0.0.1:${port}/`, camera, async () => {
      await camera.close();
      await new Promise((done) => server.httpServer.close(done));
      rmSync(work, { recursive: true });
    });
  }

  /** A fresh page, ready for use. */
  visit(options: BrowserContextOptions = {}): Promise<Visit> {
    return this.load(this.camera, this.url, options);
  }

  /** A fresh page with a camera whose pictures the test chooses. */
  async visitWithActor(width = 640, height = 480): Promise<Visit & { actor: Actor }> {
    let actor: Actor | undefined;
    const visit = await this.load(this.camera, this.url, {}, async (page) => {
      actor = await Actor.join(page, width, height);
    });
    return { ...visit, actor: actor as Actor };
  }

  /** The page as "Run on WebGPU" loads it, in a browser of its own, to be closed. */
  async visitOnGpu(): Promise<Visit & { browser: Browser }> {
    const browser = await launch(SOFTWARE_GPU);
    return { browser, ...(await this.load(browser, `${this.url}?gpu`, {})) };
  }

  private async load(
    browser: Browser,
    address: string,
    options: BrowserContextOptions,
    prepare: (page: Page) => Promise<void> = async () => {},
  ): Promise<Visit> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await prepare(page);
    const problems: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("requestfailed", (request) => problems.push(`${request.url()} failed`));
    page.on("request", (request) => {
      const local = [this.url, "data:", "blob:"].some((start) => request.url().startsWith(start));
      if (!local) problems.push(`${request.url()} is asked for`);
    });
    await page.addInitScript(collect, { bits: CODE_BITS, side: CODE_SIDE });
    await page.goto(address);
    await page
      .locator("#status")
      .getByText(/^Ready|^No model/)
      .waitFor({ timeout: 60_000 });
    return { page, problems };
  }

  /** The results so far, once there are `count` with a face. */
  static async results(page: Page, count: number): Promise<Shot[]> {
    await page.waitForFunction(
      (wanted) =>
        (globalThis as unknown as { results: Shot[] }).results.filter((r) => r.faces.length)
          .length >= wanted,
      count,
      { timeout: 60_000 },
    );
    return page.evaluate(() => (globalThis as unknown as { results: Shot[] }).results);
  }

  async end(): Promise<void> {
    await this.close();
  }
}
