"""Converts labeled faces from any source to the form that evaluation uses."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import landmarks_box

PART_LABELS = ("pose", "attributes")
"""Labels of some data sets by which protocols group faces."""


def as_example(example: Any, index: int = 0) -> Any:
    """Converts a labeled face to the form that evaluation uses.

    Args:
        example: An example of `keras_facealign.data`, or a mapping as TensorFlow Datasets yields it
            (`image`, `landmarks`, `visibility`, `box`, `file_name`, `subset`, `pose`, ...). Only
            landmarks are required; without visibility all are visible, without a box that of the
            landmarks is used.
        index: Its index in the set, its name if it has no file name.

    Returns:
        An object with these as attributes, and the rest in `extras`.

    Raises:
        FaceAlignError: If there are no landmarks.
    """
    if not isinstance(example, Mapping):
        return example
    fields = {key: _plain(value) for key, value in example.items()}
    if "landmarks" not in fields:
        raise FaceAlignError(
            f"Example {index} has no 'landmarks'; it has {', '.join(sorted(fields)) or 'nothing'}."
        )
    landmarks = np.asarray(fields["landmarks"])
    visibility = fields.get("visibility")
    if visibility is None:
        visibility = np.full(len(landmarks), 2, np.int32)
    box = fields.get("box")
    return SimpleNamespace(
        image=fields.get("image"),
        landmarks=landmarks,
        visibility=visibility,
        box=landmarks_box(landmarks, visibility) if box is None else box,
        file_name=str(fields.get("file_name", index)),
        subset=str(fields.get("subset", "")),
        extras={key: fields[key] for key in (*PART_LABELS, "published_box") if key in fields},
    )


def _plain(value: Any) -> Any:
    """Converts tensors to arrays and bytes to text."""
    if hasattr(value, "numpy"):
        value = value.numpy()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
