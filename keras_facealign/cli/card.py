"""`keras-facealign card`: writes a preset's model card, with drawings of where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.cli._common import Preset
from keras_facealign.cli.output import say
from keras_facealign.cli.quiet import import_keras


def card(
    preset: Preset,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
    figure: bool = True,
    photo: Path | None = None,
    head_model: Path | None = None,
) -> None:
    """Write a preset's model card: data, recipe, metrics, limits and failure cases.

    All content comes from the preset's own files, mainly metadata.json (see its keys in the cards
    of saved_models); what they lack is left out. A list of texts "limits" is shown as the known
    limits, and each group of numbers may have "data" and the "command" that measures them.

    The figure, card.png in the folder of the card, needs no data: a synthetic face is put on a 3D
    head and rotated up to 90 degrees; others are covered, darkened, blurred and so on. It shows the
    preset's results, and images on which it fails become limits. Presets without weights have no
    figure.

    Args:
        output: Markdown file. Default: README.md in the preset's folder.
        figure: Test the preset on difficult faces, in card.png.
        photo: Photo of a face to rotate and corrupt, in addition to synthetic ones. Default: the
            source tree's astronaut, if there is one.
        head_model: ICT-FaceKit's head as one .npz file, to put the photo on. Default: a head made
            from the mean face.
    """
    import_keras()
    from keras_facealign.evaluation.cards.card import write_card

    for path in write_card(preset, output, figure, photo, head_model):
        say(f"Wrote {path}")
