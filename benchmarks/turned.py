"""Measures landmarks of photos that are turned in their plane, found by the aligner's detector.

    python benchmarks/turned.py /data/300w lfpw/testset --limit 100

Each photo is turned about its center by 0, 15, ..., 345 degrees, on a canvas that holds all of it,
with the border's pixels repeated. For each angle this prints

- the NME in percent of the outer eye corners' distance, and its ratio to that of angle 0;
- faces missed: none overlaps the labels' by 0.3;
- faces that are found, but marked as not reliable, and wrong ones (NME above 15) that are not;
- the median error of the face's angle, against the line of the labels' eyes, and the median time.

Pictures without faces (scikit-image's, at several angles and parts of them, and noise) follow: how
many faces are found in them, and how many of these are called reliable.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from keras_facealign import FaceAligner, geometry
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.pts import read_pts

MIN_OVERLAP = 0.3
WRONG = 15.0
WITHOUT_FACES = (
    "brick", "grass", "gravel", "coffee", "coins", "rocket", "moon", "page", "text",
    "hubble_deep_field", "immunohistochemistry", "retina", "colorwheel", "clock", "horse",
    "checkerboard", "logo", "cell", "microaneurysms", "shepp_logan_phantom", "stereo_motorcycle",
)  # fmt: skip


def turned(image: np.ndarray, points: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A photo and its landmarks, turned clockwise on a canvas that holds all of it."""
    height, width = image.shape[:2]
    if degrees % 360 == 0:
        return image, points
    side = int(np.ceil(np.hypot(height, width)))
    center = ((width - 1) / 2, (height - 1) / 2)
    shift = ((side - 1) / 2 - center[0], (side - 1) / 2 - center[1])
    matrix = geometry.similarity(np.float64(1), np.radians(np.float64(degrees)), shift, center)
    canvas = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return canvas, geometry.transform_points(matrix, points)


def eye_angle(points: np.ndarray) -> float:
    """Degrees by which the line of the eyes is turned clockwise."""
    x, y = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    return float(np.degrees(np.arctan2(y, x)))


def photos(root: Path, folders: list[str], limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first photos of the folders, evenly spread, with their landmarks (68, 2)."""
    paths = [
        path
        for folder in folders
        for path in sorted((root / folder).iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and path.with_suffix(".pts").exists()
    ]
    for index in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int):
        points, _ = read_pts(paths[index].with_suffix(".pts"))
        yield read_image(paths[index]), np.asarray(points, np.float64)


def pictures() -> Iterator[np.ndarray]:
    """Pictures without faces: photos and drawings, turned and in part, and noise."""
    import skimage.data

    rng = np.random.default_rng(5)
    for name in WITHOUT_FACES:
        picture = getattr(skimage.data, name)()
        picture = np.asarray(picture[0] if isinstance(picture, tuple) else picture, np.float64)
        low, high = picture.min(), picture.max()
        picture = np.rint((picture - low) * 255 / (high - low)).astype(np.uint8)
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3, axis=2)
        picture = np.ascontiguousarray(picture[..., :3])
        for turns in (0, 1, 2):
            yield np.ascontiguousarray(np.rot90(picture, turns))
        height, width = picture.shape[:2]
        for _ in range(4):
            side = int(min(height, width) * rng.uniform(0.15, 0.6))
            top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            part = picture[top : top + side, left : left + side]
            yield cv2.resize(part, (640, 640), interpolation=cv2.INTER_CUBIC)
    for level in range(10):
        noise = cv2.GaussianBlur(rng.normal(size=(480, 640, 3)), (0, 0), 2.0 ** (level / 2))
        low, high = noise.min(), noise.max()
        yield np.rint((noise - low) * 255 / (high - low)).astype(np.uint8)


def measure(aligner: FaceAligner, data: list[tuple[np.ndarray, np.ndarray]], degrees: int) -> dict:
    """Aligns the photos at an angle."""
    errors, angles, times, missed, doubted, wrong = [], [], [], 0, 0, 0
    for image, points in data:
        canvas, truth = turned(image, points, degrees)
        start = time.perf_counter()
        faces = aligner.align(canvas)
        times.append(time.perf_counter() - start)
        box = geometry.landmarks_box(truth)
        overlaps = [geometry.box_overlap(geometry.landmarks_box(f.landmarks), box) for f in faces]
        if not overlaps or max(overlaps) < MIN_OVERLAP:
            missed += 1
            continue
        face = faces[int(np.argmax(overlaps))]
        distance = np.linalg.norm(face.landmarks - truth, axis=1).mean()
        errors.append(100 * distance / np.linalg.norm(truth[36] - truth[45]))
        angles.append(abs((face.roll - eye_angle(truth) + 180) % 360 - 180))
        doubted += not face.reliable
        wrong += face.reliable and errors[-1] > WRONG
    return {
        "nme": float(np.mean(errors)),
        "missed": missed,
        "doubted": doubted,
        "wrong": wrong,
        "angle": float(np.median(angles)),
        "ms": 1e3 * float(np.median(times)),
    }


def main() -> None:
    """Reads the command line and prints the measurements."""
    parser = argparse.ArgumentParser(description="Measures landmarks of turned photos.")
    parser.add_argument("root", type=Path, help="folder of the 300W data set")
    parser.add_argument("folders", nargs="+", help="folders below it")
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--limit", type=int, default=100, help="photos")
    parser.add_argument("--step", type=int, default=15, help="degrees")
    arguments = parser.parse_args()

    aligner = FaceAligner.from_preset(arguments.preset, arguments.detector)
    data = list(photos(arguments.root, arguments.folders, arguments.limit))
    print(f"{len(data)} faces\nangle   NME  ratio missed doubted wrong  angle off  ms")
    straight = None
    for degrees in range(0, 360, arguments.step):
        row = measure(aligner, data, degrees)
        straight = straight or row["nme"]
        print(
            f"{degrees:5d} {row['nme']:5.2f} {row['nme'] / straight:6.3f} {row['missed']:6d} "
            f"{row['doubted']:7d} {row['wrong']:5d} {row['angle']:10.1f} {row['ms']:5.0f}"
        )
    found = [faces for faces in map(aligner.align, pictures())]
    reliable = [sum(face.reliable for face in faces) for faces in found]
    print(
        f"{len(found)} pictures without faces: {sum(map(len, found))} found in "
        f"{sum(map(bool, found))}, {sum(reliable)} reliable in {sum(map(bool, reliable))}"
    )


if __name__ == "__main__":
    main()
