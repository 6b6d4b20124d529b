"""COFW68 as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import cofw68
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `cofw68` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get the folder COFW68_Data from https://github.com/golnazghiasi/cofw68-benchmark and
    COFW_test_color.mat from https://data.caltech.edu/records/bc0bf-nc666, and give the folder that
    holds both as manual_dir.
    """

    HOMEPAGE = "https://github.com/golnazghiasi/cofw68-benchmark"
    READER = cofw68
    VISIBILITY = "0 does not occur"
    SUBSET = "Always test."
    EXTRAS = ("published_box",)
