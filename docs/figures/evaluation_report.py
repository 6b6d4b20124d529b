"""Draws docs/evaluation_report.png: curves and mean face of the report on COFW68.

    python docs/figures/evaluation_report.py PREDICTIONS

PREDICTIONS is a folder of the predictions that SPIGA and COFW68 publish: `spiga_cofw68.npz` (arrays
`prediction` and `ground_truth`, (507, 68, 2)) and `cofw68_baselines.npz` (`ground_truth`, and
`RCPR_prediction` and so on). The page that `keras-facealign evaluate` writes has both figures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from _common import FOLDER
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from keras_facealign.evaluation import EvaluationReport, nme, published_for
from keras_facealign.evaluation.faces import mean_shape
from keras_facealign.evaluation.plots import ced_figure, error_figure

YEARS = {"CFSS": 2015, "SAPM": 2015, "HPM": 2014, "TCDCN": 2014, "RCPR": 2013}
LIMIT = 10.0


def pixels(figure: Any) -> np.ndarray:
    """RGB pixels of a figure."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(130)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "spiga_cofw68.npz") as arrays:
        report = EvaluationReport(
            arrays["prediction"], arrays["ground_truth"], normalizer="eye_center"
        )
    curves = {"SPIGA 2022": report.nmes["eye_center"]}
    with np.load(folder / "cofw68_baselines.npz") as arrays:
        for name, year in YEARS.items():
            errors = nme(arrays[f"{name}_prediction"], arrays["ground_truth"], "eye_center")
            curves[f"{name} {year}"] = errors
    known = [e for e in published_for("cofw68") if e.normalizer == "eye_center"]
    left = ced_figure(
        curves,
        LIMIT,
        "NME, % of the distance of the eyes' centers",
        lines=[(e.method.split()[0], e.value) for e in known if e.measure == "nme"],
        points=[("", e.threshold, e.value) for e in known if e.threshold is not None],
    )
    shape = mean_shape(report.ground_truth, report.visibility, report.scheme)
    right = error_figure(report.scheme, shape, report.errors_by_landmark)
    images = [Image.fromarray(pixels(figure)) for figure in (left, right)]
    height = max(image.height for image in images)
    page = Image.new("RGB", (sum(image.width for image in images), height), "white")
    for image, start in zip(images, (0, images[0].width), strict=True):
        page.paste(image, (start, (height - image.height) // 2))
    path = FOLDER.parent / "evaluation_report.png"
    page.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path.name, path.stat().st_size // 1024, "kB")


if __name__ == "__main__":
    main()
