"""`keras-facealign align`: finds the landmarks of photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.photo_inputs import Photo, PhotoInputs
from keras_facealign.cli.photo_results import PhotoResults
from keras_facealign.cli.stopping import Stop, stoppable
from keras_facealign.data.boxes import read_boxes
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import OutputError

if TYPE_CHECKING:
    from keras_facealign.inference import FaceAligner

FaceFormat = Literal["json", "csv", "pts", "coco"]


def align(
    inputs: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER...")],
    output: common.OutputFolder,
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    face_format: Annotated[FaceFormat, typer.Option("--format", "-f")] = "json",
    boxes: Path | None = None,
    overlay: bool = True,
    recursive: Annotated[bool, typer.Option("--recursive", "-r")] = False,
    min_face: common.MinFace = None,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Find the faces of photos and their landmarks.

    Writes for each photo NAME_overlay.jpg, and for each face NAME_face0.json, NAME_face1.json, ...
    (or .csv, .pts), the largest face first; with --format coco, one coco.json for all photos.
    Photos in subfolders get the same subfolders in the output; if the names of photos differ only
    in their extension, the second becomes NAME_png and so on. Existing results of a photo are
    replaced, and removed if fewer faces are found; the photos themselves never are.

    Photos without a face and unreadable photos do not stop the command; the unreadable ones are
    listed at the end. So are photos in folders that have to be converted first, such as HEIC and
    raw files. The exit code is 0 if at least one photo could be read, with or without a face, and 2
    if none could (with --strict: if any failed or has to be converted), or if a result could not be
    written. Ctrl-C keeps what is done.

    Args:
        inputs: Photos, and folders of photos.
        face_format: Format of the landmark files.
        boxes: CSV file of face boxes to use instead of detecting faces: columns image, x0, y0, x1,
            y1; one face per line; image is a file name or path; boxes in pixels, tight around brows
            and chin.
        overlay: Write images with the landmarks drawn.
        recursive: Search the subfolders of folders, too.
    """
    given = None if boxes is None else read_boxes(boxes)
    found = PhotoInputs(inputs, output, recursive, [boxes] if boxes else [])
    total = len(found.photos) + len(found.failures)
    if given is not None:
        _check_names(given, found.photos, boxes)
    common.make_folder(output)
    results = PhotoResults(output, face_format, overlay)
    load = partial(common.load_aligner, preset, runtime, flip_test, given is None, min_face)
    run = _Run(results, load, given, found.failures)
    with (
        results.files,
        common.progress_bar("Aligning", len(found.photos)) as advance,
        stoppable() as stop,
    ):
        run.run(found.photos, stop, advance)
    results.report()
    found.report_skipped()
    if run.failures and total == 1:
        raise FaceAlignError(run.failures[0])
    ended = stop.error is not None or run.disk_error is not None
    failed = (strict or run.unwritten) and not ended
    common.report_failures(run.failures, total, "inputs", failed)
    stop.finish(f"{results.photos} of {common.count(len(found.photos), 'photo')} done")
    if run.disk_error is not None:
        raise run.disk_error
    if strict and found.unconverted:
        raise typer.Exit(common.EXIT_UNUSABLE_INPUT)


@dataclass
class _Run:
    """Reads, aligns and writes one photo after the other.

    Args:
        results: Writes the results.
        load: Loads the network.
        boxes: Boxes of the photos, or None to detect the faces.
        failures: Gets a line for each photo that fails.

    Attributes:
        unwritten: Whether results of a photo could not be written.
        disk_error: The error that ended the run, as nothing more could be written.
    """

    results: PhotoResults
    load: Callable[[], FaceAligner]
    boxes: dict[str, list[list[float]]] | None
    failures: list[str]
    unwritten: bool = False
    disk_error: OutputError | None = None

    def run(self, photos: list[Photo], stop: Stop, advance: Callable[[], None]) -> None:
        """Processes all photos, until a stop is asked for or nothing can be written any more."""
        try:
            self._align(photos, stop, advance)
        except OutputError as error:
            self.disk_error = error

    def _align(self, photos: list[Photo], stop: Stop, advance: Callable[[], None]) -> None:
        aligner = None
        for photo in photos:
            stop.check()
            image, done = None, self.results.photos
            with common.collect_errors(self.failures):
                image = read_image(photo.path)
            if image is not None:
                # Loaded after the first photo, so that a wrong path is reported at once.
                aligner = aligner or self.load()
                with common.collect_errors(self.failures):
                    boxes = None if self.boxes is None else _boxes_of(self.boxes, photo.path)
                    faces = aligner.align(image, boxes, name=str(photo.path))
                    self._write(photo, image, faces, aligner.model.scheme)
            if self.results.photos == done:
                self.results.leave(photo)
            advance()

    def _write(self, photo: Photo, image: Any, faces: list[Any], scheme: Any) -> None:
        try:
            self.results.write(photo, image, faces, scheme)
        except OutputError:
            self.unwritten = True
            raise


def _boxes_of(boxes: dict[str, list[list[float]]], path: Path) -> list[list[float]]:
    """Returns the boxes given for an image by its path, or else by its name."""
    for key in (path.as_posix(), path.name):
        if key in boxes:
            return boxes[key]
    raise FaceAlignError(f"{path}: the file of boxes has none for it; add a line, or leave it out")


def _check_names(boxes: dict[str, list[list[float]]], photos: list[Photo], source: Any) -> None:
    """Rejects file names in the boxes that match several inputs."""
    first: dict[str, Path] = {}
    for path in (photo.path for photo in photos):
        if path.name in boxes and path.as_posix() not in boxes:
            if path.name in first:
                raise FaceAlignError(
                    f"{source}: {path.name} fits both {first[path.name]} and {path}; give their "
                    "paths"
                )
            first[path.name] = path
