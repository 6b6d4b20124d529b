"""WFLW as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import wflw
from keras_facealign.data.reading import LabeledFace, Survey
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `wflw` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download WFLW_images.tar.gz and WFLW_annotations.tar.gz by the links at
    https://wywu.github.io/projects/LAB/WFLW.html, unpack both, and give the folder that holds
    WFLW_images and WFLW_annotations as manual_dir.
    """

    HOMEPAGE = "https://wywu.github.io/projects/LAB/WFLW.html"
    PUBLISHED = wflw.PUBLISHED
    NUM_LANDMARKS = wflw.NUM_LANDMARKS
    SUBSET = "The split that the list is of."
    EXTRAS = ("published_box", "attributes")

    def _survey(self, root: Path) -> Survey:
        return wflw.survey(root)

    def _load(self, root: Path, split: str) -> Iterable[LabeledFace]:
        return wflw.load_samples(root, split, strict=self._strict)
