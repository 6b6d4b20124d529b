"""Facial landmarks with Keras: find 68 points on a face, and train the networks that find them.

The package imports in a blink and without any backend; each public name below loads its module at
first use, and with it Keras, unless the network comes out of an exported file:

    from keras_facealign import FaceAligner

    faces = FaceAligner.from_preset("sat1_cab_mobile").align("photo.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.inference import Face, FaceAligner, FaceTracker
    from keras_facealign.landmarks import IBUG68, LandmarkScheme, convert_landmarks, get_scheme
    from keras_facealign.models import (
        DenseUNetFaceAlign,
        DLAFaceAlign,
        FaceAlignModel,
        HourglassFaceAlign,
        SATFaceAlign,
        UNetFaceAlign,
    )
    from keras_facealign.presets import from_preset, list_presets, save_to_preset

__version__ = "0.1.0"

_HOMES = {
    "Face": "inference",
    "FaceAligner": "inference",
    "FaceTracker": "inference",
    "IBUG68": "landmarks",
    "LandmarkScheme": "landmarks",
    "convert_landmarks": "landmarks",
    "get_scheme": "landmarks",
    "DLAFaceAlign": "models",
    "DenseUNetFaceAlign": "models",
    "FaceAlignModel": "models",
    "HourglassFaceAlign": "models",
    "SATFaceAlign": "models",
    "UNetFaceAlign": "models",
    "from_preset": "presets",
    "list_presets": "presets",
    "save_to_preset": "presets",
}

__all__ = [
    "IBUG68",
    "DLAFaceAlign",
    "DenseUNetFaceAlign",
    "Face",
    "FaceAlignError",
    "FaceAlignModel",
    "FaceAligner",
    "FaceTracker",
    "HourglassFaceAlign",
    "LandmarkScheme",
    "SATFaceAlign",
    "UNetFaceAlign",
    "__version__",
    "convert_landmarks",
    "from_preset",
    "get_scheme",
    "list_presets",
    "save_to_preset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise ModuleNotFoundError(
            f"{__name__}.{name} needs Keras and one of its backends; run: pip install "
            '"keras_facealign[tensorflow]", or [jax], [torch] or [gpu]',
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
