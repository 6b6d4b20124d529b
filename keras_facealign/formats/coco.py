"""COCO's format for keypoints: one JSON file for the faces of many pictures, or of a video.

Format: https://cocodataset.org/#format-data, Keypoint Detection. Coordinates are COCO's and the
library's alike: 0-based pixels, (0, 0) the center of the top-left pixel. Two fields beyond COCO's
hold what it has no place for: `score` and `keypoint_scores`, the certainty of the face and of each
landmark. A video's images also have `video_id` and `frame_id`, and its annotations `track_id`, as
in the CocoVID files of video detection.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.frames import VideoInfo
from keras_facealign.inference.aligner import Face
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import replacing
from keras_facealign.video.tracking import TrackedFace

__all__ = ["COCOFrames", "COCOWriter", "coco_category", "coco_writer"]

CATEGORY_ID = 1

# COCO's flag of each keypoint: labeled but not visible, and visible.
_HIDDEN, _VISIBLE = 1, 2


def coco_category(scheme: LandmarkScheme = IBUG68) -> dict[str, Any]:
    """The category "face" of a landmark scheme: names of its keypoints, and its skeleton.

    Args:
        scheme: The landmark scheme.

    Returns:
        A record of COCO's list `categories`; the skeleton counts keypoints from 1, as COCO does.

    Example:
        >>> coco_category()["keypoints"][36], coco_category()["skeleton"][0]
        ('right_eye_0', [1, 2])
    """
    names = [f"landmark_{index}" for index in range(scheme.num_landmarks)]
    for region, points in scheme.regions.items():
        for number, point in enumerate(points):
            names[point] = f"{region}_{number}"
    return {
        "id": CATEGORY_ID,
        "name": "face",
        "supercategory": "person",
        "keypoints": names,
        "skeleton": [[a + 1, b + 1] for a, b in scheme.edges],
    }


class COCOWriter:
    """Adds pictures and their faces to a COCO file; `coco_writer` makes it.

    Args:
        stream: Where the file goes.
        spool: Where annotations wait until all images are written.
        scheme: What the landmarks are.
        min_confidence: Landmarks from this confidence on count as visible (flag 2), others as
            hidden (flag 1).
        videos: Records of COCO-VID's list `videos`, if the pictures are frames.
    """

    def __init__(
        self,
        stream: TextIO,
        spool: TextIO,
        scheme: LandmarkScheme,
        min_confidence: float,
        videos: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._stream = stream
        self._spool = spool
        self._scheme = scheme
        self._min_confidence = min_confidence
        self.num_images = 0
        self.num_faces = 0
        head: dict[str, Any] = {"info": {"description": "Facial landmarks by keras_facealign"}}
        head |= {"licenses": [], "categories": [coco_category(scheme)]}
        if videos:
            head["videos"] = list(videos)
        stream.write(_dump(head)[:-1] + ', "images": [')

    def add(
        self, file_name: str, size: tuple[int, int], faces: Sequence[Face], **extra: Any
    ) -> None:
        """Adds a picture and its faces.

        Args:
            file_name: Name of the picture.
            size: (width, height) in pixels.
            faces: Its faces; may be empty.
            **extra: Further fields of the image's record.

        Raises:
            FaceAlignError: If a face's landmarks are not of the scheme or not finite.
        """
        annotations = [self._annotation(face, file_name) for face in faces]
        self.num_images += 1
        image = {"id": self.num_images, "width": int(size[0]), "height": int(size[1])}
        record = image | {"file_name": file_name} | extra
        self._stream.write((",\n" if self.num_images > 1 else "\n") + _dump(record))
        for annotation in annotations:
            self.num_faces += 1
            record = {"id": self.num_faces, "image_id": self.num_images} | annotation
            self._spool.write((",\n" if self.num_faces > 1 else "\n") + _dump(record))

    def _annotation(self, face: Face, file_name: str) -> dict[str, Any]:
        points = np.asarray(face.landmarks, np.float64)
        if points.shape != (self._scheme.num_landmarks, 2) or not np.isfinite(points).all():
            raise FaceAlignError(
                f"{file_name}: landmarks of shape {points.shape} or not finite; scheme "
                f"{self._scheme.name} has {self._scheme.num_landmarks} points"
            )
        x0, y0, x1, y1 = (float(side) for side in geometry.landmarks_box(points))
        values = np.asarray(face.confidence, np.float64)
        flags = np.where(values >= self._min_confidence, _VISIBLE, _HIDDEN)
        keypoints: list[float] = []
        for (x, y), flag in zip(points.round(3).tolist(), flags.tolist(), strict=True):
            keypoints += [x, y, flag]
        record: dict[str, Any] = {
            "category_id": CATEGORY_ID,
            "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 3),
            "iscrowd": 0,
            "segmentation": [],
            "num_keypoints": len(points),
            "keypoints": keypoints,
            "score": round(float(face.score), 4),
            "keypoint_scores": values.round(4).tolist(),
        }
        if isinstance(face, TrackedFace):
            record["track_id"] = face.id
        return record

    def end(self) -> None:
        """Writes the waiting annotations and closes the document."""
        self._stream.write('\n], "annotations": [')
        self._spool.flush()
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._stream)
        self._stream.write("\n]}\n")


class COCOFrames:
    """A `FrameWriter` over a `COCOWriter`: frames are pictures named after the video.

    Frame 12 of clip.mp4 is clip_000012.jpg, as `ffmpeg -i clip.mp4 -start_number 0 clip_%06d.jpg`
    writes it.
    """

    def __init__(self, writer: COCOWriter, info: VideoInfo) -> None:
        self._writer = writer
        self._stem = Path(info.name).stem

    def write(
        self, index: int, time: float, size: tuple[int, int], faces: Sequence[TrackedFace]
    ) -> None:
        """Adds a frame."""
        name = f"{self._stem}_{index:06d}.jpg"
        self._writer.add(name, size, faces, video_id=1, frame_id=index)

    def finish(self, num_frames: int, complete: bool) -> None:
        """COCO has no field for the end."""


@contextmanager
def coco_writer(
    path: str | os.PathLike[str],
    scheme: LandmarkScheme = IBUG68,
    min_confidence: float = 0.2,
    videos: Sequence[dict[str, Any]] = (),
) -> Iterator[COCOWriter]:
    """Writes a COCO file under a temporary name, and gives it its own when the block ends well.

    Memory does not grow with the number of pictures: annotations wait in a temporary file.

    Args:
        path: The file; an older one is replaced.
        scheme: What the landmarks are.
        min_confidence: As in `COCOWriter`.
        videos: As in `COCOWriter`.

    Yields:
        A `COCOWriter`.

    Raises:
        FaceAlignError: If the file cannot be written.

    Example:
        >>> with coco_writer("faces.json") as writer:  # doctest: +SKIP
        ...     writer.add("a.jpg", (640, 480), aligner.align("a.jpg"))
    """
    path = Path(path)
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8") as stream,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent) as spool,
    ):
        writer = COCOWriter(stream, spool, scheme, min_confidence, videos)
        yield writer
        writer.end()


def _dump(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False, ensure_ascii=False)
