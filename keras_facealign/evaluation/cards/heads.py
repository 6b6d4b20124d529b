"""Lays drawn faces and photos over 3D heads for model cards, so that they can be turned.

No data file is needed: the surface of the head is bent through the 68 points of the mean face. With
the file of ICT-FaceKit's head, a photo is laid over that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2
from keras_facealign.data import face_profiling
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference import FaceAligner
from keras_facealign.inference.head_pose import estimate_head_pose
from keras_facealign.inference.synthetic_faces import render_synthetic_faces
from keras_facealign.landmarks import mean_face

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel

# Of a mean face (x right, y down, z away from the viewer) and a head (x right, y up, z near).
_FLIP = np.array([1.0, -1.0, -1.0])
_SIDE = 384  # of the images that are laid over heads
_SURROUNDINGS = 2.2  # of the same, in units of the face's box: turning shows what is around it
_SUPERSAMPLE = 2
# The grid of the surface: steps around the head, steps from below to above.
_AROUND, _UPWARDS = 144, 96
# Length scale in radians of the interpolation between landmarks, and its regularization, needed for
# the nearly coinciding points of both lips.
_REACH, _REGULARIZATION = 0.35, 0.001


@dataclass(frozen=True, eq=False)
class HeadView:
    """A crop of a face with its landmarks.

    Attributes:
        crop: uint8 (S, S, 3), RGB, cropped by the box around all landmarks.
        landmarks: float64 (68, 2), pixels of the crop; projections of the head's points, also of
            hidden ones.
        labeled: bool (68,), landmarks to which labels along the visible outline would give the
            same position: all of an unturned image, and the visible ones within a turned face.
    """

    crop: np.ndarray
    landmarks: np.ndarray
    labeled: np.ndarray


@dataclass(frozen=True, eq=False)
class Head:
    """An image laid over a head.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        vertices: float64 (V, 3); x right, y up, z near, in units of their own.
        triangles: int (T, 3), counter-clockwise seen from outside.
        landmarks: int (68,), indices of their vertices.
        camera: Camera of the image.
    """

    image: np.ndarray
    vertices: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    camera: face_profiling.Camera

    @cached_property
    def _face(self) -> face_profiling.TurnableFace:
        return face_profiling.TurnableFace(self.image, self.vertices, self.triangles, self.camera)

    def view(self, size: int, yaw: float | None = None, lean: float = 0.0) -> HeadView:
        """Renders the head.

        Args:
            size: Side of the crop in pixels.
            yaw: Degrees, positive where the face looks to the left of the image. Default: as in
                the image.
            lean: Degrees by which the image is rotated clockwise.
        """
        own = self.camera.own_yaw
        turn = 0.0 if yaw is None else yaw - own
        camera = self.camera.turned(turn, self.vertices[self.landmarks].mean(axis=0))
        pixels = camera.project(self.vertices)
        marks = pixels[self.landmarks, :2]
        leaning = geometry.similarity(1.0, np.radians(lean), (0.0, 0.0), (0.0, 0.0))
        box = geometry.landmarks_box(geometry.transform_points(leaning, marks))
        side = size * _SUPERSAMPLE
        crop = geometry.compose(geometry.crop_matrix(box, side).astype(np.float64), leaning)
        drawn = self._face.render(camera, crop, side, side)
        eyes = float(np.linalg.norm(np.diff(self.vertices[self.landmarks[[36, 45]]], axis=0)))
        seen = face_profiling.visible_landmarks(
            pixels, self.triangles, self.landmarks, 0.07 * eyes * self.camera.scale
        )
        within = np.arange(len(marks)) >= 17
        return HeadView(
            cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA),
            geometry.transform_points(
                geometry.compose(geometry.resize_matrix(1 / _SUPERSAMPLE), crop), marks
            ),
            np.full(len(marks), True) if turn == 0.0 else (seen == 2) & within,
        )


def head_surface(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Makes a closed surface near 68 points of a head: an ellipsoid that is bent towards them.

    Args:
        landmarks: float (68, 3); x right, y up, z near.

    Returns:
        Vertices, float64 (V, 3), and triangles, int64 (T, 3), counter-clockwise seen from outside.
    """
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    brows, chin = landmarks[17:27, 1].mean(), landmarks[8, 1]
    center = np.array(
        [(low[0] + high[0]) / 2, 0.55 * brows + 0.45 * chin, landmarks[[0, 16], 2].mean()]
    )
    half = (high[0] - low[0]) / 2
    radii = np.array([half, 0.85 * (brows - chin), half])

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-np.linalg.norm(a[:, None] - b, axis=-1) / _REACH)

    out = (landmarks - center) / radii
    length = np.linalg.norm(out, axis=1)
    out /= length[:, None]
    strength = np.linalg.solve(kernel(out, out) + _REGULARIZATION * np.eye(len(out)), length - 1.0)

    # Finer where the face is than behind, above and below.
    azimuth = np.linspace(-np.pi, np.pi, _AROUND, endpoint=False)
    azimuth -= 0.6 * np.sin(azimuth)
    elevation = np.linspace(-np.pi / 2, np.pi / 2, _UPWARDS)[:, None]
    elevation -= 0.2 * np.sin(2 * elevation)
    ring = np.cos(elevation)
    grid = np.stack(
        np.broadcast_arrays(ring * np.sin(azimuth), np.sin(elevation), ring * np.cos(azimuth)), -1
    ).reshape(-1, 3)
    vertices = center + grid * radii * (1.0 + kernel(grid, out) @ strength)[:, None]
    index = np.arange(len(grid)).reshape(_UPWARDS, _AROUND)
    beside = np.roll(index, -1, axis=1)
    a, b, c, d = (part.ravel() for part in (index[:-1], beside[:-1], index[1:], beside[1:]))
    return vertices, np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def lifted_head(
    image: np.ndarray, landmarks: np.ndarray, rotation: np.ndarray | None = None
) -> Head:
    """Lays an image over a head with the depth of the mean face.

    Args:
        image: uint8 (H, W, 3), RGB.
        landmarks: float (68, 2), pixels of the image; the head's landmarks are exactly there.
        rotation: float (3, 3), of the head relative to the camera, as in `HeadPose`. Default: the
            head looks into the camera.

    Returns:
        The head.
    """
    turn = _FLIP[:, None] * (np.eye(3) if rotation is None else rotation) * _FLIP
    seen = (mean_face() * _FLIP) @ turn.T
    target = np.asarray(landmarks, np.float64)
    flat = seen[:, :2] * _FLIP[:2]
    middle, center = flat.mean(axis=0), target.mean(axis=0)
    spread, given = flat - middle, target - center
    scale = float((spread * given).sum() / (spread**2).sum())
    if not scale > 0:
        raise FaceAlignError("The landmarks are all in one place; give those of a face.")
    camera = face_profiling.Camera(turn, scale, center - scale * middle)
    marks = camera.lift(np.column_stack([target, scale * seen[:, 2]]))
    vertices, triangles = head_surface(marks)
    number = len(vertices) + np.arange(len(marks))
    return Head(image, np.concatenate([vertices, marks]), triangles, number, camera)


