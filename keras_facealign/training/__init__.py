"""Training runs: configuration, optimizers, averaged weights, resumption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.training.configuration import OPTIMIZERS, TrainingConfig, make_optimizer
    from keras_facealign.training.divergence import TerminateOnNonFinite
    from keras_facealign.training.ema import EMAWeights
    from keras_facealign.training.landmark_offset import measure_landmark_offset
    from keras_facealign.training.optimizers import QuickAdamW, recipe_optimizer
    from keras_facealign.training.processes import DeviceSettings, connected
    from keras_facealign.training.run import fit

__all__ = [
    "OPTIMIZERS",
    "DeviceSettings",
    "EMAWeights",
    "QuickAdamW",
    "TerminateOnNonFinite",
    "TrainingConfig",
    "connected",
    "fit",
    "make_optimizer",
    "measure_landmark_offset",
    "recipe_optimizer",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "configuration": ("OPTIMIZERS", "TrainingConfig", "make_optimizer"),
        "divergence": ("TerminateOnNonFinite",),
        "ema": ("EMAWeights",),
        "processes": ("DeviceSettings", "connected"),
        "run": ("fit",),
        "landmark_offset": ("measure_landmark_offset",),
        "optimizers": ("QuickAdamW", "recipe_optimizer"),
    },
)
