"""Menpo2D as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from pathlib import Path

from keras_facealign.data.files import Survey
from keras_facealign.data.readers import menpo2d
from tfds_builders._common import FaceBuilder, LabelConfig


class Builder(FaceBuilder):
    """Builds `menpo2d` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Get Menpo2D by the links at https://github.com/jiankangdeng/MenpoBenchmark or from
    https://ibug.doc.ic.ac.uk/resources/2nd-facial-landmark-tracking-competition-menpo-ben/, unpack
    it, and give the folder that holds the .jpg and .pts files, or their folders, as manual_dir.
    """

    HOMEPAGE = "https://github.com/jiankangdeng/MenpoBenchmark"
    READER = menpo2d
    SUBSET = "Folder of the image."
    BUILDER_CONFIGS = [  # noqa: RUF012
        LabelConfig(name="semi_frontal", description="Semi-frontal faces with 68 landmarks."),
        LabelConfig(name="profile", description="Profile faces with 39 landmarks."),
    ]

    def _options(self) -> dict[str, str]:
        return {"pose": self.builder_config.name}

    def _num_landmarks(self) -> int:
        return menpo2d.POSES[self.builder_config.name]

    def _published(self) -> dict[str, int]:
        return menpo2d.PUBLISHED[self.builder_config.name]

    def _survey(self, root: Path) -> Survey:
        return menpo2d.survey(root, self.builder_config.name, named=False)
