"""A small head model in the form of the real one: an ellipsoid with a nose, and smooth offsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.face_profiling import Camera
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from keras_facealign.data.face_profiling.silhouette import JAW
from keras_facealign.geometry import landmarks_box

RADII = np.array([7.5, 10.5, 9.0])
ROWS, COLUMNS = 90, 120


def template() -> np.ndarray:
    """float64 (68, 2): where landmarks lie on the front of the head; x right, y up."""
    t = np.linspace(0, 1, 17)
    jaw = np.stack([-7.2 * np.cos(np.pi * t), 1.5 - 8.5 * np.sin(np.pi * t) ** 0.8], 1)
    brow = np.stack([np.linspace(-5.6, -1.2, 5), 5 + 0.8 * np.sin(np.linspace(0.3, 2.8, 5))], 1)
    bridge = np.stack([np.zeros(4), np.linspace(3.2, 0.2, 4)], 1)
    nostrils = np.stack([np.linspace(-1.3, 1.3, 5), [-1.0, -1.2, -1.4, -1.2, -1.0]], 1)
    around = np.pi * (1 - np.arange(6) / 3)
    eye = np.stack([-3.1 + 1.3 * np.cos(around), 3.2 + 0.5 * np.sin(around)], 1)
    twelve = np.pi * (1 - np.arange(12) / 6)
    outer = np.stack([2.5 * np.cos(twelve), -3.6 + 1.0 * np.sin(twelve)], 1)
    eight = np.pi * (1 - np.arange(8) / 4)
    inner = np.stack([1.9 * np.cos(eight), -3.6 + 0.4 * np.sin(eight)], 1)
    mirror = np.array([-1.0, 1.0])
    left_eye = (eye * mirror)[[3, 2, 1, 0, 5, 4]]
    parts = [jaw, brow, (brow * mirror)[::-1], bridge, nostrils, eye, left_eye, outer, inner]
    return np.concatenate(parts)


def arrays(hole: bool = True) -> dict[str, np.ndarray]:
    """The model's arrays. The ellipsoid is open below, and has a hole in the mouth if wanted."""
    polar = np.linspace(0.02, 0.88 * np.pi, ROWS)
    round_ = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    polar, round_ = np.meshgrid(polar, round_, indexing="ij")
    unit = np.stack(
        [np.sin(polar) * np.sin(round_), np.cos(polar), np.sin(polar) * np.cos(round_)], -1
    ).reshape(-1, 3)
    neutral = unit * RADII
    front = unit[:, 2] > 0
    nose = np.exp(-((neutral[:, 0] / 1.3) ** 2) - ((neutral[:, 1] - 0.3) / 2.0) ** 2) * front
    neutral[:, 2] += 2.5 * nose
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    right = np.roll(index, -1, axis=1)
    faces = np.stack([index[:-1], index[1:], right[1:], right[:-1]], -1).reshape(-1, 4)
    marks = np.array(
        [
            np.flatnonzero(front)[np.linalg.norm(neutral[front, :2] - p, axis=1).argmin()]
            for p in template()
        ]
    )
    if hole:
        middle = neutral[faces].mean(axis=1)
        inside = (np.abs(middle[:, 0]) < 1.2) & (np.abs(middle[:, 1] + 3.6) < 0.5)
        faces = faces[~(inside & (middle[:, 2] > 0))]
    x, y, z = (neutral / RADII).T
    zero = np.zeros_like(x)
    identity = np.stack(
        [
            np.stack([0.6 * x, zero, zero], 1),
            np.stack([zero, 0.6 * y, zero], 1),
            np.stack([zero, zero, 0.8 * nose], 1),
            np.stack([0.4 * np.sin(2 * y) * x, 0.3 * np.cos(2 * x), 0.3 * y * z], 1),
        ]
    )
    low = 1 / (1 + np.exp((neutral[:, 1] + 3.6) / 0.3)) * front
    smile = np.exp(-(((neutral[:, 1] + 3.6) / 1.5) ** 2)) * front
    expression = np.stack(
        [
            np.stack([zero, -2.0 * low, -0.3 * low], 1),
            np.stack([0.8 * x * smile, 0.8 * x**2 * smile, zero], 1),
        ]
    )
    return {
        "neutral": neutral.astype(np.float32),
        "identity": identity.astype(np.float16),
        "expression": expression.astype(np.float16),
        "faces_v": faces.astype(np.int32),
        "idx_to_landmark_verts": marks,
    }


def write_model(path: Path, **changes: np.ndarray) -> Path:
    """Writes the model, with some of its arrays exchanged."""
    np.savez(path, **{**arrays(), **changes})
    return path


def texture(height: int = 200, width: int = 220) -> np.ndarray:
    """uint8 (height, width, 3): a smooth picture that differs everywhere."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [
            40 + 180 * x / width,
            40 + 180 * y / height,
            128 + 60 * np.sin(x / 23.0) * np.cos(y / 31.0),
        ],
        axis=-1,
    ).astype(np.uint8)


def example(model, yaw=12.0) -> FaceExample:
    camera = Camera(rotation_from_angles(2, yaw, 3), 7.0, np.array([110.0, 98.0]))
    vertices = model.vertices(np.zeros(model.num_coefficients))
    points = camera.project(vertices[model.landmarks])[:, :2].astype(np.float32)
    seen = np.full(68, 2, np.int32)
    return FaceExample(texture(), points, seen, landmarks_box(points), "afw/face.one.jpg", "afw")


def head(model, angles=(5.0, 20.0, -8.0), coefficients=(0.8, -0.6, 0.5, 0.4, 0.5, 0.3)):
    camera = Camera(rotation_from_angles(*angles), 8.0, np.array([110.0, 100.0]))
    return camera, np.array(coefficients), model.vertices(np.array(coefficients))


def as_annotated(fitter, camera, coefficients, vertices):
    """The landmarks of a 2D annotation: the jaw along the outline."""
    points = camera.project(vertices[fitter.model.landmarks])[:, :2]
    lines = fitter._lines.points(coefficients)
    chosen = fitter._lines.outermost(lines, camera.rotation)
    points[:JAW] = camera.project(lines[np.arange(JAW), chosen])[:, :2]
    return points
