"""`keras-facealign align`: photos in, overlays and landmark files out."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FaceFormat", "FlipTest", "Runtime", "align"]

DEFAULT_PRESET = "sat1_cab_mobile"


class FaceFormat(str, Enum):
    """File format of the landmarks of a face."""

    JSON = "json"
    CSV = "csv"
    PTS = "pts"
    COCO = "coco"


class Runtime(str, Enum):
    """What a network runs on, see `FaceAligner`."""

    AUTO = "auto"
    KERAS = "keras"
    OPENVINO = "openvino"
    OPENVINO_BFLOAT16 = "openvino_bfloat16"
    LITERT = "litert"
    ONNX = "onnx"


FlipTest = Annotated[
    bool,
    typer.Option(
        "--flip-test",
        help="Look at each face's mirror image too and take the mean: more exact, twice the time.",
    ),
]
"""The option of all commands that run a network on faces."""


@dataclass(frozen=True)
class _Job:
    """A picture, and the beginning of its results' names: `<target>_overlay.jpg` and so on."""

    path: Path
    target: Path


def align(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IMAGE|FOLDER...", help="Photos, and folders of photos.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if missing.")
    ],
    preset: Annotated[
        str, typer.Option(help="Name of a preset, folder that holds one, or exported .tflite file.")
    ] = DEFAULT_PRESET,
    face_format: Annotated[
        FaceFormat, typer.Option("--format", "-f", help="Format of the landmark files.")
    ] = FaceFormat.JSON,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of face boxes to use instead of finding faces: columns image, x0, y0, "
            "x1, y1; one face a line; image is a file name or path; boxes in pixels, tight around "
            "brows and chin."
        ),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Write pictures with landmarks drawn.")
    ] = True,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search the folders' subfolders too.")
    ] = False,
    min_face: Annotated[
        float, typer.Option(min=4, help="Smallest face to look for, in pixels of the photo.")
    ] = 20,
    runtime: Annotated[
        Runtime, typer.Option(help="What the network runs on; auto: the fastest that is installed.")
    ] = Runtime.AUTO,
    flip_test: FlipTest = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if any photo failed.")
    ] = False,
) -> None:
    """Find the faces of photos and their landmarks.

    Writes for each photo NAME_overlay.jpg, and for each face NAME_face0.json, NAME_face1.json, ...
    (or .csv, .pts), the largest face first; with --format coco, one coco.json for all photos.
    Photos in subfolders get the same subfolders in the output; of photos whose names differ in the
    ending only, the second becomes NAME_png and so on. Existing results are replaced, the photos
    themselves never.

    A photo without a face, or one that cannot be read, stops nothing; the unreadable ones are
    listed at the end. The exit code is 0 if at least one photo was read, with or without a face in
    it, and 2 if none was (with --strict: if any failed).
    """
    from rich.console import Console

    given = None if boxes is None else read_boxes(boxes)
    failures: list[str] = []
    paths = _collect(inputs, output, recursive, failures)
    jobs = _assign_targets(paths, output, protected=[boxes] if boxes else [])
    if given is not None:
        _check_names(given, jobs, boxes)
    output.mkdir(parents=True, exist_ok=True)

    console = Console()
    run = _Run(preset, runtime, flip_test, face_format, given, overlay, min_face, console, output)
    total = len(jobs) + len(failures)
    if jobs:
        _run_all(run, jobs, failures, console)
    if run.photos:
        counts = f"{_count(run.faces, 'face')} in {_count(run.photos, 'photo')}"
        _say(console, f"{counts}; results are in {output}")
    _report_failures(failures, total, strict)


class _Run:
    """Aligns one photo after the other and keeps count.

    The networks are loaded when the first photo has been read: a mistyped file name is reported at
    once.
    """

    def __init__(
        self,
        preset: str,
        runtime: Runtime,
        flip_test: bool,
        face_format: FaceFormat,
        boxes: dict[str, list[list[float]]] | None,
        overlay: bool,
        min_face: float,
        console: Console,
        output: Path,
    ) -> None:
        self.output = output
        self.preset = preset
        self.runtime = runtime
        self.flip_test = flip_test
        self.face_format = face_format
        self.boxes = boxes
        self.overlay = overlay
        self.min_face = min_face
        self.console = console
        self.faces = 0
        self.photos = 0
        self.files = ExitStack()
        self._aligner: Any = None
        self._coco: Any = None

    def load(self) -> None:
        """Loads networks and detector. Faults here concern every photo, so they end the run."""
        if self._aligner is None:
            from keras_facealign.detection import MTCNNDetector
            from keras_facealign.inference import FaceAligner

            detector = None
            if self.boxes is None:
                detector = MTCNNDetector(min_face_size=self.min_face)
                detector.load()
            self._aligner = FaceAligner.from_preset(
                self.preset, detector, runtime=self.runtime.value, flip_test=self.flip_test
            )

    def read(self, job: _Job) -> Any:
        """The photo of a job as an array."""
        from keras_facealign.data.images import read_image

        return read_image(job.path)

    def align(self, job: _Job, image: Any) -> None:
        """Aligns one photo and writes its results."""
        from keras_facealign.formats import write_face, write_image
        from keras_facealign.inference import draw_faces

        name = str(job.path)
        boxes = None if self.boxes is None else _boxes_of(self.boxes, job.path)
        faces = self._aligner.align(image, boxes, name=name)
        self.photos += 1
        scheme = self._aligner.model.scheme
        size = (image.shape[1], image.shape[0])
        if self.face_format is FaceFormat.COCO:
            self._coco_file(scheme).add(job.path.as_posix(), size, faces)
        if not faces:
            _say(self.console, f"{name}: no face found")
            return
        job.target.parent.mkdir(parents=True, exist_ok=True)
        for index, face in enumerate(faces if self._coco is None else ()):
            path = _beside(job.target, f"_face{index}.{self.face_format.value}")
            write_face(path, face, scheme=scheme.name, image=name, image_size=size)
        if self.overlay:
            picture = draw_faces(image, faces, scheme)
            write_image(_beside(job.target, "_overlay.jpg"), picture)
        self.faces += len(faces)

    def _coco_file(self, scheme: Any) -> Any:
        """The one file of all photos; it gets its name when `files` is closed."""
        from keras_facealign.formats.coco import coco_writer

        if self._coco is None:
            self._coco = self.files.enter_context(coco_writer(self.output / "coco.json", scheme))
        return self._coco


