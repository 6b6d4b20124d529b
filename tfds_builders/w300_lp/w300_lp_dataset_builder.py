"""300W-LP as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from pathlib import Path

from keras_facealign.data.files import Survey
from keras_facealign.data.readers import w300_lp
from tfds_builders._common import FaceBuilder, LabelConfig


class Builder(FaceBuilder):
    """Builds `w300_lp` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download 300W-LP.zip from
    http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm, unpack it, and give the
    folder that holds 300W_LP as manual_dir. Folders that you do not have may be missing.
    """

    HOMEPAGE = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
    READER = w300_lp
    BEAM = True
    SUBSET = "Folder of 300W-LP, such as HELEN or HELEN_Flip."
    EXTRAS = ("pose", "pose_parameters", "shape_parameters", "expression_parameters")
    BUILDER_CONFIGS = [  # noqa: RUF012
        LabelConfig(name="projected_3d", description="Landmarks of the 3D model, projected."),
        LabelConfig(
            name="contour_2d", description="Landmarks with the jaw on the visible contour."
        ),
        LabelConfig(name="pt2d", description="pt2d of each picture's own file."),
    ]

    def _options(self) -> dict[str, str]:
        return {"labels": self.builder_config.name}

    def _survey(self, root: Path) -> Survey:
        return w300_lp.survey(root, self.builder_config.name)
