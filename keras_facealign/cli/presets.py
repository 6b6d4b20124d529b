"""`keras-facealign presets`: what there is to load."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

__all__ = ["presets"]


def presets(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything that is known, as JSON.")
    ] = False,
) -> None:
    """List the presets: size, cost, accuracy and licence, and whether trained weights are here.

    NME is the mean error on the validation set over the distance of the outer eye corners, in
    percent; GFLOP counts the network's forward pass for one face (a multiply-add is two).
    """
    from keras_facealign.presets import find_preset, list_presets
    from keras_facealign.presets.registry import WEIGHTS

    known = list_presets()
    if as_json:
        typer.echo(json.dumps(known, indent=2, ensure_ascii=False))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title="Presets", title_justify="left")
    table.add_column("Name", no_wrap=True)
    table.add_column("Description", ratio=1)
    for title in ("Parameters", "File", "GFLOP", "NME %"):
        table.add_column(title, justify="right")
    table.add_column("Licence")
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
    console = Console()
    # A pipe or a log file has no width of its own to keep to.
    if not console.is_terminal:
        console.width = max(console.width, 140)
    console.print(table)


def _cell(about: dict[str, Any], key: str, form: str) -> str:
    """The text of one number; a dash where a preset has none, as untrained ones have no NME."""
    return "-" if about.get(key) is None else form.format(about[key])
