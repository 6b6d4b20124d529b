"""TensorFlow Datasets builders; importing this package registers them with `tfds.load`."""

try:
    import tensorflow_datasets as _tfds  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tfds_builders needs TensorFlow Datasets; run: pip install 'keras-facealign[tfds]'"
    ) from error

from tfds_builders.aflw2000_3d import aflw2000_3d_dataset_builder
from tfds_builders.cfp import cfp_dataset_builder
from tfds_builders.cofw import cofw_dataset_builder
from tfds_builders.cofw68 import cofw68_dataset_builder
from tfds_builders.face_synthetics import face_synthetics_dataset_builder
from tfds_builders.ibug_300w import ibug_300w_dataset_builder
from tfds_builders.lfw_pairs import lfw_pairs_dataset_builder
from tfds_builders.menpo2d import menpo2d_dataset_builder
from tfds_builders.merl_rav import merl_rav_dataset_builder
from tfds_builders.w300_lp import w300_lp_dataset_builder
from tfds_builders.wflw import wflw_dataset_builder

__all__ = [
    "aflw2000_3d_dataset_builder",
    "cfp_dataset_builder",
    "cofw68_dataset_builder",
    "cofw_dataset_builder",
    "face_synthetics_dataset_builder",
    "ibug_300w_dataset_builder",
    "lfw_pairs_dataset_builder",
    "menpo2d_dataset_builder",
    "merl_rav_dataset_builder",
    "w300_lp_dataset_builder",
    "wflw_dataset_builder",
]
