"""Turned views on disk: written so that a run can go on where it stopped, and read for training.

root/settings.json           how the views were made
root/afw/NAME.npz            labels of all views of one face; written last
root/afw/NAME_0.jpg          the unturned view; NAME_1.jpg and so on are turned ever farther
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from keras_facealign.data.face_profiling.arrays import read_npz
from keras_facealign.data.face_profiling.synthesis import TurnedView
from keras_facealign.data.reading import LabeledFace, Survey, make_face, read_text
from keras_facealign.data.skipping import iter_valid
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write, replacing

__all__ = [
    "SETTINGS",
    "is_written",
    "load_samples",
    "open_output",
    "read_labels",
    "survey",
    "write_views",
]

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
    """The labels of all views of one face; see `TurnedView` for what they are.

    Attributes:
        landmarks: float32 (N, 68, 2).
        depth: float32 (N, 68).
        visibility: int32 (N, 68).
        pose: float32 (N, 3).
        turn: float32 (N,).
        source: The picture's path below its data set's root.
    """

    landmarks: np.ndarray
    depth: np.ndarray
    visibility: np.ndarray
    pose: np.ndarray
    turn: np.ndarray
    source: str


def open_output(root: str | os.PathLike[str], settings: Mapping[str, Any]) -> Path:
    """Makes the folder of a run, or finds that of one with the same settings.

    Args:
        root: The folder.
        settings: What decides the views, as plain numbers, texts and lists.

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
        raise FaceAlignError(f"{root}: holds files of something else; give an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=2) + "\n"
    atomic_write(path, lambda file: file.write(text.encode()))
    return root


def is_written(root: Path, name: str) -> bool:
    """Whether all views of a face are there.

    Args:
        root: The folder of the run.
        name: The face's path below it without an ending, such as `afw/134212_1`.

    Returns:
        False also where the labels or a picture are damaged or missing: the face is made anew.
    """
    try:
        count = len(read_labels(root, name).landmarks)
    except FaceAlignError:
        return False
    return all(_picture(root, name, view).is_file() for view in range(count))


def write_views(root: Path, name: str, views: Sequence[TurnedView], source: str) -> None:
    """Writes the views of a face; whoever reads at the same time sees all of them or none.

    Args:
        root: The folder of the run.
        name: The face's path below it without an ending.
        views: The unturned view first.
        source: The picture's path below its data set's root.
    """
    _labels_path(root, name).parent.mkdir(parents=True, exist_ok=True)
    for index, view in enumerate(views):
        with replacing(_picture(root, name, index)) as part:
            Image.fromarray(view.image).save(part, "JPEG", quality=95, subsampling=0)
    arrays = {
        "landmarks": np.stack([view.landmarks for view in views]),
        "depth": np.stack([view.depth for view in views]),
        "visibility": np.stack([view.visibility for view in views]).astype(np.uint8),
        "pose": np.stack([view.pose for view in views]),
        "turn": np.array([view.turn for view in views], np.float32),
        "source": np.array(source),
    }
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
        raise FaceAlignError(f"{path}: has labels of {sorted(counts)} views; make the face anew")
    if not np.isin(arrays["visibility"], (0, 1, 2)).all():
        raise FaceAlignError(f"{path}: has a visibility other than 0, 1, 2; make the face anew")
    for key in ("depth", "pose", "turn"):
        if not np.isfinite(arrays[key]).all():
            raise FaceAlignError(f"{path}: {key} is not finite; make the face anew")
    return FaceLabels(
        landmarks=arrays["landmarks"].astype(np.float32),
        depth=arrays["depth"].astype(np.float32),
        visibility=arrays["visibility"].astype(np.int32),
        pose=arrays["pose"].astype(np.float32),
        turn=arrays["turn"].astype(np.float32),
        source=str(arrays["source"]),
    )


def survey(root: str | os.PathLike[str]) -> Survey:
    """Counts the faces (not the views) that a run has written."""
    root = Path(root)
    if not (root / SETTINGS).is_file():
        return Survey({}, (f"{SETTINGS} (run synthesize-poses)",))
    return Survey({str(_settings(root).get("split")): len(_names(root))})


def load_samples(
    root: str | os.PathLike[str],
    split: str | None = None,
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[LabeledFace]:
    """Reads turned views, one at a time.

    Args:
        root: The folder that `synthesize-poses` wrote.
        split: The split that the views were made of. Default: whichever it was.
        strict: Raise on the first broken view instead of naming, counting and passing over it.
        on_skip: Called with the error of every view passed over.

    Returns:
        An iterator of faces with 68 landmarks that are projections of points of the head (2 seen, 1
        hidden), and the extras `pose` (pitch, yaw, roll in degrees), `depth` (68,) in pixels and
        `turn` (see `TurnedView`). Views of one face follow each other.

    Raises:
        FaceAlignError: The folder holds no views, or those of another split; while iterating, a
            view is broken and `strict` is set, or all are.

    Example:
        >>> for face in load_samples("300w_turned"):  # doctest: +SKIP
        ...     print(face.file_name, face.extras["pose"])
    """
    root = Path(root)
    made_of = _settings(root).get("split")
    if split is not None and split != made_of:
        raise FaceAlignError(f"{root}: holds views of the split {made_of!r}, not {split!r}")
    names = _names(root)
    if not names:
        raise FaceAlignError(f"{root}: holds no views; run synthesize-poses to the end of a face")
    labels: dict[str, FaceLabels] = {}

    def places() -> Iterator[tuple[str, int]]:
        for name in names:
            labels.clear()
            try:
                labels[name] = read_labels(root, name)
            except FaceAlignError:
                yield name, 0  # reading it again tells why
                continue
            yield from ((name, view) for view in range(len(labels[name].landmarks)))

    def read(place: tuple[str, int]) -> LabeledFace:
        name, view = place
        face = labels.get(name) or read_labels(root, name)
        path = _picture(root, name, view)
        return make_face(
            path,
            face.landmarks[view],
            face.visibility[view],
            file_name=path.relative_to(root).as_posix(),
            subset=PurePosixPath(name).parent.as_posix(),
            label_name=f"{_labels_path(root, name)}: view {view}",
            extras={
                "pose": face.pose[view],
                "depth": face.depth[view],
                "turn": face.turn[view],
            },
        )

    return iter_valid(places(), read, strict, on_skip)


def _settings(root: Path) -> dict[str, Any]:
    path = root / SETTINGS
    try:
        settings = json.loads(read_text(path, 100_000))
    except json.JSONDecodeError as error:
        raise FaceAlignError(f"{path}: is not JSON ({error}); make the views anew") from error
    if not isinstance(settings, dict):
        raise FaceAlignError(f"{path}: holds no settings; make the views anew")
    return settings


def _names(root: Path) -> list[str]:
    return sorted(
        path.relative_to(root).as_posix().removesuffix(".npz")
        for path in root.rglob("*.npz")
        if not path.name.startswith(".")
    )


def _labels_path(root: Path, name: str) -> Path:
    # Names have dots of their own, which `with_suffix` would cut at.
    return root / f"{name}.npz"


def _picture(root: Path, name: str, view: int) -> Path:
    return root / f"{name}_{view}.jpg"
