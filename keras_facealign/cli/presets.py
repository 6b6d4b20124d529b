"""`keras-facealign presets`: lists the presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli._common import AsJSON
from keras_facealign.cli.output import print_json, print_tables
from keras_facealign.cli.quiet import import_keras

if TYPE_CHECKING:
    from keras_facealign.presets.published import PaperNetwork

# Titles, columns of published figures with their decimals, and notes of the tables of --table1.
_TABLE1 = (
    "Stacked Dense U-Nets (BMVC 2018), Table 1",
    {"IBUG %": "ibug", "COFW %": "cofw", "Titan X ms": "milliseconds"},
    2,
    "MB is the size of the float32 weights in the original's format (1e6 bytes), next to the "
    "paper's. NME, over the distance of the eye centers, and time are those of the paper, for its "
    "own weights. The paper's 38 MB for SAT (III) and DenseU-Net + Outside cannot be reproduced "
    "from the released code, whose documentation states 40.",
)
_MXNET = (
    "Models of the MXNet code (deep-face-alignment)",
    {"IBUG %": "ibug", "COFW %": "cofw", "300W test %": "w300", "AFLW2000-3D %": "aflw2000_3d"},
    3,
    "NME as stated in its documentation for its own weights, over the distance of the eye centers; "
    "on AFLW2000-3D over the box size.",
)


def presets(
    as_json: AsJSON = False, table1: Annotated[bool, typer.Option("--table1")] = False
) -> None:
    """List the presets: size, cost, accuracy, license, and whether trained weights are installed.

    NME is the mean error on the validation set over the distance of the outer eye corners, in
    percent; GFLOP counts the network's forward pass for one face (a multiply-add is two).

    Args:
        table1: Compare the networks with the paper's Table 1 and the MXNet models.
    """
    from keras_facealign.presets import list_presets
    from keras_facealign.presets.published import MXNET_MODELS, TABLE1

    known = list_presets()
    if as_json:
        print_json(known)
    elif table1:
        import_keras()
        tables = [_published(TABLE1, known, *_TABLE1), _published(MXNET_MODELS, known, *_MXNET)]
        print_tables(*tables, min_width=170)
    else:
        print_tables(_overview(known), min_width=170)


def _overview(known: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table

    from keras_facealign.presets import find_preset
    from keras_facealign.storage.preset_folders import WEIGHTS

    table = Table(title="Presets", title_justify="left")
    table.add_column("Name", no_wrap=True)
    table.add_column("Description", ratio=1)
    for title in ("Parameters", "File", "GFLOP", "NME %"):
        table.add_column(title, justify="right")
    table.add_column("License")
    table.add_column("Weights")
    for name, about in sorted(known.items()):
        weights = find_preset(name) / WEIGHTS
        size = f"{weights.stat().st_size / 1e6:.1f} MB" if weights.is_file() else "-"
        table.add_row(
            name,
            about.get("description", ""),
            _number(about.get("parameters"), ","),
            size,
            _number(about.get("gflops"), ".2f"),
            _number(about.get("validation_nme"), ".2f"),
            about.get("license", "-"),
            "yes" if about.get("weights") else "no",
        )
    return table


def _published(
    rows: tuple[PaperNetwork, ...],
    known: dict[str, dict[str, Any]],
    title: str,
    figures: dict[str, str],
    decimals: int,
    note: str,
) -> Any:
    """Compares published networks with the presets."""
    from rich.table import Table

    from keras_facealign.converters.mxnet.size import checkpoint_size
    from keras_facealign.presets import preset_architecture

    table = Table(title=title, title_justify="left", caption=note, caption_justify="left")
    table.add_column("Network", no_wrap=True)
    table.add_column("Preset", no_wrap=True)
    for column in ("Parameters", "+ statistics", "MB", "published MB", "GMAC", *figures):
        table.add_column(column, justify="right")
    table.add_column("Weights here")
    for row in rows:
        about = known[row.preset]
        size = checkpoint_size(preset_architecture(row.preset))
        values = (getattr(row, name) for name in figures.values())
        table.add_row(
            row.label,
            row.preset,
            f"{size.arguments:,}",
            f"{size.statistics:,}",
            f"{size.file_bytes / 1e6:.2f}",
            _number(row.megabytes, ".0f"),
            f"{about['gflops'] / 2:.2f}",
            *(_number(v, "d" if isinstance(v, int) else f".{decimals}f") for v in values),
            "yes" if about.get("weights") else "no",
        )
    return table


def _number(value: float | None, form: str) -> str:
    """Formats a number; a dash if there is none, as untrained presets have no NME."""
    return "-" if value is None else format(value, form)
