"""300W-LP as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from keras_facealign.data.readers import w300_lp
from keras_facealign.data.reading import LabeledFace, Survey
from tfds_builders._common import FaceBuilder, LabelConfig


class Builder(FaceBuilder):
    """Builds `w300_lp` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download 300W-LP.zip from
    http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm, unpack it, and give the
    folder that holds 300W_LP as manual_dir. Folders that you do not have may be missing.
    """

    HOMEPAGE = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
    PUBLISHED = w300_lp.PUBLISHED
    NUM_LANDMARKS = w300_lp.NUM_LANDMARKS
    SUBSET = "Folder of 300W-LP, such as HELEN or HELEN_Flip."
    EXTRAS = ("pose", "pose_parameters", "shape_parameters", "expression_parameters")
    BUILDER_CONFIGS = [  # noqa: RUF012
        LabelConfig(name="projected_3d", description="Landmarks of the 3D model, projected."),
        LabelConfig(
            name="contour_2d", description="Landmarks with the jaw on the visible contour."
        ),
        LabelConfig(name="pt2d", description="pt2d of each picture's own file."),
    ]

    def _survey(self, root: Path) -> Survey:
        found = w300_lp.survey(root)
        if not found.found:
            return found
        return Survey(w300_lp.available_splits(root, self.builder_config.name), found.missing)

    def _load(self, root: Path, split: str) -> Iterable[LabeledFace]:
        return w300_lp.load_samples(root, split, self.builder_config.name, strict=self._strict)
