/** Puts the parts together: choices of the user, the camera's loop, photos. */

import { Aligner, type Face, meanConfidence } from "./aligner.ts";
import { closeCamera, type Facing, onNextFrame, openCamera } from "./camera.ts";
import { Detector } from "./detector.ts";
import { drawFaces } from "./drawing.ts";
import { UserError } from "./errors.ts";
import { boxArea } from "./geometry.ts";
import { page, say, show, showConfidence, takeFrame } from "./page.ts";
import { LiteRtNetwork, loadRuntime, type RuntimeInfo } from "./runtime.ts";
import { Tracker } from "./tracker.ts";

/** What `scripts/copy_assets.mjs` writes beside the models. */
interface Manifest {
  readonly models: readonly { readonly file: string; readonly label: string }[];
}

/** Dispatched on `document` after each picture; for programs around this page. */
export interface LandmarksEvent {
  readonly source: "camera" | "photo";
  readonly width: number;
  readonly height: number;
  readonly faces: readonly Face[];
  /** Milliseconds of the last search for faces, of one face, and of all of the picture. */
  readonly times: { readonly detect: number; readonly align: number; readonly frame: number };
}

// Longer photos are shown and searched in this size; the network sees at most a few hundred pixels.
const LONGEST_PHOTO = 2048;
// In photos, faces of a twenty-fifth of the longer side are found as well.
const FINE_SEARCHES = 2;
const base = new URL(import.meta.env.BASE_URL, location.href);

let runtime: RuntimeInfo;
let detector: Detector;
let aligner: Aligner | undefined;
let tracker: Tracker | undefined;
let photo: ImageBitmap | undefined;
let facing: Facing = "user";
let filming = false;
// Networks are not called while they are exchanged, nor two pictures at once.
let queue: Promise<void> = Promise.resolve();

/** Runs tasks one after the other; what goes wrong is said on the page. */
function enqueue(task: () => Promise<void>): Promise<void> {
  queue = queue.then(task).catch((error: unknown) => {
    if (!(error instanceof UserError)) console.error(error);
    say(error instanceof Error ? error.message : String(error), true);
  });
  return queue;
}

async function fetchBytes(path: string): Promise<Uint8Array> {
  const response = await fetch(new URL(path, base));
  if (!response.ok)
    throw new Error(`${path} cannot be loaded (${response.status}); build the page again.`);
  return new Uint8Array(await response.arrayBuffer());
}

async function start(): Promise<void> {
  const response = await fetch(new URL("models/manifest.json", base));
  if (!response.ok) throw new Error("No models are beside this page; run: npm run build");
  const manifest = (await response.json()) as Manifest;
  const gpu = new URLSearchParams(location.search).has("gpu");
  runtime = await loadRuntime(new URL("wasm/", base).href, gpu);
  page.runs.value = gpu ? "gpu" : "";
  page.runsChoice.hidden = !gpu && !(await navigator.gpu?.requestAdapter());
  detector = new Detector(await LiteRtNetwork.load(await fetchBytes("models/short_range.tflite")));
  page.model.append(...manifest.models.map(({ file, label }) => new Option(label, file)));
  for (const input of [page.camera, page.photo, page.model, page.file]) input.disabled = false;
  if (page.model.value) await chooseModel();
  else say("No model is bundled; open a .tflite file that keras-facealign wrote.");
}

async function chooseModel(): Promise<void> {
  const { value } = page.model;
  await useModel(await fetchBytes(`models/${value}`), value);
}

async function useModel(content: Uint8Array, name: string): Promise<void> {
  say(`Loading ${name}…`);
  const opened = await Aligner.open(content, name, runtime.webgpu);
  aligner?.close();
  aligner = opened;
  tracker = new Tracker(detector, opened, opened.metadata);
  const { preset, kind, numLandmarks, inputSize, quantize, license } = opened.metadata;
  show(
    "about-model",
    `${preset}: ${numLandmarks} landmarks in ${kind}, ${inputSize} px, quantize ${quantize}; license: ${license}`,
  );
  show(
    "runs-on",
    opened.accelerator === "webgpu"
      ? "WebGPU"
      : runtime.threads
        ? "WebAssembly, threads"
        : "WebAssembly",
  );
  say("Ready.");
  if (photo && !filming) await alignPhoto();
}

async function alignPhoto(): Promise<void> {
  if (!photo || !aligner) return;
  say("Looking for faces…");
  const scale = Math.min(1, LONGEST_PHOTO / Math.max(photo.width, photo.height));
  const pixels = takeFrame(
    photo,
    Math.round(photo.width * scale),
    Math.round(photo.height * scale),
  );
  page.view.canvas.classList.remove("mirrored");
  const start = performance.now();
  const found = await detector.detect(pixels, FINE_SEARCHES);
  const between = performance.now();
  const all: Face[] = [];
  for (const place of found.sort((a, b) => boxArea(b.box) - boxArea(a.box))) {
    all.push(await aligner.align(pixels, place, place.score));
  }
  // Beside faces, doubtful ones are false finds; alone, they may be all that a new network finds.
  const sure = all.filter(({ reliable }) => reliable);
  const faces = sure.length ? sure : all;
  const end = performance.now();
  const align = (end - between) / Math.max(1, all.length);
  showResult("photo", faces, { detect: between - start, align, frame: end - start });
  show("fps", "–");
  const number = `${faces.length} ${faces.length === 1 ? "face" : "faces"}`;
  const unsure = `No face that the network is sure of; ${faces.length} doubtful.`;
  say(!faces.length ? "No face found." : sure.length ? `${number} found.` : unsure);
}

