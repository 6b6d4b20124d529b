"""Normalizing lengths, by which landmark errors are divided to compare faces of different size.

Publications use different lengths, so an error is meaningless without the name of its normalizer:

| key | length | used by |
|---|---|---|
| `inter_ocular` | between the outer eye corners 36 and 45 | 300W since 2015 |
| `eye_center` | between the means of 36..41 and of 42..47 | COFW68's toolkit; also "inter-pupil" |
| `eye_corner_center` | between the means of (36, 39) and of (42, 45) | older MXNet code |
| `box_size` | sqrt(width * height) of the ground truth's tight box | AFLW2000-3D, MERL-RAV |
| `box_diagonal` | diagonal of the ground truth's tight box | Menpo2D |

The first three are defined on schemes with eyes; the indices above are those of iBUG's 68 points.
Other schemes have their own: inter-ocular is 8-9 of COFW's 29 and 60-72 of WFLW's 98, and the eye
centers of COFW's are the pupils 16 and 17. Not every scheme has both corners of each eye. The last
two are defined on any set of points.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme, scheme_of_size

_EYES = ("inter_ocular", "eye_center", "eye_corner_center")

NORMALIZERS: tuple[str, ...] = (*_EYES, "box_size", "box_diagonal")
"""Keys of all normalizers, in the order of reports."""


def _eye_groups(
    normalizer: str, scheme: LandmarkScheme | None
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Returns the two groups of points between whose means an eye normalizer is measured."""
    if scheme is None:
        return None
    if scheme.eye_corners is None:
        return scheme.eyes if normalizer == "eye_center" else None
    right, left = scheme.eye_corners
    if normalizer == "inter_ocular":
        return (right,), (left,)
    if normalizer == "eye_corner_center" and scheme.inner_corners is not None:
        return (right, scheme.inner_corners[0]), (left, scheme.inner_corners[1])
    return scheme.eyes if normalizer == "eye_center" else None


def defined_normalizers(
    num_landmarks: int, scheme: LandmarkScheme | None = None
) -> tuple[str, ...]:
    """Lists the normalizers that are defined for a scheme.

    Args:
        num_landmarks: Number of landmarks of a face (K).
        scheme: Their scheme. Default: the one that has K points, if there is one.

    Returns:
        Keys of `NORMALIZERS`, in their order.

    Example:
        >>> defined_normalizers(39)
        ('box_size', 'box_diagonal')
    """
    scheme = scheme or scheme_of_size(num_landmarks)
    return tuple(key for key in NORMALIZERS if key not in _EYES or _eye_groups(key, scheme))


def check_normalizer(
    normalizer: str, num_landmarks: int, scheme: LandmarkScheme | None = None
) -> None:
    """Checks that a normalizer exists and is defined for a scheme.

    Args:
        normalizer: A key of `NORMALIZERS`.
        num_landmarks: Number of landmarks of a face (K).
        scheme: Their scheme. Default: the one that has K points, if there is one.

    Raises:
        FaceAlignError: If the key is unknown, not defined for the scheme, or the scheme has another
            number of points.
    """
    if normalizer not in NORMALIZERS:
        raise FaceAlignError(
            f"Unknown normalizer {normalizer!r}; choose one of: {', '.join(NORMALIZERS)}."
        )
    if scheme is not None and scheme.num_landmarks != num_landmarks:
        raise FaceAlignError(
            f"The landmarks are {num_landmarks} a face, but the scheme {scheme.name!r} has "
            f"{scheme.num_landmarks}; pass the scheme that they follow."
        )
    defined = defined_normalizers(num_landmarks, scheme)
    if normalizer not in defined:
        which = repr(scheme.name) if scheme else f"{num_landmarks} landmarks"
        raise FaceAlignError(
            f"The normalizer {normalizer!r} is not defined on {which}; use one of: "
            f"{', '.join(defined)}."
        )


