"""MERL-RAV as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_facealign.data.catalog import (
    PUBLISHED_MERL_RAV,
    merl_rav_folder,
    survey_merl_rav,
)
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.readers import merl_rav
from keras_facealign.data.reading import Survey
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `merl_rav` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get the labels from https://github.com/abhi1kumar/MERL-RAV_dataset and the pictures of AFLW from
    https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/aflw/, put them together
    with the script that comes with the labels, and give the folder that holds merl_rav_organized
    (or frontal, left and so on) as manual_dir.
    """

    HOMEPAGE = "https://github.com/abhi1kumar/MERL-RAV_dataset"
    PUBLISHED = PUBLISHED_MERL_RAV
    NUM_LANDMARKS = merl_rav.NUM_LANDMARKS
    VISIBILITY = "0 where the face itself hides it"
    SUBSET = "Pose and split, such as lefthalf/trainset."

    def _survey(self, root: Path) -> Survey:
        return survey_merl_rav(root)

    def _load(self, root: Path, split: str) -> Iterable[FaceExample]:
        return merl_rav.load_samples(merl_rav_folder(root), split, strict=self._strict)

    def _to_features(self, root: Path, example: FaceExample) -> tuple[str, dict[str, Any]]:
        return super()._to_features(merl_rav_folder(root), example)
