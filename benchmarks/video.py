"""Measures what tracking and smoothing do to the landmarks of a video whose motion is known.

    python benchmarks/video.py --preset sat1_cab_mobile

The portrait in `examples/` is moved by known affine maps, with noise of a camera's sensor added to
every frame: it stands still, sways, nods and comes closer, and stands still again. Three ways of
finding its landmarks are compared: detection in every frame, tracking, and tracking with smoothing.
For each this prints

- jitter: standard deviation over time of the landmarks while the face stands still;
- error in motion: distance from where the known motion takes the landmarks. The landmarks
  themselves are the mean over all frames of the unsmoothed ones, moved back;
- lag: the delay, in frames, at which the known motion fits the landmarks best;
- time a frame,

and ends with an error unless smoothing cuts the jitter of tracking alone by 60 %, at a lag of at
most one frame, and is as accurate in motion.

    python benchmarks/video.py --files

compares reading and writing of the same frames, at two sizes, with OpenCV's video layer.

    python benchmarks/video.py --speed --preset sat1_cab_mobile --peer-python PYTHON

tracks a clip of 1280 x 720 with two faces that move about, as `keras-facealign video` does, with
reading, drawing and encoding, and does the same with MediaPipe, which PYTHON has.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_facealign import geometry
from keras_facealign.data import read_image
from keras_facealign.inference import Face, FaceAligner
from keras_facealign.inference.drawing import draw_tracked
from keras_facealign.video import FaceTracker, VideoReader, video_writer

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
RATE = 30.0
SIZE = (640, 480)
FACE = (222.0, 135.0)  # about where the face is in the photo, and its size in pixels
FACE_SIZE = 90.0
SCALE = 1.6  # of the photo in the frame
STILL, MOVING = 3.0, 8.0  # seconds; stillness comes before and after
SENSOR_NOISE = 6.0  # standard deviation in gray levels, of each color alone


def motion(seconds: float) -> np.ndarray:
    """From the photo to the frame at a moment: (2, 3).

    In motion the face sways by up to 1.7 of its sizes a second, and turns and changes its size.
    """
    t = seconds - STILL
    inside = 0.0 <= t <= MOVING
    # Rises from 0 and falls to 0 within half a second, as heads start and stop.
    ease = min(1.0, t / 0.5, (MOVING - t) / 0.5) if inside else 0.0
    ease = ease * ease * (3 - 2 * ease)
    sway = 0.9 * math.sin(2 * math.pi * 0.3 * t) + 0.12 * math.sin(2 * math.pi * 1.1 * t)
    dx = ease * sway * FACE_SIZE * SCALE
    dy = ease * 0.25 * math.sin(2 * math.pi * 0.45 * t) * FACE_SIZE * SCALE
    turn = ease * math.radians(15) * math.sin(2 * math.pi * 0.4 * t)
    grow = SCALE * (1 + ease * 0.25 * math.sin(2 * math.pi * 0.25 * t))
    about_face = geometry.similarity(grow, turn, (0.0, 0.0), FACE)
    middle = geometry.translation_matrix(SIZE[0] / 2 - FACE[0] + dx, SIZE[1] / 2 - FACE[1] + dy)
    return geometry.compose(middle, about_face)


def frames(seed: int = 0) -> Iterator[tuple[float, np.ndarray]]:
    """Times in seconds, and frames uint8 (480, 640, 3)."""
    photo = read_image(PHOTO)
    rng = np.random.default_rng(seed)
    for index in range(round((2 * STILL + MOVING) * RATE)):
        seconds = index / RATE
        frame = cv2.warpAffine(
            photo, motion(seconds), SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        noise = rng.normal(0, SENSOR_NOISE, frame.shape)
        yield seconds, np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)


def follow(find: Callable[[np.ndarray, float], list[Face]]) -> tuple[np.ndarray, np.ndarray, float]:
    """Landmarks (T, K, 2) and confidence (T, K) of a run, and milliseconds a frame."""
    landmarks, confidence, spent = [], [], []
    for seconds, frame in frames():
        start = time.perf_counter()
        (face,) = find(frame, seconds)
        spent.append(1e3 * (time.perf_counter() - start))
        landmarks.append(face.landmarks)
        confidence.append(face.confidence)
    return np.array(landmarks, np.float64), np.array(confidence), float(np.median(spent))


def known(reference: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Where the known motion takes landmarks (K, 2) of the photo: (T, K, 2)."""
    return np.array([geometry.transform_points(motion(t), reference) for t in seconds])


