"""`keras-facealign convert-mxnet`: converts checkpoints of the original code to presets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_facealign.cli._common import OutputFolder
from keras_facealign.cli.output import print_tables, say
from keras_facealign.cli.quiet import import_keras


def convert_mxnet(
    source: Annotated[Path, typer.Argument(metavar="PREFIX|FILE")],
    output: OutputFolder,
    epoch: Annotated[int | None, typer.Option(min=0)] = None,
    scheme: str | None = None,
    gate: Annotated[bool | None, typer.Option("--gate/--no-gate")] = None,
) -> None:
    """Convert a checkpoint of the original MXNet code to a preset.

    The architecture is recognized from the file; MXNet is not needed. Use the result with the
    option --preset of the other commands. An existing preset in the folder is replaced.

    Args:
        source: A .params file, or its path up to the number: models/sdu for models/sdu-0000.params.
        epoch: Epoch to convert; default: the latest.
        scheme: Landmark scheme; default: the one with the same number of points.
        gate: Whether the network has the gate (net_sat 2), which has no parameters; default: as in
            PREFIX-symbol.json, and without that file no.
    """
    import_keras()
    from keras_facealign.converters import load_mxnet
    from keras_facealign.converters.mxnet import (
        can_have_gate,
        describe,
        find_params,
        symbol_has_gate,
    )
    from keras_facealign.presets import save_to_preset

    path = find_params(source, epoch)
    if path != source:
        say(f"Reading {path}")
    model = load_mxnet(path, gate, scheme)
    arch = model.architecture
    say(f"Recognized in {path.name}:")
    print_tables(_table(model), min_width=100)
    if gate is None and can_have_gate(arch) and symbol_has_gate(path) is None:
        say(
            "The arrays do not show whether this network has the gate (net_sat 2), and there is no "
            "PREFIX-symbol.json; it is assumed to have none. If it has one, convert with --gate."
        )
    metadata = {
        "description": f"Converted from MXNet: {describe(arch)}",
        "source_file": path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": "unknown; ask those who published the checkpoint",
    }
    save_to_preset(model, output, metadata)
    say(f"Wrote the preset to {output}; use it with --preset {output}")


def _table(model: Any) -> Any:
    from rich.table import Table

    from keras_facealign.networks import count_macs

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
        ("Deformable", arch.deformable),
        ("Variant", arch.variant),
        ("Gate", "yes" if arch.gate else "no"),
        ("Spatial transformer", "yes" if arch.spatial_transformer else "no"),
        ("Parameters", f"{model.count_params():,}"),
        ("GMAC", f"{1e-9 * count_macs(model):.2f}"),
    ):
        table.add_row(title, str(value))
    return table
