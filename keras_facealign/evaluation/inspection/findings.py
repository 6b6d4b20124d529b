"""Gathers what is odd about a set of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from keras_facealign.data.images import is_turned, read_image
from keras_facealign.data.labels.assembling import points_outside
from keras_facealign.data.labels.label_set import LabelSet, read_face
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.inspection.contradictions import (
    Shift,
    check_landmarks,
    errors_of,
    median_shift,
    predict_faces,
)
from keras_facealign.evaluation.inspection.duplicates import PictureHashes
from keras_facealign.evaluation.inspection.shape_model import ShapeModel, fit_shapes
from keras_facealign.evaluation.inspection.swaps import (
    exchanged_points,
    guess_permutation,
    swapped_faces,
)

KINDS = {
    "swapped": "faces with left and right exchanged",
    "odd": "faces unlike the others",
    "exchanged": "pairs of points that are exchanged",
    "outlier": "points far from where the face's shape puts them",
    "outside": "faces with points outside of the picture",
    "contradicted": "faces that the network contradicts",
    "turned": "pictures that their EXIF data turn",
    "duplicate": "pictures that are the same file",
    "near_duplicate": "pairs of pictures that look the same",
    "empty_box": "boxes without points",
    "unusable": "labels that were left out",
    "unlabeled": "pictures without labels",
}
"""What is looked for, in the order of the page."""

# A point is far off from so many times its usual deviation, and so many percent of the face.
_POINT_SCORE, _POINT_PERCENT = 8.0, 5.0
# A face is odd if its median point is.
_FACE_SCORE = 4.0
# A face is contradicted from so many times the median error, and so many percent of the face.
_TIMES_ERROR, _ERROR_PERCENT, _MOST_CONTRADICTED = 3.0, 5.0, 50
_BATCH = 8


@dataclass(frozen=True)
class Finding:
    """Something odd.

    Attributes:
        kind: A key of `KINDS`.
        file_name: The picture, or what the message of a left out label is about.
        text: What is odd, in words.
        face: Index of the face in the labels; None if it is not about one face.
        points: Numbers of the points.
        severity: Decides the order within a kind; in the units of `text`.
    """

    kind: str
    file_name: str
    text: str
    face: int | None = None
    points: tuple[int, ...] = ()
    severity: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Converts to values for JSON."""
        return {
            "kind": self.kind,
            "file_name": self.file_name,
            "text": self.text,
            "face": self.face,
            "points": list(self.points),
            "severity": round(self.severity, 3),
        }


