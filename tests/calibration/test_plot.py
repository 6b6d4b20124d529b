"""The figure of a calibration's quality is written."""

from PIL import Image

from keras_facealign.calibration import fit_calibration
from keras_facealign.calibration.plot import plot_quality
from keras_facealign.calibration.quality import measure
from tests.calibration.synthetic import observations


def test_figure_is_written(tmp_path):
    quality = measure(fit_calibration(observations(seed=5)), observations(seed=4))
    path = plot_quality(tmp_path / "calibration.png", quality, "made up")
    assert Image.open(path).size[0] > 1000
