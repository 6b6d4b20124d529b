"""Reading labelled faces, and making training batches of them.

Each name loads its module, and what that needs, when it is first asked for: the readers need
neither Keras nor TensorFlow, and `PackedFaces` neither Pillow nor OpenCV where the other is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_facealign.data.batches import (
        BoxJitter,
        FaceBatches,
        as_tf_dataset,
        crop_with_border,
    )
    from keras_facealign.data.boxes import read_boxes
    from keras_facealign.data.images import read_image
    from keras_facealign.data.packed import PackedFaces, pack
    from keras_facealign.data.pts import read_pts, write_pts
    from keras_facealign.data.samples import Example, Sample
    from keras_facealign.data.streams import FaceStream, from_tfds, tf_dataset_from_tfds

__all__ = [
    "BoxJitter",
    "Example",
    "FaceBatches",
    "FaceStream",
    "PackedFaces",
    "Sample",
    "as_tf_dataset",
    "crop_with_border",
    "from_tfds",
    "pack",
    "read_boxes",
    "read_image",
    "read_pts",
    "tf_dataset_from_tfds",
    "write_pts",
]

# The modules that have them.
_HOMES = {
    **dict.fromkeys(("BoxJitter", "FaceBatches", "as_tf_dataset", "crop_with_border"), "batches"),
    "read_boxes": "boxes",
    "read_image": "images",
    **dict.fromkeys(("PackedFaces", "pack"), "packed"),
    **dict.fromkeys(("read_pts", "write_pts"), "pts"),
    **dict.fromkeys(("Example", "Sample"), "samples"),
    **dict.fromkeys(("FaceStream", "from_tfds", "tf_dataset_from_tfds"), "streams"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
