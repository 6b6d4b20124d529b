"""Provides faces for calibration and comparison: from a user's images, or synthetic ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.files import find_photos
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face, crop_matrix


def face_crops(source: Any, size: int, count: int, seed: int = 0) -> np.ndarray:
    """Returns face crops of a network's input size.

    Args:
        source: None for synthetic faces; a folder of images, in which MTCNN detects the faces; or
            crops, uint8 (N, size, size, 3), RGB.
        size: Side of the crops in pixels.
        count: Largest number of faces.
        seed: Random seed of the synthetic faces.

    Returns:
        uint8 (N, size, size, 3) with N from 1 to `count`.

    Raises:
        FaceAlignError: If no face is found, or the array has another shape or dtype.
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
            f"(N, {size}, {size}, 3) with N of at least 1, or a folder of images."
        )
    return crops[np.linspace(0, len(crops) - 1, min(count, len(crops))).astype(int)]


def _from_folder(folder: Path, size: int, count: int) -> np.ndarray:
    from keras_facealign.detection import as_detections, get_detector

    if not folder.is_dir():
        raise FaceAlignError(f"{folder} is not a folder; give a folder of images.")
    paths, _ = find_photos(folder)
    if not paths:
        raise FaceAlignError(f"{folder} has no images that can be read here; give another folder.")
    detector = get_detector("mtcnn")
    assert detector is not None
    # Neighbors by name are often alike, so the images are spread evenly over the folder.
    picked = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    crops: list[np.ndarray] = []
    for path in (paths[i] for i in picked):
        image = read_image(path)
        area = (image.shape[1], image.shape[0])
        for face in as_detections(detector(image), area, str(path)):
            crops.append(crop_face(image, crop_matrix(face.box, size), size))
    if not crops:
        raise FaceAlignError(f"No face was found in the {len(picked)} images of {folder}.")
    return np.stack(crops[:count])
