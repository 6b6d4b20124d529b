"""Options, checks, messages and errors that the commands share."""

from __future__ import annotations

import copy
import errno
import inspect
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

from keras_facealign._lazy import backend_error
from keras_facealign.cli.output import print_tables as print_tables
from keras_facealign.cli.output import printable, robust_streams, say
from keras_facealign.cli.output import progress_bar as progress_bar
from keras_facealign.cli.quiet import quiet_loading
from keras_facealign.cli.stopping import Terminated, terminable
from keras_facealign.errors import MAX_BATCH_SIZE, FaceAlignError
from keras_facealign.storage.atomic import OutputError

if TYPE_CHECKING:
    from keras_facealign.inference import FaceAligner

EXIT_UNUSABLE_INPUT = 2
# 128 + SIGINT and 128 + SIGTERM, as shells report them.
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143

DEFAULT_PRESET = "sat1_cab_mobile"

# Options -----------------------------------------------------------------------------------------

RuntimeName = Literal["auto", "keras", "openvino", "openvino_bfloat16", "litert", "onnx"]

Preset = Annotated[str, typer.Argument(help="Name of a preset, or folder of one.")]
PresetOrFile = Annotated[
    str, typer.Option(help="Name of a preset, folder of one, or exported .tflite or .onnx file.")
]
Runtime = Annotated[RuntimeName, typer.Option(help="Inference runtime; auto: the fastest one.")]
FlipTest = Annotated[
    bool,
    typer.Option(
        "--flip-test", help="Average the results for each face and its mirror image; twice as slow."
    ),
]
MinFace = Annotated[
    float | None,
    typer.Option(
        min=4,
        help="Smallest face to detect, in pixels of the photo, however large it is. By default 20 "
        "or a fiftieth of the longer side, unless a large face dominates the photo.",
    ),
]
DataFolder = Annotated[Path, typer.Option(help="Folder of the data set in its official layout.")]
OutputFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the results; created if missing.")
]
CropBoxes = Annotated[
    Path | None,
    typer.Option(
        help="CSV file of boxes to crop the faces by, instead of the labels' own: columns image "
        "(path below the data folder), x0, y0, x1, y1 in pixels."
    ),
]
BatchSize = Annotated[
    int, typer.Option(min=1, max=MAX_BATCH_SIZE, help="Number of faces per batch.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 2 if any input fails.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print as JSON, with all details.")]
LabelKind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Format of the labels: coco, dlib, cvat, labelme, label_studio, via_json, via_csv, "
        "csv, pts_folder or txt_folder. By default it is guessed, and the guess is printed.",
    ),
]
LabelImages = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the labeled pictures. Default: that of the labels."),
]
OneBased = Annotated[
    bool | None,
    typer.Option(
        "--one-based/--zero-based",
        help="Whether CSV and text files count pixels from 1 or from 0. By default .pts files "
        "count from 1 and the others from 0; the other formats define it.",
    ),
]
LabelUnits = Annotated[
    Literal["pixels", "normalized", "percent"] | None,
    typer.Option(
        "--units", help="Units of the labels: pixels, or parts or percent of the picture's size."
    ),
]
LabelBoxes = Annotated[
    Literal["file", "points"],
    typer.Option("--boxes", help="Boxes of the label file, where it has them, or of the points."),
]
Count = Annotated[int, typer.Option(min=1, max=2**31 - 1)]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1)]
Limit = Annotated[int | None, typer.Option(min=1, max=2**31 - 1)]


def add_command(app: typer.Typer, command: Callable[..., None]) -> None:
    """Adds a command to the application.

    The `Args` section of its docstring becomes the help of its options; options that are missing
    there keep their own help. The text before the section is the help of the command.
    """
    text, _, section = inspect.cleandoc(command.__doc__ or "").partition("\nArgs:\n")
    hints = get_type_hints(command, include_extras=True)
    for name, words in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        hint = hints[name]
        kind, info = hint, typer.Option()
        if get_origin(hint) is Annotated:
            kind, info = hint.__origin__, copy.copy(hint.__metadata__[0])
        info.help = " ".join(words.split())
        hints[name] = Annotated[kind, info]
    # Typer reads the signature of the function inside a decorator.
    command.__annotations__ = inspect.unwrap(command).__annotations__ = hints
    # Typer keeps single line breaks, which belong to the width of the source.
    app.command(help=re.sub(r"(?<!\n)\n(?!\n)", " ", text.rstrip()))(command)


# Output ------------------------------------------------------------------------------------------


@contextmanager
def collect_errors(failures: list[str], name: str = "") -> Iterator[None]:
    """Adds an error of the block to `failures` as one line that contains `name`.

    Raises:
        OutputError: If neither this nor any other file can be written.
    """
    try:
        yield
    except FaceAlignError as error:
        if isinstance(error, OutputError) and error.concerns_all:
            raise
        line = one_line(error)
        name = printable(name)
        failures.append(line if name in line else f"{name}: {line}")


