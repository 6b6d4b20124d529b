"""Whole photos through this library, MediaPipe and dlib, side by side: `peers.py --photos` runs it.

Each library is a process of its own that reads requests and writes answers as JSON lines. The
libraries take turns after every ten photos, which each takes one after the other, as those of a
folder: whatever else runs on the machine slows all of them down alike. Asked for single photos, a
library's threads sleep between them, and wake up on the same core (`--block 1`). Times are those of
detection and landmarks together, without reading the file. "ms" is the time that passes;
"processor", the median of the processor time of all threads, hardly depends on what else runs.

- "time": photos resized to a longer side of 512, 1024 and 2048 pixels.
- "photos": all photos, as they are: faces missed (no landmarks overlap the labels' box by 0.3),
  further faces, NME of those found. Of this library, faces that are not reliable do not count.
- "pasted": six of the faces at 30 to 300 pixels on each of 40 backgrounds of 1600 x 1200.
- "no face": faces found in the pictures without any of `turned.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SIDES = (512, 1024, 2048)
MOST_FACES = 20
Points = list[list[list[float]]]


def finder(name: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The landmarks of all faces of a photo by a library; `name` is a peer, or a preset or file."""
    if name == "mediapipe":
        import mediapipe

        mesh = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=MOST_FACES, min_detection_confidence=0.5
        )

        def find_mediapipe(image: np.ndarray) -> list[np.ndarray]:
            faces = mesh.process(image).multi_face_landmarks or []
            size = np.array([image.shape[1], image.shape[0]])
            return [np.array([(p.x, p.y) for p in f.landmark]) * size - 0.5 for f in faces]

        return find_mediapipe
    if name == "dlib":
        import dlib
        import face_recognition_models

        predictor = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
        detector = dlib.get_frontal_face_detector()

        def find_dlib(image: np.ndarray) -> list[np.ndarray]:
            shapes = [predictor(image, box) for box in detector(image, 0)]
            return [np.array([(p.x, p.y) for p in shape.parts()], np.float64) for shape in shapes]

        return find_dlib
    from keras_facealign.inference import FaceAligner

    preset, _, detector_name = name.partition("+")
    aligner = FaceAligner.from_preset(preset, detector_name or "auto")
    return lambda image: [face.landmarks for face in aligner.align(image) if face.reliable]


