"""Base classes of the builders: common features, strictness, and the survey of a user's copy."""

from __future__ import annotations

import abc
import logging
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from keras_facealign.data.examples import FaceExample
from keras_facealign.data.files import Survey, import_extra
from keras_facealign.data.images import is_plain_jpeg
from keras_facealign.data.readers.image_pairs import ImagePair
from keras_facealign.errors import FaceAlignError

__all__ = ["FaceBuilder", "LabelConfig", "LocalBuilder", "PairBuilder", "stored_image"]

_logger = logging.getLogger(__name__)

# Namespace of the counters of what Apache Beam has read.
_COUNTERS = "tfds_builders"

# Further labels, with the same name and shape in all sets that have them.
EXTRA_FEATURES = {
    "published_box": ((4,), np.float32, "x0, y0, x1, y1 in 0-based pixels, as the set gives it."),
    "attributes": ((6,), np.int32, "pose, expression, illumination, make-up, occlusion, blur."),
    "pose": ((3,), np.float32, "Pitch, yaw and roll in degrees."),
    "depth": ((68,), np.float32, "z of the 3D landmarks in pixels."),
    "pose_parameters": ((7,), np.float32, "3DMM: pitch, yaw, roll in radians, t3d, scale."),
    "shape_parameters": ((199,), np.float32, "3DMM: weights of the shape's components."),
    "expression_parameters": ((29,), np.float32, "3DMM: weights of the expression's components."),
}


class LabelConfig(tfds.core.BuilderConfig):
    """One of several kinds of labels or faces that a data set has."""


class LocalBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
    """Builds a data set from the user's copy in `manual_dir`, without the network.

    Args:
        strict: Stop at the first broken file. By default, broken files are skipped with warnings.
        beam: Read the files on Apache Beam, with the `beam_runner` and `beam_options` of the
            `DownloadConfig`. For large sets only.
        **kwargs: As for every `tfds.core.DatasetBuilder`: `data_dir`, `config`, `version`,
            `file_format`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}

    HOMEPAGE: ClassVar[str]
    # A module of keras_facealign.data.readers.
    READER: ClassVar[Any]
    # Whether the reader's items are paths, which other processes can read.
    BEAM: ClassVar[bool] = False

    def __init__(self, *, strict: bool = False, beam: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if beam and not self.BEAM:
            raise FaceAlignError(f"{self.name}: is too small for Apache Beam; leave out beam=True")
        self._strict = strict
        self._beam = beam
        # The base class rebuilds a pickled builder from these arguments.
        self._original_state.update(strict=strict, beam=beam)

    def _options(self) -> dict[str, Any]:
        """Keyword arguments of the reader, by the builder's configuration."""
        return {}

    def _survey(self, root: Path) -> Survey:
        """Counts what is in the copy."""
        return self.READER.survey(root)

    @abc.abstractmethod
    def _to_features(self, example: Any) -> tuple[str, dict[str, Any]]:
        """Key and features of what the reader yields."""

    def _published(self) -> Mapping[str, int]:
        """Samples that the authors' copy has, by split."""
        return self.READER.PUBLISHED

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        root = Path(os.fspath(dl_manager.manual_dir))
        survey = self._survey(root)
        if not survey.found:
            raise FaceAlignError(
                f"{root}: {self.name} cannot be built without {', '.join(survey.missing)}; "
                f"see {self.HOMEPAGE}"
            )
        published = self._published()
        if survey.missing:
            _logger.warning(
                "%s: left out %s (not there), and so the splits %s.",
                root,
                ", ".join(survey.missing),
                ", ".join(split for split in published if split not in survey.found) or "none",
            )
        for split, count in survey.found.items():
            if count < published[split]:
                _logger.warning(
                    "%s: %s has %d of %d official samples.", root, split, count, published[split]
                )
        return {split: self._generate_examples(root, split) for split in survey.found}

    def _generate_examples(self, root: Path, split: str) -> Any:
        if self._beam:
            return self._beam_examples(root, split)
        options = {**self._options(), "strict": self._strict}
        samples = self.READER.load_samples(root, split, **options)
        return (self._to_features(example) for example in samples)

    def _beam_examples(self, root: Path, split: str) -> Any:
        """A step of a pipeline, from nothing to keys and features."""
        beam = import_extra("apache_beam", "beam")
        # What `reader` makes a reader of: it gives the items, and a function that reads one.
        items, read = self.READER.load_samples.__wrapped__(root, split, **self._options())

        def features(item: Any) -> Iterator[tuple[str, dict[str, Any]]]:
            count = partial(beam.metrics.Metrics.counter, _COUNTERS)
            count("samples").inc()
            try:
                yield self._to_features(read(item))
            except FaceAlignError as error:
                if self._strict:
                    raise
                count("skipped").inc()
                _logger.warning("Skipped: %s", error)

        return beam.Create(list(items)) | beam.Reshuffle() | beam.FlatMap(features)

    def _process_pipeline_result(self, pipeline_result: Any) -> None:
        """Says how many samples Apache Beam has skipped; TFDS calls it at the end.

        TFDS itself raises if a split is empty.
        """
        numbers: dict[str, dict[str, int]] = {}
        for counter in pipeline_result.metrics().query()["counters"]:
            if counter.key.metric.namespace == _COUNTERS:
                # A step belongs to one split.
                numbers.setdefault(counter.key.step, {})[counter.key.metric.name] = counter.result
        for number in numbers.values():
            if skipped := number.get("skipped"):
                total = number["samples"]
                _logger.warning("Skipped %d of %d samples; the reasons are above.", skipped, total)


