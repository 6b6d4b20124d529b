"""`keras-facealign convert-mxnet`: checkpoints of the original code become presets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from keras_facealign.networks import Architecture

__all__ = ["convert_mxnet"]

_LICENSE = "unknown; ask those who published the checkpoint"


def convert_mxnet(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PREFIX|FILE",
            help="A .params file, or its path up to the number: models/sdu for "
            "models/sdu-0000.params.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the preset; made if missing.")
    ],
    epoch: Annotated[
        int | None, typer.Option(min=0, help="Epoch to take; default: the newest.")
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(help="Landmark scheme; default: the one with as many points."),
    ] = None,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            help="Whether the network has the gate (net_sat 2), which has no parameters; default: "
            "what PREFIX-symbol.json says, and without that file no.",
        ),
    ] = None,
) -> None:
    """Convert a checkpoint of the original MXNet code into a preset.

    The architecture is recognized from the file; MXNet is not needed. The result can be given to
    the option --preset of the other commands. A preset that is in the folder is replaced.
    """
    from keras_facealign.converters import load_mxnet
    from keras_facealign.converters.mxnet import describe, find_params
    from keras_facealign.presets import save_to_preset

    path = find_params(source, epoch)
    if path != source:
        typer.echo(f"Reading {path}")
    model = load_mxnet(path, gate, scheme)
    arch = model.architecture
    metadata = {
        "description": f"Converted from MXNet: {describe(arch)}",
        "source_file": path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": _LICENSE,
    }
    _print_table(path, model)
    if _gate_is_open(arch, path, gate):
        typer.echo(
            "The arrays do not tell whether this network has the gate (net_sat 2), and there is no "
            "graph beside them; it was taken to have none. If it has, convert with --gate."
        )
    save_to_preset(model, output, metadata)
    typer.echo(f"Wrote the preset to {output}; use it with --preset {output}")


def _gate_is_open(arch: Architecture, path: Path, gate: bool | None) -> bool:
    """Whether nothing said that a network that could have the gate has or lacks it."""
    from keras_facealign.converters.mxnet import can_have_gate, symbol_has_gate

    return gate is None and can_have_gate(arch) and symbol_has_gate(path) is None


def _print_table(path: Path, model: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_facealign.networks import count_macs

    typer.echo(f"Recognized in {path.name}:")
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    arch = model.architecture
    for title, value in (
        ("Topology", arch.topology),
        ("Stacks", arch.stacks),
        ("Depth", arch.depth),
        ("Block", arch.block),
        ("Width", f"{arch.width:g}"),
        ("Landmarks", f"{arch.num_landmarks} ({model.scheme.name})"),
        ("Input", f"{arch.input_size} x {arch.input_size}"),
        ("Deformable (dcn)", arch.dcn),
        ("Variant", arch.variant),
        ("Gate", "yes" if arch.gate else "no"),
        ("Spatial transformer", "yes" if arch.spatial_transformer else "no"),
        ("Parameters", f"{model.count_params():,}"),
        ("GMAC", f"{1e-9 * count_macs(model):.2f}"),
    ):
        table.add_row(title, str(value))
    console = Console()
    # A pipe or a log file has no width of its own to keep to.
    if not console.is_terminal:
        console.width = max(console.width, 100)
    console.print(table)