def work(name: str) -> int:
    """Answers requests: lists of paths of .npy images in, landmarks and milliseconds out."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    try:
        find = finder(name)
        find(np.full((256, 256, 3), 99, np.uint8))  # the first call loads things
    except ImportError as error:
        print(json.dumps({"error": " ".join(str(error).split())}), file=answers, flush=True)
        return 3
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        images = [np.load(path) for path in json.loads(line)]
        rows = [timed(find, image) for image in images]
        print(json.dumps(rows), file=answers, flush=True)
    return 0


def timed(find: Callable[[np.ndarray], list[np.ndarray]], image: np.ndarray) -> dict[str, Any]:
    """The faces of an image, and the milliseconds that finding them takes."""
    start, used = time.perf_counter(), time.process_time()
    found = find(image)
    elapsed = 1e3 * (time.perf_counter() - start)
    used = 1e3 * (time.process_time() - used)
    faces = [np.asarray(points, np.float64).round(3).tolist() for points in found]
    return {"faces": faces, "ms": elapsed, "processor": used}


class Library:
    """A process that finds the faces of photos.

    Raises:
        RuntimeError: With the reason, if the library is not there.
    """

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        command = [python, str(Path(__file__).with_name("peers.py")), "--photo-worker", name]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        first = self._answer()
        if "error" in first:
            raise RuntimeError(first["error"])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        return json.loads(line)

    def ask(self, paths: list[str]) -> list[dict[str, Any]]:
        """The faces of photos, and the times."""
        assert self._process.stdin is not None
        print(json.dumps(paths), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def labeled(root: Path, folders: list[str], limit: int | None) -> list[Any]:
    """The photos of the folders with their landmarks."""
    sys.path.insert(0, str(Path(__file__).parent))
    from turned import photos

    return [
        SimpleNamespace(image=image, points=[points])
        for image, points in photos(root, folders, limit or sys.maxsize)
    ]


def pasted(examples: list[Any], count: int) -> Iterator[Any]:
    """Backgrounds of 1600 x 1200 with six faces each."""
    import cv2
    import skimage.data

    from keras_facealign.geometry import landmarks_box

    rng = np.random.default_rng(0)
    names = ("brick", "grass", "gravel", "coffee", "rocket", "moon", "immunohistochemistry")
    width, height = 1600, 1200
    for number in range(count):
        background = np.asarray(getattr(skimage.data, names[number % len(names)])())
        if background.ndim == 2:
            background = np.repeat(background[..., None], 3, axis=2)
        image = cv2.resize(background, (width, height), interpolation=cv2.INTER_CUBIC)
        taken, truth = [], []
        for _ in range(6):
            example = examples[rng.integers(len(examples))]
            box = landmarks_box(example.points[0])
            scale = np.exp(rng.uniform(np.log(30), np.log(300))) / max(box[2:] - box[:2])
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            part = cv2.resize(example.image, None, fx=scale, fy=scale, interpolation=method)
            rows, columns = part.shape[:2]
            for _ in range(100):
                if rows >= height or columns >= width:
                    break
                x, y = rng.integers(0, width - columns), rng.integers(0, height - rows)
                if all(x + columns < a or x > c or y + rows < b or y > d for a, b, c, d in taken):
                    image[y : y + rows, x : x + columns] = part
                    taken.append((x, y, x + columns, y + rows))
                    truth.append((example.points[0] + 0.5) * scale - 0.5 + (x, y))
                    break
        yield SimpleNamespace(image=image, points=truth)


def resized(examples: list[Any], side: int) -> Iterator[Any]:
    """The photos at another size."""
    import cv2

    for example in examples:
        scale = side / max(example.image.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(example.image, None, fx=scale, fy=scale, interpolation=method)
        yield SimpleNamespace(image=image, points=[(p + 0.5) * scale - 0.5 for p in example.points])


def without_faces() -> Iterator[Any]:
    """Pictures without faces."""
    from turned import pictures

    yield from (SimpleNamespace(image=image, points=[]) for image in pictures())


def run(libraries: list[Library], items: Iterable[Any], block: int) -> dict[str, dict[str, Any]]:
    """Asks all libraries for blocks of items, and matches what they find."""
    rows = {
        library.name: {
            "ms": [],
            "processor": [],
            "missed": 0,
            "more": 0,
            "errors": [],
            "faces": 0,
            "found": [],
        }
        for library in libraries
    }
    left = iter(items)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{i}.npy")) for i in range(block)]
        while chosen := list(islice(left, block)):
            for path, item in zip(paths, chosen, strict=False):
                np.save(path, np.ascontiguousarray(item.image))
            for library in libraries:
                row = rows[library.name]
                answers = library.ask(paths[: len(chosen)])
                for answer, item in zip(answers, chosen, strict=True):
                    row["ms"].append(answer["ms"])
                    row["processor"].append(answer["processor"])
                    count(row, answer["faces"], item.points)
    return rows


def count(row: dict[str, Any], faces: Points, truth: list[np.ndarray]) -> None:
    """Adds to a library's numbers which labeled faces it found, and how well."""
    from keras_facealign.geometry import box_overlap, landmarks_box
    from keras_facealign.landmarks import convert_landmarks, scheme_of_size

    found = []
    for face in faces:
        points = np.array(face)
        scheme = scheme_of_size(len(points))
        if scheme is not None and scheme.name != "ibug68":
            points = convert_landmarks(points, scheme.name, "ibug68")
        found.append(points)
    hits = set()
    for points in truth:
        box = landmarks_box(points)
        overlaps = [box_overlap(landmarks_box(other), box) for other in found]
        best = int(np.argmax(overlaps)) if overlaps else -1
        row["faces"] += 1
        row["found"].append(bool(overlaps) and overlaps[best] >= 0.3)
        if row["found"][-1]:
            hits.add(best)
            distance = np.linalg.norm(found[best] - points, axis=1).mean()
            row["errors"].append(100 * distance / np.linalg.norm(points[36] - points[45]))
        else:
            row["missed"] += 1
    row["more"] += len(found) - len(hits)


def compare(
    root: Path, presets: list[str], pythons: dict[str, str], limit: int | None, block: int
) -> None:
    """Runs all parts, and prints a table for each."""
    libraries = []
    for name in (*presets, *pythons):
        try:
            libraries.append(Library(name, pythons.get(name, sys.executable)))
        except RuntimeError as error:
            print(f"{name} is left out: {error}")
    examples = labeled(root, ["afw", "lfpw/testset"], limit)
    few = [
        examples[i] for i in np.linspace(0, len(examples) - 1, min(40, len(examples))).astype(int)
    ]
    parts = [(f"time, {side} pixels", resized(few, side)) for side in SIDES]
    parts += [
        ("photos", examples),
        ("pasted", pasted(examples, min(40, len(examples)))),
        ("no face", without_faces()),
    ]
    for title, items in parts:
        rows = run(libraries, items, block)
        number = len(next(iter(rows.values()))["ms"])
        print(
            f"\n{title}: {number} images\n"
            f"{'':32s} ms median   p95  processor  faces missed  more   NME"
        )
        for name, row in rows.items():
            nme = f"{np.mean(row['errors']):5.2f}" if row["errors"] else "    -"
            middle, high = np.percentile(row["ms"], [50, 95])
            used = np.median(row["processor"])
            print(
                f"{name[-32:]:32s} {middle:9.1f} {high:5.0f} {used:10.1f} {row['faces']:6d} "
                f"{row['missed']:6d} {row['more']:5d} {nme}"
            )
        ours = np.array(rows[presets[0]]["found"], bool)
        for name in pythons:
            if name in rows and len(ours):
                theirs = np.array(rows[name]["found"], bool)
                print(f"  found by {name} and missed by {presets[0]}: {(theirs & ~ours).sum()}")
        sys.stdout.flush()
    for library in libraries:
        library.close()
