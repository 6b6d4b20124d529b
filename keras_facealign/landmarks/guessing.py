"""Guesses what a set of labels says about its scheme: symmetry, regions and lines.

Points that change places in a mirror image are found on the mean shape: it is mirrored, moved onto
itself, and each point is assigned the one that it falls on. Where names tell left from right, the
names decide. Guesses are for a person to confirm; each pair comes with its confidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_facealign.errors import FaceAlignError

SURE = 0.5
"""Confidence from which a pair is not doubtful."""

_ROUNDS = 12
# Distances that do not tell points apart, in units of the face.
_NEAR = 0.01
# An exact assignment takes cubic time.
_LARGEST_EXACT = 500
_SIDES = re.compile(r"(?<![a-z])(left|right|l|r)(?![a-z])", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class FlipGuess:
    """A point and the one that takes its place in a mirror image.

    Attributes:
        points: Both indices, the smaller one first; equal for a point on the symmetry line.
        confidence: 1 where nothing else is near, 0 where another point fits as well; less if
            another one fits better.
    """

    points: tuple[int, int]
    confidence: float

    @property
    def doubtful(self) -> bool:
        """Whether a person should look at it."""
        return self.confidence < SURE


def shape_of(landmarks: np.ndarray, visibility: np.ndarray | None = None) -> np.ndarray:
    """Averages faces after moving, scaling and turning them onto each other.

    Args:
        landmarks: (N, K, 2) pixels.
        visibility: (N, K), 0 where a landmark has no position; all have one if omitted.

    Returns:
        float64 (K, 2) about the origin, with a root mean square distance of 1 from it, as upright
        as the faces are on average; NaN for points that no face has.

    Raises:
        FaceAlignError: If no face has two points.

    Example:
        >>> shape_of(np.array([[[0, 0], [10, 0]], [[5, 5], [9, 5]]])).round(3).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    points = np.asarray(landmarks, np.float64) @ [1, 1j]
    if visibility is not None:
        points = np.where(np.asarray(visibility) > 0, points, np.nan)
    points = points[(~np.isnan(points)).sum(axis=1) >= 2]
    if not len(points):
        raise FaceAlignError("No face has two labeled landmarks; a mean shape needs some.")
    shape = _normalized(points[int((~np.isnan(points)).sum(axis=1).argmax())])
    turns = np.ones(len(points), complex)
    for _ in range(_ROUNDS):
        moved = np.full(points.shape, complex(np.nan, np.nan))
        for i, face in enumerate(points):
            common = ~np.isnan(face) & ~np.isnan(shape)
            if common.sum() < 2:
                continue
            turns[i], offset = _similarity(face[common], shape[common])
            moved[i] = turns[i] * face + offset
        known = ~np.isnan(moved)
        count, total = known.sum(axis=0), np.where(known, moved, 0).sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), complex(np.nan, np.nan))
        shape = _normalized(mean)
    size = np.abs(turns)
    turn = (turns[size > 0] / size[size > 0]).sum()
    shape = shape * np.conj(turn) / (abs(turn) or 1.0)
    return np.stack([shape.real, shape.imag], axis=-1)


def _normalized(shape: np.ndarray) -> np.ndarray:
    known = shape[~np.isnan(shape)]
    centered = shape - known.mean()
    return centered / (float(np.sqrt((np.abs(known - known.mean()) ** 2).mean())) or 1.0)


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    """The factor and offset, complex, that move points onto others with the least squares."""
    center, goal = source.mean(), target.mean()
    spread = (np.abs(source - center) ** 2).sum()
    factor = (np.conj(source - center) * (target - goal)).sum() / (spread or 1.0)
    return factor, goal - factor * center


def guess_flips(shape: np.ndarray, names: Sequence[str] | None = None) -> list[FlipGuess]:
    """Guesses which points a mirror image exchanges.

    Args:
        shape: (K, 2), a mean shape, upright or nearly so; NaN where it is not known.
        names: Names of the points; "left" and "right" in them decide.

    Returns:
        One guess for each pair, and one for each point on the symmetry line, by their first point;
        none for points whose position is not known.

    Example:
        >>> [guess.points for guess in guess_flips(np.array([[-1, 0], [1.1, 0], [0, 1]]))]
        [(0, 1), (2, 2)]
    """
    named = _named_pairs(names or ())
    by_name = [FlipGuess((a, b), 1.0) for a, b in named]
    taken = {point for pair in named for point in pair}
    points = np.asarray(shape, np.float64) @ [1, 1j]
    places = np.flatnonzero(~np.isnan(points))
    if not len(places):
        return by_name
    points = points[places]
    mirrored = _mirrored(points)
    cost = np.abs(points[:, None] - mirrored)
    cost = cost + cost.T
    partner = _involution(cost)
    # Of points on top of each other, none is sure.
    floor = _NEAR * max(np.ptp(points.real), np.ptp(points.imag), 1e-9)
    guesses = []
    for i, j in enumerate(partner):
        a, b = int(places[i]), int(places[j])
        if i <= j and not {a, b} & taken:
            others = np.concatenate([np.delete(cost[i], j), np.delete(cost[j], i)])
            second = others.min() if len(others) else np.inf
            sure = 1.0 - (cost[i, j] + floor) / (second + floor)
            guesses.append(FlipGuess((a, b), round(float(sure), 3)))
    return sorted(by_name + guesses, key=lambda guess: guess.points)