def reference_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (T, K, 2) moved back to the photo and averaged: (K, 2)."""
    times = np.arange(len(landmarks)) / RATE
    back = [geometry.invert(motion(t)) for t in times]
    moved = [geometry.transform_points(m, p) for m, p in zip(back, landmarks, strict=True)]
    return np.mean(moved, axis=0)


def measure(landmarks: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Jitter and error in motion in pixels, lag in frames."""
    times = np.arange(len(landmarks)) / RATE
    # The second stillness is judged after what remains of the motion has died away.
    first = times < STILL
    last = times >= STILL + MOVING + 1.0
    jitter = math.sqrt(np.mean([landmarks[part].var(axis=0).mean() for part in (first, last)]))
    moving = (times >= STILL) & (times < STILL + MOVING)

    def distance(lag: float) -> float:
        ideal = known(reference, times[moving] - lag / RATE)
        return float(np.linalg.norm(landmarks[moving] - ideal, axis=-1).mean())

    lags = np.arange(-1.0, 3.01, 0.05)
    lag = float(lags[np.argmin([distance(lag) for lag in lags])])
    return {"jitter": jitter, "error": distance(0.0), "lag": lag}


def write_with_opencv(path: Path, images: list[np.ndarray]) -> None:
    size = (images[0].shape[1], images[0].shape[0])
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, RATE, size)
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()


def write_with_package(path: Path, images: list[np.ndarray]) -> None:
    with video_writer(path, RATE, (images[0].shape[1], images[0].shape[0])) as writer:
        for image in images:
            writer.write(image)


