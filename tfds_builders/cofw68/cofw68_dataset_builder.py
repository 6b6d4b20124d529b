"""COFW68 as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import cofw
from keras_facealign.data.reading import LabeledFace, Survey
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `cofw68` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get the folder COFW68_Data from https://github.com/golnazghiasi/cofw68-benchmark and
    COFW_test_color.mat from https://data.caltech.edu/records/bc0bf-nc666, and give the folder that
    holds both as manual_dir.
    """

    HOMEPAGE = "https://github.com/golnazghiasi/cofw68-benchmark"
    PUBLISHED = cofw.PUBLISHED_68
    NUM_LANDMARKS = 68
    VISIBILITY = "0 does not occur"
    SUBSET = "Always test."
    EXTRAS = ("published_box",)

    def _survey(self, root: Path) -> Survey:
        return cofw.survey_cofw68(root)

    def _load(self, root: Path, split: str) -> Iterable[LabeledFace]:
        return cofw.load_cofw68(root, split, strict=self._strict)