def check_landmarks(
    landmarks: np.ndarray, visibility: np.ndarray | None = None, what: str = "ground truth"
) -> tuple[np.ndarray, np.ndarray]:
    """Checks a set of faces and converts it for the measures.

    Args:
        landmarks: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        what: Name of `landmarks` in error messages.

    Returns:
        float64 landmarks (N, K, 2) with (0, 0) for unlabeled ones, which may be anything in the
        input, and bool (N, K), which are labeled. Do not write to them: the landmarks may be the
        input itself.

    Raises:
        FaceAlignError: For a wrong shape, a visibility that is not 0, 1 or 2, or a labeled
            landmark without finite coordinates (the message names the image's index).
    """
    try:
        points = np.asarray(landmarks, np.float64)
    except (TypeError, ValueError) as error:
        raise FaceAlignError(f"The {what} is not an array of numbers: {error}.") from error
    if points.ndim != 3 or points.shape[1] == 0 or points.shape[2] != 2:
        raise FaceAlignError(
            f"The {what} must have shape (images, landmarks, 2), got {points.shape}; "
            "add the image axis with landmarks[None] for a single face."
        )
    if visibility is None:
        labeled = np.ones(points.shape[:2], bool)
    else:
        marks = np.asarray(visibility)
        if marks.shape != points.shape[:2]:
            raise FaceAlignError(
                f"The visibility must have shape {points.shape[:2]} like the landmarks of the "
                f"{what}, got {marks.shape}."
            )
        wrong = ~np.isin(marks, (0, 1, 2))
        if wrong.any():
            image, point = np.argwhere(wrong)[0]
            raise FaceAlignError(
                f"The visibility of landmark {point} in image {image} is {marks[image, point]}; "
                "it must be 0 (no position), 1 (occluded) or 2 (visible)."
            )
        labeled = marks > 0
    # A finite sum proves that all are finite; only otherwise each landmark is checked.
    if labeled.all() and np.isfinite(points.sum()):
        return points, labeled
    broken = labeled & ~(np.isfinite(points[..., 0]) & np.isfinite(points[..., 1]))
    if broken.any():
        image, point = np.argwhere(broken)[0]
        raise FaceAlignError(
            f"Landmark {point} of image {image} in the {what} is {points[image, point].tolist()}; "
            "coordinates must be finite, or its visibility 0."
        )
    return np.where(labeled[..., None], points, 0), labeled


def normalizing_lengths(
    ground_truth: np.ndarray,
    normalizer: str = "inter_ocular",
    visibility: np.ndarray | None = None,
    scheme: LandmarkScheme | None = None,
) -> np.ndarray:
    """Measures the normalizing length of each face.

    Args:
        ground_truth: (N, K, 2) pixels.
        normalizer: A key of `NORMALIZERS`.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.
        scheme: Scheme of the landmarks. Default: the scheme that has K points, if there is one.

    Returns:
        float64 (N,) in pixels. NaN where landmarks that the length needs are not labeled: all
        points of the eyes, or at least one point for the box.

    Raises:
        FaceAlignError: If `check_normalizer` or `check_landmarks` refuses the input.

    Example:
        >>> import numpy as np
        >>> square = np.array([[[0, 0], [30, 0], [30, 40], [0, 40]]])
        >>> normalizing_lengths(square, "box_diagonal")
        array([50.])
    """
    points, labeled = check_landmarks(ground_truth, visibility)
    check_normalizer(normalizer, points.shape[1], scheme)
    groups = _eye_groups(normalizer, scheme or scheme_of_size(points.shape[1]))
    if groups is not None:
        one, other = (list(group) for group in groups)
        gap = points[:, one].mean(axis=1) - points[:, other].mean(axis=1)
        complete = labeled[:, one + other].all(axis=1)
        return np.where(complete, np.hypot(gap[:, 0], gap[:, 1]), np.nan)
    low = np.where(labeled[..., None], points, np.inf).min(axis=1)
    high = np.where(labeled[..., None], points, -np.inf).max(axis=1)
    sides = np.where(labeled.any(axis=1, keepdims=True), high - low, np.nan)
    if normalizer == "box_size":
        return np.sqrt(sides[:, 0] * sides[:, 1])
    return np.hypot(sides[:, 0], sides[:, 1])
