"""Landmark schemes: regions, symmetry, drawing and conversion of numbered points.

A scheme is data: names of regions, the permutation of the points in a horizontally flipped image,
the line segments of its drawing, and the points that define normalizing lengths. Each module names
the publication that defines its order of points.
"""

from keras_facealign.landmarks.conversion import (
    conversion_matrix,
    convert_landmarks,
    list_conversions,
)
from keras_facealign.landmarks.definition import (
    as_scheme,
    scheme_config,
    scheme_from_dict,
    scheme_to_dict,
)
from keras_facealign.landmarks.guessing import guess_flips, guess_regions, lines_of, shape_of
from keras_facealign.landmarks.ibug import IBUG68
from keras_facealign.landmarks.labels import check_labels
from keras_facealign.landmarks.mean_face import mean_face, rigid_weights
from keras_facealign.landmarks.mediapipe import MEDIAPIPE468, MEDIAPIPE478
from keras_facealign.landmarks.outlines import JD106, WFLW98
from keras_facealign.landmarks.registry import (
    SCHEMES,
    get_scheme,
    is_scheme_name,
    numbered_scheme,
    scheme_of_size,
)
from keras_facealign.landmarks.scheme import LandmarkScheme
from keras_facealign.landmarks.scheme_files import is_scheme_file, read_scheme, write_scheme
from keras_facealign.landmarks.sparse import AFLW19, COFW29, FIVE

__all__ = [
    "AFLW19",
    "COFW29",
    "FIVE",
    "IBUG68",
    "JD106",
    "MEDIAPIPE468",
    "MEDIAPIPE478",
    "SCHEMES",
    "WFLW98",
    "LandmarkScheme",
    "as_scheme",
    "check_labels",
    "conversion_matrix",
    "convert_landmarks",
    "get_scheme",
    "guess_flips",
    "guess_regions",
    "is_scheme_file",
    "is_scheme_name",
    "lines_of",
    "list_conversions",
    "mean_face",
    "numbered_scheme",
    "read_scheme",
    "rigid_weights",
    "scheme_config",
    "scheme_from_dict",
    "scheme_of_size",
    "scheme_to_dict",
    "shape_of",
    "write_scheme",
]
