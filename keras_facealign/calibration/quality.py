"""How good a calibration is on faces that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.calibration.fitting import Observations
from keras_facealign.calibration.formula import Calibration
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Quality", "auroc", "measure"]

_TENTHS = 10
HIDDEN = {"behind something": 1, "by the head": 0}
"""How a landmark can be hidden, and the visibility that labels give it then."""


def auroc(hidden: np.ndarray, visible: np.ndarray) -> float:
    """Area under the ROC curve: how often a visible landmark scores higher than a hidden one.

    Args:
        hidden: float (N,), scores.
        visible: float (M,), scores; ties count half.

    Returns:
        0 to 1; NaN if one of both is empty.

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
    """What `measure` found. Lengths are pixels of the network's input.

    Attributes:
        tenths: (10, 2): root mean square distance expected and observed, of the landmarks in the
            order of their standard deviation, the surest tenth first.
        kept_errors: (2, S): share of the landmarks kept, the surest first, and their mean distance.
        aurocs: By kind of hiding: `all`, over all pairs of a visible and a hidden landmark, and
            `same_landmark`, over the pairs that are the same landmark of two faces, which knowing
            what landmarks are often hidden does not help; and the number of `landmarks`.
        rates: By kind: (2, T), share of the visible taken for hidden and share of the hidden found.
        summary: Single numbers by name.
    """

    tenths: np.ndarray
    kept_errors: np.ndarray
    aurocs: dict[str, dict[str, float]]
    rates: dict[str, np.ndarray]
    summary: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON; None where something could not be measured."""
        aurocs = {
            kind: {name: None if np.isnan(v) else v for name, v in values.items()}
            for kind, values in self.aurocs.items()
        }
        tenths = [{"expected": float(a), "observed": float(b)} for a, b in self.tenths]
        return {**self.summary, "auroc": aurocs, "tenths": tenths}

    def to_tables(self, title: str = "") -> list[Table]:
        """The numbers as tables for the terminal."""
        from rich.table import Table

        errors = Table(title=title, title_justify="left")
        for name in ("Landmarks, surest first", "Expected px", "Observed px", "Ratio"):
            errors.add_column(name, justify="right")
        for i, (expected, observed) in enumerate(self.tenths):
            share = f"{10 * i} to {10 * i + 10} %"
            errors.add_row(
                share, f"{expected:.2f}", f"{observed:.2f}", f"{observed / expected:.2f}"
            )
        rest = Table(show_header=False)
        rest.add_column()
        rest.add_column(justify="right")
        for kind, values in self.aurocs.items():
            if values["landmarks"]:
                rest.add_row(
                    f"AUROC, hidden {kind} ({values['landmarks']:.0f} landmarks)",
                    f"{values['all']:.3f}",
                )
                rest.add_row("  the same landmark of other faces", f"{values['same_landmark']:.3f}")
        s = self.summary
        rest.add_row("Mean error, px", f"{s['mean_error']:.3f}")
        rest.add_row("  without the least certain tenth", f"{s['mean_error_without_tenth']:.3f}")
        rest.add_row("  before labels were moved", f"{s['mean_error_before_registration']:.3f}")
        rest.add_row(
            "Faces, views, left out", "{faces:.0f}, {views:.0f}, {left_out:.0f}".format(**s)
        )
        return [errors, rest]


def measure(calibration: Calibration, seen: Observations) -> Quality:
    """Compares what a calibration says with labels.

    Args:
        calibration: What to judge.
        seen: Faces that neither it nor the network was fitted to.

    Returns:
        The numbers.

    Raises:
        FaceAlignError: If too few landmarks have an error.
    """
    known = np.isfinite(seen.errors)
    if known.sum() < _TENTHS:
        raise FaceAlignError(f"Only {int(known.sum())} landmarks have an error to compare with.")
    sigma = calibration.sigma(seen.spread)
    visibility = calibration.visibility(seen.spread, seen.confidence, seen.turn)
    order = np.argsort(sigma[known], kind="stable")
    expected = np.sqrt(2.0) * sigma[known][order]
    observed = seen.errors[known][order].astype(np.float64)
    tenths = [
        [np.sqrt(np.mean(np.square(part))) for part in pair]
        for pair in zip(
            np.array_split(expected, _TENTHS), np.array_split(observed, _TENTHS), strict=True
        )
    ]
    means = np.cumsum(observed) / np.arange(1, len(observed) + 1)
    shares = np.linspace(0.5, 1.0, 51)
    kept = np.ceil(shares * len(observed)).astype(int) - 1
    visible = seen.visibility == 2
    aurocs, rates = {}, {}
    for kind, mark in HIDDEN.items():
        hidden = seen.visibility == mark
        aurocs[kind] = {
            "all": auroc(visibility[hidden], visibility[visible]),
            "same_landmark": _same_landmark(visibility, hidden, visible),
            "landmarks": float(hidden.sum()),
        }
        if hidden.any() and visible.any():
            limits = np.quantile(visibility[hidden | visible], np.linspace(0, 1, 201))
            rates[kind] = np.stack(
                [
                    np.searchsorted(np.sort(visibility[these]), limits, side="right") / these.sum()
                    for these in (visible, hidden)
                ]
            )
    right = np.where(visible, visibility, 1.0 - visibility)
    summary = {
        "mean_error": float(observed.mean()),
        "mean_error_without_tenth": float(means[kept[np.searchsorted(shares, 0.9 - 1e-9)]]),
        "mean_error_before_registration": float(seen.unregistered[known].mean()),
        "expected_over_observed": float(
            np.sqrt(np.mean(np.square(expected)) / np.mean(np.square(observed)))
        ),
        "visibility_log_loss": float(-np.mean(np.log(np.maximum(right, 1e-6)))),
        "faces": seen.faces,
        "views": len(seen.spread),
        "left_out": seen.left_out,
    }
    return Quality(np.array(tenths), np.stack([shares, means[kept]]), aurocs, rates, summary)


def _same_landmark(scores: np.ndarray, hidden: np.ndarray, visible: np.ndarray) -> float:
    """AUROC over the pairs of a visible and a hidden landmark that have one number."""
    total, pairs = 0.0, 0
    for k in range(scores.shape[1]):
        number = int(hidden[:, k].sum()) * int(visible[:, k].sum())
        if number:
            total += number * auroc(scores[hidden[:, k], k], scores[visible[:, k], k])
            pairs += number
    return total / pairs if pairs else float("nan")
