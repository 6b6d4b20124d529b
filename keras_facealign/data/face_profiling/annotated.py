"""Where the sets with 3D landmarks (300W-LP, AFLW2000-3D) see the points of ICT-FaceKit's head.

The kit's 68 landmarks are not quite the points that these sets annotate. Its brows end farther in,
the bridge of its nose lies deeper, its nostrils lie lower. A fit that takes them for the same makes
up for the difference with a turn: heads fitted to frontal faces nodded by 6 degrees too far, which
lifts their ears, of which the fit sees nothing, by 5 % of the face's size. So fits count with what
is habit, on average; the head itself stays as it is. The kit's jaw also runs farther forward than
that of the sets, whose jaw therefore is other vertices.

Both were found on 126 faces annotated as those sets are: the habits by laying the faces' 3D
landmarks over heads fitted to the 51 landmarks within the face, twice; the jaw's vertices as those
nearest to where the faces' jaws lie on such heads on average. On other faces the jaw of such a fit
is off by 3.2 % of the face's size (8 faces of AFLW2000-3D) and 3.8 % (200 more), where without the
habits, and with vertices chosen without them, it was 4.4 % and 4.7 %. On FaceSynthetics, whose jaw
is of a third kind, it is off by 9.3 % instead of 7.4 %.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.landmarks import IBUG68

__all__ = ["annotated_jaw", "is_kit", "kit_habits", "kit_jaw_shift"]

# The first landmarks of the kit's vertex_indices.json tell it from other heads.
_KIT_JAW = (1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966)
_ANNOTATED_JAW = (
    *(8132, 7901, 8142, 8860, 1832, 833, 1724, 2197, 969),
    *(4388, 3929, 3074, 4034, 9183, 7415, 7174, 7405),
)

# In hundredths of the kit's units, x to the picture's right, y up, z towards the viewer; the right
# half of the face and its middle, of which the left is the mirror image.
# fmt: off
_HABITS = {
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

# Of the jaw, from ear to chin, in the same units. Landmarks there lie on the outline where a fit is
# made to faces annotated in 2D; those of the sets lie lower and farther back. Found as what a
# network that was trained on labels without this shift missed by on the same 126 faces, smoothed
# along z, of which faces that look ahead tell little.
_JAW_SHIFT = (
    (-45, -28, -55), (-44, -39, -47), (-35, -34, -41), (-19, -33, -47), (-20, -30, -51),
    (-20, -39, -57), (-53, 0, -45), (-48, -13, -33), (0, -31, -27),
)
# fmt: on


def is_kit(landmarks: np.ndarray) -> bool:
    """Whether landmarks (68,) are the vertices that ICT-FaceKit gives them."""
    return tuple(landmarks[: len(_KIT_JAW)]) == _KIT_JAW


def annotated_jaw(landmarks: np.ndarray) -> np.ndarray:
    """The kit's landmarks, int (68,), with the sets' jaw in place of its own."""
    return np.concatenate([_ANNOTATED_JAW, landmarks[len(_ANNOTATED_JAW) :]])


def kit_habits() -> np.ndarray:
    """float32 (68, 3): from the kit's landmarks to where the sets have them, in the kit's units.

    Zero for the jaw.
    """
    habits = np.zeros((IBUG68.num_landmarks, 3), np.float32)
    for index, habit in _HABITS.items():
        habits[index] = np.array(habit) / 100.0
        habits[IBUG68.flip_permutation[index]] = habits[index] * [-1.0, 1.0, 1.0]
    return habits


def kit_jaw_shift() -> np.ndarray:
    """float32 (17, 3): from the annotated jaw's vertices to the jaw of the sets."""
    half = np.array(_JAW_SHIFT, np.float32) / 100.0
    return np.concatenate([half, half[-2::-1] * np.array([-1.0, 1.0, 1.0], np.float32)])
