"""Pairs of Celebrities in Frontal-Profile as a TensorFlow data set, from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import cfp
from tfds_builders._common import PairBuilder


class Builder(PairBuilder):
    """Builds `cfp` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download cfp-dataset.zip from http://www.cfpw.io/, unpack it, and give the folder that holds
    Data and Protocol as manual_dir.
    """

    HOMEPAGE = "http://www.cfpw.io/"
    READER = cfp
    HAS_LANDMARKS = True
