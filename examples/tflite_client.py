"""Landmarks of one face with an exported `.tflite` file: the contract of docs/export.md in Python.

python examples/tflite_client.py model.tflite photo.jpg 120 80 310 300

The numbers are a box around the face in pixels of the photo: left, top, right, bottom. Prints
x, y and confidence of every landmark. Needs numpy, opencv-python-headless and ai-edge-litert only.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

BOX_SCALE = 1.3  # side of the crop in units of the box's longer side


def crop_face(photo: np.ndarray, box: list[float], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the square crop around a box, and its top left corner in the photo."""
    side = BOX_SCALE * max(box[2] - box[0], box[3] - box[1])
    corner = (np.add(box[:2], box[2:]) - side) / 2 + 0.5  # pixel i reaches from i to i + 1
    shrink = np.ones(2)
    if side > 2 * size:  # bilinear sampling would skip pixels, so average them first
        reduced = np.multiply(photo.shape[1::-1], 2 * size / side).round().clip(1).astype(int)
        shrink = reduced / photo.shape[1::-1]
        photo = cv2.resize(photo, reduced.tolist(), interpolation=cv2.INTER_AREA)
    step = shrink * side / size  # photo pixels from one crop pixel to the next
    to_photo = np.column_stack([np.diag(step), shrink * corner + step / 2 - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photo, to_photo, (size, size), flags=flags), corner


def find_landmarks(model: str, photo: np.ndarray, box: list[float]) -> np.ndarray:
    """Returns x, y (pixels of the photo, 0-based) and confidence per landmark: float (K, 3)."""
    interpreter = Interpreter(model_path=model, num_threads=2)
    size = int(interpreter.get_input_details()[0]["shape"][1])
    crop, corner = crop_face(photo, box, size)
    outputs = interpreter.get_signature_runner("serving_default")(images=crop[None])
    scale = BOX_SCALE * max(box[2] - box[0], box[3] - box[1]) / size
    points = (outputs["landmarks"][0] + 0.5) * scale + corner - 0.5
    return np.concatenate([points, outputs["confidence"][0][:, None]], axis=1)


if __name__ == "__main__":
    image = cv2.imread(sys.argv[2], cv2.IMREAD_COLOR)
    if image is None:
        sys.exit(f"{sys.argv[2]} cannot be read by OpenCV as an image.")
    rgb = np.ascontiguousarray(image[..., ::-1])
    for row in find_landmarks(sys.argv[1], rgb, [float(v) for v in sys.argv[3:7]]):
        print("{:.2f} {:.2f} {:.3f}".format(*row))
