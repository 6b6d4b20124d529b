"""The named model families: `FaceAlignModel` with one topology each."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.models.face_align_model import FaceAlignModel
from keras_facealign.models.stacked import Architecture

__all__ = ["HourglassFaceAlign", "SATFaceAlign"]


class _Family(FaceAlignModel):
    """A model that takes the fields of `Architecture`, without the topology, as its arguments."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FaceAlignModel:
        config = dict(config)
        architecture = dict(config.pop("architecture"))
        architecture.pop("topology", None)
        return super().from_config({**config, **architecture}, custom_objects)


@keras.saving.register_keras_serializable(package="keras_facealign")
class SATFaceAlign(_Family):
    """Stacked networks of scale aggregation topology (SAT III).

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 3 in the paper.
        block: "resnet", "hpm" or "cab", see `Architecture`.
        width: Multiplier of all channel counts; 256 * width must be divisible by 8.
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.

    Example:
        >>> model = SATFaceAlign(stacks=1, width=0.125)
        >>> [tuple(maps.shape) for maps in model(keras.ops.zeros((1, 128, 128, 3)))]
        [(1, 64, 64, 68)]
    """

    def __init__(
        self,
        stacks: int = 2,
        depth: int = 3,
        block: str = "cab",
        width: float = 1.0,
        **kwargs: Any,
    ) -> None:
        options = _split(kwargs)
        arch = Architecture("sat", stacks, depth, block, width, **options)
        super().__init__(arch, **kwargs)


@keras.saving.register_keras_serializable(package="keras_facealign")
class HourglassFaceAlign(_Family):
    """Stacked hourglass networks.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 3 or 4 in the paper.
        block: "resnet", "hpm" or "cab".
        width: Multiplier of all channel counts.
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.
    """

    def __init__(
        self,
        stacks: int = 2,
        depth: int = 4,
        block: str = "resnet",
        width: float = 1.0,
        **kwargs: Any,
    ) -> None:
        options = _split(kwargs)
        arch = Architecture("hourglass", stacks, depth, block, width, **options)
        super().__init__(arch, **kwargs)


def _split(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Takes the fields of `Architecture` that a family passes through out of `kwargs`."""
    names = ("num_landmarks", "input_size", "map_size", "stem", "head_prior")
    return {name: kwargs.pop(name) for name in names if name in kwargs}
