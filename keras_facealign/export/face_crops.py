"""Faces to calibrate and compare on: those of a user's pictures, or drawn ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face

__all__ = ["face_crops"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def face_crops(source: Any, size: int, count: int, seed: int = 0) -> np.ndarray:
    """Faces as a network sees them.

    Args:
        source: None for drawn faces; a folder of pictures, in which MTCNN looks for the faces; or
            crops, uint8 (N, size, size, 3), RGB.
        size: Side of the crops in pixels.
        count: How many faces to give at most.
        seed: Of the drawn faces.

    Returns:
        uint8 (N, size, size, 3) with N from 1 to `count`.

    Raises:
        FaceAlignError: If there is no face, or the array has another shape or type.
    """
    if source is None:
        from keras_facealign.inference.synthetic_faces import render_synthetic_faces

        return render_synthetic_faces(count, size, seed)[0]
    if isinstance(source, (str, os.PathLike)):
        return _from_folder(Path(source), size, count)
    crops = np.asarray(source)
    if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3) or not len(crops):
        raise FaceAlignError(
            f"calibration_images is {crops.dtype} of shape {crops.shape}; give uint8 crops "
            f"(N, {size}, {size}, 3) with N of at least 1, or a folder of pictures."
        )
    return crops[np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(int)]


def _from_folder(folder: Path, size: int, count: int) -> np.ndarray:
    from keras_facealign.data.images import read_image
    from keras_facealign.detection import as_detections, get_detector

    if not folder.is_dir():
        raise FaceAlignError(f"{folder} is no folder of pictures to calibrate on.")
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    if not pictures:
        raise FaceAlignError(f"{folder} has no pictures ({', '.join(_SUFFIXES)}).")
    detector = get_detector("mtcnn")
    assert detector is not None
    # Pictures from all over the folder, whose order by name is often one by kind.
    picked = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
    crops: list[np.ndarray] = []
    for path in (pictures[i] for i in picked):
        image = read_image(path)
        area = (image.shape[1], image.shape[0])
        for face in as_detections(detector(image), area, str(path)):
            crops.append(crop_face(image, geometry.crop_matrix(face.box, size), size))
    if not crops:
        raise FaceAlignError(f"No face was found in the {len(picked)} pictures of {folder}.")
    return np.stack(crops[:count])
