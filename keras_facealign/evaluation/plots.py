"""Draws results with Matplotlib: error curves, errors by landmark, and faces with landmarks.

Matplotlib runs without a display and is imported only when something is drawn.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.faces import ShownFace, crop_shown_face
from keras_facealign.evaluation.measures import auc, ced
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.file_names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Distinct in hue and in lightness, so also in gray print and for color-blind readers; the curves'
# are Okabe and Ito's.
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_TRUTH, _PREDICTED = "#39e75f", "#ff3b6b"
_PUBLISHED = "#555555"

_LABELED_POINTS = 5  # the landmarks with the largest errors, whose numbers are written
_NAME_LENGTH = 32


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
        axis_label: Label of the horizontal axis.

    Returns:
        The path.

    Raises:
        FaceAlignError: If there is no curve, or NMEs or the limit are not usable.

    Example:
        >>> nmes = report.nmes["inter_ocular"]  # doctest: +SKIP
        >>> plot_ced("ced.png", {"sat1_cab_mobile": nmes})  # doctest: +SKIP
    """
    return save_png(ced_figure(curves, limit, axis_label), path)


def save_faces(
    path: str | os.PathLike[str],
    faces: Sequence[tuple[float, ShownFace]],
    scheme: LandmarkScheme = IBUG68,
    columns: int = 5,
) -> Path:
    """Draws faces with both sets of landmarks into a PNG file.

    Args:
        path: The file to write.
        faces: Error in percent and crop of each, in the order in which they are drawn.
        scheme: Scheme of the landmarks; its edges are drawn.
        columns: Faces in a row.

    Returns:
        The path.

    Raises:
        FaceAlignError: If there is no face.
    """
    return save_png(faces_figure(faces, scheme, columns), path)


@dataclass
class WorstFaces:
    """Keeps small crops of the faces with the largest errors while images are read one by one.

    Only `limit` crops are held at any time, so a set of any size needs bounded memory.

    Args:
        limit: How many faces to keep.
        size: Side of the square crops in pixels.
        scheme: Scheme of the landmarks; its edges are drawn.

    Example:
        >>> worst = WorstFaces()
        >>> for name, image, predicted, truth, error in results:  # doctest: +SKIP
        ...     worst.add(error, name, image, predicted, truth)
        >>> worst.save("worst.png")  # doctest: +SKIP
    """

    limit: int = 10
    size: int = 256
    scheme: LandmarkScheme = IBUG68
    _faces: list[tuple[float, ShownFace]] = field(default_factory=list, init=False, repr=False)

    def add(
        self,
        error: float,
        file_name: str,
        image: np.ndarray,
        prediction: np.ndarray,
        ground_truth: np.ndarray,
        visibility: np.ndarray | None = None,
    ) -> None:
        """Keeps a face if it is among the worst so far; of equal errors the earlier one stays.

        Args:
            error: NME in percent; NaN (undefined) is never kept.
            file_name: Printed over the crop.
            image: (H, W, 3) uint8 RGB.
            prediction: (K, 2) pixels.
            ground_truth: (K, 2) pixels.
            visibility: (K,), 0 where the ground truth has no position; all have one if omitted.
        """
        full = len(self._faces) >= self.limit
        if np.isnan(error) or (full and error <= self._faces[-1][0]):
            return
        labeled = np.ones(len(ground_truth), bool) if visibility is None else visibility > 0
        face = crop_shown_face(file_name, image, prediction, ground_truth, labeled, self.size)
        self._faces.append((float(error), face))
        self._faces.sort(key=lambda entry: -entry[0])
        del self._faces[self.limit :]

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """File names and NMEs of the faces kept, the worst first."""
        return [(face.file_name, error) for error, face in self._faces]

    def save(self, path: str | os.PathLike[str], columns: int = 5) -> Path:
        """Draws the faces kept, the worst first, as `save_faces` does."""
        return save_faces(path, self._faces, self.scheme, columns)


def ced_figure(
    curves: Mapping[str, np.ndarray],
    limit: float,
    axis_label: str,
    lines: Sequence[tuple[str, float]] = (),
    points: Sequence[tuple[str, float, float]] = (),
) -> Figure:
    """Draws cumulative error curves with published values.

    Args:
        curves: NMEs (N,) in percent by name; infinity stands for a missed face.
        limit: Right end of the axis, percent.
        axis_label: Label of the horizontal axis.
        lines: Mark and value of published mean errors: vertical lines.
        points: Mark, threshold and share of published success rates: points of their curves.

    Raises:
        FaceAlignError: If there is no curve, or an NME or the limit is not usable.
    """
    if not curves:
        raise FaceAlignError("There is no curve to draw; give at least one set of NMEs.")
    with new_figure(6.4, 4.4) as figure:
        axes = figure.add_subplot()
        axes.set_prop_cycle(color=CURVES)
        # Over the frame and not cut by it: a curve may run along 0 or 100 %.
        above = {"clip_on": False, "zorder": 3}
        drawn = []
        for nmes in curves.values():
            x, y = ced(nmes)
            inside = x <= limit
            # The curve starts at no image and continues level to the right end of the axis.
            x, y = np.concatenate([[0.0], x[inside], [limit]]), np.append(0.0, y[inside])
            drawn += axes.step(x, np.append(y, y[-1]), where="post", linewidth=2, **above)
        names = [
            f"{printable(name)} (AUC@{limit:g} {auc(v, limit):.1f})" for name, v in curves.items()
        ]
        axes.legend(drawn, names, loc="lower right")
        for place, (mark, value) in enumerate(sorted(lines, key=lambda line: line[1])):
            if 0 <= value <= limit:
                axes.axvline(value, color=_PUBLISHED, linestyle="--", linewidth=0.8)
                # Marks of near lines alternate between two rows, so that they do not overlap.
                axes.text(value, 101 + 4.5 * (place % 2), mark, ha="center", color=_PUBLISHED)
        lowest = np.inf
        for mark, threshold, share in sorted(points, key=lambda point: -point[2]):
            if threshold <= limit:
                axes.plot(threshold, share, "o", mfc="white", mec=_PUBLISHED, **above)
                lowest = min(share, lowest - 4.5)
                axes.annotate(
                    mark, (threshold, lowest), (7, 0), textcoords="offset points", va="center"
                )
        axes.set(xlim=(0, limit), ylim=(0, 100), xlabel=axis_label, ylabel="share of images, %")
        axes.grid(alpha=0.3)
    return figure