def _run_all(run: _Run, jobs: list[_Job], failures: list[str], console: Console) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("Aligning"), BarColumn(), MofNCompleteColumn(), Remaining())
    with run.files, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(jobs))
        for job in jobs:
            try:
                image = run.read(job)
            except FaceAlignError as error:
                failures.append(_one_line(error))
            else:
                run.load()
                try:
                    run.align(job, image)
                except FaceAlignError as error:
                    failures.append(_one_line(error))
            progress.advance(task)


def _report_failures(failures: list[str], total: int, strict: bool) -> None:
    """Lists what failed on standard error; ends the command if that was everything."""
    if not failures:
        return
    if total == 1:
        raise FaceAlignError(failures[0])
    typer.echo(f"{len(failures)} of {total} inputs failed:", err=True)
    for failure in failures:
        typer.echo(f"  {failure}", err=True)
    if strict or len(failures) == total:
        raise typer.Exit(2)


def _collect(
    inputs: list[Path], output: Path, recursive: bool, failures: list[str]
) -> list[tuple[Path, Path]]:
    """The pictures among the inputs, each once, with the relative path of its results."""
    found: dict[Path, tuple[Path, Path]] = {}
    for item in inputs:
        if item.is_dir():
            if item.resolve() == output.resolve():
                raise FaceAlignError(
                    f"{output}: the output folder is also a folder of photos, where the next run "
                    "would take its pictures for photos; choose another one"
                )
            pictures = _pictures(item, output, recursive)
            if not pictures:
                hint = "" if recursive else "; use --recursive to search its subfolders"
                failures.append(f"{item}: the folder holds no photos{hint}")
            pairs = [(path, path.relative_to(item).with_suffix("")) for path in pictures]
        elif item.exists():
            pairs = [(item, Path(item.stem))]
        else:
            failures.append(f"{item}: there is no such file or folder; check the path")
            continue
        for path, relative in pairs:
            found.setdefault(path.resolve(), (path, relative))
    return list(found.values())


def _pictures(folder: Path, output: Path, recursive: bool) -> list[Path]:
    """Files with a picture's ending, sorted; hidden ones and earlier results are left out."""
    from keras_facealign.data.images import IMAGE_SUFFIXES

    results = output.resolve()
    pictures = []
    for root, subfolders, names in os.walk(folder):
        here = Path(root)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if recursive and not name.startswith(".") and (here / name).resolve() != results
        )
        pictures += [
            here / name
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return pictures


def _assign_targets(
    paths: list[tuple[Path, Path]], output: Path, protected: list[Path]
) -> list[_Job]:
    """Gives each picture a name of its own for its results, which are none of the inputs."""
    folder = output.resolve()
    sources = [path.resolve() for path in [*(path for path, _ in paths), *protected]]
    # Only inputs that lie where results go can be overwritten.
    sources = [path for path in sources if path.is_relative_to(folder)]
    # Names are compared without case, as some file systems do.
    taken: set[str] = set()
    jobs = []
    for path, relative in paths:
        count = 1
        plain = relative
        while _key(relative) in taken or _covers(folder / relative, sources):
            suffix = path.suffix.lower().lstrip(".") or "image"
            number = "" if count == 1 else f"-{count}"
            relative = plain.with_name(f"{plain.name}_{suffix}{number}")
            count += 1
        taken.add(_key(relative))
        jobs.append(_Job(path, output / relative))
    return jobs


def _covers(target: Path, sources: list[Path]) -> bool:
    """Whether a result of this name could replace one of the sources."""
    prefixes = (f"{target.name}_overlay.".casefold(), f"{target.name}_face".casefold())
    return any(
        path.parent == target.parent and path.name.casefold().startswith(prefixes)
        for path in sources
    )


def _key(relative: Path) -> str:
    return relative.as_posix().casefold()


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _boxes_of(boxes: dict[str, list[list[float]]], path: Path) -> list[list[float]]:
    """The boxes given for a picture under its path, else under its name."""
    for key in (path.as_posix(), path.name):
        if key in boxes:
            return boxes[key]
    raise FaceAlignError(f"{path}: the file of boxes has none for it; add a line, or leave it out")


def _check_names(boxes: dict[str, list[list[float]]], jobs: list[_Job], source: Any) -> None:
    """Refuses a bare file name that fits several inputs, whose boxes would be anyone's guess."""
    first: dict[str, Path] = {}
    for job in jobs:
        name = job.path.name
        if name not in boxes or job.path.as_posix() in boxes:
            continue
        if name in first:
            raise FaceAlignError(
                f"{source}: {name} fits both {first[name]} and {job.path}; give their paths"
            )
        first[name] = job.path


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
