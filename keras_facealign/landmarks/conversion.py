"""Converts landmarks from one scheme to another.

Every conversion is a table: a point of the target is the mean, or a weighted mean, of points of the
source. Points of the target that the source does not determine are not in the table.

The tables were derived from the definitions of the schemes and checked on mean faces and on a
portrait. Accuracy: corners of eyes and mouth, tip of the nose and chin are the same in all schemes;
WFLW and JD label the *edges* of the brows and eight points of an eye, iBUG the brows' middle line
and six points, so these are interpolated, as in Jin et al., Pixel-in-Pixel Net, IJCV 2021; the jaw
of MediaPipe's mesh is spaced along the outline of the head in 3D, so its points are shifted along
iBUG's jaw by up to half of their distance.
"""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.mediapipe import MEDIAPIPE478
from keras_facealign.landmarks.registry import SCHEMES, get_scheme

# Target point -> source points, equally weighted; a repeated index weighs twice.
_Table = dict[int, tuple[int, ...]]


def _run(first: int, sources: range) -> _Table:
    return {first + i: (source,) for i, source in enumerate(sources)}


def _outline_to_68(eyes: tuple[int, int], nose: int, lips: tuple[int, int]) -> _Table:
    """WFLW and JD have the same jaw and brows; the other regions start at different numbers."""
    table = _run(0, range(0, 33, 2))
    # The middle line of each brow; its outer end is a labeled point.
    table |= {17: (33,), 18: (34, 41), 19: (35, 40), 20: (36, 39), 21: (37, 38)}
    table |= {22: (42, 50), 23: (43, 49), 24: (44, 48), 25: (45, 47), 26: (46,)}
    table |= _run(27, range(51, 55)) | _run(31, range(nose, nose + 5))
    for first, eye in zip((36, 42), eyes, strict=True):
        # 1/3 of a lid is interpolated between its points at 1/4 and 1/2, 2/3 between 1/2 and 3/4.
        corner, up, top, down, inner, low, bottom, rise = range(eye, eye + 8)
        table |= {first: (corner,), first + 3: (inner,)}
        table |= {first + 1: (up, up, top), first + 2: (down, down, top)}
        table |= {first + 4: (low, low, bottom), first + 5: (rise, rise, bottom)}
    return table | _run(48, range(lips[0], lips[0] + 12)) | _run(60, range(lips[1], lips[1] + 8))


def _mesh_to_68() -> _Table:
    right = {
        **{0: (127,), 1: (234,), 2: (93, 132), 3: (132, 58), 4: (58, 172), 5: (172, 136)},
        **{6: (150, 149), 7: (176, 148), 8: (152,)},
        **{17: (70, 46), 18: (63, 53), 19: (105, 52), 20: (66, 65), 21: (107, 55)},
        **{27: (168,), 28: (197,), 29: (195, 5), 30: (4,)},
        **{31: (75,), 32: (97,), 33: (2,)},
        **{36: (33,), 37: (160,), 38: (158,), 39: (133,), 40: (153,), 41: (144,)},
        **{48: (61,), 49: (40, 39), 50: (37,), 51: (0,), 57: (17,), 58: (84,), 59: (91, 181)},
        **{60: (78,), 61: (82,), 62: (13,), 66: (14,), 67: (87,)},
    }
    # The left half is symmetric.
    flip68 = SCHEMES["ibug68"].flip_permutation
    flip = MEDIAPIPE478.flip_permutation
    left = {int(flip68[k]): tuple(int(flip[s]) for s in v) for k, v in right.items()}
    return {**left, **right}


_TABLES: dict[tuple[str, str], _Table] = {
    ("ibug68", "five"): {
        **{0: tuple(range(36, 42)), 1: tuple(range(42, 48)), 2: (30,), 3: (48,), 4: (54,)}
    },
    ("cofw29", "five"): {0: (16,), 1: (17,), 2: (20,), 3: (22,), 4: (23,)},
    ("aflw19", "five"): {0: (7,), 1: (10,), 2: (13,), 3: (15,), 4: (17,)},
    # The upper and lower edges of the brows (4 to 7) are not among the 68.
    ("ibug68", "cofw29"): {
        **{0: (17,), 1: (26,), 2: (21,), 3: (22,)},
        **{8: (36,), 9: (45,), 10: (39,), 11: (42,)},
        **{12: (37, 38), 13: (40, 41), 14: (43, 44), 15: (46, 47)},
        **{16: (36, 37, 38, 39, 40, 41), 17: (42, 43, 44, 45, 46, 47)},
        **{18: (31,), 19: (35,), 20: (30,), 21: (33,), 22: (48,), 23: (54,)},
        **{24: (51,), 25: (62,), 26: (66,), 27: (57,), 28: (8,)},
    },
    ("wflw98", "cofw29"): {
        **{0: (33,), 1: (46,), 2: (37, 38), 3: (42, 50), 4: (35,), 5: (40,), 6: (44,), 7: (48,)},
        **{8: (60,), 9: (72,), 10: (64,), 11: (68,), 12: (62,), 13: (66,), 14: (70,), 15: (74,)},
        **{16: (96,), 17: (97,), 18: (55,), 19: (59,), 20: (54,), 21: (57,), 22: (76,), 23: (82,)},
        **{24: (79,), 25: (90,), 26: (94,), 27: (85,), 28: (16,)},
    },
    ("ibug68", "aflw19"): {
        **{0: (17,), 1: (19,), 2: (21,), 3: (22,), 4: (24,), 5: (26,)},
        **{6: (36,), 7: (36, 37, 38, 39, 40, 41), 8: (39,)},
        **{9: (42,), 10: (42, 43, 44, 45, 46, 47), 11: (45,)},
        **{12: (31,), 13: (30,), 14: (35,), 15: (48,), 16: (62, 66), 17: (54,), 18: (8,)},
    },
    ("wflw98", "ibug68"): _outline_to_68(eyes=(60, 68), nose=55, lips=(76, 88)),
    ("jd106", "ibug68"): _outline_to_68(eyes=(66, 75), nose=58, lips=(84, 96)),
    ("mediapipe468", "ibug68"): _mesh_to_68(),
    ("mediapipe478", "mediapipe468"): _run(0, range(468)),
}


