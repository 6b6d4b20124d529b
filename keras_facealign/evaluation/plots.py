"""Pictures of a result: the cumulative error curve, and the faces with the largest errors.

Matplotlib draws without a display and is imported only when a picture is made.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.faces import ShownFace, crop_shown_face
from keras_facealign.evaluation.measures import auc, ced
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["WorstFaces", "plot_ced", "save_faces"]

# Told apart by hue and by lightness, so also in gray print and by color-blind readers.
_TRUTH, _PREDICTED = "#39e75f", "#ff3b6b"


def plot_ced(
    path: str | os.PathLike[str],
    curves: Mapping[str, np.ndarray],
    limit: float = 10.0,
    axis_label: str = "NME, % of the inter-ocular distance",
) -> Path:
    """Draws cumulative error curves into a PNG file.

    Args:
        path: The file to write.
        curves: NMEs (N,) in percent by name; infinity stands for a missed face.
        limit: Right end of the axis, percent.
        axis_label: What the horizontal axis shows.

    Returns:
        The path.

    Raises:
        FaceAlignError: If there is no curve, or NMEs or the limit are not usable.

    Example:
        >>> plot_ced("ced.png", {"sat1_cab_mobile": report.nmes["inter_ocular"]})
    """
    if not curves:
        raise FaceAlignError("There is no curve to draw; give at least one set of NMEs.")
    figure = _new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    for name, nmes in curves.items():
        label = f"{name} (AUC@{limit:g} {auc(nmes, limit):.1f})"
        x, y = ced(nmes)
        inside = x <= limit
        # The curve starts at no image and goes on level to the right end of the axis.
        x = np.concatenate([[0.0], x[inside], [limit]])
        y = np.concatenate([[0.0], y[inside]])
        # Over the frame and not cut by it: a curve may run along 0 or 100 %.
        axes.step(
            x, np.append(y, y[-1]), where="post", label=label, clip_on=False, zorder=3, linewidth=2
        )
    axes.set(xlim=(0, limit), ylim=(0, 100), xlabel=axis_label, ylabel="share of images, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _save_png(figure, path)


@dataclass
class WorstFaces:
    """Keeps small crops of the faces with the largest errors while images stream by.

    Only `limit` crops are held at any time, so a set of any size goes through bounded memory.

    Args:
        limit: How many faces to keep.
        size: Side of the square crops in pixels.
        scheme: What the landmarks are; its edges are drawn.

    Example:
        >>> worst = WorstFaces()
        >>> for name, image, predicted, truth, error in results:
        ...     worst.add(error, name, image, predicted, truth)
        >>> worst.save("worst.png")
    """

    limit: int = 10
    size: int = 256
    scheme: LandmarkScheme = IBUG68
    # Rising heap of (error, -order of arrival, face): the order settles ties without comparing
    # faces, and lets the earlier of two equal errors stay.
    _heap: list[tuple[float, int, ShownFace]] = field(default_factory=list, init=False, repr=False)
    _arrivals: int = field(default=0, init=False, repr=False)

    def add(
        self,
        error: float,
        file_name: str,
        image: np.ndarray,
        prediction: np.ndarray,
        ground_truth: np.ndarray,
        visibility: np.ndarray | None = None,
    ) -> None:
        """Shows a face to the collection, which keeps it if it is among the worst so far.

        Args:
            error: NME in percent; NaN (undefined) is never kept.
            file_name: Printed over the crop.
            image: (H, W, 3) uint8 RGB.
            prediction: (K, 2) pixels.
            ground_truth: (K, 2) pixels.
            visibility: (K,), 0 where the ground truth has no position; all have one if omitted.
        """
        full = len(self._heap) >= self.limit
        if np.isnan(error) or (full and error <= self._heap[0][0]):
            return
        labeled = np.ones(len(ground_truth), bool) if visibility is None else visibility > 0
        face = crop_shown_face(file_name, image, prediction, ground_truth, labeled, self.size)
        entry = (float(error), -self._arrivals, face)
        self._arrivals += 1
        (heapq.heappushpop if full else heapq.heappush)(self._heap, entry)

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """File names and NMEs of the faces kept, the worst first."""
        return [(face.file_name, error) for error, _, face in sorted(self._heap, reverse=True)]

    def save(self, path: str | os.PathLike[str], columns: int = 5) -> Path:
        """Draws the faces kept, the worst first, with both sets of landmarks.

        Args:
            path: The PNG file to write.
            columns: Faces in a row.

        Returns:
            The path.

        Raises:
            FaceAlignError: If no face was kept.
        """
        ranking = [(error, face) for error, _, face in sorted(self._heap, reverse=True)]
        return save_faces(path, ranking, self.scheme, columns)


def save_faces(
    path: str | os.PathLike[str],
    faces: Sequence[tuple[float, ShownFace]],
    scheme: LandmarkScheme = IBUG68,
    columns: int = 5,
) -> Path:
    """Draws faces with both sets of landmarks.

    Args:
        path: The PNG file to write.
        faces: Error in percent and crop of each, in the order in which they are drawn.
        scheme: What the landmarks are; its edges are drawn.
        columns: Faces in a row.

    Returns:
        The path.

    Raises:
        FaceAlignError: If there is no face.
    """
    if not faces:
        raise FaceAlignError("There is no face with a defined NME to draw.")
    rows = -(-len(faces) // columns)
    figure = _new_figure(2.6 * columns, 2.9 * rows + 0.4)
    for place, (error, face) in enumerate(faces, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(face.crop)
        _draw(axes, face.ground_truth, face.labeled, scheme, _TRUTH)
        every = np.ones(len(face.prediction), bool)
        _draw(axes, face.prediction, every, scheme, _PREDICTED)
        size = len(face.crop)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        axes.set_axis_off()
        axes.set_title(f"{_shorten(face.file_name)}\n{error:.2f} %", fontsize=8)
    handles = [
        _legend_line(_TRUTH, "ground truth"),
        _legend_line(_PREDICTED, "prediction"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return _save_png(figure, path)


def _draw(
    axes: Any, points: np.ndarray, shown: np.ndarray, scheme: LandmarkScheme, color: str
) -> None:
    for a, b in scheme.edges:
        if shown[a] and shown[b]:
            axes.plot(*points[[a, b]].T, color=color, linewidth=0.8, alpha=0.7)
    axes.plot(*points[shown].T, ".", color=color, markersize=2.5)


def _legend_line(color: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, marker=".", label=label)


def _shorten(name: str, length: int = 32) -> str:
    return name if len(name) <= length else "..." + name[3 - length :]


def _new_figure(width: float, height: float) -> Figure:
    """A figure with the Agg canvas, apart from pyplot's global state and any display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="compressed")
    FigureCanvasAgg(figure)
    return figure


def _save_png(figure: Figure, path: str | os.PathLike[str]) -> Path:
    return atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=150))
