"""Times the training step in 1 and 2 processes, and models it for 8 and 64 GPUs; PyTorch.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --preset sat2_cab --faces 16 --compute-ms 120

The first table is measured on this machine, with the same number of faces for each process: the
step's time, the processor time of a process, and what a process gives to the others in a step:
bytes (the gradients, and the sums of batch normalization and of the losses) and the number of
exchanges. Two processes on one machine share its cores and caches, so that their time says little
about two machines.

The second table is a MODEL, nothing that was measured on GPUs. The time of a step is

    compute + 2 (N - 1) / N * bytes / bandwidth + exchanges * 2 * log2(N) * latency

for a link that is assumed (`--bandwidth`, `--latency`), with nothing overlapped, as this package's
step exchanges the gradients after the backward pass. `compute` is the processor time of one
process in the first table, on one thread, or given as `--compute-ms` from a measurement on one GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

FLAGS = ("preset", "faces", "steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="sat1_cab_mobile")
    parser.add_argument("--faces", type=int, default=4, help="faces in a step, of each process")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compute-ms", type=float, help="a step's time on one GPU")
    parser.add_argument("--bandwidth", type=float, default=12.5, help="GB/s of the assumed link")
    parser.add_argument("--latency", type=float, default=20.0, help="its microseconds")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        print(json.dumps(work(args)))
        return
    rows = {count: measure(args, count) for count in (1, 2)}
    print(f"{args.preset}, {args.faces} faces for each process, float32, measured on this machine")
    print("processes  step ms  processor ms  MB given  exchanges")
    for count, row in rows.items():
        print(
            f"{count:9d}  {row['ms']:7.0f}  {row['cpu_ms']:12.0f}  {row['bytes'] / 1e6:8.2f}  "
            f"{row['exchanges']:9d}"
        )
    compute = args.compute_ms or rows[1]["cpu_ms"]
    source = "given" if args.compute_ms else "processor time measured above"
    print(
        f"\nA model, not a measurement: compute {compute:.0f} ms ({source}), link assumed with "
        f"{args.bandwidth:g} GB/s and {args.latency:g} us"
    )
    print("GPUs  step ms  exchange ms  faces per second  efficiency")
    for count in (1, 8, 64):
        exchange = modeled(rows[2]["bytes"], rows[2]["exchanges"], count, args)
        step = compute + exchange
        print(
            f"{count:4d}  {step:7.1f}  {exchange:11.1f}  {1000 * count * args.faces / step:16.1f}"
            f"  {compute / step:9.0%}"
        )


def modeled(size: float, exchanges: int, count: int, args: argparse.Namespace) -> float:
    """Milliseconds that a step's exchanges take among a number of GPUs, in the model."""
    traffic = 2 * (count - 1) / count * size / (args.bandwidth * 1e9)
    delay = exchanges * 2 * math.log2(count) * args.latency * 1e-6
    return 1000 * (traffic + delay)


def measure(args: argparse.Namespace, count: int) -> dict[str, Any]:
    """Runs processes that train together; returns what the first one measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--processes", str(count), "--port", str(port)]
    command += [word for name in FLAGS for word in (f"--{name}", str(getattr(args, name)))]
    started = [
        subprocess.Popen(
            [*command, "--worker", str(i)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for i in range(count)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("A process failed; see its error above.")
    return json.loads(outputs[0].strip().splitlines()[-1])


def work(args: argparse.Namespace) -> dict[str, Any]:
    """Takes steps as one of the processes."""
    import keras
    import numpy as np
    import torch.distributed as dist

    from keras_facealign import FaceAlignModel

    sent = {"bytes": 0, "exchanges": 0}
    if args.processes > 1:
        address = f"tcp://127.0.0.1:{args.port}"
        dist.init_process_group("gloo", address, world_size=args.processes, rank=args.worker)
        for name, place in (("all_reduce", 0), ("all_gather", 1)):
            setattr(dist, name, _counted(getattr(dist, name), place, sent))
    keras.utils.set_random_seed(0)
    model = FaceAlignModel.from_preset(args.preset, load_weights=False)
    model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=5.0))
    side = model.input_size + 64
    rng = np.random.default_rng(args.worker)
    batch = {
        "image": rng.integers(0, 255, (args.faces, side, side, 3), np.uint8),
        "landmarks": rng.uniform(40, side - 40, (args.faces, 68, 2)).astype("float32"),
        "visibility": np.full((args.faces, 68), 2, "float32"),
    }
    times, processor = [], []
    for step in range(args.steps + 1):
        sent.update(bytes=0, exchanges=0)
        began, cpu = time.perf_counter(), time.process_time()
        model.train_on_batch(batch)
        if step:  # the first one makes the optimizer's variables
            times.append(time.perf_counter() - began)
            processor.append(time.process_time() - cpu)
    if args.processes > 1:
        dist.barrier()
    medians = {"ms": statistics.median(times), "cpu_ms": statistics.median(processor)}
    return {**{name: 1000 * value for name, value in medians.items()}, **sent}


def _counted(exchange: Any, place: int, sent: dict[str, int]) -> Any:
    """Counts the bytes of the tensor that a process gives, argument `place` of a function."""

    def run(*args: Any, **kwargs: Any) -> Any:
        sent["bytes"] += args[place].numel() * args[place].element_size()
        sent["exchanges"] += 1
        return exchange(*args, **kwargs)

    return run


if __name__ == "__main__":
    main()
