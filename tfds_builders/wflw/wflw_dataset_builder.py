"""WFLW as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import wflw
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `wflw` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download WFLW_images.tar.gz and WFLW_annotations.tar.gz by the links at
    https://wywu.github.io/projects/LAB/WFLW.html, unpack both, and give the folder that holds
    WFLW_images and WFLW_annotations as manual_dir.
    """

    HOMEPAGE = "https://wywu.github.io/projects/LAB/WFLW.html"
    READER = wflw
    SUBSET = "The split that the list is of."
    EXTRAS = ("published_box", "attributes")