def list_conversions() -> list[tuple[str, str]]:
    """Lists the pairs of scheme names (from, to) of `convert_landmarks`, chains included."""
    names = sorted(SCHEMES)
    return [(a, b) for a in names for b in names if a != b and _chain(a, b) is not None]


def convert_landmarks(points: np.ndarray, source: str, target: str) -> np.ndarray:
    """Converts landmarks of one scheme to another.

    Args:
        points: (..., K, D) of the source scheme, in any frame; D is 2 or 3.
        source: Name of their scheme.
        target: Name of the scheme to convert to.

    Returns:
        float (..., K', D) of the target scheme; NaN for points that the source does not determine
        (for "cofw29" from "ibug68", the edges of the brows).

    Raises:
        FaceAlignError: If a scheme is unknown, the number of points differs, or there is no
            conversion between the schemes.

    Example:
        >>> import numpy as np
        >>> convert_landmarks(np.zeros((478, 3)), "mediapipe478", "ibug68").shape
        (68, 3)
    """
    first = get_scheme(source)
    values = np.asarray(points)
    if values.dtype.kind not in "fiu":
        raise FaceAlignError(f"The landmarks are of dtype {values.dtype}; give numbers.")
    if values.ndim < 2 or values.shape[-2] != first.num_landmarks or values.shape[-1] not in (2, 3):
        raise FaceAlignError(
            f"The landmarks have shape {values.shape}; scheme {source!r} needs "
            f"(..., {first.num_landmarks}, 2 or 3)."
        )
    kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    matrix = conversion_matrix(source, target)
    # Summed point by point, so that an unlabeled point, NaN, does not affect the others.
    result = np.full((*values.shape[:-2], len(matrix), values.shape[-1]), np.nan, kind)
    for row, weights in enumerate(matrix):
        (columns,) = np.nonzero(weights)
        if columns.size:
            picked = values[..., columns, :].astype(np.float64)
            result[..., row, :] = np.einsum("...kd,k->...d", picked, weights[columns])
    return result


def conversion_matrix(source: str, target: str) -> np.ndarray:
    """Returns the weights of a conversion.

    Args:
        source: Name of a scheme with K points.
        target: Name of a scheme with K' points.

    Returns:
        float64 (K', K). Rows sum to 1, or are 0 for points that the source does not determine.

    Raises:
        FaceAlignError: If a scheme is unknown or there is no conversion between the schemes.
    """
    num_source = get_scheme(source).num_landmarks
    get_scheme(target)
    matrix = np.eye(num_source)
    chain = _chain(source, target)
    if chain is None:
        reachable = sorted(b for a, b in list_conversions() if a == source)
        raise FaceAlignError(
            f"There is no conversion from {source!r} to {target!r}; from {source!r} there is: "
            f"{', '.join(reachable) or 'none'}."
        )
    for step in chain:
        table = np.zeros((get_scheme(step[1]).num_landmarks, len(matrix)))
        for row, columns in _TABLES[step].items():
            for column in columns:
                table[row, column] += 1 / len(columns)
        known = matrix.any(axis=1)
        # A mean is unknown if one of its points is.
        table[(table[:, ~known] > 0).any(axis=1)] = 0
        matrix = table @ matrix
    return matrix


@cache
def _chain(source: str, target: str) -> tuple[tuple[str, str], ...] | None:
    """The shortest chain of tables, or None if there is none."""
    queue: deque[tuple[str, tuple[tuple[str, str], ...]]] = deque([(source, ())])
    seen = {source}
    while queue:
        name, chain = queue.popleft()
        if name == target:
            return chain
        for step in _TABLES:
            if step[0] == name and step[1] not in seen:
                seen.add(step[1])
                queue.append((step[1], (*chain, step)))
    return None
