"""AFLW2000-3D as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import aflw2000_3d
from tfds_builders._common import FaceBuilder, LabelConfig


class Builder(FaceBuilder):
    """Builds `aflw2000_3d` from the official files in `manual_dir`; see `LocalBuilder`."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download AFLW2000-3D.zip from
    http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm, unpack it, and give the
    folder that holds AFLW2000 as manual_dir. For the configuration reannotated, put
    AFLW2000-3D-Reannotated.pts68.npy from https://github.com/cleardusk/3DDFA (test.configs) beside
    it; with fewer than all pictures, also AFLW2000-3D.pts68.npy.
    """

    HOMEPAGE = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"
    READER = aflw2000_3d
    SUBSET = "Always AFLW2000."
    EXTRAS = ("pose", "depth", "pose_parameters", "shape_parameters", "expression_parameters")
    BUILDER_CONFIGS = [  # noqa: RUF012
        LabelConfig(name="original", description="Landmarks as published with the images."),
        LabelConfig(name="reannotated", description="Landmarks of the later re-annotation."),
    ]

    def _options(self) -> dict[str, str]:
        return {"labels": self.builder_config.name}
