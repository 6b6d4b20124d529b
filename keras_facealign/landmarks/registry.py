"""All landmark schemes by name, and by their number of points."""

from __future__ import annotations

import re

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.ibug import IBUG68
from keras_facealign.landmarks.mediapipe import MEDIAPIPE468, MEDIAPIPE478
from keras_facealign.landmarks.outlines import JD106, WFLW98
from keras_facealign.landmarks.scheme import LandmarkScheme
from keras_facealign.landmarks.sparse import AFLW19, COFW29, FIVE

__all__ = ["SCHEMES", "get_scheme", "numbered_scheme", "scheme_of_size"]

_NUMBERED = re.compile(r"points([1-9][0-9]{0,3})")

SCHEMES: dict[str, LandmarkScheme] = {
    scheme.name: scheme
    for scheme in (FIVE, AFLW19, COFW29, IBUG68, WFLW98, JD106, MEDIAPIPE468, MEDIAPIPE478)
}
"""Every scheme that the library knows, from the smallest to the largest."""


def get_scheme(name: str) -> LandmarkScheme:
    """Looks a landmark scheme up by its name.

    Args:
        name: For example `"ibug68"`; a key of `SCHEMES`, or "points" and a number for as many
            points of which nothing is known, see `numbered_scheme`.

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
        raise FaceAlignError(f"Unknown landmark scheme {name!r}; choose one of: {known}.")
    return SCHEMES[name]


def numbered_scheme(num_landmarks: int) -> LandmarkScheme:
    """A scheme of points of which nothing but their number is known.

    It serves networks whose landmarks are no scheme of this library. Nobody can say which of its
    points a mirror exchanges, or which are the eyes: training with flips is refused, and the
    "inter-ocular" distance is that of the first and the last point.

    Example:
        >>> numbered_scheme(10).name
        'points10'
    """
    points = tuple(range(num_landmarks))
    return LandmarkScheme(
        f"points{num_landmarks}",
        num_landmarks,
        {"points": points},
        frozenset(),
        (),
        (points[0], points[-1]),
        lines=(),
        has_flip_pairs=False,
    )


def scheme_of_size(num_landmarks: int) -> LandmarkScheme | None:
    """The scheme with that number of points; None if there is none.

    Example:
        >>> scheme_of_size(98).name
        'wflw98'
    """
    for scheme in SCHEMES.values():
        if scheme.num_landmarks == num_landmarks:
            return scheme
    return None
