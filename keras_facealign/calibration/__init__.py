"""Calibrated standard deviation and visibility of each landmark.

The shape of a heatmap shows both, once it has been compared with labeled faces that the network was
not trained on. `collect_predictions` (in `keras_facealign.evaluation.collect_predictions`) runs a
network over such faces, `fit_calibration` fits a `Calibration` to the result, and `measure` (in
`keras_facealign.calibration.quality`) measures on further faces how good it is.
"""

from keras_facealign.calibration.files import (
    read_calibration,
    weights_fingerprint,
    write_calibration,
)
from keras_facealign.calibration.fitting import Observations, fit_calibration
from keras_facealign.calibration.formula import Calibration, spread_of_heatmaps

__all__ = [
    "Calibration",
    "Observations",
    "fit_calibration",
    "read_calibration",
    "spread_of_heatmaps",
    "weights_fingerprint",
    "write_calibration",
]
