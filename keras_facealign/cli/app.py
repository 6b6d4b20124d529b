"""The Typer application: registers one command a file, and turns errors into one clear line.

The command modules import Keras, TensorFlow and the like inside their functions only, so that
`keras-facealign --help` answers at once.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from keras_facealign._version import __version__
from keras_facealign.cli.align import align
from keras_facealign.cli.calibrate import calibrate
from keras_facealign.cli.card import card
from keras_facealign.cli.convert import convert_mxnet
from keras_facealign.cli.datasets import datasets
from keras_facealign.cli.evaluate import evaluate
from keras_facealign.cli.export import export
from keras_facealign.cli.pack import pack
from keras_facealign.cli.pack_head import pack_head
from keras_facealign.cli.presets import presets
from keras_facealign.cli.synthesize import synthesize_poses
from keras_facealign.cli.train import train
from keras_facealign.cli.video import video
from keras_facealign.errors import FaceAlignError

__all__ = ["app"]

EXIT_UNUSABLE_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Packages that an extra brings, by the name under which Python misses them.
_EXTRAS = {
    "keras": "tensorflow",
    "matplotlib": "tensorflow",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "tensorflow_datasets": "tfds",
    "array_record": "tfds",
    "importlib_resources": "tfds",
    "scipy": "tfds",
    "tensorboard": "train",
}


def _explain(error: Exception) -> str | None:
    """One line for an error the user can mend, `None` for a fault of the program."""
    if isinstance(error, FaceAlignError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRAS:
            return None
        line = (
            f"{missing} is not installed; get it with: "
            f'pip install "keras_facealign[{_EXTRAS[missing]}]"'
        )
        if missing in ("tensorflow", "jax", "torch"):
            line += ", or choose an installed backend with the variable KERAS_BACKEND"
        return line
    # A reader that closed the pipe early, as `head` does, wants silence; Typer sees to that.
    if isinstance(error, OSError) and error.filename and error.errno != errno.EPIPE:
        return f"{error.filename}: {error.strerror}"
    return None


class _OneLineErrors(TyperGroup):
    """A command group whose commands fail with one line and an exit code, not with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("keras-facealign: interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            line = _explain(error)
            if line is None or os.environ.get("KERAS_FACEALIGN_TRACEBACK"):
                raise
            typer.echo(f"keras-facealign: {line}", err=True)
            raise typer.Exit(EXIT_UNUSABLE_INPUT) from None


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find facial landmarks in photos; train and evaluate the networks that do.",
    epilog="Set KERAS_FACEALIGN_TRACEBACK=1 to see where an error came from.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keras-facealign {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    # Retracing hints and the like are for people who write TensorFlow code.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


for _command in (
    align,
    video,
    train,
    evaluate,
    calibrate,
    card,
    convert_mxnet,
    export,
    datasets,
    pack,
    pack_head,
    presets,
    synthesize_poses,
):
    app.command()(_command)
