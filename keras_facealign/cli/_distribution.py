"""Options of `keras-facealign train` for several devices and machines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from keras_facealign.cli.quiet import import_keras
from keras_facealign.errors import FaceAlignError

DistributeName = Literal["none", "mirrored", "data-parallel", "ddp"]

Distribute = Annotated[
    DistributeName,
    typer.Option(
        help="Share every step among several devices: mirrored, GPUs of this machine "
        "(KERAS_BACKEND=tensorflow); data-parallel, those of one or several processes (jax); ddp, "
        "processes with one device each (torch)."
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(min=1, max=4096, help="Devices of this process; default: all GPUs."),
]
Coordinator = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the process 0; the port after it is used as well. Not needed with "
        "torchrun.",
    ),
]
NumProcesses = Annotated[
    int, typer.Option(min=1, max=100_000, help="Number of processes that train together.")
]
ProcessId = Annotated[
    int,
    typer.Option(min=0, max=99_999, help="Number of this process; 0 writes the output folder."),
]


def _check_processes(options: dict[str, Any]) -> None:
    """Refuses what processes that train together would decide differently, or cannot share."""
    if options["num_processes"] == 1 and options["distribute"] != "ddp":
        return
    if options.get("precision") == "auto":
        raise FaceAlignError(
            "--precision auto measures each process by itself; give the same precision to all"
        )


def on_devices(train: Callable[..., None]) -> Callable[..., None]:
    """Lets a command that has the options of this file train on the devices that they name."""

    @functools.wraps(train)
    def run(**options: Any) -> None:
        import_keras()
        from keras_facealign.training import DeviceSettings, connected

        settings = DeviceSettings(
            options["distribute"],
            options["devices"],
            options["coordinator"],
            options["num_processes"],
            options["process_id"],
        )
        _check_processes(options)
        with connected(settings, options["batch_size"], options["seed"]):
            train(**options)

    return run
