"""The pairs of Labeled Faces in the Wild as a TensorFlow data set, from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import verification_pairs as pairs
from keras_facealign.data.reading import Survey
from tfds_builders._common import PairBuilder


class Builder(PairBuilder):
    """Builds `lfw_pairs` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get lfw.tgz (or lfw-funneled.tgz or lfw-deepfunneled.tgz), pairs.txt and, for View 1,
    pairsDevTrain.txt and pairsDevTest.txt from http://vis-www.cs.umass.edu/lfw/, unpack the
    pictures, and give the folder that holds lfw and the lists as manual_dir.
    """

    HOMEPAGE = "http://vis-www.cs.umass.edu/lfw/"
    PUBLISHED = pairs.PUBLISHED_LFW

    def _survey(self, root: Path) -> Survey:
        return pairs.survey_lfw(root)

    def _load(self, root: Path, split: str) -> Iterable[pairs.ImagePair]:
        return pairs.load_lfw(root, split, strict=self._strict)
