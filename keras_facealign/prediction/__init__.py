"""From heatmaps to landmarks, and from any number of crops to batches: what all runtimes share.

`landmark_outputs` is the one place where heatmaps become landmarks with confidence, standard
deviation and visibility; `predict_outputs` is the one place where crops are checked, batched,
padded and flipped. Neither needs Keras.
"""

from keras_facealign.prediction.batches import (
    any_size,
    fixed_size,
    one_or_many,
    power_of_two,
    predict_outputs,
    run_batches,
)
from keras_facealign.prediction.flip_test import check_flip_pairs
from keras_facealign.prediction.outputs import (
    LandmarkModel,
    LandmarkOutputs,
    check_crops,
    check_offset,
    landmark_outputs,
)

__all__ = [
    "LandmarkModel",
    "LandmarkOutputs",
    "any_size",
    "check_crops",
    "check_flip_pairs",
    "check_offset",
    "fixed_size",
    "landmark_outputs",
    "one_or_many",
    "power_of_two",
    "predict_outputs",
    "run_batches",
]
