"""Measures how a detector's boxes lie to the tight box of the 68 landmarks, on 300W.

    python benchmarks/fit_detector_box.py /data/300w lfpw/trainset helen/trainset \\
        --check lfpw/testset

The folders hold images with a `.pts` file each. Every image is looked at twice, as it is and
flipped, so that a preferred direction of the faces has no effect.
Where MTCNN finds several faces, the one that overlaps the labeled face most is taken.

Prints the constants `SHIFT` and `SCALE` of `MTCNNDetector`, fitted on the first folders, and what
error is left after the correction: the jitter that training has to cover. Units are the longer side
of the tight landmark box; the error in scale is a natural logarithm.

With mtcnn 1.0.0, 803 images of lfpw/trainset and 870 of helen/trainset, checked on the 224 of
lfpw/testset (less than 3 minutes on 2 cores):

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

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.pts import read_pts
from keras_facealign.detection import MTCNNDetector, shift_and_scale_box
from keras_facealign.errors import FaceAlignError

MIN_OVERLAP = 0.3
PERCENTILES = (1, 5, 50, 95, 99)


def main() -> None:
    """Reads the command line and prints the measurements."""
    parser = argparse.ArgumentParser(
        description="Measures how MTCNN's boxes lie to the tight box of the 68 landmarks."
    )
    parser.add_argument("root", type=Path, help="folder of the 300W data set")
    parser.add_argument("fit", nargs="+", help="folders below it to fit on")
    parser.add_argument("--check", nargs="*", default=[], help="folders to check on")
    parser.add_argument("--limit", type=int, default=None, help="images a folder, drawn at random")
    args = parser.parse_args()

    detector = MTCNNDetector()
    boxes, truth = measure(detector, args.root, args.fit, args.limit)
    shift, scale = fit(boxes, truth)
    print(f"SHIFT = ({shift[0]:.4f}, {shift[1]:.4f})  SCALE = {scale:.4f}")
    report("fit set", boxes, truth, shift, scale)
    if args.check:
        boxes, truth = measure(detector, args.root, args.check, args.limit)
        report("check set", boxes, truth, shift, scale)


def measure(
    detector: MTCNNDetector, root: Path, folders: list[str], limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The detector's raw boxes and the tight landmark boxes of the faces it found, (N, 4) each."""
    pairs, seen = [], 0
    for image, landmarks in samples(root, folders, limit):
        flip = geometry.flip_matrix(np.float64(1), image.shape[1])
        flipped = geometry.transform_points(flip, landmarks)
        for view, points in ((image, landmarks), (image[:, ::-1], flipped)):
            seen += 1
            tight = geometry.landmarks_box(points)
            found, _ = detector.raw_boxes(np.ascontiguousarray(view))
            overlaps = [geometry.box_overlap(box, tight) for box in found]
            if overlaps and max(overlaps) >= MIN_OVERLAP:
                pairs.append((found[int(np.argmax(overlaps))], tight))
    print(f"{', '.join(folders)}: {len(pairs)} of {seen} faces found (with flipped images)")
    if not pairs:
        raise SystemExit(f"{root}: no labeled face was found in {', '.join(folders)}")
    boxes, truth = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    return boxes, truth


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


def fit(boxes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Median shift (2,) and scale from the detector's boxes to the true ones."""
    size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    shift = np.median((center(truth) - center(boxes)) / size[:, None], axis=0)
    return shift, float(np.median((truth[:, 2:] - truth[:, :2]).max(axis=1) / size))


def report(
    title: str, boxes: np.ndarray, truth: np.ndarray, shift: np.ndarray, scale: float
) -> None:
    """Prints what error is left after the correction."""
    corrected = shift_and_scale_box(boxes, (shift[0], shift[1]), scale)
    side = (truth[:, 2:] - truth[:, :2]).max(axis=1)
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
