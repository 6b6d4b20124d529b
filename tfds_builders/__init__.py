"""TensorFlow Datasets builders; importing this package registers them with `tfds.load`."""

try:
    import tensorflow_datasets as _tfds  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tfds_builders needs TensorFlow Datasets; run: pip install 'keras-facealign[tfds]'"
    ) from error

from tfds_builders.ibug_300w import ibug_300w_dataset_builder

__all__ = ["ibug_300w_dataset_builder"]
