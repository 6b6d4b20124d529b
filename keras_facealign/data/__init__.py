"""Reading labelled faces, and making training batches of them.

The readers need neither Keras nor TensorFlow. `FaceBatches` and its companions load Keras when they
are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_facealign.data.boxes import read_boxes
from keras_facealign.data.images import read_image
from keras_facealign.data.pts import read_pts, write_pts
from keras_facealign.data.samples import Example, Sample

if TYPE_CHECKING:
    from keras_facealign.data.batches import (
        BoxJitter,
        FaceBatches,
        as_tf_dataset,
        crop_with_border,
    )

__all__ = [
    "BoxJitter",
    "Example",
    "FaceBatches",
    "Sample",
    "as_tf_dataset",
    "crop_with_border",
    "read_boxes",
    "read_image",
    "read_pts",
    "write_pts",
]

_FROM_BATCHES = {"BoxJitter", "FaceBatches", "as_tf_dataset", "crop_with_border"}


def __getattr__(name: str) -> Any:
    if name not in _FROM_BATCHES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from keras_facealign.data import batches

    return getattr(batches, name)
