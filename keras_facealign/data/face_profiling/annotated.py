"""Differences between ICT-FaceKit's landmarks and those of 300W-LP and AFLW2000-3D.

The kit's 68 landmarks are not exactly the points that these sets annotate: its brows end closer to
the nose, its nose bridge is deeper, its nostrils are lower. A fit that ignores the difference
compensates for it with a rotation: heads fitted to frontal faces were pitched 6 degrees too far,
which moved their ears, where the fit has no landmarks, by 5 % of the face's size. Fits therefore
add the mean difference to the landmarks; the head itself is unchanged. The kit's jaw is also
farther forward than that of the sets, whose jaw is assigned to other vertices.

Both were measured on 126 faces annotated as in those sets: the differences by aligning the faces'
3D landmarks with heads fitted to the 51 inner landmarks, twice; the jaw's vertices as those nearest
to the mean position of the faces' jaws on such heads. On other faces the jaw of such a fit has an
error of 3.2 % of the face's size (8 faces of AFLW2000-3D) and 3.8 % (200 more); without the
correction, and with vertices chosen without it, the errors were 4.4 % and 4.7 %. On FaceSynthetics,
whose jaw is defined differently, the error is 9.3 % instead of 7.4 %.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.landmarks import IBUG68

# The first landmarks of the kit's vertex_indices.json identify it.
_KIT_JAW = (1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966)
_ANNOTATED_JAW = (
    *(8132, 7901, 8142, 8860, 1832, 833, 1724, 2197, 969),
    *(4388, 3929, 3074, 4034, 9183, 7415, 7174, 7405),
)

# In hundredths of the kit's units, x to the image's right, y up, z towards the viewer; for the
# right half of the face and its middle. The left half is symmetric.
# fmt: off
_BIAS = {
    17: (16, -14, -10), 18: (14, -24, -5), 19: (4, -31, -16), 20: (-35, -36, -33),
    21: (-70, -35, -34),
    27: (0, -11, 18), 28: (0, -18, 37), 29: (0, -31, 57), 30: (0, -12, 9), 31: (5, 25, 17),
    32: (-9, 22, 9), 33: (0, 17, 17),
    36: (7, 15, 7), 37: (16, 25, 14), 38: (3, 19, -1), 39: (-7, 22, 9), 40: (-1, 16, 12),
    41: (14, 16, 6),
    48: (-4, 7, -28), 49: (-1, 0, -10), 50: (15, 5, 9), 51: (0, 1, 6), 55: (-12, 0, -12),
    56: (-15, -10, -10), 57: (0, -10, -15),
    60: (-15, 9, -21), 61: (26, 17, 20), 62: (0, 20, 19), 65: (-31, -17, 4), 66: (0, -17, -2),
}

# For the jaw, from ear to chin, in the same units. A fit to faces annotated in 2D has the jaw's
# landmarks on the outline; those of the sets are lower and farther back. Measured as the errors of
# a network trained on labels without this shift, on the same 126 faces, and smoothed along z, which
# frontal faces determine poorly.
_JAW_SHIFT = (
    (-45, -28, -55), (-44, -39, -47), (-35, -34, -41), (-19, -33, -47), (-20, -30, -51),
    (-20, -39, -57), (-53, 0, -45), (-48, -13, -33), (0, -31, -27),
)
# fmt: on


def is_kit(landmarks: np.ndarray) -> bool:
    """Whether the vertices (68,) of landmarks are those of ICT-FaceKit."""
    return tuple(landmarks[: len(_KIT_JAW)]) == _KIT_JAW


def annotated_jaw(landmarks: np.ndarray) -> np.ndarray:
    """The kit's landmarks, int (68,), with the jaw replaced by that of the sets."""
    return np.concatenate([_ANNOTATED_JAW, landmarks[len(_ANNOTATED_JAW) :]])


def kit_annotation_bias() -> np.ndarray:
    """float32 (68, 3): from the kit's landmarks to those of the sets, in the kit's units.

    Zero for the jaw.
    """
    bias = np.zeros((IBUG68.num_landmarks, 3), np.float32)
    for index, difference in _BIAS.items():
        bias[index] = np.array(difference) / 100.0
        bias[IBUG68.flip_permutation[index]] = bias[index] * [-1.0, 1.0, 1.0]
    return bias


def kit_jaw_shift() -> np.ndarray:
    """float32 (17, 3): from the annotated jaw's vertices to the jaw of the sets."""
    half = np.array(_JAW_SHIFT, np.float32) / 100.0
    return np.concatenate([half, half[-2::-1] * np.array([-1.0, 1.0, 1.0], np.float32)])