async function alignFrame(): Promise<void> {
  const { videoWidth: width, videoHeight: height } = page.video;
  if (!filming || !tracker || !width || !height) return;
  const start = performance.now();
  const faces = await tracker.update(takeFrame(page.video, width, height));
  const frame = performance.now() - start;
  showResult("camera", faces, { ...tracker.times, frame });
  show("fps", frameRate().toFixed(1));
  const unsure = "The network is not sure of what may be a face.";
  say(faces.length ? "Following." : tracker.doubtful ? unsure : "Looking for a face…");
}

function showResult(
  source: LandmarksEvent["source"],
  faces: Face[],
  times: LandmarksEvent["times"],
): void {
  drawFaces(page.view, page.frame.canvas, faces, aligner?.metadata.edges ?? []);
  showConfidence(faces[0] && meanConfidence(faces[0]));
  show("faces", String(faces.length));
  show("align-time", faces.length ? `${times.align.toFixed(1)} ms` : "–");
  show("detect-time", `${times.detect.toFixed(1)} ms`);
  const { width, height } = page.frame.canvas;
  const detail: LandmarksEvent = { source, width, height, faces, times };
  document.dispatchEvent(new CustomEvent("landmarks", { detail }));
}

const frameTimes: number[] = [];

/** Frames that went through in the last second or so. */
function frameRate(): number {
  const now = performance.now();
  frameTimes.push(now);
  while (frameTimes.length > 2 && now - (frameTimes[0] as number) > 1000) frameTimes.shift();
  const span = now - (frameTimes[0] as number);
  return span > 0 ? ((frameTimes.length - 1) * 1000) / span : 0;
}

function film(): void {
  if (!filming) return;
  enqueue(alignFrame).then(() => onNextFrame(page.video, film));
}

async function startCamera(): Promise<void> {
  say("Waiting for the camera…");
  await openCamera(page.video, facing);
  filming = true;
  photo = undefined;
  frameTimes.length = 0;
  tracker?.reset();
  page.camera.textContent = "Stop camera";
  page.flip.disabled = false;
  page.view.canvas.classList.toggle("mirrored", facing === "user");
  onNextFrame(page.video, film);
}

function stopCamera(): void {
  filming = false;
  closeCamera(page.video);
  page.camera.textContent = "Start camera";
  page.flip.disabled = true;
}

async function openPhoto(file: File): Promise<void> {
  stopCamera();
  try {
    photo = await createImageBitmap(file);
  } catch {
    throw new UserError(`${file.name} is no picture that this browser can read.`);
  }
  await alignPhoto();
}

async function openModel(file: File): Promise<void> {
  await useModel(new Uint8Array(await file.arrayBuffer()), file.name);
  const option = new Option(file.name, "", true, true);
  // Its content is not kept: choosing another model and this one again needs the file again.
  option.disabled = true;
  page.model.append(option);
}

function openFile(file: File): Promise<void> {
  return enqueue(() => (file.type.startsWith("image/") ? openPhoto(file) : openModel(file)));
}

function connect(): void {
  page.camera.addEventListener("click", () => {
    enqueue(async () => {
      if (!filming) return startCamera();
      stopCamera();
      say("Stopped.");
    });
  });
  page.flip.addEventListener("click", () => {
    enqueue(async () => {
      stopCamera();
      facing = facing === "user" ? "environment" : "user";
      await startCamera();
    });
  });
  page.model.addEventListener("change", () => enqueue(chooseModel));
  page.runs.addEventListener("change", () => {
    // LiteRT cannot change its variant of WebAssembly in a page that runs.
    location.search = page.runs.value;
  });
  page.photo.addEventListener("change", () => {
    const file = page.photo.files?.[0];
    if (file) enqueue(() => openPhoto(file));
    page.photo.value = "";
  });
  page.file.addEventListener("change", () => {
    const file = page.file.files?.[0];
    if (file) enqueue(() => openModel(file));
    page.file.value = "";
  });
  const drop = (event: DragEvent) => {
    event.preventDefault();
    page.stage.classList.toggle("dropping", event.type === "dragover");
    const file = event.type === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file && !page.file.disabled) openFile(file);
  };
  for (const name of ["dragover", "dragleave", "drop"] as const)
    document.addEventListener(name, drop);
}

connect();
enqueue(start);