@dataclass(eq=False)
class Inspection:
    """The result of an inspection.

    Attributes:
        labels: The labels.
        model: The shape of the faces; None if there are too few.
        partner: int (K,), the point that a mirror image puts in each point's place, as guessed.
        findings: What was found, by kind; each list starts with the worst.
        predictions: A network's landmarks (K, 2) by the index of the face.
        shift: The constant shift of the labels from them.
        network: Name of the network.
    """

    labels: LabelSet
    model: ShapeModel | None = None
    partner: np.ndarray | None = None
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    predictions: dict[int, np.ndarray] = field(default_factory=dict)
    shift: Shift | None = None
    network: str = ""

    def add(self, finding: Finding) -> None:
        """Adds a finding."""
        self.findings.setdefault(finding.kind, []).append(finding)

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings of each kind that has some, in the order of `KINDS`."""
        return {kind: len(self.findings[kind]) for kind in KINDS if self.findings.get(kind)}

    @property
    def found_any(self) -> bool:
        """Whether anything is odd."""
        return bool(self.counts) or (self.shift is not None and self.shift.believable)

    def summary(self) -> str:
        """One line: how much there is, and what was found."""
        found = [f"{number} {KINDS[kind]}" for kind, number in self.counts.items()]
        if self.shift is not None and self.shift.believable:
            found.append(f"labels shifted by {self.shift.x:+.2f}, {self.shift.y:+.2f} px")
        what = f"{len(self.labels)} faces with {self.labels.num_landmarks} landmarks"
        return f"{what}: {'; '.join(found) or 'nothing odd was found'}"

    def to_dict(self) -> dict[str, Any]:
        """Converts to values for JSON."""
        shift = self.shift
        return {
            "labels": str(self.labels.path),
            "kind": self.labels.kind,
            "faces": len(self.labels),
            "num_landmarks": self.labels.num_landmarks,
            "counts": self.counts,
            "shift": None if shift is None else [shift.x, shift.y, shift.error],
            "findings": [f.to_dict() for kind in self.counts for f in self.findings[kind]],
        }


def inspect_labels(
    labels: LabelSet,
    aligner: Any = None,
    network: str = "the network",
    on_face: Callable[[], object] = lambda: None,
) -> Inspection:
    """Looks for odd labels. Each picture is read once, and few are in memory at a time.

    Args:
        labels: The labels.
        aligner: A `FaceAligner` whose landmarks the labels are compared with, if any.
        network: Name of its network.
        on_face: Called after each face.

    Returns:
        What was found.

    Raises:
        FaceAlignError: The network has other landmarks than the labels, or no picture can be used.

    Example:
        >>> labels = keras_facealign.data.load("labels.json")  # doctest: +SKIP
        >>> print(inspect_labels(labels).summary())  # doctest: +SKIP
    """
    inspection = Inspection(labels, network=network)
    compare = None
    if aligner is not None:
        scheme = aligner.model.scheme
        check_landmarks(scheme, labels.num_landmarks, network)
        compare = partial(predict_faces, aligner, scheme, labels)
    _look_at_shapes(inspection)
    hashes = PictureHashes()
    waiting: dict[int, np.ndarray] = {}
    usable = 0
    for index, image in _pictures(inspection, hashes):
        usable += 1
        on_face()
        if compare is not None:
            waiting[index] = image
            if len(waiting) == _BATCH:
                inspection.predictions |= compare(waiting)
                waiting.clear()
    if waiting and compare is not None:
        inspection.predictions |= compare(waiting)
    if not usable:
        raise FaceAlignError(
            f"{labels.path}: no picture of the {len(labels)} faces can be used; the first problem: "
            f"{inspection.findings['unusable'][0].text}"
        )
    _look_at_duplicates(inspection, hashes)
    _look_at_predictions(inspection)
    for error in labels.unusable:
        inspection.add(Finding("unusable", "", str(error)))
    for name, box in labels.empty_boxes:
        corners = ", ".join(f"{side:.0f}" for side in box)
        inspection.add(Finding("empty_box", name, f"box {corners}"))
    for name in labels.unlabeled:
        inspection.add(Finding("unlabeled", name, "has no labels"))
    for findings in inspection.findings.values():
        findings.sort(key=lambda finding: -finding.severity)
    return inspection


def point_name(labels: LabelSet, point: int) -> str:
    """A point's number, and its name if it has one."""
    return f"{point} ({labels.names[point]})" if labels.names else str(point)


