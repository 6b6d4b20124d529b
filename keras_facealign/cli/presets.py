"""`keras-facealign presets`: what there is to load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from keras_facealign.presets.published import PaperNetwork

__all__ = ["presets"]


def presets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything that is known, as JSON.")
    ] = False,
    table1: Annotated[
        bool,
        typer.Option(
            "--table1", help="Compare the networks with the paper's Table 1 and the MXNet models."
        ),
    ] = False,
) -> None:
    """List the presets: size, cost, accuracy and license, and whether trained weights are here.

    NME is the mean error on the validation set over the distance of the outer eye corners, in
    percent; GFLOP counts the network's forward pass for one face (a multiply-add is two).
    """
    from keras_facealign.presets import find_preset, list_presets
    from keras_facealign.storage.preset_folders import WEIGHTS

    known = list_presets()
    if as_json:
        typer.echo(json.dumps(known, indent=2, ensure_ascii=False))
        return
    if table1:
        _print(_table1(known), _mxnet_models(known))
        return

    from rich.table import Table

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
            _cell(about, "parameters", "{:,}"),
            size,
            _cell(about, "gflops", "{:.2f}"),
            _cell(about, "validation_nme", "{:.2f}"),
            about.get("license", "-"),
            "yes" if about.get("weights") else "no",
        )
    _print(table)


def _print(*tables: Any) -> None:
    from rich.console import Console

    console = Console()
    # A pipe or a log file has no width of its own to keep to.
    if not console.is_terminal:
        console.width = max(console.width, 170)
    for table in tables:
        console.print(table)


def _table1(known: dict[str, dict[str, Any]]) -> Any:
    """The rows of the paper's Table 1 beside what is built here."""
    from keras_facealign.presets.published import TABLE1

    return _published_table(
        TABLE1,
        known,
        "Stacked Dense U-Nets (BMVC 2018), Table 1",
        {"IBUG %": "ibug", "COFW %": "cofw", "Titan X ms": "milliseconds"},
        2,
        "MB is the file of float32 weights in the original's format (1e6 bytes), beside the "
        "paper's. NME, over the distance of the eye centers, and time are the paper's, of its own "
        "weights. The paper's 38 MB of SAT (III) and DenseU-Net + Outside cannot be had from the "
        "released code, whose own documentation says 40.",
    )


def _mxnet_models(known: dict[str, dict[str, Any]]) -> Any:
    """The models of the MXNet code beside what is built here."""
    from keras_facealign.presets.published import MXNET_MODELS

    return _published_table(
        MXNET_MODELS,
        known,
        "Models of the MXNet code (deep-face-alignment)",
        {"IBUG %": "ibug", "COFW %": "cofw", "300W test %": "w300", "AFLW2000-3D %": "aflw2000_3d"},
        3,
        "NME as its documentation gives it for its own weights, over the distance of the eye "
        "centers; on AFLW2000-3D over the box size.",
    )


def _published_table(
    rows: tuple[PaperNetwork, ...],
    known: dict[str, dict[str, Any]],
    title: str,
    figures: dict[str, str],
    decimals: int,
    note: str,
) -> Any:
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
        cells = (getattr(row, name) for name in figures.values())
        table.add_row(
            row.label,
            row.preset,
            f"{size.arguments:,}",
            f"{size.statistics:,}",
            f"{size.file_bytes / 1e6:.2f}",
            _number(row.megabytes, 0),
            f"{about['gflops'] / 2:.2f}",
            *(_number(cell, decimals) for cell in cells),
            "yes" if about.get("weights") else "no",
        )
    return table


def _number(value: float | None, decimals: int) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{decimals}f}"


def _cell(about: dict[str, Any], key: str, form: str) -> str:
    """The text of one number; a dash where a preset has none, as untrained ones have no NME."""
    return "-" if about.get(key) is None else form.format(about[key])
