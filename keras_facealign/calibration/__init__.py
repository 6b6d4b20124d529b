"""How sure a network is of each landmark: a standard deviation, and whether it can be seen.

A heatmap's shape tells both, once it has been compared with labeled faces that the network was
not trained on. `observe` (in `keras_facealign.evaluation.collect_predictions`) looks at such faces,
`fit_calibration` makes a `Calibration` of what it saw, and `measure` (in
`keras_facealign.calibration.quality`) says on further faces how good that is.
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
