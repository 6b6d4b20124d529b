"""What both bindings share: attributes of the handlers, and a small test of a loaded library."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from keras_facealign.ops.native.build import BuildError

Attributes = tuple[tuple[str, int], ...]

# A convolution of one tap: sampled at the center of the pixels 0, 1, 2 and 3.
ATTRIBUTES: Attributes = (
    *((f"kernel_{name}", 1) for name in ("height", "width")),
    *((name, 1) for name in ("stride_y", "stride_x")),
    *((name, 0) for name in ("pad_top", "pad_left")),
    *((name, 1) for name in ("dilation_y", "dilation_x", "deformable_groups")),
    ("border", 0),
)
_EXPECTED = [1.5, 0.25, 0.25, 0.25, 0.25, 2.0, 1.0]


def check(results: Any) -> None:
    """Raises `BuildError` unless value and gradients by inputs and offsets are right."""
    found = np.concatenate([np.ravel(values) for values in results])
    if not np.allclose(found, _EXPECTED):
        raise BuildError(f"the library computes wrong values: {found.tolist()}")


def gradient_attributes(attributes: Attributes, device: str) -> Attributes:
    """Adds the attribute that only the CUDA gradient has."""
    if device != "cuda":
        return attributes
    fixed_order = os.environ.get("KERAS_FACEALIGN_DETERMINISTIC") == "1"
    return (*attributes, ("fixed_order", int(fixed_order)))
