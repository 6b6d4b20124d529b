"""Facial landmarks with Keras: finds 68 points on a face, and trains the networks that find them.

The package imports in a few milliseconds and without any backend; each public name below loads
its module at first use, and with it Keras, unless the network comes out of an exported file:

    from keras_facealign import FaceAligner

    faces = FaceAligner.from_preset("sat1_cab_mobile").align("photo.jpg")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign import _deprecated
from keras_facealign._lazy import attach
from keras_facealign._version import __version__

if TYPE_CHECKING:
    from keras_facealign.data import read_image
    from keras_facealign.errors import FaceAlignError
    from keras_facealign.formats import write_image
    from keras_facealign.inference import Face, FaceAligner, draw_faces
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
    from keras_facealign.video import FaceTracker

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
    "draw_faces",
    "from_preset",
    "get_scheme",
    "list_presets",
    "read_image",
    "save_to_preset",
    "write_image",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "data": ("read_image",),
        "errors": ("FaceAlignError",),
        "formats": ("write_image",),
        "inference": ("Face", "FaceAligner", "draw_faces"),
        "landmarks": ("IBUG68", "LandmarkScheme", "convert_landmarks", "get_scheme"),
        "models": (
            "DLAFaceAlign",
            "DenseUNetFaceAlign",
            "FaceAlignModel",
            "HourglassFaceAlign",
            "SATFaceAlign",
            "UNetFaceAlign",
        ),
        "presets": ("from_preset", "list_presets", "save_to_preset"),
        "video": ("FaceTracker",),
    },
)

_deprecated.install()
