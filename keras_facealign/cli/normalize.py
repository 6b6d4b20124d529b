"""`keras-facealign normalize`: cuts the faces of photos out for recognition."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.photo_inputs import Photo, PhotoInputs
from keras_facealign.cli.stopping import Stop, stoppable
from keras_facealign.storage.atomic import OutputError, atomic_write
from keras_facealign.storage.file_names import escape_cell
from keras_facealign.storage.reading import csv_rows

if TYPE_CHECKING:
    from keras_facealign.recognition import FaceNormalizer, NormalizedFace

NormalizationMode = Literal["arcface", "box", "similarity68", "pose3d", "frontal3d"]

TABLE = "faces.csv"
COLUMNS = (
    *("image", "crop", "settings", "mode", "note", "reliable", "score"),
    *("x0", "y0", "x1", "y1", "m00", "m01", "m02", "m10", "m11", "m12"),
)
# Photos between two writings of the table, which a killed run loses at most.
_BETWEEN = 200


def normalize(
    inputs: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER...")],
    output: common.OutputFolder,
    mode: NormalizationMode = "arcface",
    size: Annotated[int, typer.Option(min=16, max=4096)] = 112,
    select: Literal["largest", "central"] = "largest",
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    recursive: Annotated[bool, typer.Option("--recursive", "-r")] = False,
    min_face: common.MinFace = None,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Cut the face out of each photo as face recognition networks take it.

    Writes NAME_face.png for each photo, in the same subfolders, and faces.csv: photo, crop, box,
    and the matrix from pixels of the photo to those of the crop (of similarity68 for frontal3d), or
    why there is no crop. A face is cut out by its box where its landmarks coincide. Such faces are
    listed, and so are those whose landmarks are marked as not reliable: 0 in the column reliable.

    Run the same command again to continue: photos that have a crop of the same settings are not
    read again. Photos without a face and unreadable photos do not stop the command; they are listed
    at the end. The exit code is 0 if at least one crop could be made, else 2 (with --strict: if any
    photo failed). Ctrl-C keeps what is done.

    Args:
        inputs: Photos, and folders of photos.
        mode: arcface: five points to the ArcFace template; box: by the landmarks' box;
            similarity68: 68 points to the mean face; pose3d: to the mean head turned as the face
            is; frontal3d: the face seen from the front.
        size: Side of the crops in pixels.
        select: Which face of a photo to cut out.
        recursive: Search the subfolders of folders, too.
    """
    found = PhotoInputs(inputs, output, recursive)
    common.make_folder(output)
    total = len(found.photos) + len(found.failures)
    table = _Table(output, f"{mode} {size} {select} {preset} {flip_test}")
    table.read()

    def load() -> FaceNormalizer:
        from keras_facealign.recognition import FaceNormalizer

        aligner = common.load_aligner(preset, runtime, flip_test, True, min_face)
        return FaceNormalizer(aligner, mode, size, select)

    left = [photo for photo in found.photos if not table.has(photo)]
    if len(left) < len(found.photos):
        common.say(f"{common.count(len(found.photos) - len(left), 'photo')} done by an earlier run")
    with common.progress_bar("Normalizing", len(left)) as advance, stoppable() as stop:
        try:
            _run(left, table, load, found.failures, stop, advance)
        finally:
            table.write()
    crops = common.count(sum(table.has(photo) for photo in found.photos), "crop")
    common.say(f"{crops} of {common.count(total, 'photo')}; they are in {output}, with {TABLE}")
    for line in table.notes:
        common.say(line, err=True)
    found.report_skipped()
    common.report_failures(found.failures, total, "inputs", strict and stop.error is None)
    stop.finish(crops)


def _run(
    photos: list[Photo],
    table: _Table,
    load: Callable[[], FaceNormalizer],
    failures: list[str],
    stop: Stop,
    advance: Callable[[], None],
) -> None:
    from keras_facealign.formats import write_image

    normalizer = None
    for number, photo in enumerate(photos, start=1):
        stop.check()
        before = len(failures)
        with common.collect_errors(failures, str(photo.path)):
            normalizer = normalizer or load()
            result = normalizer(photo.path, str(photo.path))
            crop = table.crop(photo)
            common.make_folder(crop.parent)
            write_image(crop, result.crop)
            table.add(photo, result)
        if len(failures) > before:
            table.add_failure(photo, failures[-1])
        if number % _BETWEEN == 0:
            table.write()
        advance()


@dataclass
class _Table:
    """The rows of faces.csv, one a photo.

    Args:
        folder: The output folder.
        settings: What a crop depends on besides the photo.

    Attributes:
        notes: A line for each photo of this run that was not cut out as asked for, or whose face is
            marked as not reliable.
    """

    folder: Path
    settings: str
    notes: list[str] = field(default_factory=list)
    _rows: dict[str, list[str]] = field(default_factory=dict)

    def crop(self, photo: Photo) -> Path:
        return photo.target.with_name(f"{photo.target.name}_face.png")

    def has(self, photo: Photo) -> bool:
        """Whether a photo has a crop of these settings."""
        row = self._rows.get(_key(photo))
        done = row is not None and row[2] == escape_cell(self.settings) and row[3] != "failed"
        return done and self.crop(photo).is_file()

    def read(self) -> None:
        """Reads the rows of an earlier run, if there are any that can be read."""
        path = self.folder / TABLE
        if path.is_file():
            head, *rows = list(csv_rows(path)) or [[]]
            if tuple(head) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
                message = f"{path}: is not the table of an earlier run; choose another folder"
                raise OutputError(message, OSError())
            self._rows = {row[0]: row for row in rows}

    def add(self, photo: Photo, result: NormalizedFace) -> None:
        from keras_facealign.recognition.normalization import UNRELIABLE

        face, crop = result.face, self.crop(photo).relative_to(self.folder).as_posix()
        cells = [_key(photo), *map(escape_cell, (crop, self.settings, result.mode, result.note))]
        cells += [str(int(face.reliable)), f"{face.score:.4f}"]
        cells += [f"{float(n):.6f}" for n in (*face.box, *result.matrix.ravel())]
        self._rows[cells[0]] = cells
        if result.note:
            self.notes.append(f"{photo.path}: {result.note}; cut out by the box")
        if not face.reliable:
            self.notes.append(f"{photo.path}: {UNRELIABLE}; check the crop")

    def add_failure(self, photo: Photo, reason: str) -> None:
        cells = [_key(photo), *map(escape_cell, ("", self.settings, "failed", reason))]
        self._rows[cells[0]] = cells + [""] * (len(COLUMNS) - len(cells))

    def write(self) -> None:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *self._rows.values()])
        text = stream.getvalue().encode("utf-8", "backslashreplace")
        atomic_write(self.folder / TABLE, lambda file: file.write(text))


def _key(photo: Photo) -> str:
    return escape_cell(photo.path.as_posix())
