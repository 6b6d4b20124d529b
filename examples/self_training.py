"""Labels pictures of faces by a trained network, for another network to train on (self-training).

    python examples/self_training.py --pictures mtfl --five-points mtfl/training.txt \\
        --output mtfl.faces.npz

Every face is predicted in several crops, shifted and scaled, and in their mirror images; its label
is the mean. A face is kept if a detector finds it, the predictions agree, the calibrated standard
deviation is small and, where someone has labeled eyes, nose and mouth, these agree too. Of a face
that is kept, landmarks on which the predictions differ have no label. Training takes the faces
beside labeled ones: `grow_2d.py --pseudo`.

Noisy student: the network that learns sees each face augmented, of lower resolution and partly
covered, where its teacher saw it whole (Xie et al., Self-training with Noisy Student improves
ImageNet classification, CVPR 2020).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from keras_facealign.data.examples import make_example
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.data.packed import pack
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box
from keras_facealign.inference import FaceAligner
from keras_facealign.landmarks import convert_landmarks


def read_five_points(path: Path) -> dict[str, np.ndarray]:
    """Eyes, nose and mouth corners by picture, float (5, 2), 0-based, from MTFL's list.

    A line holds a name with backward slashes, five x and five y, counted from 1, and attributes.
    """
    points = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *values = line.split()
        if len(values) < 10:
            raise FaceAlignError(f"{path}: {line[:60]!r} is not a name and ten numbers")
        xy = np.array(values[:10], float).reshape(2, 5).T - 1
        points[name.replace("\\", "/")] = xy
    return points


def jittered(box: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The box, and others shifted by up to 4 % of its sides and up to 6 % larger or smaller."""
    center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centers = center + size * rng.uniform(-0.04, 0.04, (count, 2))
    sizes = size * np.exp(rng.uniform(-0.06, 0.06, (count, 1)))
    centers[0], sizes[0] = center, size
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)


def predictions(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, Any, list[Any]]]:
    """Each picture's name, pixels, labeled five points or None, and predictions of its face."""
    aligner = FaceAligner.from_preset(args.preset, runtime=args.runtime, flip_test=True)
    rng = np.random.default_rng(args.seed)
    known = read_five_points(args.five_points) if args.five_points else {}
    files = sorted(p for p in args.pictures.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    files = files[: args.limit]
    for start in track(range(0, len(files), 16), description="Labeling"):
        some = files[start : start + 16]
        names = [path.relative_to(args.pictures).as_posix() for path in some]
        images, fives = [read_image(path) for path in some], [known.get(name) for name in names]
        first = []
        for faces, five in zip(aligner.align_batch(images), fives, strict=True):
            faces = [face for face in faces if face.reliable]
            if five is not None:  # of several faces, the labeled one
                faces.sort(key=lambda face: distance(face.landmarks, five))
            first.append(faces[:1])
        boxes = [
            jittered(landmarks_box(f[0].landmarks), args.views, rng) if f else [] for f in first
        ]
        more = aligner.align_batch(images, boxes)
        for row in zip(names, images, fives, first, more, strict=True):
            yield *row[:3], row[3] + row[4]


def labels(args: argparse.Namespace, counts: Counter[str], rows: list[Any]) -> Iterator[Any]:
    """The faces that are kept, one at a time; counts why others are not."""
    for name, image, five, faces in predictions(args):
        if not faces:
            counts["no face"] += 1
            continue
        found = np.stack([face.landmarks for face in faces]).astype(np.float64)
        points = found.mean(axis=0)
        tight = landmarks_box(points)
        side = np.sqrt(np.prod(tight[2:] - tight[:2]))
        spread = np.sqrt(found.var(axis=0).sum(axis=-1)) / side
        sigmas = [face.sigma for face in faces if face.sigma is not None]
        sigma = np.mean(sigmas) / side if sigmas else 0.0
        off = distance(points, five) if five is not None else 0.0
        rows.append((float(spread.mean()), float(sigma), off))
        if spread.mean() > args.max_spread:
            counts["predictions differ"] += 1
        elif sigma > args.max_sigma:
            counts["large standard deviation"] += 1
        elif off > args.max_distance:
            counts["five points disagree"] += 1
        else:
            counts["kept"] += 1
            labeled = spread <= 3 * args.max_spread
            yield make_example(
                image,
                np.where(labeled[:, None], points, 0.0).astype(np.float32),
                np.where(labeled, 2, 0).astype(np.int32),
                file_name=name,
                subset="pseudo",
                label_name=name,
            )


def distance(landmarks: np.ndarray, five: np.ndarray) -> float:
    """Mean distance of five labeled points from those of 68, as a part of the eyes' distance."""
    found = convert_landmarks(landmarks, "ibug68", "five")
    return float(
        np.linalg.norm(found - five, axis=1).mean() / np.linalg.norm(five[0] - five[1]).clip(1e-6)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--five-points", type=Path, help="list of five points, as MTFL has it")
    parser.add_argument("--output", type=Path, required=True, help="packed faces to write, .npz")
    parser.add_argument("--preset", default="sat2_cab_small", help="the network that labels")
    parser.add_argument("--runtime", default="auto", help="runtime of the network")
    parser.add_argument("--views", type=int, default=3, help="further crops of a face")
    parser.add_argument("--max-spread", type=float, default=0.01, help="of the box's size")
    parser.add_argument("--max-sigma", type=float, default=0.03, help="of the box's size")
    parser.add_argument("--max-distance", type=float, default=0.1, help="of the eyes' distance")
    parser.add_argument("--limit", type=int, help="use the first N pictures")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    counts: Counter[str] = Counter()
    rows: list[Any] = []
    pack(labels(args, counts, rows), args.output, quality=92, max_bytes=2**28)
    print(json.dumps(counts, indent=2))
    for name, column in zip(("spread", "sigma", "five points"), np.array(rows).T, strict=True):
        shown = np.percentile(column, [10, 50, 75, 90, 95]).round(4).tolist()
        print(f"{name}: percentiles 10, 50, 75, 90, 95: {shown}")


if __name__ == "__main__":
    main()
