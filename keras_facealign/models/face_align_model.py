"""`FaceAlignModel`: a network that trains on pairs of views and predicts landmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    LandmarkScheme,
    as_scheme,
    is_scheme_file,
    read_scheme,
    scheme_config,
)
from keras_facealign.models.finite import check_finite_state
from keras_facealign.models.prediction import LandmarkPrediction
from keras_facealign.models.preset_io import load_preset, save_preset
from keras_facealign.models.training_step import TrainingStep
from keras_facealign.models.transfer import with_landmarks
from keras_facealign.models.weights_file import check_weights_file, note_architecture
from keras_facealign.networks.architecture import Architecture
from keras_facealign.networks.stacked import build_network
from keras_facealign.objective import PairedAugmentation
from keras_facealign.objective.metrics import NormalizedMeanError
from keras_facealign.objective.recipes import CoherentTerm, TrainingSettings
from keras_facealign.prediction.concurrency import start_keras

if TYPE_CHECKING:
    from typing_extensions import Self


@keras.saving.register_keras_serializable(package="keras_facealign")
class FaceAlignModel(LandmarkPrediction, TrainingStep, keras.Model):
    """A heatmap network with the paper's training step and sub-pixel prediction.

    `model(images)` takes RGB images, 0 to 255, (B, S, S, 3), and returns a list with the raw
    heatmaps of every stack, float32 (B, 64, 64, K). `model.fit(dataset)` takes batches as dicts:

    * "image": uint8 or float (B, C, C, 3), RGB 0 to 255, with the face in the middle `S` pixels and
      a border around them that augmentation may move into view;
    * "landmarks": float32 (B, K, 2), pixels of that crop, x before y;
    * "visibility": (B, K), 0 where a landmark has no position, else 1 or 2.

    Each step draws two views of every image on the device and minimizes equation 1 of Stacked Dense
    U-Nets (BMVC 2018), summed over the stacks. A subclass may override `make_views` and
    `pair_loss`, the two halves of it, `training_outputs`, or `train_step`. Landmarks that have no
    position or lie outside a view are ignored. Faces without any labeled landmark contribute only
    the coherent
    loss: their two views have to agree.

    Args:
        architecture: The network, an `Architecture` or its dict.
        scheme: The landmark scheme: its name, a `LandmarkScheme`, or the dict of one, see
            `scheme_from_dict`. Its number of points must be the architecture's.
        landmark_offset: (dx, dy) in pixels of the input, at most an eighth of its side, added to
            all predicted landmarks; see `keras_facealign.training.landmark_offset`. Training does
            not use it.
        name: Model name.

    Example:
        >>> model = FaceAlignModel(Architecture(stacks=1, width=0.125))
        >>> model.compile("adam")
        >>> landmarks, confidence = model.predict_landmarks(np.zeros((1, 128, 128, 3), "uint8"))
        >>> landmarks.shape, confidence.shape
        ((1, 68, 2), (1, 68))
    """

    def __init__(
        self,
        architecture: Architecture | dict[str, Any],
        scheme: str | dict[str, Any] | LandmarkScheme = "ibug68",
        landmark_offset: Sequence[float] = (0.0, 0.0),
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        start_keras()

        # Keras ignores arguments that it does not know.
        if unknown := sorted(set(kwargs) - {"trainable", "dtype"}):
            raise FaceAlignError(
                f"{type(self).__name__} has no argument {unknown[0]!r}; besides those of its "
                "architecture it has: scheme, landmark_offset, name, trainable, dtype."
            )
        if not isinstance(kwargs.get("trainable", True), bool):
            raise FaceAlignError(f"trainable is {kwargs['trainable']!r}; give True or False.")
        if isinstance(architecture, dict):
            architecture = Architecture.from_dict(architecture)
        landmark_scheme = as_scheme(scheme)
        if architecture.num_landmarks != landmark_scheme.num_landmarks:
            raise FaceAlignError(
                f"num_landmarks={architecture.num_landmarks} does not fit scheme "
                f"{landmark_scheme.name!r}, which has {landmark_scheme.num_landmarks} points."
            )
        network = build_network(architecture)
        super().__init__(inputs=network.images, outputs=network.outputs, name=name, **kwargs)  # pyright: ignore[reportCallIssue]
        self.architecture = architecture
        self.scheme: LandmarkScheme = landmark_scheme
        self.decode_method = "taylor"
        self.landmark_offset = landmark_offset
        self.augmentation = PairedAugmentation(
            architecture.input_size, landmark_scheme.flip_permutation, name="augmentation"
        )
        self._heatmap_tracker = keras.metrics.Mean(name="heatmap_loss")
        self._coherent_tracker = keras.metrics.Mean(name="coherent_loss")
        self._nme_tracker = NormalizedMeanError(
            name="nme",
            normalizer=self.default_normalizer,
            eye_corners=landmark_scheme.eye_corners or (0, 1),
        )

    @property
    def input_size(self) -> int:
        """Side of the input in pixels."""
        return self.architecture.input_size

    @property
    def num_landmarks(self) -> int:
        """Number of landmarks of a face (K)."""
        return self.architecture.num_landmarks

    @property
    def default_normalizer(self) -> str:
        """What errors are divided by: the distance of the eyes, or where unknown, the box size."""
        return "inter_ocular" if self.scheme.eye_corners else "box_size"

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        start_keras()
        if isinstance(inputs, dict):
            # A batch of labeled faces, for which Keras's input checks and casts are not made.
            return self.call(inputs, *args, **kwargs)
        return super().__call__(inputs, *args, **kwargs)

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        mask: Any = None,
        return_all_outputs: bool = False,
    ) -> Any:
        if isinstance(inputs, dict):
            return self.training_outputs(inputs) if training else self.validation_outputs(inputs)
        outputs = _as_list(super().call(inputs, training=training, mask=mask))
        return outputs if return_all_outputs else outputs[: self.architecture.stacks]

    def compute_output_spec(
        self, inputs: Any, training: Any = None, mask: Any = None, return_all_outputs: bool = False
    ) -> list[Any]:
        outputs = _as_list(super().compute_output_spec(inputs, training=training, mask=mask))
        return outputs if return_all_outputs else outputs[: self.architecture.stacks]

    def heatmaps_and_frames(
        self, images: Any, training: bool | None = None
    ) -> tuple[list[Any], Any]:
        """Computes the heatmaps that training and prediction use, and the frames they show.

        Args:
            images: (B, S, S, 3), RGB 0 to 255.
            training: As in Keras.

        Returns:
            A list of raw heatmaps, one (B, H, W, K) for each stack. With
            `Architecture.heads_between_stacks` the last one differs from that of `call`. And the
            frames: None if the heatmaps show the input's own frame, else float32 (B, 2, 3), the
            matrix from the input's pixels to those of the frame that they show, of equal size.
        """
        arch = self.architecture
        if not (arch.heads_between_stacks or arch.spatial_transformer):
            return self(images, training=training), None
        outputs = self(images, training=training, return_all_outputs=True)
        heatmaps, extra = outputs[: arch.stacks], outputs[arch.stacks :]
        if arch.heads_between_stacks:
            heatmaps[-1] = extra[0]
        return heatmaps, extra[-1] if arch.spatial_transformer else None

    # ---- training -------------------------------------------------------------------------------

    def compile(  # type: ignore[override]
        self,
        optimizer: Any = "nadam",
        coherent_weight: float | None = None,
        heatmap_loss: str | Callable[[Any, Any], Any] | None = None,
        sigma: float | None = None,
        foreground_weight: float | None = None,
        landmark_weight: float | None = None,
        augmentation: dict[str, Any] | None = None,
        *,
        recipe: str = "paper",
        coherent: str | dict[str, Any] | CoherentTerm | None = None,
        heatmap_reduction: str | None = None,
        heatmap_weight: float | None = None,
        targets: str | None = None,
        peak: float | None = None,
        nme_normalizer: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training. Arguments that are not given are taken from the recipe.

        Args:
            optimizer: A Keras optimizer or its name; `keras_facealign.training.optimizers` has
                those of the recipes.
            coherent_weight: Weight of the coherent loss (lambda; the paper's 0.001).
            heatmap_loss: Element-wise loss against the ground truth, see
                `keras_facealign.objective.losses.get_heatmap_loss`.
            sigma: Standard deviation of the ground truth's Gaussians in map pixels; the paper's
                recipe has 1.5.
            foreground_weight: Pixels weigh 1 + foreground_weight * target (of a peak of 1), so that
                the few pixels near a landmark are not drowned by the background. 0 is the paper's.
            landmark_weight: Weight of the mean distance, in map pixels, between the ground truth
                and the sub-pixel position that decoding reads. 0 is the paper's.
            augmentation: Overrides of `PairedAugmentation`'s arguments: `base`, `pair`, `seed`, and
                the strengths of the corruptions, `color`, `erase`, `occlusion`, `hue`,
                `gray`, `blur`, `low_resolution`, `noise` and `jpeg`, see `Corruptions`.
            recipe: A key of `TRAINING_RECIPES`: "paper", or one of the original codes', "dfa",
                "insightface" and "insightface_2018". Those do not train probabilities: set
                `decode_method` to "upsample", their way of decoding, and do not use the confidence.
            coherent: The coherent term: a key of `COHERENT_TERMS`, a `CoherentTerm` or a dict of
                its fields.
            heatmap_reduction: "mean" over visible landmarks, or "sum_of_image_means".
            heatmap_weight: Factor of the heatmap loss; the paper's is 1.
            targets: What is drawn into a landmark's target heatmap: "gaussian" at its sub-pixel
                position, "patch" or "one_hot" at its pixel, see
                `keras_facealign.objective.targets`.
            peak: Highest value of the targets; the paper's is 1.
            nme_normalizer: What the reported NME is divided by: "inter_ocular", "box_size" or
                "box_diagonal", see `keras_facealign.objective.metrics.NormalizedMeanError`. The
                distance of the eyes is meaningless for faces in profile. Default: "inter_ocular",
                and "box_size" if the scheme does not tell the corners of the eyes.
            **kwargs: `run_eagerly`, `jit_compile`, `steps_per_execution`, `auto_scale_loss`, as in
                Keras.

        Raises:
            FaceAlignError: If a value is out of range or a name is unknown.
        """
        for name in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise FaceAlignError(
                    f"compile() got {name}={kwargs[name]!r}; this model's loss is set by "
                    "heatmap_loss and coherent_weight, and it always reports the NME."
                )
        settings = TrainingSettings.resolve(
            recipe,
            coherent_weight,
            heatmap_loss=heatmap_loss,
            heatmap_reduction=heatmap_reduction,
            heatmap_weight=heatmap_weight,
            targets=targets,
            sigma=sigma,
            peak=peak,
            foreground_weight=foreground_weight,
            landmark_weight=landmark_weight,
            coherent=coherent,
            nme_normalizer=nme_normalizer or self.default_normalizer,
            augmentation=augmentation,
        )
        if settings.nme_normalizer == "inter_ocular" and self.scheme.eye_corners is None:
            raise FaceAlignError(
                f"Scheme {self.scheme.name!r} does not tell the corners of the eyes; use "
                'nme_normalizer="box_size".'
            )
        self.augmentation.configure(settings.augmentation, settings.pair_range)
        flips = max(self.augmentation.base.flip, self.augmentation.pair.flip)
        if flips > 0 and not self.scheme.has_flip_pairs:
            raise FaceAlignError(
                f"Scheme {self.scheme.name!r} does not define flip pairs; train "
                'without flips: augmentation={"base": {"flip": 0.0}, "pair": {"flip": 0.0}}.'
            )
        self._training = settings
        self._nme_tracker.normalizer = settings.nme_normalizer
        super().compile(optimizer=optimizer, **kwargs)

    # Where Keras would wait forever, its loops raise an error.

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        start_keras()
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        start_keras()
        return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        start_keras()
        return super().predict(*args, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if not config:
            return config
        for name in ("loss", "metrics", "loss_weights", "weighted_metrics"):
            config.pop(name, None)
        return {**config, **keras.saving.serialize_keras_object(self._training.to_dict())}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = {key: keras.saving.deserialize_keras_object(v) for key, v in config.items()}
        if self.scheme.eye_corners is None and config.get("nme_normalizer") == "inter_ocular":
            # Up to version 0.2, nameless points were measured by the first and the last of them.
            config["nme_normalizer"] = None
        self.compile(**config)
        if hasattr(self, "optimizer") and self.built:
            self.optimizer.build(self.trainable_variables)

    # ---- presets --------------------------------------------------------------------------------

    @classmethod
    def from_preset(
        cls,
        name: str | Path,
        load_weights: bool = True,
        *,
        scheme: str | Path | dict[str, Any] | LandmarkScheme | None = None,
        num_landmarks: int | None = None,
        mapping: Mapping[int, int] | None = None,
    ) -> Self:
        """Builds a model from a preset, also for other landmarks than the preset's.

        `FaceAlignModel.from_preset` gives a model of the preset's own class, such as
        `SATFaceAlign`. A class derived from that class builds a model of itself.

        Args:
            name: A bundled preset's name, see `keras_facealign.presets.list_presets`, or a folder
                that `save_to_preset` wrote.
            load_weights: Whether to load the trained weights; False gives the untrained network,
                without `landmark_offset`.
            scheme: Other landmarks to find: a scheme, its name, or a scheme file (see
                `keras_facealign.landmarks.read_scheme`). All weights but those of the heads are the
                preset's, see `keras_facealign.models.transfer.with_landmarks`.
            num_landmarks: Their number, instead of a scheme or in addition.
            mapping: For new landmarks that are to start from a known one: index of the new, and of
                the preset's. Default: what is known about the two schemes.

        Returns:
            The model.

        Raises:
            FaceAlignError: If the preset is unknown, damaged, of another class, or has no trained
                weights; or the scheme cannot be used.

        Example:
            >>> type(FaceAlignModel.from_preset("sat1_cab_mobile")).__name__
            'SATFaceAlign'
            >>> FaceAlignModel.from_preset("sat1_cab_mobile", num_landmarks=21).scheme.name
            'points21'
        """
        model = load_preset(cls, name, load_weights)
        if scheme is None and num_landmarks in (None, model.num_landmarks) and mapping is None:
            return model
        if isinstance(scheme, (str, Path)) and is_scheme_file(scheme):
            scheme = read_scheme(scheme)
        if isinstance(scheme, Path):
            scheme = str(scheme)
        return with_landmarks(model, scheme, num_landmarks, mapping)

    def save_to_preset(self, folder: str | Path, metadata: dict[str, Any] | None = None) -> Path:
        """Writes the model as a preset folder.

        A preset that is there already is replaced as a whole once the new one is written: whenever
        the program is stopped, there is either the old one or the new one. Its model card
        (README.md and card.png) is kept. Its exports (model.tflite and so on) are removed with the
        old weights that they were made of, with a warning.

        Args:
            folder: Where to write; made if missing. A model of a user's class is written as the
                class of this package that it derives from.
            metadata: What `list_presets` shows: description, license, accuracy and so on. The
                number of parameters and the operations of a forward pass are added.

        Returns:
            The folder.

        Raises:
            FaceAlignError: If the folder holds anything but a preset, or cannot be written, or a
                weight is not finite.
        """
        name_of = keras.saving.get_registered_name
        ours = (c for c in type(self).__mro__ if name_of(c) == f"keras_facealign>{c.__name__}")
        return save_preset(self, next(ours), folder, metadata)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the weights as Keras does, and in a `.weights.h5` file the architecture as well.

        Raises:
            FaceAlignError: If a weight is not finite; nothing is written then.
        """
        check_finite_state(self)
        super().save_weights(filepath, *args, **kwargs)
        note_architecture(filepath, self.architecture.to_dict())

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads weights as Keras does, but not those of another architecture.

        Args:
            filepath: The file, see `keras.Model.load_weights`.
            skip_mismatch: Whether to load what fits of another architecture's weights.
            **kwargs: As in Keras.

        Raises:
            FaceAlignError: If the file cannot be read or belongs to another architecture.
        """
        start_keras()
        try:
            expected = [] if skip_mismatch else self.weights
            check_weights_file(filepath, expected, self.architecture.to_dict())
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        except FaceAlignError:
            raise
        except Exception as error:  # h5py meets damage with errors of every kind
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FaceAlignError(
                f"{filepath} cannot be read ({reason}); restore the file."
            ) from error

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; raises `FaceAlignError` if a weight is not finite, and writes nothing."""
        check_finite_state(self)
        return super().save(*args, **kwargs)

    # ---- serialization --------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "architecture": self.architecture.to_dict(),
            "scheme": scheme_config(self.scheme),
        }
        if any(self.landmark_offset):
            config["landmark_offset"] = list(self.landmark_offset)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FaceAlignModel:
        config = dict(config)
        return cls(**config)


def _as_list(heatmaps: Any) -> list[Any]:
    """Restores the list of one entry per stack, which Keras unwraps if there is only one."""
    return list(heatmaps) if isinstance(heatmaps, (list, tuple)) else [heatmaps]