def report_failures(failures: Sequence[str], total: int, noun: str, strict: bool = False) -> None:
    """Lists failures on standard error, and exits with code 2 if nothing succeeded."""
    if failures:
        say(f"{len(failures)} of {total} {noun} failed:", err=True)
        say(*(f"  {line}" for line in failures), err=True)
    if failures and (strict or len(failures) == total):
        raise typer.Exit(EXIT_UNUSABLE_INPUT)


def list_skipped(skipped: Iterable[str]) -> None:
    """Lists unusable samples on standard error, each once."""
    for line in dict.fromkeys(skipped):
        say(f"skipped: {line}", err=True)


def count(number: int, noun: str) -> str:
    """Formats a number with its noun, such as "1 face" or "2 faces"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def one_line(error: Exception) -> str:
    """Formats the message of an error as one line; names in it keep all their characters."""
    # A wrapped message has an indented second line, a name with a line break has not.
    return printable(re.sub(r"(?<!\s)\s*\n\s+", " ", str(error).strip()))


# Input -------------------------------------------------------------------------------------------


def check_output_file(path: Path, *extensions: str) -> None:
    """Checks early that a file can be written.

    Raises:
        FaceAlignError: If the file has another extension, or its folder does not exist.
    """
    if not path.name.lower().endswith(extensions):
        raise FaceAlignError(f"{path}: give a name that ends in {' or '.join(extensions)}")
    if not path.parent.is_dir():
        raise FaceAlignError(f"{path.parent}: there is no such folder; create it first")


def make_folder(folder: Path) -> None:
    """Creates a folder for results, with those above it, unless it exists.

    Raises:
        OutputError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder}: the folder cannot be created ({error.strerror}); choose another one"
        raise OutputError(message, error) from error


def load_aligner(
    preset: str, runtime: RuntimeName, flip_test: bool, detect: bool, min_face: float | None = None
) -> FaceAligner:
    """Loads a preset and, if faces are to be detected, the detector."""
    from keras_facealign.detection import BlazeFaceDetector
    from keras_facealign.inference import FaceAligner

    with quiet_loading():
        detector = None
        if detect:
            detector = BlazeFaceDetector(min_face_size=min_face)
            detector.load()
        return FaceAligner.from_preset(preset, detector, runtime=runtime, flip_test=flip_test)


def load_faces(data_set: str, root: Path, split: str, skipped: list[str]) -> Iterator[Any]:
    """Opens a split of a data set; unusable samples are added to `skipped`.

    Raises:
        FaceAlignError: At once, if the split is unknown or the folder contains no data.
    """
    from keras_facealign.data.catalog import load

    return load(data_set, root, split, on_skip=lambda error: skipped.append(one_line(error)))


# Errors ------------------------------------------------------------------------------------------

# Renamed options: the names of version 0.1 work until version 0.3.
_RENAMED_OPTIONS = {"--mirror": "--flip-test", "--average": "--ema-momentum"}

# Packages that an extra installs, by the name of the missing module.
_EXTRAS = {
    "keras": "tensorflow",
    "matplotlib": "tensorflow",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "tensorflow_datasets": "tfds",
    "array_record": "tfds",
    "cv2": "opencv",
    "importlib_resources": "tfds",
    "scipy": "tfds",
    "tensorboard": "train",
    "pyarrow": "corpus",
}


def _explain(error: Exception) -> str | None:
    """Formats an error that the user can correct as one line; None for a bug of the program."""
    error = backend_error(error) or error
    if isinstance(error, FaceAlignError):
        return one_line(error)
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            return None
        line = f'{missing} is not installed; run: pip install "keras_facealign[{_EXTRAS[missing]}]"'
        if missing in ("tensorflow", "jax", "torch"):
            line += ", or choose an installed backend with the variable KERAS_BACKEND"
        return line
    if isinstance(error, OSError) and error.filename:
        return one_line(OSError(f"{os.fsdecode(error.filename)}: {error.strerror}"))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror}; free some, or write to another disk"
    return None


class CommandGroup(TyperGroup):
    """A group of commands that report errors in one line and accept renamed options."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs the application; its output and its end do not depend on the terminal."""
        with robust_streams(), terminable():
            return super().main(*args, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replaces the old names of options, with a warning."""
        for index, word in enumerate(args):
            name, equals, value = word.partition("=")
            if name in _RENAMED_OPTIONS:
                new = _RENAMED_OPTIONS[name]
                say(f"{name} is now {new}; the old name goes in version 0.3.", err=True)
                args[index] = new + equals + value
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; errors become one line on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            terminated = isinstance(stop, Terminated)
            done = f"; {stop}" if str(stop) else ""
            say(f"keras-facealign: {'terminated' if terminated else 'interrupted'}{done}", err=True)
            raise typer.Exit(EXIT_TERMINATED if terminated else EXIT_INTERRUPTED) from None
        except Exception as error:
            line = _explain(error)
            if line is None or os.environ.get("KERAS_FACEALIGN_TRACEBACK"):
                raise
            say(f"keras-facealign: {line}", err=True)
            raise typer.Exit(EXIT_UNUSABLE_INPUT) from None