def error_figure(scheme: LandmarkScheme, shape: np.ndarray, errors: np.ndarray) -> Figure | None:
    """Draws a face whose landmarks are colored and sized by their mean error.

    Args:
        scheme: Scheme of the landmarks.
        shape: (K, 2), any unit; NaN where there is none.
        errors: (K,) percent, NaN where there is none.

    Returns:
        The figure, None if no landmark has both a place and an error.
    """
    known = np.flatnonzero(np.isfinite(shape).all(axis=1) & np.isfinite(errors))
    if not known.size:
        return None
    # The largest value may be an outlier that would give all others one color.
    top = max(float(np.quantile(errors[known], 0.98)), 1e-9)
    with new_figure(5.6, 4.8) as figure:
        axes = figure.add_subplot()
        axes.set(aspect="equal")
        axes.invert_yaxis()
        axes.set_axis_off()
        draw_edges(axes, scheme, shape, np.isin(np.arange(len(shape)), known), "0.75")
        sizes = 25 * (0.7 + 0.6 * np.minimum(errors[known] / top, 1)) ** 2
        dots = axes.scatter(
            *shape[known].T, s=sizes, c=errors[known], vmin=0, vmax=top, ec="0.2", lw=0.5, zorder=3
        )
        figure.colorbar(dots, label="mean error, %", extend="max", shrink=0.8)
        for index in known[np.argsort(-errors[known])[:_LABELED_POINTS]]:
            axes.annotate(
                f"{index}: {errors[index]:.2f}",
                tuple(shape[index]),
                (5, 4),
                textcoords="offset points",
                fontsize=7,
            )
    return figure


def faces_figure(
    faces: Sequence[tuple[float, ShownFace]],
    scheme: LandmarkScheme,
    columns: int = 5,
    interpolation: str = "antialiased",
) -> Figure:
    """Draws faces with both sets of landmarks; arguments as of `save_faces`.

    Args:
        faces: Error in percent and crop of each, in the order in which they are drawn.
        scheme: Scheme of the landmarks; its edges are drawn.
        columns: Faces in a row.
        interpolation: Matplotlib's name; "none" puts the crops into SVG as they are.

    Raises:
        FaceAlignError: If there is no face.
    """
    if not faces:
        raise FaceAlignError("There is no face with a defined NME to draw.")
    rows = -(-len(faces) // columns)
    with new_figure(2.6 * columns, 2.9 * rows + 0.4) as figure:
        handles: dict[str, Any] = {}
        for place, (error, face) in enumerate(faces, start=1):
            axes = figure.add_subplot(rows, columns, place)
            axes.imshow(face.crop, interpolation=interpolation)
            found = np.asarray(np.isfinite(face.prediction).all(axis=1))
            for name, points, shown, color in (
                ("ground truth", face.ground_truth, face.labeled, _TRUTH),
                ("prediction", face.prediction, found, _PREDICTED),
            ):
                draw_edges(axes, scheme, points, shown, color)
                (handles[name],) = axes.plot(*points[shown].T, ".", color=color, markersize=2.5)
            size = len(face.crop)
            axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
            axes.set_axis_off()
            name = face.file_name
            name = name if len(name) <= _NAME_LENGTH else "..." + name[3 - _NAME_LENGTH :]
            axes.set_title(f"{printable(name)}\n{error:.2f} %", fontsize=8)
        figure.legend(
            handles.values(),
            handles,
            loc="outside lower center",
            ncols=2,
            fontsize=8,
            markerscale=4,
        )
    return figure


def to_svg(figure: Figure) -> str:
    """Renders a figure as an SVG element that can be put into an HTML page."""
    import matplotlib

    text = io.StringIO()
    # Text stays text; equal figures give equal files.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "keras_facealign"}):
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=no_metadata)
    return text.getvalue()[text.getvalue().index("<svg") :]


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Makes a figure apart from pyplot's global state, in whose texts "$" starts no formula."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False}):
        yield Figure(figsize=(width, height), layout="compressed")


def draw_edges(
    axes: Any, scheme: LandmarkScheme, points: np.ndarray, shown: np.ndarray, color: str
) -> None:
    """Draws a scheme's lines between the points that are shown."""
    from matplotlib.collections import LineCollection

    edges = np.array([(a, b) for a, b in scheme.edges if shown[a] and shown[b]], int)
    lines = points[edges.reshape(-1, 2)]
    axes.add_collection(LineCollection(list(lines), colors=color, linewidths=0.8, alpha=0.7))


def save_png(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a figure into a PNG file, completely or not at all."""
    return atomic_write(path, lambda file: figure.savefig(file, format="png", dpi=150))
