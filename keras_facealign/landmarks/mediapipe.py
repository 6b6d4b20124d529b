"""MediaPipe's face mesh: 468 vertices, and 10 points of the irises that make 478.

Source of the outlines: the lists of connections in MediaPipe's `face_mesh_connections.py`
(Apache-2.0). The flip pairs were derived from the same file's triangulation: the vertices of the
person's right half, in increasing order, are the mirror images of 248, 249, ... 467; the mirrored
triangulation is the same except for three diagonals out of 1322 edges. The irises' order (center,
image-right, top, image-left, bottom of *both* eyes) is that of the mesh model's output.
"""

from __future__ import annotations

from dataclasses import replace

from keras_facealign.landmarks.scheme import CLOSED_REGIONS, LandmarkScheme, span

_MESH = 468

# The vertices on the symmetry line, from forehead to chin.
_MIDLINE = (
    *(10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164),
    *(0, 11, 12, 13, 14, 15, 16, 17, 18, 200, 199, 175, 152),
)
_RIGHT_HALF = tuple(i for i in range(248) if i not in _MIDLINE)
_FLIP_PAIRS = tuple(zip(_RIGHT_HALF, range(248, _MESH), strict=True))
_IRIS_FLIP_PAIRS = ((468, 473), (469, 476), (470, 475), (471, 474), (472, 477))

_REGIONS: dict[str, tuple[int, ...]] = {
    # The whole outline, clockwise in the image from the middle of the forehead.
    "jaw": (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    # Upper edge, then the lower edge back.
    "right_brow": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "left_brow": (336, 296, 334, 293, 300, 276, 283, 282, 295, 285),
    "nose_bridge": (168, 6, 197, 195, 5, 4),
    "nostrils": (98, 97, 2, 326, 327),
    "right_eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "left_eye": (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
    "outer_lip": (
        *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        *(375, 321, 405, 314, 17, 84, 181, 91, 146),
    ),
    "inner_lip": (
        *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
        *(324, 318, 402, 317, 14, 87, 178, 88, 95),
    ),
}

MEDIAPIPE468 = LandmarkScheme(
    name="mediapipe468",
    num_landmarks=_MESH,
    regions=_REGIONS,
    closed_regions=CLOSED_REGIONS | {"jaw"},
    flip_pairs=_FLIP_PAIRS,
    eye_corners=(33, 263),
    inner_corners=(133, 362),
    eyes=(_REGIONS["right_eye"], _REGIONS["left_eye"]),
)

MEDIAPIPE478 = replace(
    MEDIAPIPE468,
    name="mediapipe478",
    num_landmarks=_MESH + 10,
    regions={
        **_REGIONS,
        "right_pupil": (468,),
        "right_iris": span(469, 472),
        "left_pupil": (473,),
        "left_iris": span(474, 477),
    },
    closed_regions=MEDIAPIPE468.closed_regions | {"right_iris", "left_iris"},
    flip_pairs=_FLIP_PAIRS + _IRIS_FLIP_PAIRS,
)