def read_with_opencv(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while True:
        success, image = capture.read()
        if not success:
            return count
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        count += 1


def read_with_package(path: Path) -> int:
    with VideoReader(path) as reader:
        return sum(1 for _ in reader)


def compare_files(repeats: int = 5) -> None:
    """Prints the times a frame of reading and writing, each the least of alternating runs."""
    table = Table("", "wall, ms", "processor, ms", "MB")
    with tempfile.TemporaryDirectory() as folder:
        for size in ((640, 480), (1280, 720)):
            images = [cv2.resize(image, size) for _, image in itertools.islice(frames(), 90)]
            old, new = Path(folder) / "opencv.mp4", Path(folder) / "package.mp4"
            runs = {
                "write, OpenCV, MPEG-4": (lambda o=old, i=images: write_with_opencv(o, i), old),
                "write, package, H.264": (lambda n=new, i=images: write_with_package(n, i), new),
                "read MPEG-4, OpenCV": (lambda o=old: read_with_opencv(o), old),
                "read MPEG-4, package": (lambda o=old: read_with_package(o), old),
                "read H.264, OpenCV": (lambda n=new: read_with_opencv(n), new),
                "read H.264, package": (lambda n=new: read_with_package(n), new),
            }
            least: dict[str, tuple[float, float]] = {}
            for name in list(runs) * repeats:
                start, used = time.perf_counter(), time.process_time()
                runs[name][0]()
                spent = time.perf_counter() - start, time.process_time() - used
                before = least.get(name, spent)
                least[name] = min(spent[0], before[0]), min(spent[1], before[1])
            for name, (_, path) in runs.items():
                wall, processor = (1e3 * seconds / len(images) for seconds in least[name])
                megabytes = path.stat().st_size / 1e6
                table.add_row(
                    f"{size[0]}x{size[1]}: {name}",
                    f"{wall:.2f}",
                    f"{processor:.2f}",
                    f"{megabytes:.2f}",
                )
    Console().print(table)


def two_faces(index: int) -> np.ndarray:
    """A frame, uint8 (720, 1280, 3), with the portrait in both halves, moving about."""
    photo, t = read_image(PHOTO), index / RATE
    frame = np.full((720, 1280, 3), (70, 90, 110), np.uint8)
    for half in (0, 1):
        dx = 120 * math.sin(2 * math.pi * 0.3 * t + half)
        dy = 60 * math.sin(2 * math.pi * 0.23 * t + 2 * half)
        turn = math.radians(12) * math.sin(2 * math.pi * 0.35 * t + half)
        grow = 1.5 + 0.3 * math.sin(2 * math.pi * 0.2 * t + half)
        about_face = geometry.similarity(grow, turn, (0.0, 0.0), FACE)
        place = geometry.translation_matrix(320 - FACE[0] + dx, 355 - FACE[1] + dy)
        cv2.warpAffine(
            photo,
            geometry.compose(place, about_face),
            (640, 720),
            dst=frame[:, 640 * half : 640 * (half + 1)],
            borderMode=cv2.BORDER_TRANSPARENT,
        )
    return frame


def follow_video(preset: str, source: Path, target: Path) -> str:
    """Tracks a video as the command does; returns what it took."""
    aligner = FaceAligner.from_preset(preset)
    aligner.align(np.zeros((64, 64, 3), np.uint8))
    tracker, found, count = FaceTracker(aligner), 0, 0
    start, used = time.perf_counter(), time.process_time()
    with VideoReader(source) as reader, video_writer(target, RATE, (1280, 720)) as writer:
        for frame in reader:
            faces = tracker.update(frame.image, frame.time)
            writer.write(draw_tracked(frame.image, faces, aligner.model.scheme), frame.time)
            found, count = found + len(faces), count + 1
    spent, used = time.perf_counter() - start, time.process_time() - used
    return speed_line(preset, count, found, spent, used)


def speed_line(name: str, count: int, found: int, spent: float, used: float) -> str:
    """What a run took, in words."""
    return (
        f"{name}: {count / spent:.1f} frames/s, {1e3 * used / count:.1f} ms of processor time a "
        f"frame, {found / count:.2f} faces a frame"
    )


def compare_speed(preset: str, python: str) -> None:
    """Prints frames a second with this library and with MediaPipe, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        clip, target = Path(folder) / "clip.mp4", Path(folder) / "drawn.mp4"
        write_with_package(clip, [two_faces(index) for index in range(240)])
        for _ in range(2):
            print(follow_video(preset, clip, target))
            peer = [python, str(Path(__file__).with_name("video_peer.py")), str(clip), str(target)]
            run = subprocess.run(peer, capture_output=True, text=True)
            print((run.stdout or run.stderr).strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--files", action="store_true", help="compare reading and writing instead")
    parser.add_argument("--speed", action="store_true", help="compare with MediaPipe instead")
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has MediaPipe")
    args = parser.parse_args()
    if args.speed:
        compare_speed(args.preset, args.peer_python)
        return
    if args.files:
        compare_files()
        return
    aligner = FaceAligner.from_preset(args.preset)
    raw, smooth = FaceTracker(aligner, smoothing=None), FaceTracker(aligner)
    runs = {
        "detection in every frame": follow(lambda image, _: aligner.align(image)[:1]),
        "tracking": follow(raw.update),
        "tracking and smoothing": follow(smooth.update),
    }
    reference = reference_landmarks(runs["tracking"][0])
    table = Table("", "jitter, px", "error in motion, px", "lag, frames", "ms a frame")
    results = {}
    for name, (landmarks, _, spent) in runs.items():
        results[name] = measure(landmarks, reference)
        row = results[name]
        cells = f"{row['jitter']:.3f}", f"{row['error']:.3f}", f"{row['lag']:.2f}", f"{spent:.1f}"
        table.add_row(name, *cells)
    console = Console()
    console.print(f"{args.preset}: a face of {FACE_SIZE * SCALE:.0f} pixels, {RATE:.0f} frames/s")
    console.print(table)
    before, after = results["tracking"], results["tracking and smoothing"]
    cut = 100 * (1 - after["jitter"] / before["jitter"])
    lag = after["lag"] - before["lag"]
    console.print(
        f"Smoothing cuts the jitter by {cut:.1f} % at a lag of {lag:.2f} frames; the error in "
        f"motion goes from {before['error']:.3f} to {after['error']:.3f} px."
    )
    if cut < 60 or lag > 1 or after["error"] > before["error"]:
        raise SystemExit("The smoothing is not good enough.")


if __name__ == "__main__":
    main()
