"""The files that `keras-facealign align` writes for each photo."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_facealign.cli import _common as common
from keras_facealign.cli.photo_inputs import Photo, some
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.images import is_own_image
from keras_facealign.storage.atomic import OutputError, remove_partial_files
from keras_facealign.storage.json_files import read_json_object

# The name of a photo's results, and what follows it.
_RESULT = re.compile(r"(.+)_(?:face\d+\.(json|csv|pts)|(overlay)\.(?:jpg|png))", re.DOTALL)
_HEADS = {"csv": b"landmark,x,y,confidence", "pts": b"version: 1\nn_points: "}
_JSON_FIELDS = {"scheme", "box", "score", "landmarks", "confidence"}


@dataclass
class PhotoResults:
    """Writes the results of one photo after the other.

    Files of an earlier run that this one would have replaced, if it had found as many faces, are
    removed.

    Args:
        output: Folder of the results, which exists.
        face_format: Format of the landmark files: json, csv, pts or coco.
        overlay: Write images with the landmarks drawn.

    Attributes:
        photos: Number of photos whose results are complete.
        faces: Number of their faces.
        files: Closes the file of all photos, if the format has one.
        left: Results of earlier runs that are still there.
    """

    output: Path
    face_format: str
    overlay: bool
    photos: int = 0
    faces: int = 0
    files: ExitStack = field(default_factory=ExitStack)
    left: list[str] = field(default_factory=list)
    _coco: Any = None
    _earlier: dict[Path, dict[str, list[tuple[str, str]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remove_partial_files(self.output)

    def write(self, photo: Photo, image: Any, faces: list[Any], scheme: Any) -> None:
        """Writes the faces and the overlay of a photo.

        Raises:
            OutputError: If a file cannot be written.
        """
        from keras_facealign.formats import write_face, write_image
        from keras_facealign.inference import draw_faces

        name, size = str(photo.path), (image.shape[1], image.shape[0])
        earlier = self._earlier_results(photo.target)
        written = set()
        if self.face_format == "coco":
            self._add_to_coco(photo, size, faces, scheme)
        if faces:
            common.make_folder(photo.target.parent)
        else:
            common.say(f"{name}: no face found")
        doubtful = [str(index) for index, face in enumerate(faces) if not face.reliable]
        if doubtful:
            which = f"face {', '.join(doubtful)}"
            common.say(f"{name}: not reliable: {which}; likely no face, or mostly hidden")
        for index, face in enumerate(faces if self.face_format != "coco" else ()):
            path = photo.target.with_name(f"{photo.target.name}_face{index}.{self.face_format}")
            write_face(path, face, scheme=scheme.name, image=name, image_size=size)
            written.add(path.name)
        if faces and self.overlay:
            path = photo.target.with_name(f"{photo.target.name}_overlay.jpg")
            written.add(write_image(path, draw_faces(image, faces, scheme)).name)
        self._remove_earlier(photo.target.parent, [e for e in earlier if e[0] not in written])
        self.photos += 1
        self.faces += len(faces)

    def leave(self, photo: Photo) -> None:
        """Leaves the earlier results of a photo that failed as they are."""
        self.left += [name for name, _ in self._earlier_results(photo.target)]

    def report(self) -> None:
        """Prints the numbers of photos and faces, and earlier results that are still there."""
        if self.photos:
            counts = f"{common.count(self.faces, 'face')} in {common.count(self.photos, 'photo')}"
            common.say(f"{counts}; results are in {self.output}")
        if self.left:
            common.say(
                f"still in {self.output}, and not of this run: {some(sorted(self.left))}", err=True
            )

    def _add_to_coco(self, photo: Photo, size: tuple[int, int], faces: Any, scheme: Any) -> None:
        from keras_facealign.formats import coco_writer

        path = self.output / "coco.json"
        try:
            if self._coco is None:
                self._coco = self.files.enter_context(coco_writer(path, scheme))
            self._coco.add(photo.path.as_posix(), size, faces)
        except OSError as error:
            message = f"{path}: cannot be written ({error.strerror}); check the space of its disk"
            raise OutputError(message, error) from error

    def _earlier_results(self, target: Path) -> list[tuple[str, str]]:
        """Finds the results of an earlier run: names, and formats or "overlay"."""
        folder = target.parent
        if folder not in self._earlier:
            found = self._earlier[folder] = {}
            with suppress(OSError):
                for match in map(_RESULT.fullmatch, os.listdir(folder)):
                    if match is not None:
                        found.setdefault(match[1], []).append((match[0], match[2] or match[3]))
        return self._earlier[folder].get(target.name, [])

    def _remove_earlier(self, folder: Path, earlier: list[tuple[str, str]]) -> None:
        """Removes files that this program wrote for the photo; others only get a mention."""
        for name, kind in earlier:
            replaced = kind == self.face_format or (kind == "overlay" and self.overlay)
            if replaced and _is_own(folder / name, kind):
                with suppress(OSError):
                    (folder / name).unlink()
                    continue
            self.left.append(name)


def _is_own(path: Path, kind: str) -> bool:
    """Returns whether this program wrote a file: one that only has the name may be the user's."""
    try:
        if not path.is_file() or path.is_symlink():
            return False
        if kind == "overlay":
            return is_own_image(path)
        if kind == "json":
            return read_json_object(path).keys() >= _JSON_FIELDS
        with path.open("rb") as file:
            return file.read(64).startswith(_HEADS[kind])
    except (OSError, FaceAlignError):
        return False