def drawn_head(seed: int) -> Head:
    """Draws a face that looks into the camera; the same for the same seed."""
    crops, landmarks = render_synthetic_faces(
        1, _SIDE, seed, max_angles=(0.0, 0.0, 0.0), crop_scale=_SURROUNDINGS
    )
    return lifted_head(crops[0], landmarks[0])


def fitted_head(image: np.ndarray, landmarks: np.ndarray, model: str | Path, outline: bool) -> Head:
    """Lays an image over ICT-FaceKit's head, fitted to the landmarks.

    Args:
        image: uint8 (H, W, 3), RGB.
        landmarks: float (68, 2), pixels of the image.
        model: The head's file, see `keras_facealign.data.face_profiling.load_head_model`.
        outline: Whether the jaw's landmarks lie on the visible outline, as in 2D labels.

    Returns:
        The head.

    Raises:
        FaceAlignError: If the file is no such model.
    """
    head = face_profiling.load_head_model(model)
    settings = face_profiling.FitSettings(silhouette=outline)
    fit = face_profiling.HeadFitter(head, settings).fit(landmarks)
    vertices = face_profiling.snapped_vertices(head, fit)
    return Head(image, vertices, head.triangles, head.landmarks, fit.camera)


def photo_head(
    model: FaceAlignModel, photo: str | Path, head_model: str | Path | None, outline: bool
) -> Head:
    """Lays a photo over a head by the landmarks that a network finds in it.

    Args:
        model: The network.
        photo: The file; its largest face is used.
        head_model: ICT-FaceKit's head. Default: the head is made from the mean face.
        outline: Whether the network puts the jaw's landmarks on the visible outline.

    Returns:
        The head.

    Raises:
        FaceAlignError: If a file cannot be read, or no face is found.
    """
    photograph = read_image(photo)
    aligner = FaceAligner(model, runtime="keras")
    found = aligner.align(photograph)
    if not found:
        raise FaceAlignError(f"{photo}: no face was found; give a photo of one person.")
    first = max(found, key=lambda face: float(np.prod(face.box[2:] - face.box[:2])))
    # Aligned again with the box of the landmarks.
    (face,) = aligner.align(photograph, boxes=[geometry.landmarks_box(first.landmarks)])
    enlarge = geometry.crop_matrix(geometry.landmarks_box(face.landmarks), _SIDE, _SURROUNDINGS)
    image = cv2.warpAffine(
        photograph, enlarge, (_SIDE, _SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    landmarks = np.asarray(geometry.transform_points(enlarge, face.landmarks), np.float64)
    if head_model is not None:
        return fitted_head(image, landmarks, head_model, outline)
    return lifted_head(image, landmarks, estimate_head_pose(landmarks).rotation)
