/** The page's elements, and what it says. */

import { confidenceColor } from "./drawing.ts";

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html lacks #${id}`);
  return found;
}

function context(canvas: HTMLCanvasElement, options?: CanvasRenderingContext2DSettings) {
  const found = canvas.getContext("2d", options);
  if (!found) throw new Error("this browser has no 2D canvas");
  return found;
}

export const page = {
  view: context(element("view", HTMLCanvasElement)),
  /** The frame alone, from which pixels are read. */
  frame: context(document.createElement("canvas"), { willReadFrequently: true }),
  stage: element("stage", HTMLElement),
  hint: element("hint", HTMLElement),
  video: element("video", HTMLVideoElement),
  camera: element("camera", HTMLButtonElement),
  flip: element("flip", HTMLButtonElement),
  photo: element("photo", HTMLInputElement),
  model: element("model", HTMLSelectElement),
  file: element("file", HTMLInputElement),
  runs: element("runs", HTMLSelectElement),
  runsChoice: element("runs-choice", HTMLElement),
};

export function say(text: string, isError = false): void {
  const status = element("status", HTMLElement);
  status.classList.toggle("error", isError);
  // Screen readers read every change aloud.
  if (status.textContent !== text) status.textContent = text;
}

export function show(id: string, text: string): void {
  element(id, HTMLElement).textContent = text;
}

export function showConfidence(confidence: number | undefined): void {
  const place = element("confidence", HTMLElement);
  place.textContent = confidence === undefined ? "–" : confidence.toFixed(2);
  place.style.color = confidence === undefined ? "" : confidenceColor(confidence);
}

/** Sets the picture's size and brings a source onto it; gives its pixels. */
export function takeFrame(source: CanvasImageSource, width: number, height: number): ImageData {
  for (const { canvas } of [page.view, page.frame]) {
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
  }
  page.frame.drawImage(source, 0, 0, width, height);
  page.hint.hidden = true;
  return page.frame.getImageData(0, 0, width, height);
}