class FaceBuilder(LocalBuilder, skip_registration=True):  # pyright: ignore
    """A `LocalBuilder` of single faces with landmarks."""

    VISIBILITY: ClassVar[str] = "here always 2"
    SUBSET: ClassVar[str]
    EXTRAS: ClassVar[tuple[str, ...]] = ()

    def _num_landmarks(self) -> int:
        return self.READER.NUM_LANDMARKS

    def _info(self) -> tfds.core.DatasetInfo:
        count = self._num_landmarks()
        features: dict[str, Any] = {
            "image": tfds.features.Image(shape=(None, None, 3), doc="RGB."),
            "landmarks": tfds.features.Tensor(
                shape=(count, 2), dtype=np.float32, doc="x, y in 0-based pixels."
            ),
            "visibility": tfds.features.Tensor(
                shape=(count,),
                dtype=np.int32,
                doc=f"0 no position, 1 occluded, 2 visible; {self.VISIBILITY}.",
            ),
            "box": tfds.features.Tensor(
                shape=(4,),
                dtype=np.float32,
                doc="x0, y0, x1, y1 in 0-based pixels, tight around the landmarks.",
            ),
            "file_name": tfds.features.Text(doc="Path of the image below manual_dir."),
            "subset": tfds.features.Text(doc=self.SUBSET),
        }
        for name in self.EXTRAS:
            shape, dtype, doc = EXTRA_FEATURES[name]
            features[name] = tfds.features.Tensor(shape=shape, dtype=dtype, doc=doc)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "landmarks"),
            homepage=self.HOMEPAGE,
        )

    def _to_features(self, example: FaceExample) -> tuple[str, dict[str, Any]]:
        features = {
            "image": stored_image(example.image_path, example.image),
            "landmarks": example.landmarks,
            "visibility": example.visibility,
            "box": example.box,
            "file_name": example.file_name,
            "subset": example.subset,
        }
        features.update({name: example.extras[name] for name in self.EXTRAS})
        return example.key, features


class PairBuilder(LocalBuilder, skip_registration=True):  # pyright: ignore
    """A `LocalBuilder` of pairs of images for verification."""

    HAS_LANDMARKS: ClassVar[bool] = False

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, Any] = {
            "same": tfds.features.Scalar(dtype=np.bool_, doc="Whether both are one person."),
            "fold": tfds.features.Scalar(
                dtype=np.int32, doc="Part of the cross-validation, from 0."
            ),
        }
        for side in ("1", "2"):
            features[f"image{side}"] = tfds.features.Image(shape=(None, None, 3), doc="RGB.")
            features[f"file_name{side}"] = tfds.features.Text(
                doc="Path of the image below manual_dir."
            )
            if self.HAS_LANDMARKS:
                features[f"landmarks{side}"] = tfds.features.Tensor(
                    shape=(None, 2), dtype=np.float32, doc="x, y in pixels as the set gives them."
                )
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), homepage=self.HOMEPAGE
        )

    def _to_features(self, example: ImagePair) -> tuple[str, dict[str, Any]]:
        features: dict[str, Any] = {"same": example.same, "fold": example.fold}
        for side in (0, 1):
            image = stored_image(example.image_paths[side], example.images[side])
            features[f"image{side + 1}"] = image
            features[f"file_name{side + 1}"] = example.file_names[side]
            if self.HAS_LANDMARKS:
                features[f"landmarks{side + 1}"] = example.landmarks[side]
        return example.key, features


def stored_image(path: Path | None, image: np.ndarray) -> str | np.ndarray:
    """What TFDS stores of an image: the file of a plain JPEG or PNG, else the pixels.

    A JPEG file is several times smaller than its pixels as PNG, whose compression takes tens of
    milliseconds.
    """
    plain = path is not None and (is_plain_jpeg(path) or _is_plain_png(path))
    return str(path) if plain else image


def _is_plain_png(path: Path) -> bool:
    """Whether all decoders agree on a PNG: RGB of 8 bits, upright, not transparent."""
    with path.open("rb") as stream:
        start = stream.read(26)
    if start[:8] != b"\x89PNG\r\n\x1a\n" or start[24:26] != bytes([8, 2]):
        return False
    with Image.open(path) as picture:
        return "transparency" not in picture.info and not picture.getexif()
