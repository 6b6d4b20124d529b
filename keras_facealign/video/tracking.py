"""Faces of a video: found by the detector, then followed from frame to frame by their landmarks.

The box around a face's landmarks in one frame is where the network looks in the next, so that the
detector, which takes longer than the network, runs only now and then: when no face is followed,
when one was lost, and every so many frames for faces that are new.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import read_image
from keras_facealign.detection.detectors import Detection, as_detections
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.aligner import Face, FaceAligner
from keras_facealign.inference.head_pose import HeadPose, estimate_head_pose
from keras_facealign.video.smoothing import DEFAULT_SMOOTHING, OneEuroFilter, Smoothing

__all__ = ["FaceTracker", "TrackedFace"]

# A detected box that overlaps the box of a followed face by this much (intersection over union) is
# that face. Detectors draw their boxes a little elsewhere, so it is low.
_SAME_FACE = 0.3
# Less is asked where a lost face turns up again: it has moved meanwhile.
_SAME_LOST_FACE = 0.1
# Two followed faces that overlap this much are one face followed twice.
_TWICE = 0.6
# From one frame to the next, a face does not
_LARGEST_SHIFT = 0.6  # move its center by more than this, in units of its size,
_LARGEST_GROWTH = 1.6  # grow or shrink by more than this factor,
_LARGEST_CHANGE = 0.12  # or change its shape by more than this (see `_shape_change`).
# A face of which less than this share of landmarks is in the picture has left it.
_LEAST_INSIDE = 0.5


@dataclass(frozen=True, eq=False)
class TrackedFace(Face):
    """One face in one frame of a video: a `Face` whose landmarks are smoothed over time.

    Args:
        id: The face's number: the same as long as it is followed, never given to another.
        pose: How the head is turned, from the smoothed landmarks; None unless they are iBUG's 68.
        raw_landmarks: float32 (K, 2), the landmarks of this frame alone.
    """

    id: int = 0
    pose: HeadPose | None = None
    raw_landmarks: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.float32))

    def to_dict(self) -> dict[str, Any]:
        """The face as plain lists and numbers, ready for JSON; pixels to three decimals."""
        record: dict[str, Any] = {"id": self.id, **super().to_dict()}
        if self.pose is not None:
            record["pose"] = self.pose.to_dict()
        return record


@dataclass(eq=False)
class _Track:
    """What is remembered of a face. `landmarks` and `box` are of the last frame it was seen in."""

    id: int
    score: float
    landmarks: np.ndarray
    box: np.ndarray
    smooth: OneEuroFilter | None
    lost_for: int = 0


class FaceTracker:
    """Follows the faces of a video.

    A face counts as lost when the network is no longer sure of it, when it leaves the picture, or
    when it would have jumped, changed its size or its shape by more than a face can from one frame
    to the next. It keeps its number if it is found again near the same place within `patience`
    frames. What is remembered is bounded by `max_faces`, however long the video.

    Args:
        aligner: The network, with a detector.
        max_faces: Most faces to follow; the largest are taken first.
        detect_every: Frames from one search for new faces to the next. The detector also runs while
            no face is followed, and while a face that was lost may come back.
        patience: Frames for which a lost face keeps its number.
        min_confidence: A face is lost when its landmarks' mean confidence falls below this.
            Confidence on pictures without a face reaches 0.45 with the bundled preset, on faces it
            is 0.5 and more.
        smoothing: How landmarks are smoothed; None gives them as the network does.
        frame_rate: Frames a second, where `update` is given no times.

    Raises:
        FaceAlignError: If the aligner has no detector or a number is out of range.

    Example:
        >>> tracker = FaceTracker(FaceAligner.from_preset("sat1_cab_mobile"))  # doctest: +SKIP
        >>> for frame in frames:  # doctest: +SKIP
        ...     for face in tracker.update(frame):
        ...         print(face.id, face.landmarks[30], face.pose.yaw)
    """

    def __init__(
        self,
        aligner: FaceAligner,
        max_faces: int = 8,
        detect_every: int = 15,
        patience: int = 15,
        min_confidence: float = 0.45,
        smoothing: Smoothing | None = DEFAULT_SMOOTHING,
        frame_rate: float = 30.0,
    ) -> None:
        if aligner.detector is None:
            raise FaceAlignError("FaceTracker: the aligner has no detector; give it one")
        for name, value, least in (
            ("max_faces", max_faces, 1),
            ("detect_every", detect_every, 1),
            ("patience", patience, 0),
        ):
            if value < least:
                raise FaceAlignError(f"FaceTracker: {name} is {value}; give at least {least}")
        if not 0 <= min_confidence < 1:
            raise FaceAlignError(
                f"FaceTracker: min_confidence is {min_confidence}; give 0 up to below 1"
            )
        if not (math.isfinite(frame_rate) and frame_rate > 0):
            raise FaceAlignError(f"FaceTracker: frame_rate is {frame_rate}; give more than 0")
        self.aligner = aligner
        self.max_faces = max_faces
        self.detect_every = detect_every
        self.patience = patience
        self.min_confidence = min_confidence
        self.smoothing = smoothing
        self.frame_rate = frame_rate
        self._ids = itertools.count()
        self.reset()

    def reset(self) -> None:
        """Forgets all faces, as between two scenes. Numbers go on: none is given twice."""
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._time = -math.inf
        self._since_detection = self.detect_every
        self._image_size = (0, 0)

    def update(
        self, image: Any, time: float | None = None, name: str = "the frame"
    ) -> list[TrackedFace]:
        """Finds the faces of the next frame.

        A frame of another size than the one before starts anew, as after `reset`.

        Args:
            image: The frame, as `FaceAligner.align` takes photos; usually uint8 (H, W, 3), RGB.
            time: Seconds since the beginning of the video, later than the frame before. Default:
                one frame of `frame_rate` later.
            name: What error messages call the frame.

        Returns:
            The faces that are followed now, by their numbers.

        Raises:
            FaceAlignError: If the frame is no picture, or the time does not advance.
        """
        image = read_image(image, name=name)
        size = (image.shape[1], image.shape[0])
        time = self._next_time(time, name)
        if size != self._image_size:
            self.reset()
        self._image_size, self._time = size, time

        faces = self._follow(image, name)
        self._since_detection += 1
        if self._must_search(faces):
            faces |= self._search(image, size, name)
            self._since_detection = 0
        self._forget()
        return [self._finish(track, faces[track], size) for track in self._tracks]

    def _next_time(self, time: float | None, name: str) -> float:
        if time is None:
            return 0.0 if self._time == -math.inf else self._time + 1.0 / self.frame_rate
        if not (math.isfinite(time) and time > self._time):
            raise FaceAlignError(
                f"{name}: its time {time} does not follow {self._time}; give seconds that advance"
            )
        return float(time)

    def _follow(self, image: np.ndarray, name: str) -> dict[_Track, Face]:
        """Aligns the followed faces where they were, and drops those that are lost."""
        if not self._tracks:
            return {}
        boxes = [track.box for track in self._tracks]
        found = self.aligner.align(image, boxes=boxes, name=name)
        faces: dict[_Track, Face] = {}
        for track, face in zip(self._tracks, found, strict=True):
            twice = any(_overlap(face.landmarks, f.landmarks) > _TWICE for f in faces.values())
            if twice or not (self._is_face(face) and _continues(track.landmarks, face.landmarks)):
                # One followed twice has another number already; a lost one may come back.
                if not twice:
                    self._lost.append(track)
                continue
            faces[track] = face
        self._tracks = list(faces)
        return faces

    def _is_face(self, face: Face) -> bool:
        """Whether the network is sure of it, and enough of it is in the picture."""
        if not np.isfinite(face.landmarks).all():
            return False
        if float(face.confidence.mean()) < self.min_confidence:
            return False
        inside = (face.landmarks >= -0.5) & (face.landmarks < np.array(self._image_size) - 0.5)
        if inside.all(axis=1).mean() < _LEAST_INSIDE:
            return False
        x0, y0, x1, y1 = geometry.landmarks_box(face.landmarks)
        return x1 - x0 > 1 and y1 - y0 > 1

    def _must_search(self, faces: dict[_Track, Face]) -> bool:
        if len(faces) >= self.max_faces:
            return False
        due = self._since_detection >= self.detect_every
        return due or not faces or bool(self._lost)

    def _search(self, image: np.ndarray, size: tuple[int, int], name: str) -> dict[_Track, Face]:
        """Looks for faces that are not followed yet, new or lost ones."""
        assert self.aligner.detector is not None
        found = as_detections(self.aligner.detector(image), size, name)
        fresh = [d for d in found if self._nearest(d.box, self._tracks, _SAME_FACE) is None]
        fresh.sort(key=lambda d: -float(np.prod(d.box[2:] - d.box[:2])))
        fresh = fresh[: self.max_faces - len(self._tracks)]
        faces: dict[_Track, Face] = {}
        for face, score in self._align_fresh(image, fresh, name):
            box = geometry.landmarks_box(face.landmarks)
            if self._nearest(box, self._tracks, _SAME_FACE) is not None:
                continue
            track = self._nearest(box, self._lost, _SAME_LOST_FACE)
            if track is None:
                track = _Track(next(self._ids), score, face.landmarks, box, None)
            else:
                self._lost.remove(track)
            track.score, track.lost_for = score, 0
            track.box = box
            track.smooth = None if self.smoothing is None else OneEuroFilter(self.smoothing)
            self._tracks.append(track)
            faces[track] = face
        self._tracks.sort(key=lambda track: track.id)
        return faces

    def _align_fresh(
        self, image: np.ndarray, detections: list[Detection], name: str
    ) -> list[tuple[Face, float]]:
        """Aligns new faces twice: in the detector's box, then in the box of what that gave.

        From then on the box comes from the landmarks; without the second look they would jump a
        little in the frame after.
        """
        if not detections:
            return []
        boxes = [detection.box for detection in detections]
        first = self.aligner.align(image, boxes=boxes, name=name)
        kept = [
            (face, detection.score)
            for face, detection in zip(first, detections, strict=True)
            if self._is_face(face)
        ]
        if not kept:
            return []
        boxes = [geometry.landmarks_box(face.landmarks) for face, _ in kept]
        second = self.aligner.align(image, boxes=boxes, name=name)
        return [
            (face, score)
            for face, (_, score) in zip(second, kept, strict=True)
            if self._is_face(face)
        ]

    @staticmethod
    def _nearest(box: np.ndarray, tracks: list[_Track], least: float) -> _Track | None:
        """The track whose box overlaps a box the most, if by more than `least`."""
        overlaps = [geometry.box_overlap(box, track.box) for track in tracks]
        best = int(np.argmax(overlaps)) if overlaps else -1
        return tracks[best] if overlaps and overlaps[best] > least else None

    def _forget(self) -> None:
        for track in self._lost:
            track.lost_for += 1
        self._lost = [t for t in self._lost if t.lost_for <= self.patience][-self.max_faces :]

    def _finish(self, track: _Track, face: Face, size: tuple[int, int]) -> TrackedFace:
        """Smooths the landmarks of a face and remembers where it is."""
        landmarks = face.landmarks
        if track.smooth is not None:
            smoothed = track.smooth(landmarks, self._time, face.confidence)
            landmarks = smoothed.astype(np.float32)
        track.landmarks = face.landmarks
        track.box = geometry.landmarks_box(landmarks)
        pose = estimate_head_pose(landmarks, size) if self._has_pose() else None
        return TrackedFace(
            landmarks=landmarks,
            confidence=face.confidence,
            box=face.box,
            score=track.score,
            sigma=face.sigma,
            visibility=face.visibility,
            id=track.id,
            pose=pose,
            raw_landmarks=face.landmarks,
        )

    def _has_pose(self) -> bool:
        scheme = getattr(self.aligner.model, "scheme", None)
        return getattr(scheme, "name", None) == "ibug68"


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return geometry.box_overlap(geometry.landmarks_box(first), geometry.landmarks_box(second))


def _continues(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether one face can look like `before` in one frame and like `after` in the next."""
    a, b = before.astype(np.float64), after.astype(np.float64)
    size_a, size_b = _spread(a), _spread(b)
    growth = size_b / size_a
    extent = float(np.ptp(a, axis=0).max())
    shift = float(np.linalg.norm(b.mean(axis=0) - a.mean(axis=0))) / extent
    if shift > _LARGEST_SHIFT or not 1 / _LARGEST_GROWTH < growth < _LARGEST_GROWTH:
        return False
    return _shape_change(a, b) < _LARGEST_CHANGE


def _spread(points: np.ndarray) -> float:
    """Root mean square distance from the center."""
    return math.sqrt(float(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())) or 1e-9


def _shape_change(a: np.ndarray, b: np.ndarray) -> float:
    """What of the change from `a` to `b` no shift, rotation or scaling explains.

    The root mean square distance after the best of these, in units of `b`'s spread.
    """
    # As complex numbers, the best rotation and scaling of a onto b is one division.
    first = (a - a.mean(axis=0)) @ np.array([1, 1j])
    second = (b - b.mean(axis=0)) @ np.array([1, 1j])
    turn = np.vdot(first, second) / max(float(np.vdot(first, first).real), 1e-12)
    return float(np.sqrt(np.mean(np.abs(second - turn * first) ** 2))) / _spread(b)
