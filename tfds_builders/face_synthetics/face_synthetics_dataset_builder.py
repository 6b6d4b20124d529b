"""FaceSynthetics as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import face_synthetics
from keras_facealign.data.reading import LabeledFace, Survey
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `face_synthetics` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download dataset_100.zip, dataset_1000.zip or dataset_100000.zip by the links at
    https://github.com/microsoft/FaceSynthetics, unpack it, and give the folder that holds
    000000.png and 000000_ldmks.txt as manual_dir.
    """

    HOMEPAGE = "https://github.com/microsoft/FaceSynthetics"
    PUBLISHED = face_synthetics.PUBLISHED
    NUM_LANDMARKS = face_synthetics.NUM_LANDMARKS
    SUBSET = "Always train."

    def _survey(self, root: Path) -> Survey:
        return face_synthetics.survey(root)

    def _load(self, root: Path, split: str) -> Iterable[LabeledFace]:
        return face_synthetics.load_samples(root, split, strict=self._strict)
