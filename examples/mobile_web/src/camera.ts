/** The camera: opening it, and saying why it cannot be opened. */

import { UserError } from "./errors.ts";

export type Facing = "user" | "environment";

const REASONS: Record<string, string> = {
  NotAllowedError:
    "The camera was denied. Allow it in the browser's site settings and try again, or open a photo.",
  NotFoundError: "No camera was found on this device. Open a photo instead.",
  NotReadableError: "The camera is in use by another program. Close that and try again.",
  OverconstrainedError: "This device has no such camera. Open a photo instead.",
};

export async function openCamera(video: HTMLVideoElement, facing: Facing): Promise<void> {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new UserError(
      "The camera needs a page served over HTTPS or from localhost. Open a photo instead.",
    );
  }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 } },
    });
    await video.play();
  } catch (error) {
    closeCamera(video);
    const name = error instanceof DOMException ? error.name : "";
    throw new UserError(
      REASONS[name] ?? `The camera cannot be opened (${String(error)}). Open a photo instead.`,
    );
  }
}

export function closeCamera(video: HTMLVideoElement): void {
  if (video.srcObject instanceof MediaStream) {
    for (const track of video.srcObject.getTracks()) track.stop();
  }
  video.srcObject = null;
}

/** Calls back with the next frame of a video. */
export function onNextFrame(video: HTMLVideoElement, callback: () => void): void {
  if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(() => callback());
  else requestAnimationFrame(() => callback());
}
