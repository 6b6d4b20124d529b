"""Compares landmarks of other libraries with those of presets: same images, boxes and run.

    python benchmarks/peers.py --merl-rav MERL_RAV --aflw2000 AFLW2000 --peer-python VENV/bin/python

The peers are dlib's 68-point model (packages dlib-bin and face_recognition_models) and MediaPipe's
face mesh mapped to the 68 points (mediapipe below 0.10.30, which ships the mesh). They run in a
process of `--peer-python`, which needs them, NumPy and nothing of this library; a peer that is not
installed there is skipped, and its reason printed.

dlib's model was trained on images of 300W's test sets too, so nothing is measured on these. The
faces are AFLW's: MERL-RAV's validation part (`keras_facealign.data.partition`), which are 2D labels
with unlabeled far sides, and AFLW2000-3D's images and crops, whose jaws are projected in 3D.
Peers and presets with a 2D jaw are off there by definition: look at the inner 51 points.
Presets that were trained on MERL-RAV's other faces know how that set is labeled; the peers do not.

Each set is run twice. "given": from the labels' box. dlib gets the square that its own detector
would draw around that box (as long as its longer side, raised by 0.11 of its height: medians over
181 faces of 300W's training images); MediaPipe takes no box, and gets the square around it of
twice its longer side. "own": each library finds the face with its own detector; one whose landmarks
overlap the labels' box by less than 0.3 counts as missed. An NME is over the faces that were found;
"common" is over those that all found.

    python benchmarks/peers.py --photos 300W --peer-python VENV/bin/python --dlib-python VENV2/...

compares whole photos instead: time, faces found, false finds; see `photo_peers.py`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

# A worker has NumPy and a peer alone: all else is imported by the functions that need it.

PEERS = ("dlib", "mediapipe")
SHOWN = ("box_size", "box_diagonal", "inter_ocular", "eye_center")
SHIPPED_WITH_300W_TEST = "dlib's model was trained on 300W's test images; these sets are of AFLW."

# Maps an RGB image and a box or None to the landmarks (K, 2) of each face.
Finder = Callable[[np.ndarray, "np.ndarray | None"], "list[np.ndarray]"]


def dlib_square(box: np.ndarray) -> list[int]:
    """The square that dlib's detector would draw around a face with this tight box."""
    x0, y0, x1, y1 = (float(v) for v in box)
    half = 0.5 * max(x1 - x0, y1 - y0)
    x, y = 0.5 * (x0 + x1), 0.5 * (y0 + y1) - 0.11 * (y1 - y0)
    return [round(v) for v in (x - half, y - half, x + half, y + half)]


def square_crop(image: np.ndarray, box: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Crops a square around a box, black outside of the image; returns it and its corner."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(2, round(margin * max(x1 - x0, y1 - y0)))
    left, top = round(0.5 * (x0 + x1 - side)), round(0.5 * (y0 + y1 - side))
    crop = np.zeros((side, side, 3), np.uint8)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    part = image[rows, columns]
    crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return crop, np.array([left, top], np.float64)


def dlib_finder() -> Finder:
    import dlib
    import face_recognition_models

    predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
    detector = dlib.get_frontal_face_detector()

    def find(image: np.ndarray, box: np.ndarray | None) -> list[np.ndarray]:
        # Drawn to twice the size first, as small faces ask for.
        squares = detector(image, 1) if box is None else [dlib.rectangle(*dlib_square(box))]
        shapes = [predictor(image, square) for square in squares]
        return [np.array([(p.x, p.y) for p in shape.parts()], np.float64) for shape in shapes]

    return find


def mediapipe_finder() -> Finder:
    import mediapipe

    if not hasattr(mediapipe, "solutions"):
        raise ImportError(f"mediapipe {mediapipe.__version__} ships no face mesh; install 0.10.21")
    mesh = mediapipe.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=5, min_detection_confidence=0.5
    )

    def find(image: np.ndarray, box: np.ndarray | None) -> list[np.ndarray]:
        corner = np.zeros(2)
        if box is not None:
            image, corner = square_crop(image, box, 2.0)
        height, width = image.shape[:2]
        faces = mesh.process(np.ascontiguousarray(image)).multi_face_landmarks or []
        # Shares of the image's sides, from its outer edge.
        size = np.array([width, height])
        return [np.array([(p.x, p.y) for p in f.landmark]) * size - 0.5 + corner for f in faces]

    return find


