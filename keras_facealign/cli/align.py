"""`keras-facealign align`: finds the landmarks of photos."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.data.boxes import read_boxes
from keras_facealign.data.images import IMAGE_SUFFIXES, read_image
from keras_facealign.errors import FaceAlignError

FaceFormat = Literal["json", "csv", "pts", "coco"]


@dataclass(frozen=True)
class _Job:
    """An image, and the prefix of its results: `<target>_overlay.jpg` and so on."""

    path: Path
    target: Path


def align(
    inputs: Annotated[list[Path], typer.Argument(metavar="IMAGE|FOLDER...")],
    output: common.OutputFolder,
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    face_format: Annotated[FaceFormat, typer.Option("--format", "-f")] = "json",
    boxes: Path | None = None,
    overlay: bool = True,
    recursive: Annotated[bool, typer.Option("--recursive", "-r")] = False,
    min_face: common.MinFace = 20,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Find the faces of photos and their landmarks.

    Writes for each photo NAME_overlay.jpg, and for each face NAME_face0.json, NAME_face1.json, ...
    (or .csv, .pts), the largest face first; with --format coco, one coco.json for all photos.
    Photos in subfolders get the same subfolders in the output; if the names of photos differ only
    in their extension, the second becomes NAME_png and so on. Existing results are replaced, the
    photos themselves never.

    Photos without a face and unreadable photos do not stop the command; the unreadable ones are
    listed at the end. The exit code is 0 if at least one photo could be read, with or without a
    face, and 2 if none could (with --strict: if any failed).

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
    failures: list[str] = []
    found = _find_images(inputs, output, recursive, failures)
    jobs = _assign_targets(found, output, [boxes] if boxes else [])
    if given is not None:
        _check_names(given, jobs, boxes)
    output.mkdir(parents=True, exist_ok=True)
    total = len(jobs) + len(failures)
    results = _Results(output, face_format, overlay)
    aligner = None
    with results.files, common.progress_bar("Aligning", len(jobs)) as advance:
        for job in jobs:
            image = None
            with common.collect_errors(failures):
                image = read_image(job.path)
            if image is not None:
                # Loaded after the first photo, so that a wrong path is reported at once.
                if aligner is None:
                    detect = None if given is not None else min_face
                    aligner = common.load_aligner(preset, runtime, flip_test, detect)
                with common.collect_errors(failures):
                    in_image = None if given is None else _boxes_of(given, job.path)
                    faces = aligner.align(image, in_image, name=str(job.path))
                    results.write(job, image, faces, aligner.model.scheme)
            advance()
    if results.photos:
        counts = f"{common.count(results.faces, 'face')} in {common.count(results.photos, 'photo')}"
        common.say(f"{counts}; results are in {output}")
    if failures and total == 1:
        raise FaceAlignError(failures[0])
    common.report_failures(failures, total, "inputs", strict)


@dataclass
class _Results:
    """Writes the results of one photo after the other, and counts them."""

    output: Path
    face_format: str
    overlay: bool
    photos: int = 0
    faces: int = 0
    files: ExitStack = field(default_factory=ExitStack)
    coco: Any = None

    def write(self, job: _Job, image: Any, faces: list[Any], scheme: Any) -> None:
        """Writes the faces and the overlay of a photo."""
        from keras_facealign.formats import coco_writer, write_face, write_image
        from keras_facealign.inference import draw_faces

        self.photos += 1
        name, size = str(job.path), (image.shape[1], image.shape[0])
        if self.face_format == "coco":
            if self.coco is None:
                path = self.output / "coco.json"
                self.coco = self.files.enter_context(coco_writer(path, scheme))
            self.coco.add(job.path.as_posix(), size, faces)
        if not faces:
            common.say(f"{name}: no face found")
            return
        job.target.parent.mkdir(parents=True, exist_ok=True)
        for index, face in enumerate(faces if self.coco is None else ()):
            path = job.target.with_name(f"{job.target.name}_face{index}.{self.face_format}")
            write_face(path, face, scheme=scheme.name, image=name, image_size=size)
        if self.overlay:
            path = job.target.with_name(f"{job.target.name}_overlay.jpg")
            write_image(path, draw_faces(image, faces, scheme))
        self.faces += len(faces)


def _find_images(
    inputs: list[Path], output: Path, recursive: bool, failures: list[str]
) -> list[tuple[Path, Path]]:
    """Finds the images among the inputs, each once, with the relative path of its results."""
    found: dict[Path, tuple[Path, Path]] = {}
    for item in inputs:
        pairs = [(item, Path(item.stem))]
        if item.is_dir():
            if item.resolve() == output.resolve():
                raise FaceAlignError(
                    f"{output}: the output folder is also a folder of photos, and the next run "
                    "would read its images as photos; choose another one"
                )
            images = _images_in(item, output, recursive)
            if not images:
                hint = "" if recursive else "; use --recursive to search its subfolders"
                failures.append(f"{item}: the folder contains no photos{hint}")
            pairs = [(path, path.relative_to(item).with_suffix("")) for path in images]
        elif not item.exists():
            failures.append(f"{item}: there is no such file or folder; check the path")
            continue
        for path, relative in pairs:
            found.setdefault(path.resolve(), (path, relative))
    return list(found.values())


def _images_in(folder: Path, output: Path, recursive: bool) -> list[Path]:
    """Lists the images of a folder, sorted, without hidden files and earlier results."""
    base, results = folder.resolve(), output.resolve()
    excluded = results if base in results.parents else None

    def is_input(path: Path) -> bool:
        relative = path.relative_to(folder)
        return (
            path.suffix.lower() in IMAGE_SUFFIXES
            and not any(part.startswith(".") for part in relative.parts)
            and excluded not in (base / relative).parents
            and not path.is_dir()
        )

    return sorted(filter(is_input, folder.rglob("*") if recursive else folder.iterdir()))


def _assign_targets(
    images: list[tuple[Path, Path]], output: Path, protected: list[Path]
) -> list[_Job]:
    """Gives the results of each image a unique name that does not overwrite any input."""
    folder = output.resolve()
    sources = [path.resolve() for path in [*(path for path, _ in images), *protected]]
    # Only inputs inside the output folder can be overwritten.
    sources = [path for path in sources if path.is_relative_to(folder)]

    def covers(target: Path) -> bool:
        prefixes = (f"{target.name}_overlay.".casefold(), f"{target.name}_face".casefold())
        return any(
            path.parent == target.parent and path.name.casefold().startswith(prefixes)
            for path in sources
        )

    # Names are compared without case, as some file systems do.
    taken: set[str] = set()
    jobs = []
    for path, plain in images:
        relative, number = plain, 1
        while relative.as_posix().casefold() in taken or covers(folder / relative):
            suffix = path.suffix.lower().lstrip(".") or "image"
            suffix += "" if number == 1 else f"-{number}"
            relative = plain.with_name(f"{plain.name}_{suffix}")
            number += 1
        taken.add(relative.as_posix().casefold())
        jobs.append(_Job(path, output / relative))
    return jobs


def _boxes_of(boxes: dict[str, list[list[float]]], path: Path) -> list[list[float]]:
    """Returns the boxes given for an image by its path, or else by its name."""
    for key in (path.as_posix(), path.name):
        if key in boxes:
            return boxes[key]
    raise FaceAlignError(f"{path}: the file of boxes has none for it; add a line, or leave it out")


def _check_names(boxes: dict[str, list[list[float]]], jobs: list[_Job], source: Any) -> None:
    """Rejects file names in the boxes that match several inputs."""
    first: dict[str, Path] = {}
    for path in (job.path for job in jobs):
        if path.name in boxes and path.as_posix() not in boxes:
            if path.name in first:
                raise FaceAlignError(
                    f"{source}: {path.name} fits both {first[path.name]} and {path}; give their "
                    "paths"
                )
            first[path.name] = path
