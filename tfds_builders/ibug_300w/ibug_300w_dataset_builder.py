"""300 Faces in the Wild as a TensorFlow data set, built from the user's own copy."""

from __future__ import annotations

from keras_facealign.data.readers import ibug_300w
from tfds_builders._common import FaceBuilder


class Builder(FaceBuilder):
    """Builds `ibug_300w` from the official folders in `manual_dir`; see `LocalBuilder`.

    Example:
        >>> import tfds_builders  # doctest: +SKIP
        >>> config = tfds.download.DownloadConfig(manual_dir="/path/to/300w")  # doctest: +SKIP
        >>> tfds.load(  # doctest: +SKIP
        ...     "ibug_300w", split="train",
        ...     download_and_prepare_kwargs={"download_config": config},
        ... )
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Register and download 300W from https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/,
    unpack it, and give the folder that holds afw, helen, lfpw, ibug and Test as manual_dir. Folders
    that you do not have may be missing.
    """

    HOMEPAGE = "https://ibug.doc.ic.ac.uk/resources/300-W/"
    READER = ibug_300w
    SUBSET = "Folder of 300W, such as helen/trainset."
