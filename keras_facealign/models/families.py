"""The named model families, each a `FaceAlignModel` with one topology or design."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.models.face_align_model import FaceAlignModel
from keras_facealign.networks.architecture import Architecture


class _Family(FaceAlignModel):
    """A model with the fields of `Architecture` as its arguments."""

    topologies: tuple[str, ...]
    default_depth = 4
    default_block = "cab"

    def __init__(
        self,
        stacks: int = 2,
        depth: int | None = None,
        block: str | None = None,
        width: float = 1.0,
        topology: str | None = None,
        **kwargs: Any,
    ) -> None:
        topology = self.topologies[0] if topology is None else topology
        if topology not in self.topologies:
            raise FaceAlignError(
                f"{type(self).__name__} has no topology {topology!r}; choose one of: "
                f"{', '.join(self.topologies)}, or another family."
            )
        # `dcn` is the name of `deformable` in version 0.1.
        names = {f.name for f in fields(Architecture)} | {"dcn"}
        options = {name: kwargs.pop(name) for name in names & set(kwargs)}
        options["depth"] = self.default_depth if depth is None else depth
        options["block"] = self.default_block if block is None else block
        architecture = Architecture(topology=topology, stacks=stacks, width=width, **options)
        super().__init__(architecture, **kwargs)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> FaceAlignModel:
        config = dict(config)
        architecture = Architecture.from_dict(config.pop("architecture")).to_dict()
        return super().from_config({**architecture, **config}, custom_objects)


@keras.saving.register_keras_serializable(package="keras_facealign")
class UNetFaceAlign(_Family):
    """Stacked U-Nets: hourglasses with 1x1 convolutions on their lateral connections.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 4 in the paper.
        block: "resnet", "inception", "hpm" or "cab".
        width: Multiplier of all channel counts.
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.
    """

    topologies = ("unet",)


@keras.saving.register_keras_serializable(package="keras_facealign")
class HourglassFaceAlign(_Family):
    """Stacked hourglass networks.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 3 or 4 in the paper.
        block: "resnet", "inception", "hpm" or "cab".
        width: Multiplier of all channel counts.
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.
    """

    topologies = ("hourglass",)
    default_block = "resnet"


@keras.saving.register_keras_serializable(package="keras_facealign")
class DLAFaceAlign(_Family):
    """Stacked networks of deep layer aggregation.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 4 in the paper.
        block: Block of the stem and before each head; inside the stacks it is always "cab".
        width: Multiplier of all channel counts; 256 * width must be divisible by 8.
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.
    """

    topologies = ("dla",)


@keras.saving.register_keras_serializable(package="keras_facealign")
class SATFaceAlign(_Family):
    """Stacked networks of scale aggregation topology.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack. Default: the paper's 4 for SAT (I), else 3.
        block: Block of the stem and before each head; inside the stacks it is always "cab".
        width: Multiplier of all channel counts; 256 * width must be divisible by 8.
        topology: "sat", which is SAT (III), "sat_i" or "sat_ii".
        **kwargs: Further fields of `Architecture`, and `scheme` and `name` of `FaceAlignModel`.

    Example:
        >>> model = SATFaceAlign(stacks=1, width=0.125)
        >>> [tuple(maps.shape) for maps in model(keras.ops.zeros((1, 128, 128, 3)))]
        [(1, 64, 64, 68)]
    """

    topologies = ("sat", "sat_i", "sat_ii")

    def __init__(
        self,
        stacks: int = 2,
        depth: int | None = None,
        block: str = "cab",
        width: float = 1.0,
        topology: str = "sat",
        **kwargs: Any,
    ) -> None:
        if depth is None:
            depth = 4 if topology == "sat_i" else 3
        super().__init__(stacks, depth, block, width, topology, **kwargs)


# The paper's inside transformers as fields of `Architecture`. The spatial transformer is in the
# released code of 2018, whose network has the size in the paper's Table 1 only if it also has
# deformable convolutions.
_INSIDE: dict[str, dict[str, Any]] = {
    "deformable": {"deformable": "both"},
    "spatial_transformer": {
        "deformable": "both",
        "variant": "insightface_2018",
        "spatial_transformer": True,
    },
    "none": {},
}


@keras.saving.register_keras_serializable(package="keras_facealign")
class DenseUNetFaceAlign(_Family):
    """DenseU-Net: stacks of SAT (III) with the paper's dual transformers.

    The inside transformer is part of the network, the outside transformer is the coherent loss.
    With both, the defaults, this is the paper's final model. Section 3 of Stacked Dense U-Nets.

    Args:
        stacks: Number of stacks.
        depth: Number of 2x poolings inside a stack, 3 in the paper.
        block: Block of the stem and before each head; inside the stacks it is always "cab".
        width: Multiplier of all channel counts; 256 * width must be divisible by 8.
        inside: The inside transformer: "deformable", "spatial_transformer" or "none".
        outside: Whether `compile` turns the coherent loss on unless told otherwise.
        **kwargs: Further fields of `Architecture`, which override those that `inside` sets, and
        `scheme` and `name` of `FaceAlignModel`.

    Example:
        >>> model = DenseUNetFaceAlign(stacks=1, width=0.125)
        >>> model.architecture.deformable
        'both'
    """

    topologies = ("sat",)

    def __init__(
        self,
        stacks: int = 2,
        depth: int = 3,
        block: str = "cab",
        width: float = 1.0,
        inside: str = "deformable",
        outside: bool = True,
        **kwargs: Any,
    ) -> None:
        if inside not in _INSIDE:
            raise FaceAlignError(
                f"Unknown inside transformer {inside!r}; choose one of: {', '.join(_INSIDE)}."
            )
        super().__init__(stacks, depth, block, width, **{**_INSIDE[inside], **kwargs})
        self.outside = bool(outside)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `FaceAlignModel.compile`; without the outside transformer, `coherent_weight` is 0."""
        if not self.outside and len(args) < 2 and "coherent" not in kwargs:
            kwargs.setdefault("coherent_weight", 0.0)
        super().compile(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outside": self.outside}
