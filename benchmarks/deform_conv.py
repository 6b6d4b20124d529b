"""Times the deformable convolution on the CPU, compared with Keras's Conv2D of the same shape.

    python benchmarks/deform_conv.py
    KERAS_BACKEND=jax python benchmarks/deform_conv.py --channels 64

3x3 taps, 64x64 pixels, as many filters as channels, batch 8, by default two threads. Candidates
take turns, so that changes of the machine's speed affect all of them; each figure is the median of
its turns, and ratios are to the faster Conv2D, graph or XLA, in the same run. With --memory it also
prints the growth of a new process's peak in its first two calls: intermediate and final results,
and the memory of compiling.

Backward means the gradients of inputs, kernel and, for the deformable ones, offsets. Candidates:

    native            `implementation="native"`, as users call it
    native, fused     sampling and matrix product tile by tile, no columns in memory
    native, columns   native sampling, then the framework's matrix product
    portable          `implementation="portable"`, only keras.ops
    torchvision       `torchvision.ops.deform_conv2d`, where it is installed
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from rich.console import Console
from rich.table import Table

SIZE, TAPS = 64, 9
Call = Callable[[], Any]


def peak_growth_mb(call: Call) -> float:
    """Measures the growth of peak resident memory in the first calls, in MB. Linux only."""

    def status(key: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(x for x in lines if x.startswith(key)).split()[1]) / 1e3

    before = status("VmRSS")
    call()
    call()
    return status("VmHWM") - before


def memory_in_fresh_process(label: str, channels: int, backward: bool, batch: int) -> str:
    """Measures the peak growth of one candidate in a new process."""
    command = [sys.executable, __file__, "--memory-of", label, "--channels", str(channels)]
    command += ["--batch", str(batch), *(["--backward"] if backward else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split()[-1] if done.returncode == 0 and done.stdout else "?"


def candidates(arrays: dict[str, np.ndarray]) -> dict[str, tuple[Callable[..., Any], list[str]]]:
    """Returns each candidate's function, in keras.ops, and the names of its arguments."""
    from keras import ops

    from keras_facealign.ops import deform_conv2d, native

    channels, filters = arrays["kernel"].shape[2:]
    shared = {"strides": (1, 1), "pads": (1, 1), "dilation_rate": (1, 1)}
    shared |= {"deformable_groups": 1, "border": "zeros"}

    def columns(inputs: Any, offsets: Any, kernel: Any) -> Any:
        values = native.sample(inputs, offsets, kernel_size=(3, 3), out_size=(SIZE, SIZE), **shared)
        return ops.matmul(values, ops.reshape(kernel, (TAPS * channels, filters)))

    def chosen(implementation: str) -> Callable[..., Any]:
        return lambda inputs, offsets, kernel: deform_conv2d(
            inputs, offsets, kernel, implementation=implementation
        )

    deformable = ["inputs", "offsets", "kernel"]
    found: dict[str, tuple[Callable[..., Any], list[str]]] = {
        "Conv2D": (lambda inputs, kernel: ops.conv(inputs, kernel, padding="same"), deformable[::2])
    }
    import keras

    if native.available(keras.backend.backend()):
        found["native"] = chosen("native"), deformable
        found["native, fused"] = (
            lambda inputs, offsets, kernel: native.conv2d(
                inputs, offsets, None, kernel, groups=1, **shared
            ),
            deformable,
        )
        found["native, columns"] = columns, deformable
    found["portable"] = chosen("portable"), deformable
    return found


