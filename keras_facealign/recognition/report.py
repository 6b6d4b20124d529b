"""The result of a verification protocol as numbers, files, curves and pictures."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.page import PAGE, html_table
from keras_facealign.evaluation.plots import CURVES, new_figure, save_png, to_svg
from keras_facealign.recognition.measures import (
    cross_validate,
    equal_error_rate,
    roc,
    roc_auc,
    tar_at_far,
)
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.file_names import escape_cell, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

FAR_LIMIT = 1e-3

HEADINGS = ("normalization", "accuracy, %", "\u00b1", "AUC, %", "EER, %", "TAR @ FAR 0.1 %")
"""Headings of the columns of `VerificationReport.rows`."""

WORST = 8
"""Pairs in a picture of the worst."""


@dataclass(frozen=True, eq=False)
class VerificationReport:
    """Scores of pairs of faces under one or several normalizations, and what follows from them.

    Args:
        title: Heading.
        scores: By mode, float (N,), higher for more similar faces.
        pairs: (N,) pairs of pictures' names.
        same: bool (N,), whether a pair is one person.
        folds: int (N,).
        persons: (N,) pairs of persons. Default: unknown.
        excluded: A line for each pair that is left out.
        notes: For pictures that were not normalized as asked for, the reason, by name.
        published: Accuracies to show beside, by method.
        info: Further entries of the summary.

    Raises:
        FaceAlignError: If the lengths differ, a score is not finite, a kind of pair is missing, or
            there is only one fold.

    Example:
        >>> scores = {"arcface": np.array([0.9, 0.1, 0.8, 0.2])}
        >>> report = VerificationReport(
        ...     "four pairs", scores, [("a", "b")] * 4, np.array([True, False] * 2),
        ...     np.array([0, 0, 1, 1]),
        ... )
        >>> report.measures["arcface"]["accuracy"]
        100.0
    """

    title: str
    scores: Mapping[str, np.ndarray]
    pairs: Sequence[tuple[str, str]]
    same: np.ndarray
    folds: np.ndarray
    persons: Sequence[tuple[str, str]] = ()
    excluded: Sequence[str] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mode, scores in self.scores.items():
            if not len(scores) == len(self.pairs) == len(self.same) == len(self.folds):
                raise FaceAlignError(
                    f"{self.title}: {len(scores)} scores of {mode} for {len(self.pairs)} pairs, "
                    f"{len(self.same)} answers and {len(self.folds)} folds; give one of each"
                )
            for bad in np.flatnonzero(~np.isfinite(scores))[:1]:
                first, second = self.pairs[bad]
                raise FaceAlignError(
                    f"{self.title}: the score of {first} and {second} is {scores[bad]}; check the "
                    "embeddings"
                )
        if not (np.any(self.same) and not np.all(self.same)):
            raise FaceAlignError(
                f"{self.title}: all {len(self.same)} pairs are of one kind; pairs of one person "
                "and of two are needed"
            )

    @functools.cached_property
    def measures(self) -> dict[str, dict[str, Any]]:
        """Accuracy over the folds (mean and standard deviation), AUC, EER and TAR, in percent."""
        found = {}
        for mode, scores in self.scores.items():
            accuracies, thresholds = cross_validate(scores, self.same, self.folds)
            found[mode] = {
                "accuracy": float(accuracies.mean()),
                "deviation": float(accuracies.std()),
                "auc": roc_auc(scores, self.same),
                "eer": equal_error_rate(scores, self.same),
                "tar_at_far_1e-3": tar_at_far(scores, self.same, FAR_LIMIT),
                "accuracy_by_fold": accuracies.tolist(),
                "threshold_by_fold": thresholds.tolist(),
            }
        return found

    @property
    def shared_persons(self) -> list[str]:
        """Persons in several folds, to whom the threshold has been fitted; none should be."""
        homes: dict[str, set[int]] = {}
        for persons, fold in zip(self.persons, self.folds, strict=False):
            for person in persons:
                homes.setdefault(person, set()).add(int(fold))
        return sorted(person for person, folds in homes.items() if len(folds) > 1)

    def summary(self) -> dict[str, Any]:
        """Returns all numbers, ready for JSON; rates in percent."""
        return {
            "title": self.title,
            **self.info,
            "pairs": len(self.pairs),
            "folds": len(np.unique(self.folds)),
            "excluded_pairs": list(self.excluded),
            "notes": dict(self.notes),
            "persons_in_several_folds": self.shared_persons,
            "results": self.measures,
            "published": dict(self.published),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Returns a row of text for each mode and each published accuracy."""
        keys = ("accuracy", "deviation", "auc", "eer", "tar_at_far_1e-3")
        rows = [
            (mode, *(f"{values[key]:.2f}" for key in keys))
            for mode, values in self.measures.items()
        ]
        return rows + [
            (f"published: {name}", f"{v:.2f}", *"    ") for name, v in self.published.items()
        ]

    def to_table(self) -> Table:
        """Returns `rows` as a Rich table for a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.title), caption=f"{len(self.pairs)} pairs")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
        for row in self.rows():
            table.add_row(*map(Text, row))
        return table

    def remarks(self) -> list[str]:
        """Returns what has to be known about the numbers, a line each."""
        lines = []
        if self.excluded:
            lines.append(f"{len(self.excluded)} pairs left out: {self.excluded[0]}")
        for note in sorted(set(self.notes.values())):
            names = [name for name, reason in self.notes.items() if reason == note]
            lines.append(f"{len(names)} pictures: {note} ({names[0]})")
        if shared := self.shared_persons:
            lines.append(f"{len(shared)} persons are in several folds ({shared[0]})")
        return lines

    def write(self, folder: Path, root: Path | None = None) -> None:
        """Writes report.json, pairs.csv, roc.png, report.html and, for each mode, the worst pairs.

        Args:
            folder: The folder, which exists.
            root: The data set's folder, to draw the worst pairs. Default: they are not drawn.
        """
        text = json.dumps(self.summary(), indent=2, allow_nan=False)
        _write(folder / "report.json", text + "\n")
        self._write_csv(folder / "pairs.csv")
        save_png(self.roc_figure(), folder / "roc.png")
        body = [
            f"<p>{len(self.pairs)} pairs in {len(np.unique(self.folds))} folds</p>",
            html_table(HEADINGS, self.rows()),
            *(f'<p class="note">{escape(printable(line))}</p>' for line in self.remarks()),
            "<h2>ROC</h2>",
            to_svg(self.roc_figure()),
        ]
        for mode in self.scores if root is not None else ():
            figure = self.worst_figure(mode, Path(str(root)))
            save_png(figure, folder / f"worst_{mode}.png")
            body += [f"<h2>Worst pairs, {escape(mode)}</h2>", to_svg(figure)]
        page = PAGE.format(title=escape(self.title), body="\n".join(body))
        _write(folder / "report.html", page)

    def _write_csv(self, path: str | os.PathLike[str]) -> None:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["fold", "same", "first", "second", *self.scores])
        columns = zip(self.folds, self.same, self.pairs, *self.scores.values(), strict=True)
        for fold, same, names, *scores in columns:
            cells = (escape_cell(name) for name in names)
            writer.writerow([fold, int(same), *cells, *(f"{score:.6f}" for score in scores)])
        _write(path, stream.getvalue())

    def roc_figure(self) -> Figure:
        """Draws the true accept rate over the false accept rate, whose axis is logarithmic."""
        least = 1 / max(int(np.sum(~self.same)), 10)
        with new_figure(6.4, 4.4) as figure:
            axes = figure.add_subplot()
            axes.set_prop_cycle(color=CURVES)
            for mode, scores in self.scores.items():
                far, tar = roc(scores, self.same)
                label = f"{mode} (AUC {self.measures[mode]['auc']:.2f})"
                axes.step(np.maximum(far, least / 2), tar, where="post", label=label)
            axes.set(xscale="log", xlim=(least, 1), ylim=(0, 1))
            axes.set(xlabel="false accept rate", ylabel="true accept rate")
            axes.grid(alpha=0.3)
            axes.legend(loc="lower right")
        return figure

    def worst(self, mode: str, count: int = WORST) -> list[int]:
        """Returns the pairs that lie farthest on the wrong side of their fold's threshold."""
        numbers = np.unique(self.folds)
        thresholds = np.array(self.measures[mode]["threshold_by_fold"])
        margin = self.scores[mode] - thresholds[np.searchsorted(numbers, self.folds)]
        return np.argsort(np.where(self.same, margin, -margin), kind="stable")[:count].tolist()

    def worst_figure(self, mode: str, root: Path) -> Figure:
        """Draws the two pictures of each of the worst pairs."""
        chosen = self.worst(mode)
        rows = -(-len(chosen) // 2)
        with new_figure(7.2, 2.1 * rows) as figure:
            for place, index in enumerate(chosen):
                kind = "one person" if self.same[index] else "two persons"
                for side, name in enumerate(self.pairs[index]):
                    axes = figure.add_subplot(rows, 4, 2 * place + side + 1)
                    axes.imshow(read_image(root / name))
                    axes.set_axis_off()
                    title = f"{kind}, {self.scores[mode][index]:.3f}" if side == 0 else ""
                    axes.set_title(f"{title}\n{printable(name)[-24:]}", fontsize=7)
        return figure


def _write(path: str | os.PathLike[str], text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    atomic_write(path, lambda file: file.write(content))
