"""300 Faces in the Wild as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from keras_facealign.data import ibug_300w
from keras_facealign.data.images import is_plain_jpeg


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `ibug_300w` from the official folders in `manual_dir`.

    Args:
        strict: Stop at the first broken file. Without it, broken files are named in warnings,
            counted and left out.
        **kwargs: As for every `tfds.core.DatasetBuilder`: `data_dir`, `config`, `version`,
            `file_format`.

    Example:
        >>> import tfds_builders  # doctest: +SKIP
        >>> config = tfds.download.DownloadConfig(manual_dir="/path/to/300w")  # doctest: +SKIP
        >>> tfds.load(  # doctest: +SKIP
        ...     "ibug_300w", split="train",
        ...     download_and_prepare_kwargs={"download_config": config},
        ... )
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Register and download 300W from https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/,
    unpack it, and give the folder that holds afw, helen, lfpw, ibug and Test as manual_dir. Folders
    that you do not have may be missing.
    """

    def __init__(self, *, strict: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._strict = strict
        # The base class rebuilds a pickled builder from these arguments.
        self._original_state["strict"] = strict

    def _info(self) -> tfds.core.DatasetInfo:
        count = ibug_300w.NUM_LANDMARKS
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), doc="RGB."),
                    "landmarks": tfds.features.Tensor(
                        shape=(count, 2), dtype=np.float32, doc="x, y in 0-based pixels."
                    ),
                    "visibility": tfds.features.Tensor(
                        shape=(count,),
                        dtype=np.int32,
                        doc="0 no position, 1 occluded, 2 visible; here always 2.",
                    ),
                    "box": tfds.features.Tensor(
                        shape=(4,),
                        dtype=np.float32,
                        doc="x0, y0, x1, y1 in 0-based pixels, tight around the landmarks.",
                    ),
                    "file_name": tfds.features.Text(doc="Path of the image below manual_dir."),
                    "subset": tfds.features.Text(doc="Folder of 300W, such as helen/trainset."),
                }
            ),
            supervised_keys=("image", "landmarks"),
            homepage="https://ibug.doc.ic.ac.uk/resources/300-W/",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        root = os.fspath(dl_manager.manual_dir)
        return {
            split: self._generate_examples(root, split)
            for split in ibug_300w.available_splits(root)
        }

    def _generate_examples(self, root: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in ibug_300w.load_samples(root, split, strict=self._strict):
            path = os.path.join(root, example.file_name)
            yield (
                example.file_name,
                {
                    # A JPEG's own bytes are several times smaller than its pixels as PNG.
                    "image": path if is_plain_jpeg(path) else example.image,
                    "landmarks": example.landmarks,
                    "visibility": example.visibility,
                    "box": example.box,
                    "file_name": example.file_name,
                    "subset": example.subset,
                },
            )
