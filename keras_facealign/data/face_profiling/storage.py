"""Writes turned views, so that a stopped run can be resumed, and reads them for training.

root/settings.json           options of the run
root/afw/NAME.npz            labels of all views of one face; written last
root/afw/NAME_0.jpg          the unturned view; NAME_1.jpg and so on have increasing yaws
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.face_profiling.synthesis import TurnedView
from keras_facealign.data.files import Survey
from keras_facealign.data.npz import read_npz
from keras_facealign.data.valid_items import reader
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path, atomic_write
from keras_facealign.storage.reading import parse_json, read_file

SETTINGS = "settings.json"

_MAX_VIEWS = 100
_LABELS = {
    "landmarks": ("f", (None, 68, 2)),
    "depth": ("f", (None, 68)),
    "visibility": ("iu", (None, 68)),
    "pose": ("f", (None, 3)),
    "turn": ("f", (None,)),
    "source": ("U", ()),
}


@dataclass(frozen=True, eq=False)
class FaceLabels:
    """Labels of all views of one face; see `TurnedView`.

    Attributes:
        landmarks: float32 (N, 68, 2).
        depth: float32 (N, 68).
        visibility: int32 (N, 68).
        pose: float32 (N, 3).
        turn: float32 (N,).
        source: The image's path below its data set's root.
    """

    landmarks: np.ndarray
    depth: np.ndarray
    visibility: np.ndarray
    pose: np.ndarray
    turn: np.ndarray
    source: str


def open_output(root: str | os.PathLike[str], settings: Mapping[str, Any]) -> Path:
    """Makes the folder of a run, or checks that an existing one has the same settings.

    Args:
        root: The folder.
        settings: Options that determine the views, as plain numbers, texts and lists.

    Returns:
        The folder.

    Raises:
        FaceAlignError: The folder holds views made with other settings, or other files.
    """
    root = Path(root)
    path = root / SETTINGS
    settings = json.loads(json.dumps(dict(settings)))
    if path.exists():
        found = _settings(root)
        for name in sorted(settings.keys() | found.keys()):
            if settings.get(name) != found.get(name):
                raise FaceAlignError(
                    f"{path}: was made with {name} {found.get(name)}, not {settings.get(name)}; "
                    "give another folder or the same options"
                )
        return root
    if root.is_dir() and any(root.iterdir()):
        raise FaceAlignError(f"{root}: holds other files; give an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=2) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return root


def is_written(root: Path, name: str) -> bool:
    """Whether all views of a face are written.

    Args:
        root: The folder of the run.
        name: The face's path below it without suffix, such as `afw/134212_1`.

    Returns:
        False also where the labels or an image are damaged or missing.
    """
    try:
        count = len(read_labels(root, name).landmarks)
    except FaceAlignError:
        return False
    return all(_image_path(root, name, view).is_file() for view in range(count))


def write_views(root: Path, name: str, views: Sequence[TurnedView], source: str) -> None:
    """Writes the views of a face atomically: concurrent readers see all of them or none.

    Args:
        root: The folder of the run.
        name: The face's path below it without suffix.
        views: The unturned view first.
        source: The image's path below its data set's root.
    """
    _labels_path(root, name).parent.mkdir(parents=True, exist_ok=True)
    for index, view in enumerate(views):
        with atomic_path(_image_path(root, name, index)) as part:
            Image.fromarray(view.image).save(part, "JPEG", quality=95, subsampling=0)
    arrays: dict[str, Any] = {
        name: np.stack([getattr(view, name) for view in views])
        for name in ("landmarks", "depth", "visibility", "pose")
    }
    arrays["visibility"] = arrays["visibility"].astype(np.uint8)
    arrays["turn"] = np.array([view.turn for view in views], np.float32)
    arrays["source"] = np.array(source)
    atomic_write(_labels_path(root, name), lambda file: np.savez_compressed(file, **arrays))


def read_labels(root: Path, name: str) -> FaceLabels:
    """Reads the labels of all views of a face.

    Raises:
        FaceAlignError: They are missing, damaged, or do not fit together.
    """
    path = _labels_path(root, name)
    arrays = read_npz(path, _LABELS, max_bytes=1_000_000)
    counts = {len(arrays[key]) for key in _LABELS if key != "source"}
    if len(counts) != 1 or not 0 < max(counts) <= _MAX_VIEWS:
        raise FaceAlignError(f"{path}: has labels of {sorted(counts)} views; delete it")
    if not np.isin(arrays["visibility"], (0, 1, 2)).all():
        raise FaceAlignError(f"{path}: has a visibility other than 0, 1, 2; delete it")
    for key in ("depth", "pose", "turn"):
        if not np.isfinite(arrays[key]).all():
            raise FaceAlignError(f"{path}: {key} is not finite; delete it")
    numbers = {
        name: array.astype(np.int32 if name == "visibility" else np.float32)
        for name, array in arrays.items()
        if name != "source"
    }
    return FaceLabels(**numbers, source=str(arrays["source"]))


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces (not the views) that a run has written."""
    root = Path(root)
    if not (root / SETTINGS).is_file():
        return Survey({}, (f"{SETTINGS} (run synthesize-poses)",))
    return Survey({str(_settings(root).get("split")): len(_names(root))})


