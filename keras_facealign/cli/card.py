"""`keras-facealign card`: a preset's model card, with drawings of where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["card"]


def card(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or folder that holds one.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Markdown file. Default: README.md in the preset's folder."
        ),
    ] = None,
    figure: Annotated[
        bool,
        typer.Option("--figure/--no-figure", help="Try the preset on hard faces, in card.png."),
    ] = True,
    photo: Annotated[
        Path | None,
        typer.Option(
            help="Photo of a face to turn and disturb, beside drawn ones. Default: the source "
            "tree's astronaut, where there is one."
        ),
    ] = None,
    head_model: Annotated[
        Path | None,
        typer.Option(
            help="ICT-FaceKit's head as one .npz file, to lay the photo over. Default: a head made "
            "from the mean face."
        ),
    ] = None,
) -> None:
    """Write a preset's model card: what it is, data, recipe, metrics, limits and failure cases.

    All of it comes from the preset's own files, metadata.json above all (see its keys in the cards
    of saved_models): what they do not say is left out. A list of texts "limits" is shown as the
    known limits, and each group of numbers may have "data" and the "command" that measures them.

    The figure, card.png beside the card, needs no data: a face is drawn by code, laid over a head
    and turned up to 90 degrees; others are covered, darkened, blurred and so on. It shows what the
    preset makes of them, and pictures on which it fails become limits. Presets without weights have
    no figure.
    """
    from keras_facealign.evaluation.cards.card import write_card

    for path in write_card(preset, output, figure, photo, head_model):
        typer.echo(f"Wrote {path}")