def _named_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    places = {name.lower(): index for index, name in enumerate(names)}

    def swapped(name: str) -> str:
        # An underscore or a digit beside the word separates, as a space does.
        return _SIDES.sub(lambda m: _OTHER[m[0].lower()], name.lower())

    pairs = []
    for name, index in places.items():
        other = places.get(swapped(name))
        if other is not None and index < other:
            pairs.append((index, other))
    return pairs


def _mirrored(points: np.ndarray) -> np.ndarray:
    """The mirror image of a shape, moved onto the shape."""
    center = points.mean()
    mirrored = center - np.conj(points - center)
    for _ in range(_ROUNDS):
        cost = np.abs(points[:, None] - mirrored)
        partner = _involution(cost + cost.T)
        factor, offset = _similarity(mirrored[partner], points)
        mirrored = factor * mirrored + offset
    return mirrored


def _involution(cost: np.ndarray) -> np.ndarray:
    """Assigns points to each other, or to themselves, at the least cost (symmetric, (K, K))."""
    count = len(cost)
    partner = np.full(count, -1)
    if count <= _LARGEST_EXACT:
        best = _assign(cost)
        mutual = best[best] == np.arange(count)
        partner[mutual] = best[mutual]
    # What is left, rings of three and more, from the nearest pair on.
    rows, columns = np.triu_indices(count)
    left = (partner[rows] < 0) & (partner[columns] < 0)
    rows, columns = rows[left], columns[left]
    for place in np.argsort(cost[rows, columns], kind="stable"):
        i, j = rows[place], columns[place]
        if partner[i] < 0 and partner[j] < 0:
            partner[i], partner[j] = j, i
    return partner


def _assign(cost: np.ndarray) -> np.ndarray:
    """Solves the assignment problem by shortest augmenting paths; the column of each row."""
    count = len(cost)
    row_price, column_price = np.zeros(count + 1), np.zeros(count + 1)
    row_of = np.full(count + 1, -1)  # the last column is the source of each path
    for row in range(count):
        row_of[count] = row
        column, least = count, np.full(count, np.inf)
        used, previous = np.zeros(count + 1, bool), np.full(count, count)
        while row_of[column] >= 0:
            used[column] = True
            here = row_of[column]
            reduced = cost[here] - row_price[here] - column_price[:count]
            better = ~used[:count] & (reduced < least)
            least[better], previous[better] = reduced[better], column
            free = np.where(used[:count], np.inf, least)
            following = int(free.argmin())
            step = free[following]
            row_price[row_of[used]] += step
            column_price[used] -= step
            least[~used[:count]] -= step
            column = following
        while column != count:
            row_of[column] = row_of[previous[column]]
            column = previous[column]
    result = np.empty(count, int)
    result[row_of[:count]] = np.arange(count)
    return result


def guess_regions(
    count: int,
    names: Sequence[str] | None = None,
    edges: Sequence[tuple[int, int]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Guesses the parts of a face: points of a name with running numbers, or connected by lines.

    Args:
        count: Number of points (K).
        names: Their names.
        edges: Pairs of points that are connected by a line.

    Returns:
        Names of the regions with their points; a single one, "points", where nothing is known.

    Example:
        >>> guess_regions(4, ["eye_0", "eye_1", "nose_0", "nose_1"])
        {'eye': (0, 1), 'nose': (2, 3)}
    """
    parts = [(name, name.rstrip("0123456789")) for name in names or ()]
    words = [stem.rstrip(" \t_.-") for name, stem in parts if stem != name]
    if len(words) == len(parts) and all(words) and 1 < len(set(words)) < count:
        return {
            word: tuple(i for i, w in enumerate(words) if w == word)
            for word in dict.fromkeys(words)
        }
    if edges:
        part = list(range(count))
        for a, b in edges:
            old, new = part[b], part[a]
            part = [new if p == old else p for p in part]
        members = [tuple(i for i in range(count) if part[i] == p) for p in dict.fromkeys(part)]
        if 1 < len(members) < count:
            return {f"part_{number}": points for number, points in enumerate(members)}
    return {"points": tuple(range(count))}


def lines_of(edges: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Joins edges that continue each other to lines.

    Example:
        >>> lines_of([(0, 1), (1, 2), (4, 5)])
        ((0, 1, 2), (4, 5))
    """
    lines: list[list[int]] = []
    for a, b in edges:
        if lines and lines[-1][-1] == a:
            lines[-1].append(b)
        else:
            lines.append([a, b])
    return tuple(tuple(line) for line in lines)