@reader
def load_samples(root: Path, split: str | None = None) -> Any:
    """Reads turned views, one at a time.

    Args:
        root: The folder that `synthesize-poses` wrote.
        split: The split that the views were made from. Default: any.
        strict: See `iter_valid`.
        on_skip: See `iter_valid`.

    Returns:
        An iterator of faces with 68 landmarks, projections of the head's points (2 visible, 1
        hidden), and the extras `pose` (pitch, yaw, roll in degrees), `depth` (68,) in pixels and
        `turn` (see `TurnedView`). Views of one face follow each other.

    Raises:
        FaceAlignError: The folder holds no views, or those of another split; while iterating, a
            view is broken and `strict` is set, or all are.

    Example:
        >>> for face in load_samples("300w_turned"):  # doctest: +SKIP
        ...     print(face.file_name, face.extras["pose"])
    """
    made_of = _settings(root).get("split")
    if split is not None and split != made_of:
        raise FaceAlignError(f"{root}: holds views of the split {made_of!r}, not {split!r}")
    names = _names(root)
    if not names:
        raise FaceAlignError(f"{root}: holds no views; run synthesize-poses")

    def items() -> Iterator[tuple[str, int, FaceLabels | FaceAlignError]]:
        for name in names:
            try:
                labels = read_labels(root, name)
            except FaceAlignError as error:
                yield name, 0, error
            else:
                yield from ((name, view, labels) for view in range(len(labels.landmarks)))

    def read(item: tuple[str, int, FaceLabels | FaceAlignError]) -> FaceExample:
        name, view, labels = item
        if isinstance(labels, FaceAlignError):
            raise labels
        path = _image_path(root, name, view)
        return make_example(
            path,
            labels.landmarks[view],
            labels.visibility[view],
            file_name=path.relative_to(root).as_posix(),
            subset=PurePosixPath(name).parent.as_posix(),
            label_name=f"{_labels_path(root, name)}: view {view}",
            extras={key: getattr(labels, key)[view] for key in ("pose", "depth", "turn")},
        )

    return items(), read


def _settings(root: Path) -> dict[str, Any]:
    path = root / SETTINGS
    settings = parse_json(read_file(path, 100_000), path, "delete the folder")
    if not isinstance(settings, dict):
        raise FaceAlignError(f"{path}: holds no settings; delete the folder")
    return settings


def _names(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix().removesuffix(".npz")
        for path in root.rglob("*.npz")
        if not path.name.startswith(".")
    )


def _labels_path(root: Path, name: str) -> Path:
    # Names may contain dots, which `with_suffix` would treat as a suffix.
    return root / f"{name}.npz"


def _image_path(root: Path, name: str, view: int) -> Path:
    return root / f"{name}_{view}.jpg"
