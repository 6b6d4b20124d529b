"""Caltech Occluded Faces in the Wild as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import cofw
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `cofw` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download COFW_color.zip from https://data.caltech.edu/records/bc0bf-nc666, unpack it, and give
    the folder with COFW_train_color.mat and COFW_test_color.mat as manual_dir.
    """

    HOMEPAGE = "https://data.caltech.edu/records/bc0bf-nc666"
    READER = cofw
    VISIBILITY = "0 does not occur"
    SUBSET = "train or test."
    EXTRAS = ("published_box",)
