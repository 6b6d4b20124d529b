"""Writes what the Python package finds, for the page's tests to compare with.

    python scripts/make_reference.py tests/reference.json [MODEL.tflite ...]

Models named on the command line are run on the portrait beside this example; without any, the file
has the numbers of geometry, sampling and face detection only, which no training changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import read_image
from keras_facealign.detection import MTCNNDetector
from keras_facealign.detection.mtcnn import cascade
from keras_facealign.geometry import crop_face
from keras_facealign.inference.aligner import FaceAligner
from keras_facealign.runtimes import ExportedModel

PORTRAIT = Path(__file__).resolve().parents[2] / "astronaut.jpg"
# Where tests/video.ts puts the portrait on the camera's pictures before it moves it.
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
    """Crops at several scales and places, and the patches that MTCNN's networks see."""
    picture = drawn_picture(90, 120)
    crops = []
    for box in ([20, 15, 60, 50], [-30, -20, 90, 100], [70.5, 40.25, 118, 95], [3, 3, 9, 9]):
        matrix = geometry.crop_matrix(np.array(box, np.float64), size=16)
        crops.append({"box": box, "pixels": crop_face(picture, matrix, 16).ravel().tolist()})
    boxes = np.array([[10.5, 12.25, 40, 44], [-8, 60, 30, 98]])
    patches = rounded(cascade._patches(picture, boxes, 8).reshape(2, -1), 2)
    return {
        "crops": crops,
        "patches": [{"box": b, "values": v} for b, v in zip(rounded(boxes), patches, strict=True)],
    }


def suppression() -> dict:
    """Boxes that overlap, and which of them stay."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 60, (40, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(10, 40, (40, 2))], axis=1).round(2)
    scores = generator.uniform(0, 1, 40).round(4)
    result = {"boxes": boxes.tolist(), "scores": scores.tolist()}
    for name, of_smaller in (("union", False), ("smaller", True)):
        kept, _ = cascade._without_overlaps(boxes, scores, 0.5, of_smaller)
        result[name] = kept.tolist()
    return result


def landmarks(path: Path, portrait: np.ndarray, frame: np.ndarray) -> dict:
    """Of the portrait as a photo, and as the first picture of the camera once it is followed."""
    aligner = FaceAligner(ExportedModel(path))
    (face,) = aligner.align(portrait)
    followed = aligner.align(frame)[0]
    for _ in range(3):
        followed = aligner.align(frame, geometry.landmarks_box(followed.landmarks))[0]
    known = {} if face.visibility is None else {"visibility": rounded(face.visibility)}
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "photo": rounded(face.landmarks),
        "confidence": rounded(face.confidence),
        "camera": rounded(followed.landmarks),
        **known,
    }


def main(output: str, *models: str) -> None:
    portrait = read_image(PORTRAIT)
    frame = np.full((FRAME_HEIGHT, FRAME_WIDTH, 3), GRAY, np.uint8)
    frame[:, LEFT : LEFT + portrait.shape[1]] = portrait[:FRAME_HEIGHT]
    detections = MTCNNDetector()(portrait)
    reference = {
        "sampling": sampling(),
        "suppression": suppression(),
        "detections": [{"box": rounded(d.box), "score": round(d.score, 4)} for d in detections],
        "models": [landmarks(Path(model), portrait, frame) for model in models],
    }
    Path(output).write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
