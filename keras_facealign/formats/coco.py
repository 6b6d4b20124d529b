"""COCO keypoint files: one JSON file for the faces of many images, or of a video.

Format: https://cocodataset.org/#format-data, Keypoint Detection. Coordinates are 0-based pixels,
(0, 0) the center of the top-left pixel, in COCO as in this library. The additional fields `score`
and `keypoint_scores` contain the confidence of the face and of each landmark, `reliable` is false
where the face is not believed. A video's images also
have `video_id` and `frame_id`, and its annotations `track_id`, as in CocoVID files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.frames import Faces, VideoInfo
from keras_facealign.formats.json import UNDECODABLE, dump
from keras_facealign.inference.aligner import Face
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.video.tracking import TrackedFace

_CATEGORY_ID = 1
# COCO's flags of a keypoint.
_HIDDEN, _VISIBLE = 1, 2


def coco_category(scheme: LandmarkScheme = IBUG68) -> dict[str, Any]:
    """Makes the category "face" of a landmark scheme: names of its keypoints, and its skeleton.

    Args:
        scheme: The landmark scheme.

    Returns:
        A record of COCO's list `categories`; the skeleton counts keypoints from 1, as in COCO.

    Example:
        >>> coco_category()["keypoints"][36], coco_category()["skeleton"][0]
        ('right_eye_0', [1, 2])
    """
    return {
        "id": _CATEGORY_ID,
        "name": "face",
        "supercategory": "person",
        "keypoints": list(scheme.point_names),
        "skeleton": [[a + 1, b + 1] for a, b in scheme.edges],
    }


@dataclass
class COCOWriter:
    """Adds images and their faces to a COCO file; created by `coco_writer`.

    Args:
        images: File for the records of images.
        annotations: File for the records of faces.
        scheme: The landmark scheme.
        min_confidence: Landmarks from this confidence on are visible (flag 2), others hidden (1).
        video: The video whose frames `write` adds.
        num_images: Images added so far.
        num_faces: Faces added so far.
    """

    images: TextIO
    annotations: TextIO
    scheme: LandmarkScheme
    min_confidence: float
    video: VideoInfo | None = None
    num_images: int = 0
    num_faces: int = 0

    def add(
        self, file_name: str, size: tuple[int, int], faces: Sequence[Face], **extra: Any
    ) -> None:
        """Adds an image and its faces.

        Args:
            file_name: Name of the image.
            size: (width, height) in pixels.
            faces: Its faces; may be empty.
            **extra: Further fields of the image's record.

        Raises:
            FaceAlignError: If a face's landmarks do not match the scheme or are not finite.
        """
        annotations = [self._annotation(face, file_name) for face in faces]
        self.num_images += 1
        image = {"id": self.num_images, "width": int(size[0]), "height": int(size[1])}
        _append(self.images, image | {"file_name": file_name} | extra)
        for annotation in annotations:
            self.num_faces += 1
            record = {"id": self.num_faces, "image_id": self.num_images} | annotation
            _append(self.annotations, record)

    def write(self, index: int, time: float, size: tuple[int, int], faces: Faces) -> None:
        """Adds a frame of the video, as a `FrameWriter`.

        Frame 12 of clip.mp4 is named clip_000012.jpg, as `ffmpeg -i clip.mp4 -start_number 0
        clip_%06d.jpg` writes it.
        """
        stem = Path(self.video.name).stem if self.video else "frame"
        self.add(f"{stem}_{index:06d}.jpg", size, faces, video_id=1, frame_id=index)

    def finish(self, num_frames: int, complete: bool) -> None:
        """Does nothing: COCO has no field for the end of a video."""

    def _annotation(self, face: Face, file_name: str) -> dict[str, Any]:
        points = np.asarray(face.landmarks, np.float64)
        if points.shape != (self.scheme.num_landmarks, 2) or not np.isfinite(points).all():
            raise FaceAlignError(
                f"{file_name}: landmarks of shape {points.shape} or not finite; scheme "
                f"{self.scheme.name} has {self.scheme.num_landmarks} points"
            )
        x0, y0, x1, y1 = geometry.landmarks_box(points).tolist()
        scores = np.asarray(face.confidence, np.float64)
        keypoints: list[float] = []
        for (x, y), score in zip(points.round(3).tolist(), scores, strict=True):
            keypoints += [x, y, _VISIBLE if score >= self.min_confidence else _HIDDEN]
        record: dict[str, Any] = {
            "category_id": _CATEGORY_ID,
            "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 3),
            "iscrowd": 0,
            "segmentation": [],
            "num_keypoints": len(points),
            "keypoints": keypoints,
            "score": round(float(face.score), 4),
            "reliable": bool(face.reliable),
            "keypoint_scores": scores.round(4).tolist(),
        }
        return record | ({"track_id": face.id} if isinstance(face, TrackedFace) else {})


def _append(stream: TextIO, record: dict[str, Any]) -> None:
    """Appends a record to a list."""
    stream.write((",\n" if record["id"] > 1 else "\n") + dump(record))


@contextmanager
def coco_writer(
    path: str | os.PathLike[str],
    scheme: LandmarkScheme = IBUG68,
    min_confidence: float = 0.2,
    video: VideoInfo | None = None,
) -> Iterator[COCOWriter]:
    """Opens a COCO file for writing; it appears only when the block ends without an error.

    Annotations wait in a temporary file until all images are written, so memory does not grow.

    Args:
        path: The file; an existing file is replaced.
        scheme: The landmark scheme.
        min_confidence: Landmarks from this confidence on are visible (flag 2), others hidden (1).
        video: The video, if the images are its frames.

    Yields:
        A `COCOWriter`.

    Raises:
        FaceAlignError: If the file cannot be written.

    Example:
        >>> with coco_writer("faces.json") as writer:  # doctest: +SKIP
        ...     writer.add("a.jpg", (640, 480), aligner.align("a.jpg"))
    """
    head: dict[str, Any] = {
        "info": {"description": "Facial landmarks by keras_facealign"},
        "licenses": [],
        "categories": [coco_category(scheme)],
    }
    if video is not None:
        head["videos"] = [{"id": 1, "name": video.name}]
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=UNDECODABLE) as stream,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=Path(path).parent) as annotations,
    ):
        stream.write(dump(head)[:-1] + ', "images": [')
        yield COCOWriter(stream, annotations, scheme, min_confidence, video)
        stream.write('\n], "annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, stream)
        stream.write("\n]}\n")
