"""Measures how a detector's boxes lie to the tight box of the 68 landmarks, on 300W.

    python benchmarks/fit_detector_box.py /data/300w lfpw/trainset helen/trainset \\
        --check lfpw/testset [--detector mtcnn]

The folders hold images with a `.pts` file each. Every image is looked at twice, as it is and
flipped, so that a preferred direction of the faces has no effect.
Where the detector finds several faces, the one that overlaps the labeled face most is taken.

Prints the constants of `detection/blazeface/boxes.py`, or `SHIFT` and `SCALE` of `MTCNNDetector`,
fitted on the first folders, and what error is left after the correction: the jitter that training
has to cover. BlazeFace's boxes are compared in the frame that its eyes are level in. Units are the
longer side of the tight landmark box; the error in scale is a natural logarithm.

BlazeFace, with 803 images of lfpw/trainset and 870 of helen/trainset, checked on the 224 of
lfpw/testset (30 s on a core):

    lfpw/trainset, helen/trainset: 3346 of 3346 faces found (with flipped images)
    ACROSS = (-1.429, 0.820, 1.526, -0.071)
    DOWN = (-0.172, 0.941, 0.212, -1.129, 0.580, -0.410, 0.189)
    LOG_SIDE = (-0.920, -1.684, 1.590, 1.062, -0.366, -3.100, 2.346)
    fit set    error      std           p1      p5     p50     p95     p99
               x          0.0231   -0.066  -0.036  -0.001  +0.035  +0.058
               y          0.0243   -0.058  -0.040  -0.000  +0.040  +0.061
               log scale  0.0443   -0.130  -0.074  +0.003  +0.065  +0.099
               faces with a landmark outside the network's crop: 0.3%
    lfpw/testset: 448 of 448 faces found (with flipped images)
    check set  error      std           p1      p5     p50     p95     p99
               x          0.0215   -0.053  -0.034  -0.001  +0.037  +0.060
               y          0.0214   -0.072  -0.042  -0.008  +0.024  +0.039
               log scale  0.0349   -0.087  -0.053  +0.012  +0.056  +0.077
               faces with a landmark outside the network's crop: 0.2%
MTCNN, with the weights of mtcnn 1.0.0 (less than 3 minutes on 2 cores):

    lfpw/trainset, helen/trainset: 3329 of 3346 faces found (with flipped images)
    SHIFT = (0.0040, 0.1554)  SCALE = 0.9256
    fit set    error      std           p1      p5     p50     p95     p99
               x          0.0311   -0.072  -0.048  +0.000  +0.051  +0.078
               y          0.0358   -0.077  -0.056  +0.000  +0.062  +0.093
               log scale  0.0552   -0.159  -0.097  +0.000  +0.080  +0.121
               faces with a landmark outside the network's crop: 0.8%
    lfpw/testset: 447 of 448 faces found (with flipped images)
    check set  error      std           p1      p5     p50     p95     p99
               x          0.0303   -0.062  -0.047  +0.003  +0.052  +0.070
               y          0.0333   -0.090  -0.064  -0.019  +0.043  +0.066
               log scale  0.0512   -0.136  -0.082  +0.007  +0.082  +0.116
               faces with a landmark outside the network's crop: 0.4%
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.pts import read_pts
from keras_facealign.detection import BlazeFaceDetector, MTCNNDetector, shift_and_scale_box
from keras_facealign.detection.blazeface.boxes import features
from keras_facealign.errors import FaceAlignError

MIN_OVERLAP = 0.3
PERCENTILES = (1, 5, 50, 95, 99)

# A face as its detector found it, for `fit` and `correct`, and the tight box of its landmarks.
Pair = tuple[Any, np.ndarray]


def main() -> None:
    """Reads the command line and prints the measurements."""
    parser = argparse.ArgumentParser(
        description="Measures how a detector's boxes lie to the tight box of the 68 landmarks."
    )
    parser.add_argument("root", type=Path, help="folder of the 300W data set")
    parser.add_argument("fit", nargs="+", help="folders below it to fit on")
    parser.add_argument("--check", nargs="*", default=[], help="folders to check on")
    parser.add_argument("--detector", choices=("blazeface", "mtcnn"), default="blazeface")
    parser.add_argument("--limit", type=int, default=None, help="images a folder, drawn at random")
    args = parser.parse_args()

    subject = {"blazeface": BlazeFace, "mtcnn": MTCNN}[args.detector]()
    found, truth = measure(subject, args.root, args.fit, args.limit)
    subject.fit(found, truth)
    report("fit set", subject.correct(found), truth)
    if args.check:
        found, truth = measure(subject, args.root, args.check, args.limit)
        report("check set", subject.correct(found), truth)


class MTCNN:
    """MTCNN's boxes: shifted and scaled."""

    def __init__(self) -> None:
        self.detector = MTCNNDetector()

    def find(self, image: np.ndarray, landmarks: np.ndarray) -> list[Pair]:
        """The faces of an image as rows of numbers, each with the landmarks' box in its frame."""
        boxes, _ = self.detector.raw_boxes(image)
        return [(box, geometry.landmarks_box(landmarks)) for box in boxes]

    def box(self, row: np.ndarray) -> np.ndarray:
        """The detector's own box in the frame of the face."""
        return row[:4]

    def fit(self, rows: np.ndarray, truth: np.ndarray) -> None:
        """Fits median shift and scale, and prints them."""
        size = np.sqrt((rows[:, 2:] - rows[:, :2]).prod(axis=1))
        self.shift = np.median((center(truth) - center(rows)) / size[:, None], axis=0)
        self.scale = float(np.median(longer_side(truth) / size))
        print(f"SHIFT = ({self.shift[0]:.4f}, {self.shift[1]:.4f})  SCALE = {self.scale:.4f}")

    def correct(self, rows: np.ndarray) -> np.ndarray:
        """The boxes after the correction."""
        return shift_and_scale_box(rows, (self.shift[0], self.shift[1]), self.scale)


