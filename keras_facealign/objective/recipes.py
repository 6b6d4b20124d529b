"""Settings of `FaceAlignModel.compile`: the terms of the loss, and named recipes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.objective.losses import COHERENT_ERRORS, HEATMAP_REDUCTIONS, get_heatmap_loss
from keras_facealign.objective.metrics import NME_NORMALIZERS
from keras_facealign.objective.targets import TARGETS
from keras_facealign.objective.transform_range import TransformRange


def _check_choice(name: str, value: Any, choices: Any) -> None:
    if not isinstance(value, str) or value not in choices:
        raise FaceAlignError(f"Unknown {name} {value!r}; choose one of: {', '.join(choices)}.")


def _check_not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise FaceAlignError(f"{name} is {value}; it must not be negative.")


PAIR_RANGES: dict[str, TransformRange | None] = {
    # The augmentation's own range: rotation, scale, translation and flip.
    "similarity": None,
    "flip": TransformRange(rotation=0.0, scale=(1.0, 1.0), translation=0.0, flip=1.0),
    "rotation": TransformRange(rotation=40.0, scale=(1.0, 1.0), translation=0.0, flip=0.0),
}


@dataclass(frozen=True)
class CoherentTerm:
    """Configures the coherent loss L(p-p), which compares the two views' heatmaps.

    Args:
        transform: The transformation T between the views: "similarity" (rotation, scale,
            translation and flip, the paper's), "flip" (always) or "rotation". It sets the range of
            T unless there is `augmentation["pair"]`.
        error: "mean_squared_error" (the paper's) or "smooth_l1".
        region: "overlap": pixels that both views show, of landmarks that both views show. "whole":
            all pixels of all maps, as the original code compares them.
        stacks: "sum" of the stacks' terms, or their "mean".
        weight: Factor of the term (lambda), 0.001 in the paper; 0 disables it.
    """

    transform: str = "similarity"
    error: str = "mean_squared_error"
    region: str = "overlap"
    stacks: str = "sum"
    weight: float = 0.001

    def __post_init__(self) -> None:
        for name, choices in (
            ("transform", PAIR_RANGES),
            ("error", COHERENT_ERRORS),
            ("region", ("overlap", "whole")),
            ("stacks", ("sum", "mean")),
        ):
            _check_choice(f"coherent {name}", getattr(self, name), choices)
        _check_not_negative("coherent_weight", self.weight)


_CODE = {"region": "whole", "stacks": "mean", "weight": 1e-4}

COHERENT_TERMS: dict[str, CoherentTerm] = {
    "paper": CoherentTerm(),
    # The code of the paper's time (alignment/hg2.py of InsightFace): use_coherent 1 and 2.
    "flip": CoherentTerm("flip", **_CODE),
    "rotation": CoherentTerm("rotation", **_CODE),
    # alignment/heatmap of InsightFace.
    "flip_smooth_l1": CoherentTerm("flip", "smooth_l1", **_CODE),
}

# Views are rotated and scaled as in the paper, never translated, and only the pair is flipped.
_CODE_AUGMENTATION = {"base": {"translation": 0.0, "flip": 0.0}}

TRAINING_RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    # deep-face-alignment. The weight is 0.5, since the code takes one mean over both views where
    # equation 1 adds two.
    "dfa": {
        "heatmap_loss": "mean_squared_error",
        "heatmap_weight": 0.5,
        "targets": "patch",
        "sigma": 1.0,
        "peak": 20.0,
        "coherent": "flip",
        "augmentation": _CODE_AUGMENTATION,
    },
    # InsightFace, alignment/heatmap.
    "insightface": {
        "heatmap_loss": "spatial_softmax_crossentropy",
        "heatmap_reduction": "sum_of_image_means",
        "targets": "one_hot",
        "coherent": "flip_smooth_l1",
        "augmentation": _CODE_AUGMENTATION,
    },
    # InsightFace, alignment/hg2.py, the code of the paper's time. The weight is 0.25: one mean
    # over both views, and half of it for each stack.
    "insightface_2018": {
        "heatmap_loss": "spatial_softmax_crossentropy",
        "heatmap_weight": 0.25,
        "targets": "one_hot",
        "coherent": "flip",
        "augmentation": _CODE_AUGMENTATION,
    },
}

RENAMED_RECIPES = {"old": "insightface_2018"}
"""Names of recipes in version 0.1, which are still accepted."""


@dataclass(frozen=True)
class TrainingSettings:
    """Complete settings of `compile`, whose arguments they are, with the recipe resolved."""

    heatmap_loss: str | Callable[[Any, Any], Any] = "sigmoid_crossentropy"
    heatmap_reduction: str = "mean"
    heatmap_weight: float = 1.0
    targets: str = "gaussian"
    sigma: float = 1.5
    peak: float = 1.0
    foreground_weight: float = 0.0
    landmark_weight: float = 0.0
    coherent: CoherentTerm = CoherentTerm()
    nme_normalizer: str = "inter_ocular"
    augmentation: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        get_heatmap_loss(self.heatmap_loss)
        _check_choice("heatmap_reduction", self.heatmap_reduction, HEATMAP_REDUCTIONS)
        _check_choice("targets", self.targets, TARGETS)
        _check_choice("nme_normalizer", self.nme_normalizer, NME_NORMALIZERS)
        for name in ("heatmap_weight", "foreground_weight", "landmark_weight"):
            _check_not_negative(name, getattr(self, name))
        if not self.sigma > 0:
            raise FaceAlignError(
                f"sigma is {self.sigma}; a Gaussian needs a positive one, such as 1.5."
            )
        if self.targets == "patch" and self.sigma != int(self.sigma):
            raise FaceAlignError(
                f"sigma is {self.sigma}; a patch of 6 sigma + 1 pixels needs a whole number, or "
                "choose targets='gaussian'."
            )
        if not self.peak > 0:
            raise FaceAlignError(f"peak is {self.peak}; it must be positive.")
        if self.peak > 1 and self.heatmap_loss == "sigmoid_crossentropy":
            raise FaceAlignError(
                f"peak is {self.peak}, but the targets of sigmoid_crossentropy are probabilities, "
                "at most 1; choose heatmap_loss='mean_squared_error' for higher peaks."
            )

    @property
    def pair_range(self) -> TransformRange | None:
        """Range of T where the augmentation settings have none; None is the default range."""
        return PAIR_RANGES[self.coherent.transform]

    @classmethod
    def resolve(
        cls, recipe: str, coherent_weight: float | None = None, **given: Any
    ) -> TrainingSettings:
        """Returns a recipe's settings, with the given ones in their place.

        Args:
            recipe: A key of `TRAINING_RECIPES`.
            coherent_weight: Replaces the weight of the coherent term.
            **given: Fields of this class; None leaves a field to the recipe. `coherent` may also be
                a key of `COHERENT_TERMS` or a dict of fields of `CoherentTerm`.

        Returns:
            The settings.

        Raises:
            FaceAlignError: If a name is unknown or a value out of range.
        """
        recipe = RENAMED_RECIPES.get(recipe, recipe)
        _check_choice("recipe", recipe, TRAINING_RECIPES)
        chosen = dict(TRAINING_RECIPES[recipe])
        augmentation = _merge(chosen.pop("augmentation", {}), given.pop("augmentation", None) or {})
        chosen.update({name: value for name, value in given.items() if value is not None})
        coherent = _coherent_term(chosen.pop("coherent", "paper"))
        if coherent_weight is not None:
            coherent = replace(coherent, weight=float(coherent_weight))
        for name in ("heatmap_weight", "sigma", "peak", "foreground_weight", "landmark_weight"):
            if name in chosen:
                chosen[name] = float(chosen[name])
        return cls(**chosen, coherent=coherent, augmentation=augmentation)

    def to_dict(self) -> dict[str, Any]:
        """Returns the arguments of `compile` for these settings, as values that Keras can save."""
        arguments = {f.name: getattr(self, f.name) for f in fields(self)}
        arguments["coherent"] = asdict(self.coherent)
        arguments["augmentation"] = {
            name: value.to_dict() if isinstance(value, TransformRange) else value
            for name, value in self.augmentation.items()
        }
        return arguments


def _merge(usual: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Overrides a recipe's augmentation settings; ranges field by field."""
    merged = {**usual, **given}
    for name, value in usual.items():
        if isinstance(value, dict) and isinstance(given.get(name), dict):
            merged[name] = {**value, **given[name]}
    return merged


def _coherent_term(value: Any) -> CoherentTerm:
    if isinstance(value, CoherentTerm):
        return value
    if isinstance(value, dict):
        try:
            return CoherentTerm(**value)
        except TypeError as error:
            raise FaceAlignError(
                f"coherent is {value!r}; give fields of CoherentTerm: "
                f"{', '.join(CoherentTerm.__dataclass_fields__)} ({error})."
            ) from error
    _check_choice("coherent", value, COHERENT_TERMS)
    return COHERENT_TERMS[value]