def preset_finder(preset: str) -> Finder:
    from keras_facealign.inference import FaceAligner

    aligner = FaceAligner.from_preset(preset)

    def find(image: np.ndarray, box: np.ndarray | None) -> list[np.ndarray]:
        faces = aligner.align(image, boxes=None if box is None else box[None])
        return [np.asarray(face.landmarks, np.float64) for face in faces]

    return find


def run(finder: Finder, images: list[np.ndarray], boxes: np.ndarray | None) -> dict[str, Any]:
    """Returns the landmarks of all faces found, their images, and the time of each."""
    if images:
        finder(images[0], None if boxes is None else boxes[0])  # the first call loads things
    landmarks, owners, times = [], [], []
    for index, image in enumerate(images):
        start = time.perf_counter()
        found = finder(image, None if boxes is None else boxes[index])
        times.append(1e3 * (time.perf_counter() - start))
        landmarks += found
        owners += [index] * len(found)
    stacked = np.stack(landmarks) if landmarks else np.zeros((0, 68, 2))
    return {"landmarks": stacked, "owners": np.array(owners, int), "ms": np.array(times)}


def work(peer: str, source: str, target: str) -> int:
    """What the process of a peer does; 3 where the peer is not there."""
    try:
        finder = {"dlib": dlib_finder, "mediapipe": mediapipe_finder}[peer]()
    except ImportError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 3
    with np.load(source) as arrays:
        images = [arrays[f"image_{index}"] for index in range(len(arrays["boxes"]))]
        boxes = arrays["boxes"] if arrays["given"] else None
    np.savez(target, **run(finder, images, boxes))
    return 0