def _look_at_shapes(inspection: Inspection) -> None:
    labels = inspection.labels
    landmarks = np.stack([face.landmarks for face in labels.faces])
    visibility = np.stack([face.visibility for face in labels.faces])
    model = inspection.model = fit_shapes(landmarks, visibility)
    if model is None:
        return
    inspection.partner = guess_permutation(model, labels.names)
    done = set()
    if inspection.partner is not None:
        for index in swapped_faces(landmarks, visibility, model, inspection.partner).tolist():
            done.add(index)
            text = "fits the other faces when left and right are exchanged"
            name = labels.faces[index].file_name
            inspection.add(Finding("swapped", name, text, index))
    face_scores, scores = model.face_scores, model.scores
    for index, face in enumerate(labels.faces):
        if index in done or np.isnan(face_scores[index]):
            continue
        if face_scores[index] > _FACE_SCORE:
            score = float(face_scores[index])
            text = f"its points are {score:.1f} times as far from the model as usual"
            inspection.add(Finding("odd", face.file_name, text, index, severity=score))
            continue
        with np.errstate(invalid="ignore"):
            off = (scores[index] > _POINT_SCORE) & (model.deviations[index] > _POINT_PERCENT)
        suspects = np.flatnonzero(off)
        pairs = exchanged_points(face.landmarks, model.expected[index], suspects)
        for a, b in pairs:
            text = f"points {point_name(labels, a)} and {point_name(labels, b)} change places"
            severity = float(model.deviations[index][[a, b]].max())
            inspection.add(Finding("exchanged", face.file_name, text, index, (a, b), severity))
        exchanged = {point for pair in pairs for point in pair}
        for point in suspects.tolist():
            if point in exchanged:
                continue
            percent = float(model.deviations[index, point])
            text = (
                f"point {point_name(labels, point)} is {percent:.1f} % of the face away, "
                f"{scores[index, point]:.0f} times its usual distance"
            )
            found = Finding("outlier", face.file_name, text, index, (point,), percent)
            inspection.add(found)


def _pictures(inspection: Inspection, hashes: PictureHashes) -> Iterator[tuple[int, np.ndarray]]:
    """Reads the pictures, each once; yields the faces that can be used."""
    labels = inspection.labels
    order = sorted(range(len(labels)), key=lambda index: str(labels.faces[index].image_path))
    path, image, problem = None, None, ""
    for index in order:
        face = labels.faces[index]
        if face.image_path != path:
            path, image, problem = face.image_path, None, ""
            try:
                image = read_image(path)
                hashes.add(face.file_name, path, image)
                if is_turned(path):
                    text = "is turned upright by its EXIF data; see whether the points fit"
                    inspection.add(Finding("turned", face.file_name, text, index))
            except FaceAlignError as error:
                problem = str(error)
        try:
            if image is None:
                raise FaceAlignError(problem)
            outside = points_outside(face, (image.shape[1], image.shape[0]))
            if outside.size:
                listed = ", ".join(point_name(labels, p) for p in outside[:5].tolist())
                more = f" and {outside.size - 5} more" if outside.size > 5 else ""
                text = f"points {listed}{more} lie outside"
                points = tuple(outside.tolist())
                found = Finding("outside", face.file_name, text, index, points, len(points))
                inspection.add(found)
            read_face(face, image)
        except FaceAlignError as error:
            inspection.add(Finding("unusable", face.file_name, str(error)))
            continue
        yield index, image


def _look_at_duplicates(inspection: Inspection, hashes: PictureHashes) -> None:
    first: dict[str, int] = {}
    for index, face in enumerate(inspection.labels.faces):
        first.setdefault(face.file_name, index)
    for names in hashes.exact():
        text = f"the same file as {', '.join(names[1:6])}"
        name, number = names[0], len(names)
        inspection.add(Finding("duplicate", name, text, first[name], severity=number))
    for one, other in hashes.near():
        inspection.add(Finding("near_duplicate", one, f"looks like {other}", first[one]))


def _look_at_predictions(inspection: Inspection) -> None:
    labels, predictions = inspection.labels, inspection.predictions
    errors = errors_of(labels, predictions)
    means = {i: float(np.nanmean(e)) for i, e in errors.items() if np.isfinite(e).any()}
    if not means:
        return
    inspection.shift = median_shift(labels, predictions)
    usual = float(np.median(list(means.values())))
    limit = max(_TIMES_ERROR * usual, _ERROR_PERCENT)
    worst = sorted((i for i in means if means[i] > limit), key=lambda i: -means[i])
    for index in worst[:_MOST_CONTRADICTED]:
        point = int(np.nanargmax(errors[index]))
        text = (
            f"labels and {inspection.network} differ by {means[index]:.1f} % of the face, where "
            f"{usual:.1f} % is usual; most at point {point_name(labels, point)}"
        )
        name = labels.faces[index].file_name
        inspection.add(Finding("contradicted", name, text, index, (point,), means[index]))
