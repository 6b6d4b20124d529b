"""The pairs of Labeled Faces in the Wild as a TensorFlow data set, from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import lfw
from tfds_builders._common import PairBuilder


class Builder(PairBuilder):
    """Builds `lfw_pairs` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get lfw.tgz (or lfw-funneled.tgz or lfw-deepfunneled.tgz), pairs.txt and, for View 1,
    pairsDevTrain.txt and pairsDevTest.txt from http://vis-www.cs.umass.edu/lfw/, unpack the
    pictures, and give the folder that holds lfw and the lists as manual_dir.
    """

    HOMEPAGE = "http://vis-www.cs.umass.edu/lfw/"
    READER = lfw
