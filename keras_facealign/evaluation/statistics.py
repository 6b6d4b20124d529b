"""Errors of a set of faces under every normalizer, and the numbers that publications print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.measures import auc, face_errors, failure_rate, landmark_errors
from keras_facealign.evaluation.normalizers import (
    check_normalizer,
    defined_normalizers,
    normalizing_lengths,
)
from keras_facealign.evaluation.occlusion import occlusion_detection, visibility_errors
from keras_facealign.landmarks import IBUG68, LandmarkScheme, is_scheme_name

THRESHOLDS: tuple[float, ...] = (8.0, 10.0)
"""Percent at which failure rate and AUC are reported where no protocol says otherwise."""

# What papers call a region, and the words in the names of a scheme's regions that belong to it.
_REGION_WORDS: dict[str, tuple[str, ...]] = {
    "jaw": ("jaw",),
    "brows": ("brow",),
    "nose": ("nose", "nostrils"),
    "eyes": ("eye", "pupil", "iris"),
    "mouth": ("lip",),
}


def region_groups(scheme: LandmarkScheme) -> dict[str, list[int]]:
    """The points of jaw, brows, nose, eyes and mouth, as far as the scheme has them.

    Those of a scheme of one's own are its regions, whatever their names.
    """
    if not is_scheme_name(scheme.name):
        return {name: list(points) for name, points in scheme.regions.items()}
    groups = {
        name: [
            point
            for region, points in scheme.regions.items()
            if any(word in region for word in words)
            for point in points
        ]
        for name, words in _REGION_WORDS.items()
    }
    return {name: points for name, points in groups.items() if points}


@dataclass(frozen=True, eq=False)
class ErrorStatistics:
    """Errors of a set of faces, and their means, rates and parts.

    `EvaluationReport` adds the forms in which people and programs read them.

    A normalizer can be undefined for a face (an eye corner is not labeled, as in a profile, or its
    landmarks coincide). Such a face has NaN there, and each mean is given with its number of faces.
    Faces that the detector missed have no prediction, so no NME: they are listed and, where some
    are missed, failure rate and AUC are also given with each of them counted as a failure.

    Args:
        prediction: (N, K, 2) pixels.
        ground_truth: (N, K, 2) pixels of the same frames.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        file_names: N names; "0", "1", ... if omitted.
        subsets: N names of the subset that each image belongs to; empty if omitted.
        missed: File names of labeled faces without a prediction.
        scheme: Scheme of the K landmarks.
        normalizer: The main normalizer, of thresholds and regions.
        info: What to keep with the numbers (model, data set, ...); values must fit JSON.
        confidence: (N, K), 0 to 1, if the model gives it.
        groups: Named parts of the set, bool (N,) each, that are reported separately as well.
        balanced: Names of groups whose means are averaged with equal weight, for example the bins
            of yaw of AFLW2000-3D.
        thresholds: Percent at which failure rate and AUC are given: numbers, of the main
            normalizer, or pairs of a normalizer and a number.
        divide_by: As of `keras_facealign.evaluation.nme`.

    Raises:
        FaceAlignError: If shapes or numbers of names do not fit, there is no face, or a coordinate
            that counts is not finite.
    """

    prediction: np.ndarray
    ground_truth: np.ndarray
    visibility: np.ndarray | None = None
    file_names: Sequence[str] = ()
    subsets: Sequence[str] = ()
    missed: Sequence[str] = ()
    scheme: LandmarkScheme = IBUG68
    normalizer: str = "inter_ocular"
    info: dict[str, Any] = field(default_factory=dict)
    confidence: np.ndarray | None = None
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    balanced: Sequence[str] = ()
    thresholds: Sequence[float | tuple[str, float]] = THRESHOLDS
    divide_by: Literal["labeled", "all"] = "labeled"

    def __post_init__(self) -> None:
        number, points = self.landmark_errors.shape
        if not number:
            raise FaceAlignError(
                f"There is no predicted face to evaluate ({len(self.missed)} were missed); check "
                "the data and the boxes."
            )
        for key in (self.normalizer, *(key for key, _ in self.rates)):
            check_normalizer(key, points, self.scheme)
        defaults = {"file_names": list(map(str, range(number))), "subsets": [""] * number}
        for name, default in defaults.items():
            names = list(getattr(self, name)) or default
            if len(names) != number:
                raise FaceAlignError(
                    f"{name} holds {len(names)} names for {number} faces; give one a face."
                )
            object.__setattr__(self, name, names)
        for name, members in self.groups.items():
            if np.shape(members) != (number,) or np.asarray(members).dtype != bool:
                raise FaceAlignError(f"The group {name!r} must be bool ({number},), one a face.")
        unknown = sorted(set(self.balanced) - set(self.groups))
        if unknown:
            raise FaceAlignError(f"There is no group {unknown[0]!r} to balance over.")

    @property
    def rates(self) -> list[tuple[str, float]]:
        """Normalizer and threshold of each failure rate and AUC."""
        return [
            (self.normalizer, float(entry)) if isinstance(entry, (int, float)) else entry
            for entry in self.thresholds
        ]

    @cached_property
    def landmark_errors(self) -> np.ndarray:
        """Euclidean errors (N, K) in pixels, NaN where a landmark is not labeled."""
        return landmark_errors(self.prediction, self.ground_truth, self.visibility)

    @cached_property
    def lengths(self) -> dict[str, np.ndarray]:
        """Normalizing lengths (N,) in pixels by normalizer, NaN where undefined."""
        measured = {
            key: normalizing_lengths(self.ground_truth, key, self.visibility, self.scheme)
            for key in defined_normalizers(self.landmark_errors.shape[1], self.scheme)
        }
        return {key: np.where(value > 0, value, np.nan) for key, value in measured.items()}

    @cached_property
    def nmes(self) -> dict[str, np.ndarray]:
        """NMEs (N,) in percent by normalizer, NaN where the normalizer is undefined."""
        errors = face_errors(self.landmark_errors, self.divide_by)
        return {key: 100 * errors / length for key, length in self.lengths.items()}

    @cached_property
    def normalized_errors(self) -> np.ndarray:
        """Errors (N, K) of single landmarks in percent of the main normalizer; NaN: undefined."""
        return 100 * self.landmark_errors / self.lengths[self.normalizer][:, None]

    @cached_property
    def region_errors(self) -> dict[str, np.ndarray]:
        """NMEs (N,) of the landmarks of each region, in percent of `normalizer`.

        NaN where no landmark of the region is labeled, or the normalizer is undefined.
        """
        length = self.lengths[self.normalizer]
        return {
            name: 100 * face_errors(self.landmark_errors[:, columns]) / length
            for name, columns in region_groups(self.scheme).items()
        }

    @cached_property
    def errors_by_landmark(self) -> np.ndarray:
        """Mean error (K,) of each landmark in percent of the main normalizer; NaN: no label."""
        return face_errors(self.normalized_errors.T)

    def summary(self) -> dict[str, Any]:
        """Returns all numbers as a dict that fits JSON; None stands for "no face to average"."""
        result: dict[str, Any] = {
            **self.info,
            "unit": "percent",
            "scheme": self.scheme.name,
            "normalizer": self.normalizer,
            "images": len(self.landmark_errors),
            "missed": len(self.missed),
            "missed_files": list(self.missed),
            "nme": {key: _moments(values) for key, values in self.nmes.items()},
            "rates": self._rates(slice(None), len(self.missed)),
            "regions": {key: _moments(values) for key, values in self.region_errors.items()},
            "landmarks": [None if np.isnan(e) else float(e) for e in self.errors_by_landmark],
        }
        if self.groups:
            result["groups"] = {
                name: {
                    "images": int(np.sum(members)),
                    "nme": {key: _moments(values[members]) for key, values in self.nmes.items()},
                    "rates": self._rates(members),
                }
                for name, members in self.groups.items()
            }
        if self.balanced:
            # Mean and standard deviation of the groups' means; None if a group has no face.
            groups = [result["groups"][name]["nme"][self.normalizer] for name in self.balanced]
            means = [group["mean"] for group in groups]
            known = None not in means
            result["balanced"] = {
                "groups": list(self.balanced),
                "mean": float(np.mean(means)) if known else None,
                "std": float(np.std(means)) if known else None,
            }
        if self.visibility is not None and (np.asarray(self.visibility) == 1).any():
            result["visibility"] = visibility_errors(self.normalized_errors, self.visibility)
            if self.confidence is not None:
                result["occlusion"] = occlusion_detection(self.visibility, self.confidence)
        return result

    def _rates(self, members: np.ndarray | slice, missed: int = 0) -> list[dict[str, Any]]:
        rows = []
        for key, threshold in self.rates:
            values = self.nmes[key][members]
            values = values[~np.isnan(values)]
            row = {"normalizer": key, "threshold": threshold, **_rate(values, threshold)}
            if missed:
                with_missed = np.append(values, [np.inf] * missed)
                row["missed_as_failures"] = _rate(with_missed, threshold)
            rows.append(row)
        return rows


def _moments(values: np.ndarray) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    known = bool(defined.size)
    return {
        "mean": float(np.mean(defined)) if known else None,
        "median": float(np.median(defined)) if known else None,
        "faces": int(defined.size),
    }


def _rate(nmes: np.ndarray, threshold: float) -> dict[str, Any]:
    known = bool(nmes.size)
    return {
        "failure_rate": failure_rate(nmes, threshold) if known else None,
        "auc": auc(nmes, threshold) if known else None,
        "faces": int(nmes.size),
    }