class BlazeFace:
    """BlazeFace's boxes: a linear map of its key points."""

    def __init__(self) -> None:
        self.detector = BlazeFaceDetector()

    def find(self, image: np.ndarray, landmarks: np.ndarray) -> list[Pair]:
        """As of `MTCNN`, with the features behind the box; the frame is that of level eyes."""
        faces = self.detector.raw_faces(image)
        pairs = []
        for index, (odd, even) in enumerate(zip(*features(faces), strict=True)):
            middle, roll = faces.centers[index], np.radians(-faces.rolls[index])
            level = geometry.similarity(np.float64(1), roll, (0, 0), (middle[0], middle[1]))
            upright = geometry.landmarks_box(geometry.transform_points(level, landmarks))
            pairs.append((np.hstack([faces.boxes[index], odd, even]), upright))
        return pairs

    box = MTCNN.box

    def fit(self, rows: np.ndarray, truth: np.ndarray) -> None:
        """Fits the map by least squares, and prints it."""
        boxes, odd, even = rows[:, :4], rows[:, 4:8], rows[:, 8:]
        side = boxes[:, 2:3] - boxes[:, :1]
        shift = (center(truth) - center(boxes)) / side
        log_side = np.log(longer_side(truth) / side[:, 0])
        self.maps = [
            np.linalg.lstsq(values, target, rcond=None)[0]
            for values, target in ((odd, shift[:, 0]), (even, shift[:, 1]), (even, log_side))
        ]
        for name, values in zip(("ACROSS", "DOWN", "LOG_SIDE"), self.maps, strict=True):
            print(f"{name} = ({', '.join(f'{value:.3f}' for value in values)})")

    def correct(self, rows: np.ndarray) -> np.ndarray:
        """The boxes after the correction."""
        boxes, odd, even = rows[:, :4], rows[:, 4:8], rows[:, 8:]
        side = boxes[:, 2:3] - boxes[:, :1]
        shift = np.stack([odd @ self.maps[0], even @ self.maps[1]], axis=1)
        half = side * np.exp(even @ self.maps[2])[:, None] / 2
        middle = center(boxes) + side * shift
        return np.concatenate([middle - half, middle + half], axis=1)


def measure(
    subject: MTCNN | BlazeFace, root: Path, folders: list[str], limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the faces that were found, (N, D), and their tight landmark boxes (N, 4)."""
    pairs, seen = [], 0
    for image, landmarks in samples(root, folders, limit):
        flip = geometry.flip_matrix(np.float64(1), image.shape[1])
        flipped = geometry.transform_points(flip, landmarks)
        for view, points in ((image, landmarks), (image[:, ::-1], flipped)):
            seen += 1
            found = subject.find(np.ascontiguousarray(view), points)
            overlaps = [geometry.box_overlap(subject.box(row), tight) for row, tight in found]
            if overlaps and max(overlaps) >= MIN_OVERLAP:
                pairs.append(found[int(np.argmax(overlaps))])
    print(f"{', '.join(folders)}: {len(pairs)} of {seen} faces found (with flipped images)")
    if not pairs:
        raise SystemExit(f"{root}: no labeled face was found in {', '.join(folders)}")
    rows, truth = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    return rows, truth


def samples(
    root: Path, folders: list[str], limit: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and their landmarks (68, 2), in a random order that is always the same."""
    for folder in folders:
        paths = sorted(
            path
            for path in (root / folder).iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and path.with_suffix(".pts").exists()
        )
        for index in np.random.default_rng(0).permutation(len(paths))[:limit]:
            try:
                image = read_image(paths[index])
                landmarks, _ = read_pts(paths[index].with_suffix(".pts"))
            except FaceAlignError as error:
                print(f"left out: {error}")
                continue
            yield image, np.asarray(landmarks, np.float64)


def center(boxes: np.ndarray) -> np.ndarray:
    """Centers (N, 2) of boxes (N, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def longer_side(boxes: np.ndarray) -> np.ndarray:
    """Longer sides (N,) of boxes (N, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1)


def report(title: str, corrected: np.ndarray, truth: np.ndarray) -> None:
    """Prints what error is left after the correction."""
    side = longer_side(truth)
    offset = (center(corrected) - center(truth)) / side[:, None]
    log_scale = np.log((corrected[:, 2] - corrected[:, 0]) / side)
    print(f"{title:10s} error      std     " + "".join(f"{f'p{p}':>8s}" for p in PERCENTILES))
    for name, values in (("x", offset[:, 0]), ("y", offset[:, 1]), ("log scale", log_scale)):
        row = "".join(f"{v:+8.3f}" for v in np.percentile(values, PERCENTILES))
        print(f"{'':10s} {name:10s} {values.std():.4f} {row}")
    half = geometry.CROP_SCALE * (corrected[:, 2:] - corrected[:, :2]) / 2
    low, high = center(corrected) - half, center(corrected) + half
    cut = ((truth[:, :2] < low) | (truth[:, 2:] > high)).any(axis=1)
    print(f"{'':10s} faces with a landmark outside the network's crop: {cut.mean():.1%}")


if __name__ == "__main__":
    main()
