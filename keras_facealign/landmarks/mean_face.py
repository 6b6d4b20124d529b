"""The 68 points of a mean head: ICT-FaceKit's neutral one.

`mean_face68.json` states source and license; `benchmarks/derive_mean_face.py` makes it.
"""

from __future__ import annotations

import functools
import importlib.resources
import json

import numpy as np

from keras_facealign.landmarks.ibug import IBUG68

# Expressions and the rotation of the head move mouth and jaw over the skin.
_REGION_WEIGHTS = {"jaw": 0.1, "outer_lip": 0.1, "inner_lip": 0.05}


@functools.cache
def _points() -> np.ndarray:
    file = importlib.resources.files("keras_facealign.landmarks") / "mean_face68.json"
    return np.array(json.loads(file.read_text(encoding="utf-8"))["points"], np.float64)


def mean_face() -> np.ndarray:
    """Returns the mean face: float64 (68, 3), centimeters.

    x points to the right of a frontal image, y down, z away from the camera, which is at the height
    of the eyes; the origin is the mean of the points.
    """
    return _points().copy()


def rigid_weights() -> np.ndarray:
    """Returns how firmly each of the 68 points sits on the skull, float64 (68,), 0 to 1."""
    weights = np.ones(68)
    for region, weight in _REGION_WEIGHTS.items():
        weights[list(IBUG68.regions[region])] = weight
    return weights