def compiled(
    function: Callable[..., Any], arrays: list[np.ndarray], xla: bool, backward: bool
) -> Call:
    """Makes a call that computes a function, or it and its gradients, and waits for the result."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(a) for a in arrays]
        upstream = tf.constant(np.ones((*arrays[0].shape[:3], arrays[-1].shape[3]), "float32"))

        @tf.function(jit_compile=xla)
        def run(*given: Any) -> Any:
            if not backward:
                return function(*given)
            with tf.GradientTape() as tape:
                tape.watch(given)
                value = function(*given)
            return [value, *tape.gradient(value, given, output_gradients=upstream)]

        return lambda: run(*tensors)

    import jax

    values = [jax.numpy.asarray(a) for a in arrays]

    @jax.jit
    def run_jax(*given: Any) -> Any:
        if not backward:
            return function(*given)
        value, pull = jax.vjp(function, *given)
        return value, pull(jax.numpy.ones_like(value))

    return lambda: jax.block_until_ready(run_jax(*values))


def torchvision_call(arrays: dict[str, np.ndarray], threads: int, backward: bool) -> Call:
    """Makes the same call of torchvision, with channels first."""
    import torch
    import torchvision

    torch.set_num_threads(threads)

    def tensor(name: str, axes: tuple[int, ...]) -> Any:
        value = torch.from_numpy(np.ascontiguousarray(arrays[name].transpose(axes)))
        return value.requires_grad_(backward)

    inputs, offsets = tensor("inputs", (0, 3, 1, 2)), tensor("offsets", (0, 3, 1, 2))
    kernel = tensor("kernel", (3, 2, 0, 1))

    def call() -> Any:
        result = torchvision.ops.deform_conv2d(inputs, offsets, kernel, padding=1)
        if backward:
            result.sum().backward()
        return result

    return call


def measure(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Returns the median milliseconds of each candidate, measured in turns."""
    for call in calls.values():
        call()
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 3:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(t)) for name, t in times.items()}


def all_calls(args: argparse.Namespace, channels: int, backward: bool) -> dict[str, Call]:
    """Returns the candidates' calls by label, for one number of channels."""
    import keras

    rng = np.random.default_rng(0)
    arrays = {
        "inputs": rng.normal(size=(args.batch, SIZE, SIZE, channels)).astype("float32"),
        "offsets": rng.normal(size=(args.batch, SIZE, SIZE, 2 * TAPS)).astype("float32"),
        "kernel": rng.normal(size=(3, 3, channels, channels)).astype("float32"),
    }
    arrays["offsets"] *= not args.zero_offsets
    ways = (False, True) if keras.backend.backend() == "tensorflow" else (True,)
    calls: dict[str, Call] = {}
    for name, (function, names) in candidates(arrays).items():
        if args.only and name not in (*args.only, "Conv2D"):
            continue
        for xla in ways:
            label = f"{name} ({'XLA' if xla else 'graph'})"
            calls[label] = compiled(function, [arrays[n] for n in names], xla, backward)
    if importlib.util.find_spec("torchvision") and not args.only:
        calls["torchvision"] = torchvision_call(arrays, args.threads, backward)
    return calls


def main() -> None:
    """Reads the command line and prints a table for each number of channels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--channels", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15, help="of measuring, for each table")
    parser.add_argument("--zero-offsets", action="store_true", help="as a training starts")
    parser.add_argument("--only", nargs="+", help="candidates besides Conv2D, by name")
    parser.add_argument("--memory", action="store_true", help="a process each for peak memory, too")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--backward", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # before the frameworks count processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    import keras

    if args.memory_of:
        calls = all_calls(args, args.channels[0], args.backward)
        print(f"{peak_growth_mb(calls[args.memory_of]):.0f}")
        return
    console = Console()
    for channels in args.channels:
        for backward in (False, True):
            results = measure(all_calls(args, channels, backward), args.seconds)
            best = min(ms for name, ms in results.items() if name.startswith("Conv2D"))
            title = "forward + backward" if backward else "forward"
            table = Table(
                title=f"{title}: {channels} channels, batch {args.batch}, {args.threads} threads, "
                f"{keras.backend.backend()}"
            )
            for column in ("", "ms", "ratio", *(["memory, MB"] if args.memory else [])):
                table.add_column(column, justify="right" if column else "left")
            for name, ms in results.items():
                row = [name, f"{ms:.1f}", f"{ms / best:.2f}"]
                if args.memory:
                    row.append(memory_in_fresh_process(name, channels, backward, args.batch))
                table.add_row(*row)
            console.print(table)


if __name__ == "__main__":
    main()
