"""Tracks the faces of a video, each with a number of its own, and smooths their landmarks.

A tracked face is found in the next frame by running the network where its landmarks were. The
detector, which takes longer than the network, runs only when no face is tracked, when one was lost,
and every few frames to find new faces. Most of these times it glances at the whole frame, where the
detector can: tiles, which show small faces, take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.images import read_image
from keras_facealign.detection import Detection, as_detections
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.aligner import Face, FaceAligner
from keras_facealign.inference.head_pose import HeadPose, estimate_head_pose
from keras_facealign.video.smoothing import (
    DEFAULT_SMOOTHING,
    OneEuroFilter,
    Smoothing,
    fit_similarity,
)

# A detected box belongs to a tracked face if their intersection over union exceeds this. Detectors
# place their boxes slightly differently, so it is low.
_SAME_FACE = 0.3
# The same for a face that was lost, and has moved meanwhile.
_SAME_LOST_FACE = 0.1
# Two tracked faces that overlap more than this are one face tracked twice.
_DUPLICATE = 0.6
# Limits of the change from one frame to the next: of the center, in units of the face's size; of
# the size, as a factor; and of the shape (see `_continues`).
_LARGEST_SHIFT, _LARGEST_GROWTH, _LARGEST_CHANGE = 0.6, 1.6, 0.12
# A face with a smaller share of its landmarks inside the image has left it.
_LEAST_INSIDE = 0.5
# A glance of the detector shows faces larger than this part of the frame's longer side. Where all
# tracked and lost faces are larger, only one in so many searches is for small ones, too. While none
# is tracked, the frames from one such search to the next.
_GLANCED = 1 / 12
_SEARCHES_PER_SMALL, _FRAMES_PER_SMALL = 4, 5
# The crop is turned anew when the face leans by more degrees than this in it.
_LEANING = 20.0


@dataclass(frozen=True, eq=False)
class TrackedFace(Face):
    """One face in one frame of a video: a `Face` whose landmarks are smoothed over time.

    Args:
        id: Number of the face: constant while it is tracked, and never reused.
        pose: Head pose from the smoothed landmarks; None unless they are iBUG's 68.
        raw_landmarks: float32 (K, 2), the landmarks of this frame before smoothing.
    """

    id: int = 0
    pose: HeadPose | None = None
    raw_landmarks: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Converts the face to plain lists and numbers for JSON; pixels to three decimals."""
        record: dict[str, Any] = {"id": self.id, **super().to_dict()}
        if self.pose is not None:
            record["pose"] = self.pose.to_dict()
        return record


@dataclass(eq=False)
class _Track:
    """State of a tracked face; `landmarks`, `box` and `roll` are from the last frame it was in."""

    id: int
    score: float
    landmarks: np.ndarray
    box: np.ndarray
    smooth: OneEuroFilter | None
    roll: float = 0.0
    lost_for: int = 0


