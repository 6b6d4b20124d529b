"""The report of an evaluation: its numbers as a table, as JSON and CSV files, and as a page."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.evaluation.statistics import ErrorStatistics
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.file_names import escape_cell

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, eq=False)
class EvaluationReport(ErrorStatistics):
    """Errors of a set of faces under every normalizer, for people and for programs.

    Arguments, errors and computed values are those of
    `keras_facealign.evaluation.statistics.ErrorStatistics`: `prediction` and `ground_truth`
    (N, K, 2) in pixels, `visibility` and `confidence` (N, K), names, `scheme`, `normalizer`, ...

    Example:
        >>> import numpy as np
        >>> truth = np.random.default_rng(0).uniform(0, 100, (4, 68, 2))
        >>> report = EvaluationReport(truth + [3, 4], truth, file_names=list("abcd"))
        >>> report.summary()["images"]
        4
    """

    def to_table(self, title: str = "Evaluation") -> Table:
        """Returns the numbers as a Rich table for a terminal."""
        from keras_facealign.evaluation.tables import make_table

        return make_table(self.summary(), title)

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Writes `summary()` as a JSON file and returns its path."""
        return _write(path, json.dumps(self.summary(), indent=2, allow_nan=False) + "\n")

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Writes a CSV file with a row a face, missed ones last, and returns its path.

        Columns: file name, subset, status (`ok` or `missed`), number of labeled landmarks, the NME
        under each normalizer and the error of each region, in percent. Undefined values are empty.
        """
        columns = {
            **{f"nme_{key}": values for key, values in self.nmes.items()},
            **{f"{key}_{self.normalizer}": values for key, values in self.region_errors.items()},
        }
        labeled = np.sum(~np.isnan(self.landmark_errors), axis=1)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file_name", "subset", "status", "labeled", *columns])
        rows = zip(self.file_names, self.subsets, labeled, *columns.values(), strict=True)
        for name, subset, count, *values in rows:
            cells = ["" if np.isnan(value) else f"{value:.6f}" for value in values]
            writer.writerow([escape_cell(name), escape_cell(subset), "ok", count, *cells])
        for name in self.missed:
            writer.writerow([escape_cell(name), "", "missed", "", *[""] * len(columns)])
        return _write(path, text.getvalue())

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Writes a page that opens in any browser without a network, and returns its path.

        Args:
            path: The file.
            **options: As of `keras_facealign.evaluation.page.make_page`.
        """
        return _write(path, self.to_html_text(**options))

    def to_html_text(self, **options: Any) -> str:
        """Returns the page that `to_html` writes."""
        from keras_facealign.evaluation.page import make_page

        return make_page(self, **options)


def _write(path: str | os.PathLike[str], text: str) -> Path:
    # Names of files that are not UTF-8 show their bytes as \udc80 to \udcff.
    content = text.encode("utf-8", "backslashreplace")
    return atomic_write(path, lambda file: file.write(content))
