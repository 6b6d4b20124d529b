"""All landmark schemes by name, and by their number of points."""

from __future__ import annotations

import re

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.ibug import IBUG68
from keras_facealign.landmarks.mediapipe import MEDIAPIPE468, MEDIAPIPE478
from keras_facealign.landmarks.outlines import JD106, WFLW98
from keras_facealign.landmarks.scheme import LandmarkScheme
from keras_facealign.landmarks.sparse import AFLW19, COFW29, FIVE

_NUMBERED = re.compile(r"points([1-9][0-9]{0,3})")

SCHEMES: dict[str, LandmarkScheme] = {
    scheme.name: scheme
    for scheme in (FIVE, AFLW19, COFW29, IBUG68, WFLW98, JD106, MEDIAPIPE468, MEDIAPIPE478)
}
"""Every scheme of the library, from the smallest to the largest."""


def get_scheme(name: str) -> LandmarkScheme:
    """Returns a landmark scheme by its name.

    Args:
        name: For example `"ibug68"`; a key of `SCHEMES`, or "points" and a number, see
            `numbered_scheme`.

    Returns:
        The scheme.

    Raises:
        FaceAlignError: If there is no scheme of that name.

    Example:
        >>> get_scheme("ibug68").num_landmarks
        68
    """
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        return numbered_scheme(int(numbered[1]))
    if name not in SCHEMES:
        known = ", ".join(sorted(SCHEMES))
        raise FaceAlignError(f"Unknown landmark scheme {name[:80]!r}; choose one of: {known}.")
    return SCHEMES[name]


def is_scheme_name(name: str) -> bool:
    """Whether `get_scheme` knows a name."""
    return name in SCHEMES or _NUMBERED.fullmatch(name) is not None


def numbered_scheme(num_landmarks: int) -> LandmarkScheme:
    """Makes a scheme of a number of points without further information.

    Use it for networks whose landmarks are not a scheme of this library. Its flip pairs and eyes
    are unknown: training with flips is refused, and errors are relative to the size of the box.

    Example:
        >>> numbered_scheme(10).name
        'points10'
    """
    regions = {"points": tuple(range(num_landmarks))}
    name, none = f"points{num_landmarks}", frozenset[str]()
    return LandmarkScheme(
        name, num_landmarks, regions, none, (), None, lines=(), has_flip_pairs=False
    )


def scheme_of_size(num_landmarks: int) -> LandmarkScheme | None:
    """Returns the scheme with a number of points, or None if there is none.

    Example:
        >>> scheme_of_size(98).name
        'wflw98'
    """
    return next((s for s in SCHEMES.values() if s.num_landmarks == num_landmarks), None)
