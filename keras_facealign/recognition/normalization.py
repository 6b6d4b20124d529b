"""Cuts faces out of photos as recognition networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.geometry import compose, crop_face, transform_points, turn_matrix
from keras_facealign.inference import Face, FaceAligner
from keras_facealign.ops.face_normalization import (
    ARCFACE_TEMPLATE as ARCFACE_TEMPLATE,
)
from keras_facealign.ops.face_normalization import (
    NORMALIZATION_MODES,
    frontal_coordinates,
    normalization_matrix,
)

SELECTIONS = ("largest", "central")

UNRELIABLE = "the landmarks are marked as not reliable"
"""What lists and reports say of a face whose `reliable` is false."""


def estimate_norm(
    landmarks: np.ndarray, image_size: int = 112, mode: str = "arcface"
) -> np.ndarray:
    """Estimates the similarity that places a face in a crop for recognition.

    In the mode `arcface` it is that of insightface's function of this name, also for multiples of
    128 pixels.

    Args:
        landmarks: (5, 2) or (68, 2), or a batch (B, 5 or 68, 2); x before y, pixels. Five points
            are eyes, nose and mouth corners, each from the image's left.
        image_size: Side of the crop in pixels.
        mode: `arcface`, `box`, `similarity68` or `pose3d`; the last two need 68 points. See
            `keras_facealign.ops.face_normalization`.

    Returns:
        float64 (2, 3) or (B, 2, 3), from image pixels to crop pixels.

    Raises:
        FaceAlignError: If the landmarks have another shape, are not finite or coincide, or the mode
            is unknown or `frontal3d`, which is not affine.

    Example:
        >>> from keras_facealign.recognition import ARCFACE_TEMPLATE
        >>> estimate_norm(ARCFACE_TEMPLATE / 2).round(6) + 0.0
        array([[2., 0., 0.],
               [0., 2., 0.]])
    """
    points = _check_landmarks(landmarks, image_size, mode)
    if mode == "frontal3d":
        raise FaceAlignError("frontal3d is not an affine map; use norm_crop, or another mode")
    with np.errstate(invalid="ignore", divide="ignore"):  # where the landmarks coincide
        matrix = normalization_matrix(points, image_size, mode)
    return _check_matrix(matrix, image_size)


def norm_crop(
    image: Any, landmarks: np.ndarray, image_size: int = 112, mode: str = "arcface"
) -> np.ndarray:
    """Cuts faces out of images, placed and scaled for recognition.

    Images that are reduced to less than half are averaged first, which prevents aliasing. Pixels
    outside of the image are black.

    Args:
        image: uint8 (H, W, 3), RGB; for a batch also a list of such images, or (B, H, W, 3).
        landmarks: As of `estimate_norm`: one face for one image; a batch (N, K, 2) of faces in one
            image, or with a face for each of a batch of images.
        image_size: Side of the crops in pixels.
        mode: As of `estimate_norm`, or `frontal3d`: the face seen from the front, whose hidden
            parts are those of its other half.

    Returns:
        uint8 (image_size, image_size, 3), with a batch (N, image_size, image_size, 3).

    Raises:
        FaceAlignError: As from `estimate_norm`, or if an image is not usable, or the numbers of
            images and faces differ.

    Example:
        >>> from keras_facealign.recognition import ARCFACE_TEMPLATE
        >>> norm_crop(np.full((90, 90, 3), 7, np.uint8), ARCFACE_TEMPLATE).shape
        (112, 112, 3)
    """
    points = _check_landmarks(landmarks, image_size, mode)
    several = isinstance(image, (list, tuple)) or getattr(image, "ndim", 3) == 4
    given: list[Any] = list(image) if several else [image]
    images = [read_image(each, name=f"image {k}") for k, each in enumerate(given)]
    faces = points.reshape(-1, *points.shape[-2:])
    if len(images) not in (1, len(faces)) or (several and len(images) != len(faces)):
        raise FaceAlignError(f"{len(images)} images for {len(faces)} faces; give one for each")
    images = images if several else images * len(faces)
    crop = _frontal_crop if mode == "frontal3d" else _similar_crop
    crops = [crop(i, f, image_size, mode) for i, f in zip(images, faces, strict=True)]
    if points.ndim == 2:
        return crops[0]
    return np.array(crops, np.uint8).reshape(-1, image_size, image_size, 3)


def _check_landmarks(landmarks: Any, image_size: int, mode: str) -> np.ndarray:
    check_integer("image_size", image_size, 16, 4096)
    if mode not in NORMALIZATION_MODES:
        raise FaceAlignError(
            f"Unknown mode {mode!r}; choose one of: {', '.join(NORMALIZATION_MODES)}."
        )
    points: Any = np.asarray(landmarks)
    points = points.astype(np.float64) if points.dtype.kind in "fiu" else np.empty(0)
    sizes = (5, 68) if mode in ("arcface", "box") else (68,)
    if points.ndim not in (2, 3) or points.shape[-2] not in sizes or points.shape[-1] != 2:
        wanted = " or ".join(f"({size}, 2)" for size in sizes)
        raise FaceAlignError(
            f"The landmarks have shape {np.shape(landmarks)}; {mode} needs numbers of shape "
            f"{wanted}, or a batch of them."
        )
    if not np.isfinite(points).all():
        raise FaceAlignError("The landmarks are not finite; leave this face out.")
    return points


def _check_matrix(
    matrix: np.ndarray, image_size: int, fault: str = "The landmarks of a face coincide"
) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        # A larger factor makes a pixel as large as the crop.
        usable = np.hypot(matrix[..., 0, 0], matrix[..., 1, 0]) < image_size
    if not (usable & np.isfinite(matrix).all(axis=(-2, -1))).all():
        raise FaceAlignError(f"{fault}; leave this face out.")
    return matrix


def _similar_crop(image: np.ndarray, face: np.ndarray, size: int, mode: str) -> np.ndarray:
    return crop_face(image, estimate_norm(face, size, mode), size)


def _frontal_crop(image: np.ndarray, face: np.ndarray, size: int, mode: str) -> np.ndarray:
    matrix = estimate_norm(face, size, "similarity68")
    if np.hypot(matrix[0, 0], matrix[1, 0]) < 0.5:
        # Averaged down to twice the resolution first, with as much again around the face.
        wider = np.array([[2.0, 0.0, size], [0.0, 2.0, size]])
        matrix = compose(wider, matrix)
        image, face = crop_face(image, matrix, 4 * size), transform_points(matrix, face)
    direct, mirrored, weight = frontal_coordinates(face[None], size)
    parts = [
        cv2.remap(image, uv[0, ..., 0], uv[0, ..., 1], cv2.INTER_LINEAR)
        for uv in (direct.astype(np.float32), mirrored.astype(np.float32))
    ]
    share = weight[0, ..., None]
    return np.rint(share * parts[0] + (1 - share) * parts[1]).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class NormalizedFace:
    """A face of a photo, cut out for recognition.

    Args:
        crop: uint8 (S, S, 3), RGB.
        face: The face.
        mode: The mode of the crop.
        note: Why it is not the mode that was asked for; empty if it is.
        matrix: float64 (2, 3), from photo to crop; for `frontal3d` that of `similarity68`.
    """

    crop: np.ndarray
    face: Face
    mode: str
    note: str
    matrix: np.ndarray


def box_norm(box: np.ndarray, image_size: int = 112, roll: float = 0.0) -> np.ndarray:
    """Estimates the similarity of the mode `box` from a face's box alone.

    Args:
        box: (4,), x0, y0, x1, y1 in pixels, tight around brows and chin.
        image_size: Side of the crop in pixels.
        roll: Degrees by which the face leans clockwise on the screen, as `Face.roll`.

    Returns:
        float64 (2, 3), from image pixels to crop pixels.

    Raises:
        FaceAlignError: If the box is empty or not finite.
    """
    x0, y0, x1, y1 = np.asarray(box, np.float64)
    # Any 68 points in the box have this matrix.
    corners = np.resize([[x0, y0], [x1, y1]], (68, 2))
    with np.errstate(invalid="ignore", divide="ignore"):  # where the box is empty
        matrix = normalization_matrix(corners, image_size, "box")
        turned = compose(matrix, turn_matrix(-roll, ((x0 + x1) / 2, (y0 + y1) / 2)))
    fault = f"The box of a face, {x0:g}, {y0:g}, {x1:g}, {y1:g}, is empty or not finite"
    return _check_matrix(turned, image_size, fault)


def normalize_face(
    image: np.ndarray, face: Face, image_size: int = 112, mode: str = "arcface"
) -> NormalizedFace:
    """Cuts one face out of its photo; by its box if no crop can be made from its landmarks.

    The landmarks of a face that is marked as not reliable are used, too: on profiles of CFP they
    serve recognition better than the box. The mark stays in `NormalizedFace.face.reliable`.

    Args:
        image: uint8 (H, W, 3), RGB.
        face: The face, with 5 or 68 landmarks.
        image_size: Side of the crop in pixels.
        mode: One of `keras_facealign.ops.NORMALIZATION_MODES`.

    Returns:
        The crop, and how it was made.

    Raises:
        FaceAlignError: If image, size or mode is not usable, the mode needs other landmarks, or
            neither landmarks nor box place the face.
    """
    _check_landmarks(np.zeros(np.shape(face.landmarks)), image_size, mode)
    try:
        affine = "similarity68" if mode == "frontal3d" else mode
        matrix = estimate_norm(face.landmarks, image_size, affine)
    except FaceAlignError as error:
        matrix = box_norm(face.box, image_size, face.roll)
        crop = crop_face(read_image(image), matrix, image_size)
        return NormalizedFace(crop, face, "box", str(error), matrix)
    crop = norm_crop(image, face.landmarks, image_size, mode)
    return NormalizedFace(crop, face, mode, "", matrix)


class FaceNormalizer:
    """Finds the face of a photo and cuts it out for recognition.

    Args:
        aligner: Finds faces and their 68 landmarks.
        mode: One of `keras_facealign.ops.NORMALIZATION_MODES`.
        image_size: Side of the crops in pixels.
        select: Of several faces, the "largest" or the most "central".

    Raises:
        FaceAlignError: If mode, size or selection is unknown, or the aligner has other landmarks.

    Example:
        >>> aligner = FaceAligner.from_preset("sat1_cab_mobile")  # doctest: +SKIP
        >>> normalizer = FaceNormalizer(aligner, "arcface")  # doctest: +SKIP
        >>> normalizer("photo.jpg").crop.shape  # doctest: +SKIP
        (112, 112, 3)
    """

    def __init__(
        self,
        aligner: FaceAligner,
        mode: str = "arcface",
        image_size: int = 112,
        select: Literal["largest", "central"] = "largest",
    ) -> None:
        _check_landmarks(np.zeros((68, 2)), image_size, mode)
        if select not in SELECTIONS:
            raise FaceAlignError(f"select is {select!r}; choose one of: {', '.join(SELECTIONS)}.")
        scheme = getattr(aligner.model, "scheme", None)
        if scheme is not None and scheme.name != "ibug68":
            raise FaceAlignError(
                f"The aligner finds landmarks of {scheme.name!r}; normalization needs ibug68."
            )
        self.aligner = aligner
        self.mode = mode
        self.image_size = image_size
        self.select = select

    def find(self, image: Any, name: str | None = None) -> tuple[np.ndarray, Face]:
        """Reads a photo and finds the face to cut out.

        Args:
            image: As of `FaceAligner.align`.
            name: Name of the photo in error messages.

        Returns:
            The photo, uint8 (H, W, 3), and the face.

        Raises:
            FaceAlignError: If the photo cannot be read, or has no face.
        """
        name = name or (image if isinstance(image, str) else str(getattr(image, "name", "image")))
        pixels = read_image(image, name=name)
        faces = self.aligner.align(pixels, name=name)
        if not faces:
            raise FaceAlignError(f"{name}: no face found; leave the photo out, or give a box")
        return pixels, select_face(faces, (pixels.shape[1], pixels.shape[0]), self.select)

    def __call__(self, image: Any, name: str | None = None) -> NormalizedFace:
        """Finds a face and cuts it out; arguments and errors as of `find`."""
        return normalize_face(*self.find(image, name), self.image_size, self.mode)


def select_face(
    faces: Sequence[Face], image_size: tuple[int, int], select: str = "largest"
) -> Face:
    """Selects one of the faces of a photo, a reliable one if there is any.

    Args:
        faces: At least one.
        image_size: (width, height) of the photo in pixels.
        select: "largest" (area of the box) or "central" (distance of its center from the photo's).
    """
    boxes = np.array([face.box for face in faces], np.float64)
    if select == "largest":
        rank = -np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    else:
        middle = (np.asarray(image_size) - 1) / 2
        rank = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
    doubtful = [not face.reliable for face in faces]
    return faces[int(np.lexsort((rank, doubtful))[0])]
