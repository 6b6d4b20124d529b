"""Measures how good a calibration is on faces that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.calibration.fitting import Observations
from keras_facealign.calibration.formula import Calibration
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.table import Table

_PARTS = 10
HIDDEN = {"behind something": 1, "by the head": 0}
"""Ways in which a landmark can be hidden, and the visibility that labels give it then."""


def auroc(hidden: np.ndarray, visible: np.ndarray) -> float:
    """Computes the area under the ROC curve: how often visible landmarks score higher than hidden.

    Args:
        hidden: float (N,), scores.
        visible: float (M,), scores; ties count half.

    Returns:
        0 to 1; NaN if one of the two is empty.

    Example:
        >>> auroc(np.array([0.1, 0.6]), np.array([0.5, 0.9]))
        0.75
    """
    if not len(hidden) or not len(visible):
        return float("nan")
    order = np.sort(visible)
    above = len(order) - np.searchsorted(order, hidden, side="right")
    ties = len(order) - np.searchsorted(order, hidden, side="left") - above
    return float((above.sum() + 0.5 * ties.sum()) / (len(hidden) * len(visible)))


@dataclass(frozen=True, eq=False)
class Quality:
    """Measurements of a calibration. Lengths are pixels of the network's input.

    Attributes:
        deciles: (10, 2): root mean square distance expected and observed, of the landmarks in the
            order of their standard deviation, the surest tenth first.
        kept_errors: (2, S): share of the landmarks kept, the surest first, and their mean distance.
        aurocs: By kind of hiding: `all`, over all pairs of a visible and a hidden landmark, and
            `same_landmark`, over the pairs that are the same landmark of two faces, for which it
            does not help to know which landmarks are often hidden; and the number of `landmarks`.
        rates: By kind: (2, T), share of the visible classified as hidden and share of the hidden
            found. Neither has anything of a calibration without visibility.
        summary: Single numbers by name.
    """

    deciles: np.ndarray
    kept_errors: np.ndarray
    aurocs: dict[str, dict[str, float]]
    rates: dict[str, np.ndarray]
    summary: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Returns all numbers for JSON; None where something could not be measured."""
        aurocs = {
            kind: {name: None if np.isnan(v) else v for name, v in values.items()}
            for kind, values in self.aurocs.items()
        }
        tenths = [{"expected": float(a), "observed": float(b)} for a, b in self.deciles]
        return {**self.summary, "auroc": aurocs, "tenths": tenths}

    def to_tables(self, title: str = "") -> list[Table]:
        """Returns the numbers as tables for the terminal."""
        from rich.table import Table

        errors = Table(title=title, title_justify="left")
        for name in ("Landmarks, surest first", "Expected px", "Observed px", "Ratio"):
            errors.add_column(name, justify="right")
        for i, (expected, observed) in enumerate(self.deciles):
            numbers = (f"{value:.2f}" for value in (expected, observed, observed / expected))
            errors.add_row(f"{10 * i} to {10 * i + 10} %", *numbers)
        rows = []
        for kind, values in self.aurocs.items():
            if values["landmarks"]:
                name = f"AUROC, hidden {kind} ({values['landmarks']:.0f} landmarks)"
                rows.append((name, f"{values['all']:.3f}"))
                rows.append(
                    ("  the same landmark of other faces", f"{values['same_landmark']:.3f}")
                )
        for name, key in (
            ("Mean error, px", "mean_error"),
            ("  without the least certain tenth", "mean_error_without_tenth"),
            ("  before labels were moved", "mean_error_before_registration"),
        ):
            rows.append((name, f"{self.summary[key]:.3f}"))
        counts = ", ".join(f"{self.summary[key]:.0f}" for key in ("faces", "views", "left_out"))
        rest = Table(show_header=False)
        rest.add_column()
        rest.add_column(justify="right")
        for row in (*rows, ("Faces, views, left out", counts)):
            rest.add_row(*row)
        return [errors, rest]


def measure(calibration: Calibration, seen: Observations) -> Quality:
    """Compares a calibration's outputs with labels.

    Args:
        calibration: The calibration.
        seen: Faces that neither it nor the network was fitted to.

    Returns:
        The numbers.

    Raises:
        FaceAlignError: If too few landmarks have an error.
    """
    known = np.isfinite(seen.errors)
    if known.sum() < _PARTS:
        raise FaceAlignError(
            f"Only {int(known.sum())} landmarks have an error to compare with; give more faces."
        )
    sigma = calibration.sigma(seen.spread)
    order = np.argsort(sigma[known], kind="stable")
    expected = np.sqrt(2.0) * sigma[known][order]
    observed = seen.errors[known][order].astype(np.float64)
    deciles = [
        [float(np.sqrt(np.mean(np.square(part)))) for part in np.array_split(values, _PARTS)]
        for values in (expected, observed)
    ]
    means = np.cumsum(observed) / np.arange(1, len(observed) + 1)
    shares = np.linspace(0.5, 1.0, 51)
    kept = np.ceil(shares * len(observed)).astype(int) - 1
    aurocs: dict[str, dict[str, float]] = {}
    rates: dict[str, np.ndarray] = {}
    log_loss: dict[str, float] = {}
    if calibration.has_visibility:
        visibility = calibration.visibility(seen.spread, seen.confidence, seen.yaw_asymmetry)
        aurocs, rates = _rank_visibility(visibility, seen.visibility)
        told = seen.visibility >= 0
        right = np.where(seen.visibility == 2, visibility, 1.0 - visibility)[told]
        if told.any():
            log_loss["visibility_log_loss"] = float(-np.mean(np.log(np.maximum(right, 1e-6))))
    summary = {
        "mean_error": float(observed.mean()),
        "mean_error_without_tenth": float(means[kept[np.searchsorted(shares, 0.9 - 1e-9)]]),
        "mean_error_before_registration": float(seen.unregistered[known].mean()),
        "expected_over_observed": float(
            np.sqrt(np.mean(np.square(expected)) / np.mean(np.square(observed)))
        ),
        **log_loss,
        "faces": seen.faces,
        "views": len(seen.spread),
        "left_out": seen.left_out,
    }
    return Quality(np.transpose(deciles), np.stack([shares, means[kept]]), aurocs, rates, summary)


def _rank_visibility(
    visibility: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Returns `aurocs` and `rates` of a `Quality`."""
    visible = labels == 2
    aurocs, rates = {}, {}
    for kind, mark in HIDDEN.items():
        hidden = labels == mark
        aurocs[kind] = {
            "all": auroc(visibility[hidden], visibility[visible]),
            "same_landmark": _same_landmark(visibility, hidden, visible),
            "landmarks": float(hidden.sum()),
        }
        if hidden.any() and visible.any():
            limits = np.quantile(visibility[hidden | visible], np.linspace(0, 1, 201))
            scores = (np.sort(visibility[these]) for these in (visible, hidden))
            shares_below = [np.searchsorted(s, limits, side="right") / len(s) for s in scores]
            rates[kind] = np.stack(shares_below)
    return aurocs, rates


def _same_landmark(scores: np.ndarray, hidden: np.ndarray, visible: np.ndarray) -> float:
    """Computes the AUROC over pairs of a visible and a hidden landmark of the same number."""
    total, pairs = 0.0, 0
    for k in range(scores.shape[1]):
        number = int(hidden[:, k].sum()) * int(visible[:, k].sum())
        if number:
            total += number * auroc(scores[hidden[:, k], k], scores[visible[:, k], k])
            pairs += number
    return total / pairs if pairs else float("nan")
