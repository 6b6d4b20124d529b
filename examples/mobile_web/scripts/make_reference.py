"""Writes what the Python package finds, for the page's tests to compare with.

    python scripts/make_reference.py tests/reference.json [--own OWN.tflite] [MODEL.tflite ...]

Models named on the command line are run on the portrait beside this example; without any, the file
has the numbers of geometry and sampling only, which no training changes. `--own` exports a network
of other landmarks to that file, which needs TensorFlow, and runs it too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import runpy
from pathlib import Path

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import read_image
from keras_facealign.detection.blazeface import network
from keras_facealign.detection.blazeface.boxes import landmark_boxes
from keras_facealign.geometry import crop_face
from keras_facealign.inference.aligner import FaceAligner
from keras_facealign.runtimes import ExportedModel

EXAMPLES = Path(__file__).resolve().parents[2]
PORTRAIT = EXAMPLES / "astronaut.jpg"
# Landmarks of iBUG's 68 near those of examples/own_landmarks.py, without its ears and chin.
NEAR = (17, 21, 22, 26, 36, 37, 39, 42, 44, 45, 27, 31, 30, 35, 48, 51, 54, 57)
PRESET = "sat1_cab_mobile"
# Where tests/browser.ts puts the portrait on the camera's pictures before it moves it.
FRAME_HEIGHT, FRAME_WIDTH, LEFT, GRAY = 480, 640, 64, 128


def drawn_picture(height: int, width: int) -> np.ndarray:
    """A picture that tests/units.test.ts draws by the same formula: smooth, with some texture."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    red = 128 + 100 * np.sin(x / 9) * np.cos(y / 7)
    green = (x * 3 + y * 5) % 256
    blue = 255 * (x + y) / (width + height)
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)


def rounded(values: np.ndarray, decimals: int = 3) -> list:
    return np.asarray(values, np.float64).round(decimals).tolist()


def sampling() -> dict:
    """Crops at several scales, places and angles."""
    picture = drawn_picture(90, 120)
    crops = []
    for box, roll in (
        ([20, 15, 60, 50], 0),
        ([-30, -20, 90, 100], 0),
        ([70.5, 40.25, 118, 95], 0),
        ([3, 3, 9, 9], 0),
        ([30, 20, 80, 70], 35),
    ):
        matrix = geometry.crop_matrix(np.array(box, np.float64), size=16, roll=roll)
        pixels = crop_face(picture, matrix, 16).ravel().tolist()
        crops.append({"box": box, "roll": roll, "pixels": pixels})
    return {"crops": crops}


def faces() -> dict:
    """Numbers as of BlazeFace's network, three faces with several anchors each, and the faces."""
    generator = np.random.default_rng(0)
    centers = network.anchors("short_range", 128)
    points = np.array([[-9, -8], [10, -8], [1, 2], [1, 12], [-20, -4], [19, -5]])
    chosen, raw, logits = [], [], []
    for place, side, degrees in ((40, 40), 50, 4), ((90, 50), 40, 60), ((60, 100), 30, -15):
        turn = geometry.turn_matrix(degrees, (0, 0))
        there = geometry.transform_points(turn, points * side / 40)
        distances = np.linalg.norm(centers - place, axis=1)
        for anchor in np.argsort(distances)[:4].tolist():
            off = np.array(place) - centers[anchor]
            values = np.concatenate([off, [side, side], (there + off).ravel()])
            chosen.append(anchor)
            raw.append(rounded(values + generator.normal(0, 1, 16)))
            logits.append(round(float(generator.uniform(0, 3)), 4))
    scores = 1 / (1 + np.exp(-np.array(logits)))
    found = network.suppress(network.decode(np.array(raw), centers[chosen], scores))
    rolls = np.where(np.abs(found.rolls) > 20, found.rolls, 0.0)
    rows = zip(
        found.keypoints, found.scores, landmark_boxes(found), rolls, found.rolls, strict=True
    )
    return {
        "anchors": chosen,
        "raw": raw,
        "logits": logits,
        "least": 0.3,
        "faces": [
            {
                "keypoints": rounded(keypoints),
                "score": round(float(score), 4),
                "box": rounded(box),
                "roll": round(float(roll), 3),
                "tilt": round(float(tilt), 3),
            }
            for keypoints, score, box, roll, tilt in rows
        ],
    }


def landmarks(path: Path, portrait: np.ndarray, frame: np.ndarray) -> dict:
    """Of the portrait as a photo, and as the first picture of the camera once it is followed."""
    aligner = FaceAligner(ExportedModel(path))
    (face,) = aligner.align(portrait)
    followed = aligner.align(frame)[0]
    scheme = ExportedModel(path).scheme
    for _ in range(3):
        box = scheme.crop_box(geometry.landmarks_box(followed.landmarks))
        followed = aligner.align(frame, box)[0]
    known = {} if face.visibility is None else {"visibility": rounded(face.visibility)}
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "photo": rounded(face.landmarks),
        "confidence": rounded(face.confidence),
        "camera": rounded(followed.landmarks),
        **known,
    }


def export_own(path: Path, portrait: np.ndarray) -> None:
    """Exports a network of own landmarks whose heads are those of known ones, not trained further.

    The landmarks have no chin, so that their box is less than that of the face.
    """
    from keras_facealign.export import export_model
    from keras_facealign.presets import from_preset

    example = runpy.run_path(str(EXAMPLES / "own_landmarks.py"))
    count = len(NEAR)
    (face,) = FaceAligner.from_preset(PRESET).align(portrait)
    (whole, part) = (geometry.landmarks_box(face.landmarks[list(k)]) for k in (range(68), NEAR))
    corner, sides = np.tile(part[:2], 2), np.tile(part[2:] - part[:2], 2)
    scheme = {
        "name": "own",
        "names": list(example["POINTS"])[:count],
        "lines": [list(edge) for edge in example["SKELETON"] if max(edge) < count],
        "regions": {"right_eye": [4, 5, 6], "left_eye": [7, 8, 9]},
        "face_box": ((whole - corner) / sides).round(3).tolist(),
    }
    mapping = {own: known for own, known in enumerate(NEAR)}
    export_model(from_preset(PRESET, scheme=scheme, mapping=mapping), path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=Path)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--own", type=Path)
    args = parser.parse_intermixed_args()
    portrait = read_image(PORTRAIT)
    frame = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), GRAY, np.uint8)
    frame[:, LEFT : LEFT + portrait.shape[1]] = portrait[:FRAME_HEIGHT]
    reference = {
        "sampling": sampling(),
        "faces": faces(),
        "models": [landmarks(model, portrait, frame) for model in args.models],
    }
    if args.own is not None:
        export_own(args.own, portrait)
        reference["own"] = {**landmarks(args.own, portrait, frame), "near": NEAR}
    args.output.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
