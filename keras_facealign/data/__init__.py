"""Reads data sets and labels of one's own, and makes training batches from them.

Names load their module at first use: the readers need neither Keras nor TensorFlow, and
`PackedFaces` needs neither Pillow nor OpenCV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.data.batches import BoxJitter, FaceBatches, as_tf_dataset, crop_with_border
    from keras_facealign.data.boxes import read_boxes
    from keras_facealign.data.epochs import MixedBatches
    from keras_facealign.data.examples import ExamplePaths, FaceExample
    from keras_facealign.data.images import read_image
    from keras_facealign.data.labels.label_set import FaceLabels, LabelSet
    from keras_facealign.data.labels.loading import load
    from keras_facealign.data.lazy_batches import LazyFaceBatches, from_tfds, tf_dataset_from_tfds
    from keras_facealign.data.packed import PackedFaces, pack
    from keras_facealign.data.pts import read_pts, write_pts

__all__ = [
    "BoxJitter",
    "ExamplePaths",
    "FaceBatches",
    "FaceExample",
    "FaceLabels",
    "LabelSet",
    "LazyFaceBatches",
    "MixedBatches",
    "PackedFaces",
    "as_tf_dataset",
    "crop_with_border",
    "from_tfds",
    "load",
    "pack",
    "read_boxes",
    "read_image",
    "read_pts",
    "tf_dataset_from_tfds",
    "write_pts",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "batches": ("BoxJitter", "FaceBatches", "as_tf_dataset", "crop_with_border"),
        "boxes": ("read_boxes",),
        "epochs": ("MixedBatches",),
        "examples": ("FaceExample", "ExamplePaths"),
        "images": ("read_image",),
        "labels.label_set": ("FaceLabels", "LabelSet"),
        "labels.loading": ("load",),
        "lazy_batches": ("LazyFaceBatches", "from_tfds", "tf_dataset_from_tfds"),
        "packed": ("PackedFaces", "pack"),
        "pts": ("read_pts", "write_pts"),
    },
)
