"""Landmark schemes as plain values: what configuration files, presets and exports carry.

A scheme of this library is carried by its name, any other one as a whole. Definitions come from
files that are not trusted, so every value is checked, and the size before anything is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.registry import (
    SCHEMES,
    get_scheme,
    is_scheme_name,
    numbered_scheme,
)
from keras_facealign.landmarks.scheme import LandmarkScheme

MAX_LANDMARKS = 4096
"""Most points of a scheme that is read from a file."""
BOX_SIZE = "box_size"
"""The normalizer of schemes without eye corners."""

_KEYS = (
    *("name", "num_landmarks", "names", "flip_pairs", "regions", "closed_regions", "lines"),
    *("normalizer", "inner_corners", "eyes", "face_box"),
)
_MAX_NAME = 80
# Lists of points, such as regions and lines, and all points in them.
_MAX_LISTS, _MAX_MEMBERS = 1000, 8 * MAX_LANDMARKS
# In units of the tight box; the eyes alone are about a fifth of a face.
_MAX_REACH = 20.0


def scheme_to_dict(scheme: LandmarkScheme) -> dict[str, Any]:
    """Describes a scheme by plain values, in the keys of a scheme file.

    Args:
        scheme: The scheme.

    Returns:
        name, num_landmarks, and as far as they are known names, flip_pairs, regions,
        closed_regions, lines, normalizer, inner_corners, eyes and face_box.

    Example:
        >>> from keras_facealign.landmarks import FIVE
        >>> scheme_to_dict(FIVE)["flip_pairs"]
        [[0, 1], [3, 4]]
    """
    corners = scheme.eye_corners
    values: dict[str, Any] = {
        "name": scheme.name,
        "num_landmarks": scheme.num_landmarks,
        "names": scheme.names,
        "flip_pairs": scheme.flip_pairs if scheme.has_flip_pairs else None,
        "regions": {name: list(points) for name, points in scheme.regions.items()},
        "closed_regions": sorted(scheme.closed_regions) or None,
        "lines": scheme.lines,
        "normalizer": BOX_SIZE if corners is None else corners,
        "inner_corners": scheme.inner_corners,
        "eyes": scheme.eyes,
        "face_box": scheme.face_box,
    }
    return {key: _as_lists(value) for key, value in values.items() if value is not None}


def _as_lists(value: Any) -> Any:
    return [_as_lists(v) for v in value] if isinstance(value, (tuple, list)) else value


def scheme_from_dict(values: Any, where: str = "The scheme") -> LandmarkScheme:
    """Makes a scheme of the values that `scheme_to_dict` gives.

    Args:
        values: A mapping. Points are given by their index, from 0 on, or by their name. Left out
            may be all but `num_landmarks` or `names`; without `flip_pairs` these are unknown.
        where: What error messages call it, such as the name of a file.

    Returns:
        The scheme.

    Raises:
        FaceAlignError: If a value is of the wrong kind, or the values do not fit each other; the
            message names key and value.

    Example:
        >>> scheme = scheme_from_dict({"names": ["left", "right"], "flip_pairs": [[0, "right"]]})
        >>> scheme.num_landmarks, scheme.flip_pairs
        (2, ((0, 1),))
    """
    if not isinstance(values, Mapping):
        raise FaceAlignError(f"{where}: must hold keys and values, not {_short(values)}.")
    unknown = sorted(str(key) for key in values if key not in _KEYS)
    if unknown:
        raise FaceAlignError(
            f"{where}: {_short(unknown[0])} is not a key of a scheme; the keys are: "
            f"{', '.join(_KEYS)}."
        )
    return _Definition(values, where).scheme()


def scheme_config(scheme: LandmarkScheme) -> str | dict[str, Any]:
    """Returns what a configuration carries: the name of a known scheme, or all of another one.

    Example:
        >>> from keras_facealign.landmarks import FIVE
        >>> scheme_config(FIVE)
        'five'
    """
    return scheme.name if _known(scheme) else scheme_to_dict(scheme)


def _known(scheme: LandmarkScheme) -> bool:
    if scheme.name in SCHEMES:
        return SCHEMES[scheme.name] == scheme
    return scheme == numbered_scheme(scheme.num_landmarks)


def as_scheme(value: str | Mapping[str, Any] | LandmarkScheme) -> LandmarkScheme:
    """Returns the scheme that a name, a definition or a scheme itself stands for.

    Args:
        value: A scheme, its name (see `get_scheme`), or what `scheme_config` returned.

    Raises:
        FaceAlignError: If there is no scheme of that name, or the definition is wrong.

    Example:
        >>> as_scheme("ibug68").num_landmarks
        68
    """
    if isinstance(value, LandmarkScheme):
        return value
    return get_scheme(value) if isinstance(value, str) else scheme_from_dict(value)


class _Definition:
    """Checks the values of a definition, key by key."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where
        self.count = self._count()
        self.names = self._names()
        self.places = {name: index for index, name in enumerate(self.names or ())}

    def scheme(self) -> LandmarkScheme:
        name = self._name()
        regions = self._regions()
        closed = self._list("closed_regions", len(regions))
        for region in closed:
            if not isinstance(region, str) or region not in regions:
                self._fail("closed_regions", region, "it is not among the regions")
        lines = None
        if self.values.get("lines") is not None or self.values.get("regions") is None:
            lines = tuple(self._points("lines", v, 2) for v in self._lists("lines"))
        corners = self._normalizer()
        scheme = LandmarkScheme(
            name=name,
            num_landmarks=self.count,
            regions=regions,
            closed_regions=frozenset(closed),
            flip_pairs=self._flip_pairs(),
            eye_corners=corners,
            inner_corners=self._pair("inner_corners"),
            eyes=self._eyes(),
            lines=lines,
            has_flip_pairs=self.values.get("flip_pairs") is not None,
            names=self.names,
            face_box=self._face_box(),
        )
        if is_scheme_name(name) and not _known(scheme):
            self._fail("name", name, "this is the name of another scheme; choose your own")
        return scheme

    def _fail(self, key: str, value: Any, reason: str) -> NoReturn:
        raise FaceAlignError(f"{self.where}: {key} is {_short(value)}; {reason}.")

    def _list(self, key: str, most: int) -> list[Any]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            self._fail(key, value, "give a list")
        if len(value) > most:
            self._fail(key, f"a list of {len(value)}", f"there can be at most {most}")
        return list(value)

    def _count(self) -> int:
        names = self._list("names", MAX_LANDMARKS)
        count = self.values.get("num_landmarks", len(names) or None)
        if type(count) is not int or not 1 <= count <= MAX_LANDMARKS:
            self._fail("num_landmarks", count, f"give a whole number from 1 to {MAX_LANDMARKS}")
        if names and len(names) != count:
            self._fail("names", f"a list of {len(names)}", f"there are {count} landmarks")
        return count

    def _names(self) -> tuple[str, ...] | None:
        names = self._list("names", MAX_LANDMARKS)
        seen: set[str] = set()
        for name in names:
            if not _is_word(name):
                self._fail("names", name, f"give a text of 1 to {_MAX_NAME} printable characters")
            if name in seen:
                self._fail("names", name, "two landmarks have this name")
            seen.add(name)
        return tuple(names) or None

    def _name(self) -> str:
        default = f"points{self.count}" if len(self.values) == 1 else f"own{self.count}"
        name = self.values.get("name", default)
        if not _is_word(name) or name != name.strip():
            self._fail("name", name, f"give a text of 1 to {_MAX_NAME} printable characters")
        return name

    def _point(self, key: str, value: Any) -> int:
        if isinstance(value, str) and value in self.places:
            return self.places[value]
        if type(value) is not int or not 0 <= value < self.count:
            own = ", or the name of one" if self.names else ""
            self._fail(key, value, f"give the index of a landmark, 0 to {self.count - 1}{own}")
        return value

    def _points(self, key: str, value: Any, least: int = 1) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple)) or len(value) < least:
            self._fail(key, value, f"give a list of at least {least} landmarks")
        return tuple(self._point(key, v) for v in value)

    def _lists(self, key: str) -> list[Any]:
        """A list of lists, bounded before their members are looked at."""
        lists = self._list(key, max(_MAX_LISTS, self.count))
        self._bound(key, lists)
        return lists

    def _bound(self, key: str, lists: list[Any]) -> None:
        members = sum(len(v) for v in lists if isinstance(v, (list, tuple)))
        if members > _MAX_MEMBERS:
            self._fail(key, f"{members} landmarks", f"there can be at most {_MAX_MEMBERS}")

    def _flip_pairs(self) -> tuple[tuple[int, int], ...]:
        pairs = [self._two("flip_pairs", value) for value in self._lists("flip_pairs")]
        seen: set[int] = set()
        for pair in pairs:
            for point in pair:
                if point in seen:
                    self._fail("flip_pairs", list(pair), f"landmark {point} is in two pairs")
                seen.add(point)
        return tuple(pairs)

    def _two(self, key: str, value: Any) -> tuple[int, int]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            self._fail(key, value, "give two landmarks")
        a, b = (self._point(key, v) for v in value)
        if a == b:
            self._fail(key, value, "give two different landmarks")
        return a, b

    def _pair(self, key: str) -> tuple[int, int] | None:
        value = self.values.get(key)
        return None if value is None else self._two(key, value)

    def _regions(self) -> dict[str, tuple[int, ...]]:
        regions = self.values.get("regions")
        if regions is None:
            return {"points": tuple(range(self.count))}
        if not isinstance(regions, Mapping) or len(regions) > _MAX_LISTS:
            self._fail("regions", regions, "give names, each with a list of landmarks")
        self._bound("regions", list(regions.values()))
        for region in regions:
            if not _is_word(region):
                self._fail("regions", region, "give a name of printable characters")
        return {
            region: self._points(f"regions: {region}", points) for region, points in regions.items()
        }

    def _normalizer(self) -> tuple[int, int] | None:
        value = self.values.get("normalizer", BOX_SIZE)
        if value in (BOX_SIZE, "box", None):
            return None
        if isinstance(value, str):
            self._fail(
                "normalizer", value, f"give {BOX_SIZE}, or the two outer corners of the eyes"
            )
        return self._two("normalizer", value)

    def _eyes(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        eyes = self._list("eyes", 2)
        if not eyes:
            return None
        if len(eyes) != 2:
            self._fail("eyes", eyes, "give two lists of landmarks, right and left")
        self._bound("eyes", eyes)
        right, left = (self._points("eyes", eye) for eye in eyes)
        return right, left

    def _face_box(self) -> tuple[float, float, float, float] | None:
        box = self._list("face_box", 4)
        if not box:
            return None
        good = len(box) == 4 and all(
            type(v) in (int, float) and math.isfinite(v) and abs(v) <= _MAX_REACH for v in box
        )
        if not good or box[2] <= box[0] or box[3] <= box[1]:
            self._fail(
                "face_box",
                box,
                f"give x0, y0, x1, y1 with x0 < x1 and y0 < y1, between -{_MAX_REACH:g} and "
                f"{_MAX_REACH:g}",
            )
        x0, y0, x1, y1 = (float(v) for v in box)
        return x0, y0, x1, y1


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()


def _short(value: Any) -> str:
    return repr(value)[:80]
