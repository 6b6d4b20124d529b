"""`keras-facealign inspect`: looks at labels of one's own and writes a page of what is odd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.output import print_json
from keras_facealign.cli.quiet import import_keras

# Exit code with --strict, if anything was found.
EXIT_FOUND = 1


def inspect(
    labels: Annotated[Path, typer.Argument(help="Label file, or folder of pictures and labels.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("inspect.html"),
    preset: str = "auto",
    kind: common.LabelKind = None,
    images: common.LabelImages = None,
    one_based: common.OneBased = None,
    units: common.LabelUnits = None,
    boxes: common.LabelBoxes = "file",
    strict: bool = False,
    as_json: common.AsJSON = False,
) -> None:
    """Look at labels of your own: outliers, exchanged points, duplicates, contradictions.

    Reads COCO keypoints, dlib, CVAT, LabelMe, Label Studio, VIA, CSV, and folders of .pts or .txt
    files, with any number of landmarks, and says what it took them for. Writes one HTML page that
    opens without a network: a contact sheet, the mean shape, points far from where the face's shape
    puts them, faces with left and right exchanged, points outside of the picture, pictures that are
    there twice, boxes without points, what was left out, and, with a preset of the same landmarks,
    the faces that it contradicts most, and whether the labels are shifted as a whole.

    The last line printed is the summary. The exit code is 0 whatever is found, and 1 with --strict
    if anything is.

    Args:
        output: The page; an older one is replaced.
        preset: Preset that the labels are compared with. By default sat1_cab_mobile for 68
            landmarks, and none for others. 'none' leaves this out.
        strict: Exit with code 1 if anything odd was found.
    """
    from keras_facealign.data.labels import load

    common.check_output_file(output, ".html", ".htm")
    found = load(labels, kind, images=images, one_based=one_based, units=units, boxes=boxes)
    common.say(found.describe(), *(f"note: {note}" for note in found.notes), err=True)
    if preset == "auto":
        preset = common.DEFAULT_PRESET if found.num_landmarks == 68 else "none"
    aligner = None
    if preset != "none":
        import_keras()
        aligner = common.load_aligner(preset, "auto", flip_test=False, detect=False)

    from keras_facealign.evaluation.inspection import inspect_labels, make_page
    from keras_facealign.storage.atomic import atomic_write

    with common.progress_bar("Reading", len(found), stderr=True) as advance:
        inspection = inspect_labels(found, aligner, preset, advance)
    page = make_page(inspection, f"Labels of {labels.name}")
    content = page.encode("utf-8", "backslashreplace")
    atomic_write(output, lambda file: file.write(content))
    if as_json:
        print_json(inspection.to_dict())
    else:
        common.say(f"Wrote {output}", inspection.summary())
    if strict and inspection.found_any:
        raise typer.Exit(EXIT_FOUND)
