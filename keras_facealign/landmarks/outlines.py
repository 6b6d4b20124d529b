"""Schemes with closed outlines of brows, eyes and lips: WFLW's 98 points and JD's 106.

Sources of the orders:
    * 98: Wu et al., Look at Boundary: A Boundary-Aware Face Alignment Algorithm, CVPR 2018.
    * 106: Liu et al., Grand Challenge of 106-Point Facial Landmark Localization, ICME 2019 (JD),
      and Liu et al., A New Dataset and Boundary-Attention Semantic Segmentation for Face Parsing,
      AAAI 2020 (LaPa). The model `2d106det` of insightface has another order.
"""

from __future__ import annotations

from keras_facealign.landmarks.scheme import CLOSED_REGIONS, LandmarkScheme, mirrored_pairs, span

# Both schemes begin with the same 55 points. The brows have their upper edge from the image's left
# to its right, then the lower edge back.
_REGIONS = {
    "jaw": span(0, 32),
    "right_brow": span(33, 41),
    "left_brow": span(42, 50),
    "nose_bridge": span(51, 54),
}
_FLIPS = (
    (span(0, 15), span(17, 32)[::-1]),
    (span(33, 37), span(42, 46)[::-1]),
    (span(38, 41), span(47, 50)[::-1]),
)

WFLW98 = LandmarkScheme(
    name="wflw98",
    num_landmarks=98,
    regions={
        **_REGIONS,
        "nostrils": span(55, 59),
        "right_eye": span(60, 67),
        "left_eye": span(68, 75),
        "outer_lip": span(76, 87),
        "inner_lip": span(88, 95),
        "right_pupil": (96,),
        "left_pupil": (97,),
    },
    closed_regions=CLOSED_REGIONS,
    flip_pairs=mirrored_pairs(
        *_FLIPS,
        ((55, 56), (59, 58)),
        (span(60, 64), span(68, 72)[::-1]),
        (span(65, 67), span(73, 75)[::-1]),
        ((76, 77, 78, 87, 86), (82, 81, 80, 83, 84)),
        ((88, 89, 95), (92, 91, 93)),
        ((96,), (97,)),
    ),
    eye_corners=(60, 72),
    inner_corners=(64, 68),
    eyes=(span(60, 67), span(68, 75)),
)

JD106 = LandmarkScheme(
    name="jd106",
    num_landmarks=106,
    regions={
        **_REGIONS,
        # Down the right side of the nose, along its base, and up the left side.
        "nostrils": span(55, 65),
        "right_eye": span(66, 73),
        "right_eye_center": (74,),
        "left_eye": span(75, 82),
        "left_eye_center": (83,),
        "outer_lip": span(84, 95),
        "inner_lip": span(96, 103),
        "right_pupil": (104,),
        "left_pupil": (105,),
    },
    closed_regions=CLOSED_REGIONS,
    flip_pairs=mirrored_pairs(
        *_FLIPS,
        (span(55, 59), span(61, 65)[::-1]),
        (span(66, 70), span(75, 79)[::-1]),
        (span(71, 73), span(80, 82)[::-1]),
        ((74, 104), (83, 105)),
        ((84, 85, 86, 95, 94), (90, 89, 88, 91, 92)),
        ((96, 97, 103), (100, 99, 101)),
    ),
    eye_corners=(66, 79),
    inner_corners=(70, 75),
    eyes=(span(66, 73), span(75, 82)),
)
