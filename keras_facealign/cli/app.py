"""The Typer application: registers one command from each file.

The command modules import Keras, TensorFlow and other large packages inside their functions only,
so that `keras-facealign --help` answers at once.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from keras_facealign._version import __version__
from keras_facealign.cli._common import CommandGroup, add_command
from keras_facealign.cli.align import align
from keras_facealign.cli.align_corpus import align_corpus
from keras_facealign.cli.calibrate import calibrate
from keras_facealign.cli.card import card
from keras_facealign.cli.convert import convert_mxnet
from keras_facealign.cli.datasets import datasets
from keras_facealign.cli.embed import embed
from keras_facealign.cli.evaluate import evaluate
from keras_facealign.cli.export import export
from keras_facealign.cli.inspect import inspect
from keras_facealign.cli.normalize import normalize
from keras_facealign.cli.output import say
from keras_facealign.cli.pack import pack
from keras_facealign.cli.pack_head import pack_head
from keras_facealign.cli.presets import presets
from keras_facealign.cli.scheme import scheme
from keras_facealign.cli.synthesize import synthesize_poses
from keras_facealign.cli.train import train
from keras_facealign.cli.train_recognition import train_recognition
from keras_facealign.cli.verify import verify
from keras_facealign.cli.video import video

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find facial landmarks in photos and videos; train and evaluate the networks for it.",
    epilog="Set KERAS_FACEALIGN_TRACEBACK=1 to see where an error came from.",
)


def _print_version(requested: bool) -> None:
    if requested:
        say(f"keras-facealign {__version__}")
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
    # TensorFlow's hints about retracing concern the authors of TensorFlow code only.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


for _command in (
    align,
    align_corpus,
    video,
    scheme,
    train,
    evaluate,
    calibrate,
    card,
    convert_mxnet,
    export,
    inspect,
):
    add_command(app, _command)
for _command in (normalize, embed, verify, train_recognition):
    add_command(app, _command)
for _command in (datasets, pack, pack_head, presets, synthesize_poses):
    add_command(app, _command)
