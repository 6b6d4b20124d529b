"""One report from predictions and ground truth: every usual number, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.measures import auc, failure_rate, landmark_errors
from keras_facealign.evaluation.normalizers import (
    NORMALIZERS,
    check_normalizer,
    normalizing_lengths,
)
from keras_facealign.landmarks import IBUG68, LandmarkScheme

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["THRESHOLDS", "EvaluationReport", "write_whole"]

THRESHOLDS: tuple[float, ...] = (8.0, 10.0)
"""Percent of the inter-ocular distance at which failure rate and AUC are reported."""

# What papers call a region is at times two or three of the scheme's.
_REGION_GROUPS: dict[str, tuple[str, ...]] = {
    "jaw": ("jaw",),
    "brows": ("right_brow", "left_brow"),
    "nose": ("nose_bridge", "nostrils"),
    "eyes": ("right_eye", "left_eye"),
    "mouth": ("outer_lip", "inner_lip"),
}


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """Errors of a set of faces under every normaliser, with the sums that publications print.

    A normaliser can be undefined for a face (an eye corner is not labelled, as in a profile, or its
    landmarks coincide). Such a face has NaN there, and each mean tells over how many faces it runs.
    Failure rate, AUC and regions use `normalizer`. Faces that the detector missed have no
    prediction, so no NME: they are listed and, where some are missed, failure rate and AUC are also
    given with each of them counted as a failure.

    Args:
        prediction: (N, K, 2) pixels.
        ground_truth: (N, K, 2) pixels of the same frames.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        file_names: N names; "0", "1", ... if omitted.
        subsets: N names of the subset that each image belongs to; empty if omitted.
        missed: File names of labelled faces without a prediction.
        scheme: What the K landmarks are.
        normalizer: The normaliser of thresholds and regions.
        info: What to keep beside the numbers (model, data set, ...); values must fit JSON.

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

    def __post_init__(self) -> None:
        number, points = self.landmark_errors.shape
        if not number:
            raise FaceAlignError(
                f"There is no predicted face to evaluate ({len(self.missed)} were missed); check "
                "the data and the boxes."
            )
        if points != self.scheme.num_landmarks:
            raise FaceAlignError(
                f"The landmarks are {points} a face, but the scheme {self.scheme.name!r} has "
                f"{self.scheme.num_landmarks}; pass the scheme that they follow."
            )
        check_normalizer(self.normalizer, points)
        for what in ("file_names", "subsets"):
            names = list(getattr(self, what))
            if names and len(names) != number:
                raise FaceAlignError(
                    f"{what} holds {len(names)} names for {number} faces; give one a face."
                )
        if not self.file_names:
            object.__setattr__(self, "file_names", [str(index) for index in range(number)])
        if not self.subsets:
            object.__setattr__(self, "subsets", [""] * number)

    @cached_property
    def landmark_errors(self) -> np.ndarray:
        """Euclidean errors (N, K) in pixels, NaN where a landmark is not labelled."""
        return landmark_errors(self.prediction, self.ground_truth, self.visibility)

    @cached_property
    def lengths(self) -> dict[str, np.ndarray]:
        """Normalising lengths (N,) in pixels by normaliser, NaN where undefined."""
        points = self.landmark_errors.shape[1]
        keys = NORMALIZERS if points == 68 else ("box_size", "box_diagonal")
        measured = {
            key: normalizing_lengths(self.ground_truth, key, self.visibility) for key in keys
        }
        return {key: np.where(value > 0, value, np.nan) for key, value in measured.items()}

    @cached_property
    def nmes(self) -> dict[str, np.ndarray]:
        """NMEs (N,) in percent by normaliser, NaN where the normaliser is undefined."""
        errors = _mean_of_labelled(self.landmark_errors)
        return {key: 100 * errors / length for key, length in self.lengths.items()}

    @cached_property
    def region_errors(self) -> dict[str, np.ndarray]:
        """NMEs (N,) of the landmarks of each region, in percent of `normalizer`.

        NaN where no landmark of the region is labelled, or the normaliser is undefined.
        """
        regions: dict[str, np.ndarray] = {}
        for name, members in _REGION_GROUPS.items():
            columns = [i for member in members for i in self.scheme.regions.get(member, ())]
            if columns:
                errors = _mean_of_labelled(self.landmark_errors[:, columns])
                regions[name] = 100 * errors / self.lengths[self.normalizer]
        return regions

    def summary(self) -> dict[str, Any]:
        """Returns all numbers as a dict that fits JSON; None stands for "no face to average"."""
        missed = list(self.missed)
        main = self.nmes[self.normalizer]
        main = main[~np.isnan(main)]
        thresholds: list[dict[str, Any]] = []
        for threshold in THRESHOLDS:
            row: dict[str, Any] = {"threshold": threshold, **_rates(main, threshold)}
            if missed:
                with_missed = np.concatenate([main, np.full(len(missed), np.inf)])
                row["missed_as_failures"] = _rates(with_missed, threshold)
            thresholds.append(row)
        return {
            **self.info,
            "unit": "percent",
            "images": len(self.landmark_errors),
            "missed": len(missed),
            "missed_files": missed,
            "nme": {key: _moments(values) for key, values in self.nmes.items()},
            "thresholds": {"normalizer": self.normalizer, "values": thresholds},
            "regions": {
                "normalizer": self.normalizer,
                **{key: _moments(values) for key, values in self.region_errors.items()},
            },
        }

    def to_table(self, title: str = "Evaluation") -> Table:
        """Returns the numbers as a Rich table for a terminal."""
        from rich.table import Table
        from rich.text import Text

        summary = self.summary()
        caption = f"All values in percent, over {summary['images']} faces."
        if self.missed:
            caption += f" {len(self.missed)} missed faces have no prediction, so no NME."
        table = Table(title=Text(title), caption=caption)
        for heading in ("measure", "mean", "median", "faces"):
            table.add_column(heading, justify="left" if heading == "measure" else "right")
        for key, values in summary["nme"].items():
            table.add_row(f"NME {key}", *_cells(values))
        table.add_section()
        for key in self.region_errors:
            table.add_row(f"{key} ({self.normalizer})", *_cells(summary["regions"][key]))
        table.add_section()
        for row in summary["thresholds"]["values"]:
            self._add_rates(table, row, row["threshold"], "")
        for row in summary["thresholds"]["values"]:
            if self.missed:
                rates = row["missed_as_failures"]
                self._add_rates(table, rates, row["threshold"], ", missed = failed")
        return table

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Writes `summary()` as a JSON file and returns its path."""
        text = json.dumps(self.summary(), indent=2, allow_nan=False) + "\n"
        return write_whole(path, lambda file: file.write(text.encode()))

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes a CSV file with a row a face, missed ones last, and returns its path.

        Columns: file name, subset, status (`ok` or `missed`), number of labelled landmarks, the NME
        under each normaliser and the error of each region, in percent. Undefined values are empty.
        """
        columns = {
            **{f"nme_{key}": values for key, values in self.nmes.items()},
            **{f"{key}_{self.normalizer}": values for key, values in self.region_errors.items()},
        }
        labelled = np.sum(~np.isnan(self.landmark_errors), axis=1)

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file_name", "subset", "status", "labelled", *columns])
        for i, (name, subset) in enumerate(zip(self.file_names, self.subsets, strict=True)):
            numbers = [values[i] for values in columns.values()]
            cells = ["" if np.isnan(number) else f"{number:.6f}" for number in numbers]
            writer.writerow([name, subset, "ok", labelled[i], *cells])
        for name in self.missed:
            writer.writerow([name, "", "missed", *[""] * (1 + len(columns))])
        return write_whole(path, lambda file: file.write(text.getvalue().encode()))

    def _add_rates(self, table: Table, rates: dict[str, Any], threshold: float, note: str) -> None:
        for key, name in (("failure_rate", "FR"), ("auc", "AUC")):
            label = f"{name} @ {threshold:g} % {self.normalizer}{note}"
            table.add_row(label, _cell(rates[key]), "", str(rates["faces"]))


def write_whole(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> Path:
    """Writes a file all or not at all, so that a crash leaves no half file over an earlier one.

    Args:
        path: The file; its folder must exist.
        write: Called with the binary file to write to.

    Returns:
        The path.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.part")
    try:
        with open(draft, "wb") as file:
            write(file)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _mean_of_labelled(errors: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN; NaN (and no warning) where all are."""
    number = np.sum(~np.isnan(errors), axis=-1)
    return np.where(number > 0, np.nansum(errors, axis=-1) / np.maximum(number, 1), np.nan)


def _moments(values: np.ndarray) -> dict[str, Any]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return {"mean": None, "median": None, "faces": 0}
    return {
        "mean": float(np.mean(defined)),
        "median": float(np.median(defined)),
        "faces": int(defined.size),
    }


def _rates(nmes: np.ndarray, threshold: float) -> dict[str, Any]:
    if not nmes.size:
        return {"failure_rate": None, "auc": None, "faces": 0}
    return {
        "failure_rate": failure_rate(nmes, threshold),
        "auc": auc(nmes, threshold),
        "faces": int(nmes.size),
    }


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cells(values: dict[str, Any]) -> tuple[str, str, str]:
    return _cell(values["mean"]), _cell(values["median"]), str(values["faces"])
