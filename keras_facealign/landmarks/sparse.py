"""Schemes of few points: COFW's 29, AFLW's 19, and the five that align faces for recognition.

Sources of the orders:
    * 29: Burgos-Artizzu, Perona and Dollar, Robust face landmark estimation under occlusion, ICCV
      2013, and the columns of COFW's annotation files.
    * 19: Zhu et al., Unconstrained Face Alignment via Cascaded Compositional Learning, CVPR 2016:
      AFLW's 21 points (Koestinger et al., 2011) without the ears.
    * 5: the template of Deng et al., ArcFace, CVPR 2019, also MTCNN's and RetinaFace's order.
"""

from __future__ import annotations

from keras_facealign.landmarks.scheme import CLOSED_REGIONS, LandmarkScheme, mirrored_pairs

COFW29 = LandmarkScheme(
    name="cofw29",
    num_landmarks=29,
    regions={
        # Each brow: outer end, upper edge, inner end, lower edge.
        "right_brow": (0, 4, 2, 5),
        "left_brow": (1, 6, 3, 7),
        # Each eye: outer corner, upper lid, inner corner, lower lid.
        "right_eye": (8, 12, 10, 13),
        "left_eye": (9, 14, 11, 15),
        "right_pupil": (16,),
        "left_pupil": (17,),
        # Wing, tip, wing; then the lower end of the septum.
        "nostrils": (18, 20, 19, 21),
        "outer_lip": (22, 24, 23, 27),
        # Lower edge of the upper lip, upper edge of the lower lip.
        "inner_lip": (25, 26),
        "jaw": (28,),
    },
    closed_regions=CLOSED_REGIONS - {"inner_lip"} | {"nostrils"},
    flip_pairs=mirrored_pairs(
        ((0, 2, 4, 5, 8, 10, 12, 13), (1, 3, 6, 7, 9, 11, 14, 15)),
        ((16, 18, 22), (17, 19, 23)),
    ),
    eye_corners=(8, 9),
    inner_corners=(10, 11),
    # "Inter-pupil" in results on COFW.
    eyes=((16,), (17,)),
    lines=(
        *((0, 4, 2, 5, 0), (1, 6, 3, 7, 1), (8, 12, 10, 13, 8), (9, 14, 11, 15, 9)),
        *((18, 20, 19, 21, 18), (22, 24, 23, 27, 22), (22, 25, 23, 26, 22)),
    ),
)

AFLW19 = LandmarkScheme(
    name="aflw19",
    num_landmarks=19,
    regions={
        "right_brow": (0, 1, 2),
        "left_brow": (3, 4, 5),
        # Corner, center, corner, from the image's left to its right.
        "right_eye": (6, 7, 8),
        "left_eye": (9, 10, 11),
        "nostrils": (12, 13, 14),
        "outer_lip": (15, 16, 17),
        "jaw": (18,),
    },
    closed_regions=frozenset(),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)),
    eye_corners=(6, 11),
    inner_corners=(8, 9),
    eyes=((7,), (10,)),
)

FIVE = LandmarkScheme(
    name="five",
    num_landmarks=5,
    regions={"right_eye": (0,), "left_eye": (1,), "nose_bridge": (2,), "outer_lip": (3, 4)},
    closed_regions=frozenset(),
    flip_pairs=((0, 1), (3, 4)),
    # The scheme has the eyes' centers only.
    eye_corners=(0, 1),
    eyes=((0,), (1,)),
    lines=((0, 2, 1), (3, 2, 4), (3, 4)),
)
