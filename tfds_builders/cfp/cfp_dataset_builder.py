"""Pairs of Celebrities in Frontal-Profile as a TensorFlow data set, from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import verification_pairs as pairs
from keras_facealign.data.reading import Survey
from tfds_builders._common import PairBuilder


class Builder(PairBuilder):
    """Builds `cfp` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download cfp-dataset.zip from http://www.cfpw.io/, unpack it, and give the folder that holds
    Data and Protocol as manual_dir.
    """

    HOMEPAGE = "http://www.cfpw.io/"
    PUBLISHED = pairs.PUBLISHED_CFP
    HAS_LANDMARKS = True

    def _survey(self, root: Path) -> Survey:
        return pairs.survey_cfp(root)

    def _load(self, root: Path, split: str) -> Iterable[pairs.ImagePair]:
        return pairs.load_cfp(root, split, strict=self._strict)