def run_peer(
    peer: str, python: str, images: list[np.ndarray], boxes: np.ndarray, given: bool
) -> dict[str, Any]:
    """`run` in a process of its own; RuntimeError with the reason where the peer is not there."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        images_by_name: dict[str, Any] = {f"image_{i}": image for i, image in enumerate(images)}
        np.savez(source, boxes=boxes, given=np.array(given), **images_by_name)
        command = [python, __file__, "--worker", peer, str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise RuntimeError(lines[-1])
        with np.load(target) as arrays:
            return dict(arrays)


def matched(result: dict[str, Any], examples: list[Any], given: bool) -> list[Any]:
    """For each example its face with 68 landmarks, or None where it was missed."""
    from keras_facealign.evaluation.predictions import MIN_OVERLAP
    from keras_facealign.geometry import box_overlap, landmarks_box
    from keras_facealign.landmarks import convert_landmarks, scheme_of_size

    faces: list[Any] = []
    for index, example in enumerate(examples):
        best, most = None, -1.0
        for points in result["landmarks"][result["owners"] == index]:
            scheme = scheme_of_size(len(points))
            if scheme is not None and scheme.name != "ibug68":
                points = convert_landmarks(points, scheme.name, "ibug68")
            overlap = float(box_overlap(landmarks_box(points), example.box))
            if overlap > most:
                best, most = points, overlap
        # A given box selects the face, however far its landmarks are.
        missed = best is None or (not given and most < MIN_OVERLAP)
        box = example.box
        faces.append(None if missed else SimpleNamespace(landmarks=best, confidence=None, box=box))
    return faces


def measures(examples: list[Any], faces: list[Any]) -> dict[str, float | None]:
    """NME of the faces found by each normalizer, and that of the 51 points within the face."""
    from keras_facealign.evaluation import Predictions
    from keras_facealign.evaluation.measures import face_errors

    kept = Predictions()
    for example, face in zip(examples, faces, strict=True):
        kept.add(example, face)
    if not kept.file_names:
        return dict.fromkeys((*SHOWN, "inner"))
    report = kept.report(normalizer="box_size")
    result = {key: report.summary()["nme"][key]["mean"] for key in SHOWN}
    inner = 100 * face_errors(report.landmark_errors[:, 17:]) / report.lengths["box_size"]
    result["inner"] = float(np.nanmean(inner))
    return result


def sets(arguments: argparse.Namespace) -> Iterator[tuple[str, list[Any]]]:
    """The labeled faces by what people call them."""
    from keras_facealign.data.catalog import load
    from keras_facealign.data.partition import take_part

    if arguments.merl_rav:
        faces = take_part(load("merl_rav", arguments.merl_rav, "train"), "validation")
        yield "MERL-RAV, validation part", list(islice(faces, arguments.limit))
    if arguments.aflw2000:
        for title, name in (
            ("AFLW2000-3D", "aflw2000_3d"),
            ("AFLW crops with approximate 3D labels", "aflw_3d_crops"),
        ):
            try:
                faces = load(name, arguments.aflw2000, "test")
            except ValueError as error:
                print(f"{title}: left out ({error})")
                continue
            yield title, list(islice(faces, arguments.limit))


def compare(
    examples: list[Any], presets: list[str], python: str, given: bool
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row for each library, and why others were skipped."""
    images = [example.image for example in examples]
    boxes = np.stack([np.asarray(example.box, np.float64) for example in examples])
    results, skipped = {}, {}
    for preset in presets:
        results[preset] = run(preset_finder(preset), images, boxes if given else None)
    for peer in PEERS:
        try:
            results[peer] = run_peer(peer, python, images, boxes, given)
        except RuntimeError as error:
            skipped[peer] = str(error)
    faces = {name: matched(result, examples, given) for name, result in results.items()}
    common = [all(each) for each in zip(*faces.values(), strict=True)]
    rows = []
    for name, found in faces.items():
        shared = [face if every else None for face, every in zip(found, common, strict=True)]
        rows.append(
            {
                "library": name,
                "boxes": "given" if given else "own",
                "faces": len(examples),
                "missed": sum(face is None for face in found),
                "ms": float(np.median(results[name]["ms"])),
                "nme": measures(examples, found),
                "common": measures(examples, shared)["box_size"],
                "common_faces": sum(common),
            }
        )
    return rows, skipped


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", action="append", help="preset, may be repeated")
    parser.add_argument("--merl-rav", help="root of MERL-RAV")
    parser.add_argument("--aflw2000", help="root of AFLW2000-3D, or of crops of its images")
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--dlib-python", help="Python that has dlib, if it is another one")
    parser.add_argument(
        "--photos", type=Path, help="root of 300W: whole photos, see photo_peers.py"
    )
    parser.add_argument("--limit", type=int, help="use the first N faces of a set")
    parser.add_argument(
        "--block", type=int, default=10, help="photos that a library takes one after the other"
    )
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    if arguments.photos:
        import photo_peers

        pythons = {"mediapipe": arguments.peer_python}
        pythons["dlib"] = arguments.dlib_python or arguments.peer_python
        presets = arguments.preset or ["sat1_cab_mobile"]
        photo_peers.compare(arguments.photos, presets, pythons, arguments.limit, arguments.block)
        return

    from rich.console import Console
    from rich.table import Table

    console = Console(width=140)
    everything: dict[str, Any] = {}
    for title, examples in sets(arguments):
        table = Table(title=f"{title}, {len(examples)} faces", caption=SHIPPED_WITH_300W_TEST)
        for column in ("library", "boxes", "NME box %", "inner 51", "common", "diagonal",
                       "inter-ocular", "eye center", "missed", "ms a face"):  # fmt: skip
            table.add_column(column, justify="left" if column in ("library", "boxes") else "right")
        everything[title] = []
        reasons: dict[str, str] = {}
        for given in (True, False):
            rows, skipped = compare(
                examples, arguments.preset or ["sat1_cab_mobile"], arguments.peer_python, given
            )
            reasons |= skipped
            everything[title] += rows
            for row in rows:
                nme = row["nme"]
                numbers = (nme["box_size"], nme["inner"], row["common"], *map(nme.get, SHOWN[1:]))
                cells = ["-" if value is None else f"{value:.2f}" for value in numbers]
                last = (str(row["missed"]), f"{row['ms']:.1f}")
                table.add_row(row["library"], row["boxes"], *cells, *last)
            table.add_section()
        console.print(table)
        for peer, reason in reasons.items():
            console.print(f"{peer} is left out: {reason}", markup=False)
    if not everything:
        parser.error("give --merl-rav or --aflw2000")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        sys.exit(work(*sys.argv[2:5]))
    if sys.argv[1:2] == ["--photo-worker"]:
        import photo_peers

        sys.exit(photo_peers.work(sys.argv[2]))
    main()