class FaceTracker:
    """Tracks the faces of a video.

    A face is lost when its confidence is too low, when it leaves the image, or when its position,
    size or shape changes more than is plausible from one frame to the next. It keeps its number if
    it is found again near the same place within `patience` frames. Memory is bounded by
    `max_faces`, however long the video.

    Args:
        aligner: The network, with a detector.
        max_faces: Largest number of faces to track; larger faces take precedence.
        detect_every: Number of frames between searches for new faces. The detector also runs while
            no face is tracked, and while a lost face may come back. A detector with the method
            `glance`, such as BlazeFace, looks for faces smaller than a twelfth of the frame in
            every search if one is tracked or lost, else in one of four; and in every fifth frame
            while no face is tracked.
        patience: Number of frames for which a lost face keeps its number.
        min_confidence: A face is lost when its landmarks' mean confidence falls below this.
            Confidence on images without a face reaches 0.45 with the bundled preset, on faces it is
            0.5 and more.
        smoothing: Settings of the smoothing; None returns the network's landmarks unchanged.
        frame_rate: Frames per second, used if `update` is called without times.

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
        for name, value, valid, allowed in (
            ("max_faces", max_faces, max_faces >= 1, "at least 1"),
            ("detect_every", detect_every, detect_every >= 1, "at least 1"),
            ("patience", patience, patience >= 0, "at least 0"),
            ("min_confidence", min_confidence, 0 <= min_confidence < 1, "0 up to below 1"),
            ("frame_rate", frame_rate, 0 < frame_rate < math.inf, "more than 0"),
        ):
            if not valid:
                raise FaceAlignError(f"FaceTracker: {name} is {value}; give {allowed}")
        self.aligner = aligner
        self.max_faces = max_faces
        self.detect_every = detect_every
        self.patience = patience
        self.min_confidence = min_confidence
        self.smoothing = smoothing
        self.frame_rate = frame_rate
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Drops all faces, as between two scenes. Numbers continue: none is reused."""
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._time = -math.inf
        self._since_detection = self.detect_every
        self._since_small: float = math.inf
        self._image_size = (0, 0)

    def update(
        self, image: Any, time: float | None = None, name: str = "the frame"
    ) -> list[TrackedFace]:
        """Finds the faces of the next frame.

        A change of the frame size resets the tracker, as `reset` does.

        Args:
            image: The frame, as accepted by `FaceAligner.align`; usually uint8 (H, W, 3), RGB.
            time: Seconds since the beginning of the video; must increase. Default: one frame of
                `frame_rate` later.
            name: Name of the frame in error messages.

        Returns:
            The tracked faces, in the order of their numbers.

        Raises:
            FaceAlignError: If the frame is not an image, or the time does not increase.
        """
        image = read_image(image, name=name)
        size = (image.shape[1], image.shape[0])
        time = self._next_time(time, name)
        if size != self._image_size:
            self.reset()
        self._image_size, self._time = size, time

        faces = self._follow(image, name)
        self._since_detection += 1
        self._since_small += 1
        due = self._since_detection >= self.detect_every or not faces or bool(self._lost)
        if due and len(faces) < self.max_faces:
            faces |= self._search(image, name)
            self._since_detection = 0
        for track in self._lost:
            track.lost_for += 1
        self._lost = [t for t in self._lost if t.lost_for <= self.patience][-self.max_faces :]
        return [self._finish(track, faces[track]) for track in self._tracks]

    def _next_time(self, time: float | None, name: str) -> float:
        if time is None:
            return 0.0 if self._time == -math.inf else self._time + 1.0 / self.frame_rate
        if not (math.isfinite(time) and time > self._time):
            raise FaceAlignError(
                f"{name}: its time {time} does not follow {self._time}; give increasing seconds"
            )
        return float(time)

    def _follow(self, image: np.ndarray, name: str) -> dict[_Track, Face]:
        """Aligns the tracked faces at their last places, and drops those that are lost."""
        if not self._tracks:
            return {}
        boxes = [Detection(track.box, roll=track.roll) for track in self._tracks]
        found = self.aligner.align(image, boxes=boxes, name=name)
        faces: dict[_Track, Face] = {}
        for track, face in zip(self._tracks, found, strict=True):
            # A duplicate is dropped, since the face has another number; a lost face may come back.
            if any(_overlap(face.landmarks, f.landmarks) > _DUPLICATE for f in faces.values()):
                continue
            if self._is_face(face) and _continues(track.landmarks, face.landmarks):
                faces[track] = face
            else:
                self._lost.append(track)
        self._tracks = list(faces)
        return faces

    def _is_face(self, face: Face) -> bool:
        """Whether the network is confident, and enough of the face is inside the image."""
        finite = np.isfinite(face.landmarks).all()
        if not finite or float(face.confidence.mean()) < self.min_confidence:
            return False
        inside = (face.landmarks >= -0.5) & (face.landmarks < np.array(self._image_size) - 0.5)
        if inside.all(axis=1).mean() < _LEAST_INSIDE:
            return False
        x0, y0, x1, y1 = geometry.landmarks_box(face.landmarks)
        return x1 - x0 > 1 and y1 - y0 > 1

    def _search(self, image: np.ndarray, name: str) -> dict[_Track, Face]:
        """Detects faces that are not tracked yet, new or lost ones."""
        found = as_detections(self._detect(image), self._image_size, name)
        fresh = [d for d in found if self._nearest(d.box, self._tracks, _SAME_FACE) is None]
        fresh.sort(key=lambda d: -float(np.prod(d.box[2:] - d.box[:2])))
        fresh = fresh[: self.max_faces - len(self._tracks)]
        faces: dict[_Track, Face] = {}
        for face, score in self._align_fresh(image, fresh, name):
            box = self._box(face.landmarks)
            if self._nearest(box, self._tracks, _SAME_FACE) is not None:
                continue
            track = self._nearest(box, self._lost, _SAME_LOST_FACE)
            if track is None:
                track = _Track(self._next_id, score, face.landmarks, box, None)
                self._next_id += 1
            else:
                self._lost.remove(track)
            track.score, track.lost_for, track.box, track.roll = score, 0, box, face.roll
            track.smooth = None if self.smoothing is None else OneEuroFilter(self.smoothing)
            self._tracks.append(track)
            faces[track] = face
        self._tracks.sort(key=lambda track: track.id)
        return faces

    def _detect(self, image: np.ndarray) -> Iterable[Any]:
        """Runs the detector, or its glance if small faces can wait."""
        detector = self.aligner.detector
        assert detector is not None
        glance = getattr(detector, "glance", None)
        wait = _SEARCHES_PER_SMALL * self.detect_every if self._tracks else _FRAMES_PER_SMALL
        seen = _GLANCED * max(self._image_size)
        small = any(max(t.box[2:] - t.box[:2]) < seen for t in (*self._tracks, *self._lost))
        if glance is not None and self._since_small < wait and not small:
            return glance(image)
        self._since_small = 0
        return detector(image)

    def _align_fresh(
        self, image: np.ndarray, detections: list[Detection], name: str
    ) -> list[tuple[Face, float]]:
        """Aligns new faces twice: in the detector's box, then in the box of the landmarks found.

        In later frames the box comes from the landmarks, too; with the detector's box alone, the
        landmarks would jump a little in the next frame.
        """
        boxes = detections
        scores = [detection.score for detection in detections]
        faces: list[Face] = []
        for _ in range(2):
            if boxes:
                faces = self.aligner.align(image, boxes=boxes, name=name)
            pairs = zip(faces, scores, strict=True)
            kept = [(f, s) for f, s in pairs if f.reliable and self._is_face(f)]
            faces, scores = [face for face, _ in kept], [score for _, score in kept]
            boxes = [self._place(face.landmarks, face.roll) for face in faces]
        return list(zip(faces, scores, strict=True))

    def _place(self, landmarks: np.ndarray, roll: float) -> Detection:
        """The box of a face for the next crop, turned by its angle.

        The angle stays as it is while the face leans little in the crop: the network is trained on
        such faces, and the landmarks would jump a little with every turn.
        """
        scheme = getattr(self.aligner.model, "scheme", None)
        eyes = None if scheme is None else scheme.eye_points
        if eyes is not None:
            right, left = (landmarks[list(points)].mean(axis=0) for points in eyes)
            angle = math.degrees(math.atan2(left[1] - right[1], left[0] - right[0]))
            if abs((angle - roll + 180) % 360 - 180) > _LEANING:
                roll = angle
        if not roll:
            return Detection(self._box(landmarks))
        center = landmarks.mean(axis=0)
        upright = geometry.turn_matrix(-roll, (center[0], center[1]))
        x0, y0, x1, y1 = self._box(geometry.transform_points(upright, landmarks))
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        shift = geometry.transform_points(geometry.invert(upright), middle[None])[0] - middle
        return Detection(np.array([x0, y0, x1, y1]) + np.tile(shift, 2), roll=roll)

    def _box(self, landmarks: np.ndarray) -> np.ndarray:
        """The box of a face for the next crop."""
        tight = geometry.landmarks_box(landmarks)
        scheme = getattr(self.aligner.model, "scheme", None)
        return tight if scheme is None else scheme.crop_box(tight)

    @staticmethod
    def _nearest(box: np.ndarray, tracks: list[_Track], least: float) -> _Track | None:
        """Finds the track whose box overlaps a box the most, if by more than `least`."""
        overlaps = [geometry.box_overlap(box, track.box) for track in tracks]
        best = int(np.argmax(overlaps)) if overlaps else -1
        return tracks[best] if overlaps and overlaps[best] > least else None

    def _finish(self, track: _Track, face: Face) -> TrackedFace:
        """Smooths the landmarks of a face and updates its track."""
        landmarks = face.landmarks
        if track.smooth is not None:
            smoothed = track.smooth(landmarks, self._time, face.confidence)
            landmarks = smoothed.astype(np.float32)
        track.landmarks = face.landmarks
        place = self._place(landmarks, track.roll)
        track.box, track.roll = place.box, place.roll
        scheme = getattr(getattr(self.aligner.model, "scheme", None), "name", None)
        return TrackedFace(
            **{**vars(face), "landmarks": landmarks, "score": track.score},
            id=track.id,
            pose=estimate_head_pose(landmarks, self._image_size) if scheme == "ibug68" else None,
            raw_landmarks=face.landmarks,
        )


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return geometry.box_overlap(geometry.landmarks_box(first), geometry.landmarks_box(second))


def _continues(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two sets of landmarks can be the same face in consecutive frames.

    The shape change is what remains after the best shift, rotation and scaling: the root mean
    square distance in units of the later face's spread.
    """
    a, b = (points.astype(np.float64) @ np.array([1, 1j]) for points in (before, after))
    spread_a, spread_b = (float(np.std(points)) or 1e-9 for points in (a, b))
    shift = abs(b.mean() - a.mean()) / float(np.ptp(before, axis=0).max())
    factor, offset = fit_similarity(a, b)
    change = math.sqrt(float(np.mean(np.abs(factor * a + offset - b) ** 2))) / spread_b
    growth = max(spread_a / spread_b, spread_b / spread_a)
    return shift <= _LARGEST_SHIFT and growth < _LARGEST_GROWTH and change < _LARGEST_CHANGE
