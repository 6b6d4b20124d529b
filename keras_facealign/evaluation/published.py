"""Published results to compare with one's own, with their sources; `published.csv` holds them.

Only results under the same protocol and the same normalizer may be compared; each entry names both.
"Recomputed" are from predictions that the authors published, measured by this library.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PublishedResult:
    """One published number.

    Attributes:
        protocols: Names of the protocols that it holds for.
        method: The method and its year.
        measure: `"nme"`, `"auc"`, or `"success"`: the share of images at or below the threshold.
        normalizer: What errors were divided by; see `keras_facealign.evaluation.NORMALIZERS`.
        value: Percent.
        source: Where it is printed.
        threshold: Percent, of AUC and success.
    """

    protocols: tuple[str, ...]
    method: str
    measure: str
    normalizer: str
    value: float
    source: str
    threshold: float | None = None


def _read() -> tuple[PublishedResult, ...]:
    with Path(__file__).with_name("published.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            PublishedResult(
                (row["protocol"],),
                row["method"],
                row["measure"],
                row["normalizer"],
                float(row["value"]),
                row["source"],
                float(row["threshold"]) if row["threshold"] else None,
            )
            for row in csv.DictReader(file)
        )


PUBLISHED = _read()
"""All published results."""


def published_for(protocol: str | None) -> list[PublishedResult]:
    """Returns the published results under a protocol; none for no protocol.

    Example:
        >>> published_for("aflw2000_3d")[0].value
        3.07
    """
    return [entry for entry in PUBLISHED if protocol in entry.protocols]
