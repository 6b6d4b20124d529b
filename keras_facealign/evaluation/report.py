"""One report from predictions and ground truth: every usual number, for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.measures import auc, face_errors, failure_rate, landmark_errors
from keras_facealign.evaluation.normalizers import (
    check_normalizer,
    defined_normalizers,
    normalizing_lengths,
)
from keras_facealign.evaluation.occlusion import occlusion_detection, visibility_errors
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import atomic_write

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["THRESHOLDS", "EvaluationReport", "region_groups"]

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
    """The points of jaw, brows, nose, eyes and mouth, as far as the scheme has them."""
    groups: dict[str, list[int]] = {}
    for name, words in _REGION_WORDS.items():
        members = [key for key in scheme.regions if any(word in key for word in words)]
        points = [i for member in members for i in scheme.regions[member]]
        if points:
            groups[name] = points
    return groups


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """Errors of a set of faces under every normalizer, with the sums that publications print.

    A normalizer can be undefined for a face (an eye corner is not labeled, as in a profile, or its
    landmarks coincide). Such a face has NaN there, and each mean tells over how many faces it runs.
    Faces that the detector missed have no prediction, so no NME: they are listed and, where some
    are missed, failure rate and AUC are also given with each of them counted as a failure.

    Args:
        prediction: (N, K, 2) pixels.
        ground_truth: (N, K, 2) pixels of the same frames.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        file_names: N names; "0", "1", ... if omitted.
        subsets: N names of the subset that each image belongs to; empty if omitted.
        missed: File names of labeled faces without a prediction.
        scheme: What the K landmarks are.
        normalizer: The main normalizer, of thresholds and regions.
        info: What to keep beside the numbers (model, data set, ...); values must fit JSON.
        confidence: (N, K), 0 to 1, if the model gives it.
        groups: Named parts of the set, bool (N,) each, that are reported apart as well.
        balanced: Names of groups whose means are averaged with equal weight, for example the bins
            of yaw of AFLW2000-3D.
        thresholds: Percent at which failure rate and AUC are given: numbers, of the main
            normalizer, or pairs of a normalizer and a number.
        divide_by: As of `keras_facealign.evaluation.nme`.

    Raises:
        FaceAlignError: If shapes or numbers of names do not fit, there is no face, or a coordinate
            that counts is not finite.

    Example:
        >>> import numpy as np
        >>> truth = np.random.default_rng(0).uniform(0, 100, (4, 68, 2))
        >>> report = EvaluationReport(truth + [3, 4], truth, file_names=list("abcd"))
        >>> report.summary()["images"]
        4
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
        for what in ("file_names", "subsets"):
            names = list(getattr(self, what))
            if names and len(names) != number:
                raise FaceAlignError(
                    f"{what} holds {len(names)} names for {number} faces; give one a face."
                )
        for name, members in self.groups.items():
            if np.shape(members) != (number,) or np.asarray(members).dtype != bool:
                raise FaceAlignError(f"The group {name!r} must be bool ({number},), one a face.")
        unknown = sorted(set(self.balanced) - set(self.groups))
        if unknown:
            raise FaceAlignError(f"There is no group {unknown[0]!r} to balance over.")
        if not self.file_names:
            object.__setattr__(self, "file_names", [str(index) for index in range(number)])
        if not self.subsets:
            object.__setattr__(self, "subsets", [""] * number)

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
        missed = list(self.missed)
        everyone = np.ones(len(self.landmark_errors), bool)
        result: dict[str, Any] = {
            **self.info,
            "unit": "percent",
            "scheme": self.scheme.name,
            "normalizer": self.normalizer,
            "images": len(self.landmark_errors),
            "missed": len(missed),
            "missed_files": missed,
            "nme": {key: _moments(values) for key, values in self.nmes.items()},
            "rates": self._rates(everyone, len(missed)),
            "regions": {key: _moments(values) for key, values in self.region_errors.items()},
            "landmarks": [None if np.isnan(e) else float(e) for e in self.errors_by_landmark],
        }
        if self.groups:
            result["groups"] = {name: self._group(name) for name in self.groups}
        if self.balanced:
            result["balanced"] = self._balance()
        if self.visibility is not None and (np.asarray(self.visibility) == 1).any():
            result["visibility"] = visibility_errors(self.normalized_errors, self.visibility)
            if self.confidence is not None:
                result["occlusion"] = occlusion_detection(self.visibility, self.confidence)
        return result

    def to_table(self, title: str = "Evaluation") -> Table:
        """Returns the numbers as a Rich table for a terminal."""
        from keras_facealign.evaluation.tables import make_table

        return make_table(self.summary(), title)

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Writes `summary()` as a JSON file and returns its path."""
        text = json.dumps(self.summary(), indent=2, allow_nan=False) + "\n"
        return atomic_write(path, lambda file: file.write(text.encode()))

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes a CSV file with a row a face, missed ones last, and returns its path.

        Columns: file name, subset, status (`ok` or `missed`), number of labeled landmarks, the NME
        under each normalizer and the error of each region, in percent. Undefined values are empty.
        """
        from keras_facealign.evaluation.tables import make_csv

        return atomic_write(path, lambda file: file.write(make_csv(self).encode()))

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Writes a page that opens in any browser without a network, and returns its path.

        Args:
            path: The file.
            **options: As of `keras_facealign.evaluation.page.make_page`.
        """
        text = self.to_html_text(**options)
        return atomic_write(path, lambda file: file.write(text.encode()))

    def to_html_text(self, **options: Any) -> str:
        """Returns the page that `to_html` writes."""
        from keras_facealign.evaluation.page import make_page

        return make_page(self, **options)

    def _group(self, name: str) -> dict[str, Any]:
        members = np.asarray(self.groups[name])
        return {
            "images": int(members.sum()),
            "nme": {key: _moments(values[members]) for key, values in self.nmes.items()},
            "rates": self._rates(members, 0),
        }

    def _rates(self, members: np.ndarray, missed: int) -> list[dict[str, Any]]:
        rows = []
        for key, threshold in self.rates:
            values = self.nmes[key][members]
            values = values[~np.isnan(values)]
            row = {"normalizer": key, "threshold": threshold, **_rate(values, threshold)}
            if missed:
                with_missed = np.concatenate([values, np.full(missed, np.inf)])
                row["missed_as_failures"] = _rate(with_missed, threshold)
            rows.append(row)
        return rows

    def _balance(self) -> dict[str, Any]:
        """Mean and standard deviation of the groups' means; None if one has no face."""
        values = [self._group(name)["nme"][self.normalizer]["mean"] for name in self.balanced]
        if None in values:
            return {"groups": list(self.balanced), "mean": None, "std": None}
        return {
            "groups": list(self.balanced),
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
        }


def _moments(values: np.ndarray) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return {"mean": None, "median": None, "faces": 0}
    return {
        "mean": float(np.mean(defined)),
        "median": float(np.median(defined)),
        "faces": int(defined.size),
    }


def _rate(nmes: np.ndarray, threshold: float) -> dict[str, Any]:
    if not nmes.size:
        return {"failure_rate": None, "auc": None, "faces": 0}
    return {
        "failure_rate": failure_rate(nmes, threshold),
        "auc": auc(nmes, threshold),
        "faces": int(nmes.size),
    }
