"""Writing faces and pictures to files, all or nothing."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.aligner import Face
from keras_facealign.inference.head_pose import estimate_head_pose
from keras_facealign.landmarks import IBUG68
from keras_facealign.storage.atomic import replacing

__all__ = ["FACE_FORMATS", "write_face", "write_image"]

FACE_FORMATS = ("json", "csv", "pts")

# The sides that the JPEG format can hold end here.
_JPEG_SIDE = 65_500


def write_face(
    path: str | os.PathLike[str],
    face: Face,
    scheme: str = "ibug68",
    image: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Path:
    """Writes one face; the file's ending chooses the format.

    - `.json`: image, image_size, scheme, box, score, landmarks, confidence and, of iBUG's 68
      points, the head's pose; `docs/formats.md` describes the fields.
    - `.csv`: a line `landmark,x,y,confidence` for each landmark, and after that `sigma` and
      `visibility` where the face has them.
    - `.pts`: the landmarks alone, 1-based, as 300W has them.

    Args:
        path: The file to write; an older one is replaced.
        face: The face.
        scheme: Name of the landmark scheme.
        image: Name of the picture, for the JSON.
        image_size: (width, height) of the upright picture in pixels, for the JSON.

    Returns:
        The path written.

    Raises:
        FaceAlignError: If the ending is none of these, the landmarks are not finite, or the file
            cannot be written.
    """
    path = Path(path)
    if not np.isfinite(face.landmarks).all():
        raise FaceAlignError(f"{path}: the landmarks are not finite; check the model's weights")
    kind = path.suffix.lower().lstrip(".")
    if kind not in FACE_FORMATS:
        raise FaceAlignError(
            f"{path}: no format is known for the ending {path.suffix!r}; use .json, .csv or .pts"
        )
    if kind == "pts":
        return _replace(path, lambda temporary: write_pts(temporary, face.landmarks))
    if kind == "json":
        about = {"image": image, "image_size": image_size, "scheme": scheme}
        record = {key: value for key, value in about.items() if value is not None}
        record |= face.to_dict() | _pose(face, scheme, image_size)
        text = json.dumps(record, allow_nan=False) + "\n"
    else:
        text = _csv(face)
    return _replace(path, lambda temporary: temporary.write_bytes(text.encode("utf-8")))


def write_image(path: str | os.PathLike[str], image: np.ndarray, quality: int = 92) -> Path:
    """Writes a picture; the file's ending chooses the format.

    Args:
        path: The file to write, for example `.jpg` or `.png`; an older one is replaced. A picture
            too long for JPEG is written as `.png`.
        image: uint8 (H, W, 3), RGB.
        quality: Quality of a JPEG, 1 to 95.

    Returns:
        The path written.

    Raises:
        FaceAlignError: If the ending is unknown or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in (".jpg", ".jpeg") and max(image.shape[:2]) > _JPEG_SIDE:
        path = path.with_suffix(".png")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise FaceAlignError(
            f"{path}: no picture format is known for the ending {path.suffix!r}; use .jpg or .png"
        )
    picture = Image.fromarray(image)
    return _replace(path, lambda temporary: picture.save(temporary, format=kind, quality=quality))


def _pose(face: Face, scheme: str, image_size: tuple[int, int] | None) -> dict[str, Any]:
    if scheme != IBUG68.name or len(face.landmarks) != IBUG68.num_landmarks:
        return {}
    try:
        return {"pose": estimate_head_pose(face.landmarks, image_size, face.confidence).to_dict()}
    except FaceAlignError:  # Landmarks that are all unsure, or all in one place, have no pose.
        return {}


def _csv(face: Face) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = {"confidence": (face.confidence, 4)}
    if face.sigma is not None:
        columns["sigma"] = (face.sigma, 3)
    if face.visibility is not None:
        columns["visibility"] = (face.visibility, 4)
    writer.writerow(["landmark", "x", "y", *columns])
    for index, (x, y) in enumerate(face.landmarks):
        values = [f"{column[index]:.{digits}f}" for column, digits in columns.values()]
        writer.writerow([index, f"{x:.3f}", f"{y:.3f}", *values])
    return stream.getvalue()


def _replace(path: Path, write: Callable[[Path], Any]) -> Path:
    """Has `write` fill a temporary file beside `path`, then renames it to `path`."""
    with replacing(path) as temporary:
        write(temporary)
    return path
