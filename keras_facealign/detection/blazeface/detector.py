"""The BlazeFace face detector."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from keras_facealign import geometry
from keras_facealign.detection.blazeface.boxes import landmark_boxes
from keras_facealign.detection.blazeface.network import RawFaces, load_network
from keras_facealign.detection.blazeface.views import Pyramid, tiles
from keras_facealign.detection.detector import Detection
from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction.concurrency import available_cores, start_threads

# A network finds almost all upright faces of this size in pixels of its input, and larger ones.
_SMALLEST = {"short_range": 20.0, "full_range": 16.0}
# Largest part of the view's side that a face takes where one view does not show the whole image.
_LARGEST = 0.5
# In finer levels faces of at most this many times the smallest size are left to find. Neighboring
# tiles share a bit more.
_LEVEL_STEP, _TILE_OVERLAP = 2.6, 44.0
# What scores this much is looked at again: a face that is turned, or small, scores little at first.
_PROPOSAL, _TILE_PROPOSAL = 0.3, 0.4
# The face's share of the view in a second look.
_SHARE = 0.45
# An upright face has at least this score in 90 of 100 second looks; one upside down hardly ever.
_SURE = 0.85
# A face that leans by at most this many degrees counts as upright: networks are trained on such
# faces, and their box alone tells where they are. Larger angles are measured again in a view turned
# by them.
_TILTED = 20.0
# Boxes that overlap more are of the same face.
_REPEATED = 0.2
# A face as large as this part of the image's shorter side is what the photo is about: small faces
# are only searched for if `min_face_size` asks for them.
_DOMINANT = 0.35
# Without `min_face_size`, the smallest face to find: pixels, and part of the image's longer side.
_USUAL_FACE, _USUAL_PART = 20.0, 1 / 50
# Boxes vary by this part of their size, so that faces of just `min_face_size` are kept.
_TOLERANCE = 0.2
# Score of something else than a face that was looked at again, at most.
_ANY = 0.1


@dataclass(frozen=True)
class _Level:
    """Views of one scale that cover the image: `scale` is pixels of a view for one of the image."""

    network: str
    scale: float
    overlap: float
    threshold: float


class BlazeFaceDetector:
    """Finds faces of any angle with BlazeFace (Bazarevsky et al., 2019).

    Its two networks are TFLite files, which run on LiteRT or, where that is not installed, on
    TensorFlow's own interpreter; Keras is not needed. They are loaded on the first call.

    The short-range network looks at the whole image first, then the full-range one, which finds
    faces a third as large. Smaller ones are searched for in tiles, one level of scale after the
    other, so that memory does not grow with the number of tiles. Each face is looked at a second
    time in a view around it that is turned upright, in up to four angles; the best score decides.

    Args:
        min_face_size: Smallest face to find, brows to chin, in pixels of the image, whatever its
            size; smaller ones are left out. The time grows with the number of tiles. Default: if
            the photo shows a face as large as a third of its shorter side, what two views of the
            whole photo show (about a tenth of its longer side); else 20 pixels, or a fiftieth of
            the longer side.
        threshold: Smallest score of a face in the second look, 0 to 1.

    Raises:
        FaceAlignError: If a setting is out of range.

    Example:
        >>> detector = BlazeFaceDetector(min_face_size=60)
        >>> detector(np.zeros((480, 640, 3), np.uint8))
        []
    """

    def __init__(self, min_face_size: float | None = None, threshold: float = 0.6) -> None:
        if min_face_size is not None and not 4 <= min_face_size < math.inf:
            raise FaceAlignError(f"min_face_size is {min_face_size}; give at least 4 pixels")
        if not 0 <= threshold < 1:
            raise FaceAlignError(f"threshold is {threshold}; give a score from 0 up to below 1")
        self.min_face_size = min_face_size
        self.threshold = threshold

    def load(self) -> None:
        """Loads the networks now instead of on the first call.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        try:
            for name in _SMALLEST:
                load_network(name)
        except ImportError as error:
            raise FaceAlignError(
                f"BlazeFace needs LiteRT or TensorFlow ({error}); run: pip install "
                '"keras_facealign[litert]", or give boxes or another detector'
            ) from error

    def __call__(self, image: np.ndarray, /) -> list[Detection]:
        """Finds the faces of one image.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            The faces in descending order of their scores, with boxes tight around the landmarks of
            the upright face, the angle (0 up to 20 degrees), and six key points.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        return self._detections(image, self.raw_faces(image))

    def glance(self, image: np.ndarray, /) -> list[Detection]:
        """Finds the faces that views of the whole image show, without searching for smaller ones.

        Of most images these are all faces larger than a twelfth of its longer side. It takes the
        time of one or two views, not of dozens of tiles.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            As from a call.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        return self._detections(image, self.raw_faces(image, whole_views=True))

    def _detections(self, image: np.ndarray, faces: RawFaces) -> list[Detection]:
        faces = faces[np.argsort(-faces.scores, kind="stable")]
        boxes = landmark_boxes(faces)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        # A face whose center is outside the image leaves too little to align.
        usable = ((centers >= 0) & (centers <= (image.shape[1] - 1, image.shape[0] - 1))).all(
            axis=1
        )
        smallest = (1 - _TOLERANCE) * (self.min_face_size or 0)
        usable &= boxes[:, 2] - boxes[:, 0] >= smallest
        rolls = np.where(np.abs(faces.rolls) > _TILTED, faces.rolls, 0.0)
        return [
            Detection(
                boxes[index].astype(np.float32),
                float(faces.scores[index]),
                float(rolls[index]),
                faces.keypoints[index].astype(np.float32),
            )
            for index in np.flatnonzero(usable)
        ]

    def raw_faces(self, image: np.ndarray, whole_views: bool = False) -> RawFaces:
        """Finds faces as the network knows them, before the conversion to landmark boxes.

        Args:
            image: uint8 (H, W, 3), RGB.
            whole_views: Whether to leave out the search in tiles, as `glance` does.

        Returns:
            The faces in pixels of the image, with squares that are not turned.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        self.load()
        pyramid = Pyramid(image)
        found = RawFaces.joined([])
        levels = self._levels(pyramid.width, pyramid.height)
        for number, level in enumerate(islice(levels, 2) if whole_views else levels):
            dominant = _DOMINANT * min(image.shape[:2])
            if self.min_face_size is None and (found.sides > dominant).any():
                break
            for turn in (0, 90, 180, 270):
                for face in _propose(pyramid, level, turn):
                    found = self._add(pyramid, level, face, found)
                # Whole views are turned if there seems to be nothing; tiles would take too long.
                if number != 1 or len(found):
                    break
        return found

    def _levels(self, width: int, height: int) -> Iterator[_Level]:
        """Lists the levels from coarse to fine; the first two are one view of most images."""
        longer, shorter = max(width, height), min(width, height)
        wanted = self.min_face_size or max(_USUAL_FACE, _USUAL_PART * longer)
        # Of a panorama, a view shows a part that is twice as long as high.
        shown = min(longer, max(2 * shorter, 12 * wanted))
        smallest = math.inf
        for name, size in (("short_range", 128), ("full_range", 192)):
            if self.min_face_size is None or smallest > wanted:
                yield _Level(name, size / shown, _LARGEST * size, _PROPOSAL)
            smallest = _SMALLEST[name] * shown / size
        count = math.ceil(math.log(max(smallest / wanted, 1), _LEVEL_STEP) - 0.05)
        for step in range(1, count + 1):
            size = smallest * (wanted / smallest) ** (step / count)
            scale = _SMALLEST["full_range"] / size
            yield _Level("full_range", scale, _TILE_OVERLAP, _TILE_PROPOSAL)

    def _add(self, pyramid: Pyramid, level: _Level, face: RawFaces, found: RawFaces) -> RawFaces:
        """Adds a proposal to the faces if it is a new one, or surer than those in its place."""
        if (found.scores[_overlapping(face, found)] >= _SURE).any():
            return found
        clear = face.scores[0] >= _SURE and abs(face.rolls[0]) <= _TILTED
        if level.network != "short_range" or not clear:
            face = _settle(pyramid, face)
        if not len(face) or face.scores[0] < self.threshold:
            return found
        rivals = _overlapping(face, found)
        if (found.scores[rivals] >= face.scores[0]).any():
            return found
        return RawFaces.joined([found[~rivals], face])


def _propose(pyramid: Pyramid, level: _Level, turn: float) -> list[RawFaces]:
    """Finds what may be faces in the views of a level, each turned back by an angle in degrees."""
    network = load_network(level.network)
    middle = (network.size - 1) / 2

    def search(tile: tuple[np.ndarray, np.ndarray], one_core: bool = True) -> RawFaces:
        matrix, limits = tile
        if turn:
            matrix = geometry.compose(_turn(1.0, turn, (middle, middle), (middle, middle)), matrix)
        faces = network(pyramid.view(matrix, network.size), level.threshold, one_core)
        if not turn and np.isfinite(limits).any():
            # A neighbor shows the whole face.
            cut = (faces.boxes[:, :2] < limits[:2]) | (faces.boxes[:, 2:] > limits[2:])
            faces = faces[~cut.any(axis=1)]
        return faces.moved(geometry.invert(matrix))

    places = tiles(pyramid.width, pyramid.height, level.scale, network.size, level.overlap)
    # The first tile makes the level of the pyramid that the others need, too.
    parts, others = [search(next(places), one_core=False)], list(places)
    if others:
        threads = start_threads(min(available_cores(), len(others)))
        if threads is None:
            parts += map(search, others)
        else:
            with threads:
                parts += threads.map(search, others)
    faces = RawFaces.joined(parts)
    if len(faces) == 1:
        return [faces]
    return [faces[[index]] for index in np.argsort(-faces.scores, kind="stable")]


def _settle(pyramid: Pyramid, face: RawFaces) -> RawFaces:
    """Looks at a face again, turned upright; of one face, returns one or none.

    The networks find faces at all angles, but those that are upside down they read upright, with
    low scores.
    """
    start = float(face.rolls[0])
    best, off = RawFaces.joined([]), 0.0
    for turn in (start, start + 180, start + 90, start + 270):
        seen = _look(pyramid, face, turn)
        if len(seen) and (not len(best) or seen.scores[0] > best.scores[0]):
            best, off = seen, abs((float(seen.rolls[0]) - turn + 180) % 360 - 180)
            if best.scores[0] >= _SURE and off <= _TILTED:
                break
    if off > _TILTED:
        again = _look(pyramid, best, float(best.rolls[0]))
        if len(again) and again.scores[0] > best.scores[0]:
            best = again
    return best


def _look(pyramid: Pyramid, face: RawFaces, roll: float) -> RawFaces:
    """Finds a face in a view around it that is turned back by an angle in degrees."""
    network = load_network("short_range")
    middle = (network.size - 1) / 2
    scale = _SHARE * network.size / face.sides[0]
    x, y = face.centers[0]
    matrix = _turn(scale, roll, (x, y), (middle, middle))
    faces = network(pyramid.view(matrix, network.size), _ANY)
    off = np.abs(faces.centers - middle).max(axis=1)
    near = np.flatnonzero(off < 0.5 * _SHARE * network.size)[:1]
    return faces[near].moved(geometry.invert(matrix))


def _turn(
    scale: float, roll: float, center: tuple[float, float], target: tuple[float, float]
) -> np.ndarray:
    """Makes the matrix that turns a face back by its roll, and moves its center to a target."""
    shift = (target[0] - center[0], target[1] - center[1])
    return geometry.similarity(np.float64(scale), np.radians(np.float64(-roll)), shift, center)


def _overlapping(face: RawFaces, found: RawFaces) -> np.ndarray:
    """Which faces, bool (N,), are at the place of a face."""
    overlaps = [geometry.box_overlap(face.boxes[0], box) for box in found.boxes]
    return np.array(overlaps) > _REPEATED
