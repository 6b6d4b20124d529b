"""Packs ICT-FaceKit's published folder of `.obj` files into one file.

github.com/ICT-VGL/ICT-FaceKit (MIT license) holds a folder FaceXModel:

    generic_neutral_mesh.obj     the neutral head: `v x y z` lines, and `f` lines of 3 or 4 corners
    identity000.obj ...          the neutral head with each mode of identity added
    browDown_L.obj, ...          the neutral head with each expression, by name
    vertex_indices.json          `expressions`: names that must exist; `idx_to_landmark_verts`:
                                 the 0-based vertices of the 68 landmarks

All meshes number the same vertices in the same order, so offsets are differences line by line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.face_profiling.model import (
    MAX_OFFSETS,
    MAX_VERTICES,
    NUM_LANDMARKS,
    MorphableModel,
    load_head_model,
)
from keras_facealign.data.files import read_text, require_folder
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.storage.reading import one_line

_NEUTRAL, _INDICES = "generic_neutral_mesh.obj", "vertex_indices.json"
_FOLDERS = ("", "FaceXModel")
_IDENTITY = re.compile(r"identity([0-9]{3})\.obj")
_MAX_MESH_BYTES = 20_000_000
_MAX_INDICES_BYTES = 5_000_000
# Largest displacement of a vertex, in units of the head's largest side; meshes whose vertices are
# in another order differ by more.
_FARTHEST = 0.3


def pack_kit(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    on_file: Callable[[str], Any] | None = None,
) -> MorphableModel:
    """Packs ICT-FaceKit into a file that `load_head_model` reads.

    The offsets are stored as 16-bit floats, in the order of their files' names. All expressions in
    the folder are packed, including those that vertex_indices.json does not list.

    Args:
        folder: A copy of the repository, or its folder FaceXModel.
        path: The file to write, `.npz`; about 17 MB.
        on_file: Called with the name of each mesh after it is read.

    Returns:
        The model, as `load_head_model` reads it from the file.

    Raises:
        FaceAlignError: A file is missing, damaged or too large, or the meshes do not fit together;
            nothing is written.

    Example:
        >>> pack_kit("ICT-FaceKit", "head.npz")  # doctest: +SKIP
    """
    advice = "give a copy of ICT-FaceKit, or its folder FaceXModel"
    found = require_folder(Path(folder), _FOLDERS, _NEUTRAL, advice)
    expressions, landmarks = _read_indices(found / _INDICES)
    identities, shapes = _list_meshes(found, expressions)
    neutral, faces = _read_mesh(found / _NEUTRAL, with_faces=True)
    if on_file is not None:
        on_file(_NEUTRAL)
    if not 0 <= landmarks.min() <= landmarks.max() < len(neutral):
        wrong = int(np.flatnonzero((landmarks < 0) | (landmarks >= len(neutral)))[0])
        raise FaceAlignError(
            f"{found / _INDICES}: landmark {wrong} is at vertex {landmarks[wrong]}, but {_NEUTRAL} "
            f"has {len(neutral)}; get all files from one release"
        )
    limit = _FARTHEST * float(np.ptp(neutral, axis=0).max())

    def offsets(names: list[str]) -> np.ndarray:
        array = np.empty((len(names), *neutral.shape), np.float16)
        for index, name in enumerate(names):
            vertices, _ = _read_mesh(found / name)
            if vertices.shape != neutral.shape:
                raise FaceAlignError(
                    f"{found / name}: has {len(vertices)} vertices, but {_NEUTRAL} has "
                    f"{len(neutral)}; get all files from one release"
                )
            moved = vertices - neutral
            if np.abs(moved).max() > limit:
                raise FaceAlignError(
                    f"{found / name}: moves a vertex by {np.abs(moved).max():.3g}, so its vertices "
                    f"are not in the order of {_NEUTRAL}; get all files from one release"
                )
            array[index] = moved
            if on_file is not None:
                on_file(name)
        return array

    arrays = {
        "neutral": neutral.astype(np.float32),
        "identity": offsets(identities),
        "expression": offsets(shapes),
        "faces_v": faces,
        "idx_to_landmark_verts": landmarks,
        "identity_names": np.array([name.removesuffix(".obj") for name in identities]),
        "expression_names": np.array([name.removesuffix(".obj") for name in shapes]),
    }
    with atomic_path(path) as part:
        with open(part, "wb") as file:
            np.savez_compressed(file, **arrays)
        return load_head_model(part)


def _read_indices(path: Path) -> tuple[list[str], np.ndarray]:
    """Names of the expressions, and int64 (68,) vertices of the landmarks."""
    try:
        value = json.loads(read_text(path, _MAX_INDICES_BYTES))
        names, marks = value["expressions"], value["idx_to_landmark_verts"]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("expressions are not names")
        if len(marks) != NUM_LANDMARKS or not all(type(mark) is int for mark in marks):
            raise TypeError(f"idx_to_landmark_verts are not {NUM_LANDMARKS} whole numbers")
        return list(names), np.array(marks, np.int64)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, FaceAlignError):
            raise
        reason = f"it has no {error}" if isinstance(error, KeyError) else one_line(error)
        raise FaceAlignError(f"{path}: is damaged ({reason}); replace it") from error


def _list_meshes(folder: Path, expressions: list[str]) -> tuple[list[str], list[str]]:
    """The files of identities and of expressions, each sorted by name."""
    names = sorted(path.name for path in folder.glob("*.obj") if path.name != _NEUTRAL)
    identities = [name for name in names if _IDENTITY.fullmatch(name)]
    shapes = [name for name in names if not _IDENTITY.fullmatch(name)]
    needed = [f"identity{index:03d}.obj" for index in range(max(len(identities), 1))]
    needed += [f"{name}.obj" for name in expressions]
    for name in needed:
        if name not in names:
            raise FaceAlignError(f"{folder}: lacks {name[:80]}; get the whole folder FaceXModel")
    if max(len(identities), len(shapes)) > MAX_OFFSETS:
        raise FaceAlignError(f"{folder}: holds over {MAX_OFFSETS} meshes of a kind; check it")
    return identities, shapes


def _read_mesh(path: Path, with_faces: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Reads vertices, float64 (V, 3), and optionally quadrilaterals, int32 (F, 4), of an .obj file.

    A triangle's last corner is repeated. Lines of other kinds (texture, material) are ignored.
    """
    vertices: list[list[str]] = []
    faces: list[list[int]] = []
    for number, line in enumerate(read_text(path, _MAX_MESH_BYTES).splitlines(), start=1):
        if line.startswith("v "):
            numbers = line.split()[1:]
            if len(numbers) != 3:
                raise _bad_line(path, number, line, "three numbers")
            vertices.append(numbers)
        elif with_faces and line.startswith("f "):
            faces.append(_corners(path, number, line))
    if not 0 < len(vertices) <= MAX_VERTICES:
        raise FaceAlignError(f"{path}: has {len(vertices)} vertices, not 1 to {MAX_VERTICES}")
    try:
        array = np.array(vertices, np.float64)
    except ValueError as error:
        raise FaceAlignError(
            f"{path}: a vertex is not a number ({one_line(error)}); replace it"
        ) from error
    if not np.isfinite(array).all():
        raise FaceAlignError(f"{path}: a vertex is not finite; replace it")
    corners = np.array(faces, np.int32).reshape(-1, 4) - 1
    if with_faces and (not faces or corners.max() >= len(array)):
        raise FaceAlignError(f"{path}: its faces do not fit its vertices; replace it")
    return array, corners


def _corners(path: Path, number: int, line: str) -> list[int]:
    """The four vertices of a face, 1-based; the vertex of `12/7` is 12."""
    corners = [corner.partition("/")[0] for corner in line.split()[1:]]
    plain = all(re.fullmatch(r"[1-9][0-9]{0,6}", corner) for corner in corners)
    if not plain or not 3 <= len(corners) <= 4:
        raise _bad_line(path, number, line, "three or four vertices, numbered from 1,")
    indices = [int(corner) for corner in corners]
    return indices if len(indices) == 4 else [*indices, indices[-1]]


def _bad_line(path: Path, number: int, line: str, needed: str) -> FaceAlignError:
    return FaceAlignError(f"{path}: line {number} has {line[:60]!r}, but {needed} are needed")
