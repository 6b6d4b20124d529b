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
    from keras_facealign.data.streams import FaceStream, from_tfds, tf_dataset_from_tfds

__all__ = [
    "BoxJitter",
    "Example",
    "FaceBatches",
    "FaceStream",
    "Sample",
    "as_tf_dataset",
    "crop_with_border",
    "from_tfds",
    "read_boxes",
    "read_image",
    "read_pts",
    "tf_dataset_from_tfds",
    "write_pts",
]

# What needs Keras, by the module that has it.
_LAZY = {
    **dict.fromkeys(("BoxJitter", "FaceBatches", "as_tf_dataset", "crop_with_border"), "batches"),
    **dict.fromkeys(("FaceStream", "from_tfds", "tf_dataset_from_tfds"), "streams"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
