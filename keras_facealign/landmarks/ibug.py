"""The scheme of iBUG's 68 points: 300W, Menpo, 300W-LP, AFLW2000-3D, MERL-RAV, COFW68.

Source of the order: Sagonas et al., 300 Faces in-the-Wild Challenge, 2013.
"""

from __future__ import annotations

from keras_facealign.landmarks.scheme import LandmarkScheme, mirrored_pairs, span

IBUG68 = LandmarkScheme(
    name="ibug68",
    num_landmarks=68,
    regions={
        "jaw": span(0, 16),
        "right_brow": span(17, 21),
        "left_brow": span(22, 26),
        "nose_bridge": span(27, 30),
        "nostrils": span(31, 35),
        "right_eye": span(36, 41),
        "left_eye": span(42, 47),
        "outer_lip": span(48, 59),
        "inner_lip": span(60, 67),
    },
    closed_regions=frozenset({"right_eye", "left_eye", "outer_lip", "inner_lip"}),
    flip_pairs=mirrored_pairs(
        (span(0, 7), span(9, 16)[::-1]),
        (span(17, 21), span(22, 26)[::-1]),
        ((31, 32), (35, 34)),
        (span(36, 41), (45, 44, 43, 42, 47, 46)),
        ((48, 49, 50, 59, 58), (54, 53, 52, 55, 56)),
        ((60, 61, 67), (64, 63, 65)),
    ),
    eye_corners=(36, 45),
    inner_corners=(39, 42),
    eyes=(span(36, 41), span(42, 47)),
)
