"""FaceSynthetics as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import face_synthetics
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `face_synthetics` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download dataset_100.zip, dataset_1000.zip or dataset_100000.zip by the links at
    https://github.com/microsoft/FaceSynthetics, unpack it, and give the folder that holds
    000000.png and 000000_ldmks.txt as manual_dir.
    """

    HOMEPAGE = "https://github.com/microsoft/FaceSynthetics"
    READER = face_synthetics
    SUBSET = "Always train."
