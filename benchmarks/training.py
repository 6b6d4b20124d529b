"""Times the training step and its kinds of operations; TensorFlow on the CPU.

    python benchmarks/training.py
    python benchmarks/training.py --against ../keras_facealign_old --networks sat2_cab_small
    python benchmarks/training.py --policies mixed_bfloat16 --threads 2 --batch 16

The first table has images per second (two views of each face) of this step and of another one: the
same step with Keras's own batch normalization or, with `--against`, the step of another checkout of
this package. Each runs in its own process, and they take turns, so that changes of the machine's
speed affect all of them. Figures are medians; the speed-up is the median of the rounds' ratios.
With one thread, the default, seconds are processor time, which other work on the machine hardly
changes.

The second table has the share of each kind of operation in this step, from TensorFlow's profiler.
It also has the time of the augmentation and of the average of the weights (one update in eight
steps) relative to the step, and that of the validation of 224 faces relative to an epoch of 3000.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NETWORKS = ("sat1_cab_mobile", "sat2_cab_small", "sat2_cab")
POLICIES = ("float32", "mixed_bfloat16")

# Parts of an operation's name, in the order in which they are looked for.
KINDS = (
    ("depth-wise convolution", ("DepthwiseConv",)),
    ("convolution", ("Conv2D",)),
    ("batch norm", ("FusedBatchNorm",)),
    ("ReLU", ("Relu",)),
    ("matrix product", ("MatMul",)),
    ("gather and scatter", ("Gather", "Segment", "Scatter")),
    ("copy", ("Concat", "Slice", "Split", "Pad", "Tile", "Transpose", "BroadcastTo", "Cast")),
    ("random numbers", ("Random",)),
    ("element-wise", ("Mul", "Add", "Sub", "Div", "Select", "Max", "Min", "Exp", "Log", "Square")),
)

# What the runtime records around the operations themselves.
_AROUND = ("ExecutorState::", "KernelAndDeviceFunc::", "EagerLocalExecute", "Threadpool", "$")

FACES, VALIDATION_FACES = 3000, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--policies", nargs="+", default=POLICIES, choices=POLICIES)
    parser.add_argument("--batch", type=int, default=8, help="faces in a step")
    parser.add_argument("--rounds", type=int, default=8, help="steps of each that are timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--against", help="another checkout, instead of Keras's batch norm")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _work(*args.worker, args.batch, args.threads)
        return
    print(
        f"{'network':18}{'policy':16}{'before':>8}{'now':>8}{'speed-up':>10}   images/s", flush=True
    )
    shares = {}
    for network in args.networks:
        for policy in args.policies:
            before, now, ratio, share = _compare(network, policy, args)
            shares[f"{network} {policy}"] = share
            print(f"{network:18}{policy:16}{before:8.2f}{now:8.2f}{ratio:10.2f}", flush=True)
    for name, share in shares.items():
        print(f"\n{name}")
        for kind, part in share.items():
            print(f"  {kind:40}{100 * part:6.1f} %")


def _compare(network: str, policy: str, args: Any) -> tuple[float, float, float, dict[str, float]]:
    """Images a second before and now, their ratio, and the shares of the step's time now."""
    root = str(Path(args.against or Path(__file__).parents[1]).resolve())
    other = _Worker(network, policy, args, root, keras_batch_norm=args.against is None)
    this = _Worker(network, policy, args, str(Path(__file__).resolve().parents[1]))
    times = [(other.ask("step"), this.ask("step")) for _ in range(args.rounds)]
    share = this.ask("shares")
    for worker in (other, this):
        worker.process.communicate()
    before, now = (2 * args.batch / statistics.median(t) for t in zip(*times, strict=True))
    return before, now, statistics.median(a / b for a, b in times), share


class _Worker:
    """A process that runs one step, of the package in one folder."""

    def __init__(
        self, network: str, policy: str, args: Any, root: str, keras_batch_norm: bool = False
    ) -> None:
        command = [sys.executable, __file__, "--worker", network, policy]
        command += ["--batch", str(args.batch), "--threads", str(args.threads)]
        environment = {**os.environ, "PYTHONPATH": root, "KERAS_BACKEND": "tensorflow"}
        if keras_batch_norm:
            environment["KERAS_BATCH_NORM"] = "1"
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.ask("step")

    def ask(self, question: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A process ended early; run it with --worker to see why.")
        return json.loads(line)


def _work(network: str, policy: str, batch: int, threads: int) -> None:
    """Answers requests on standard input: "step" with seconds, "shares" with shares of a step."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.mixed_precision.set_global_policy(policy)
    if os.environ.get("KERAS_BATCH_NORM"):
        from keras_facealign.layers.batch_norm import BatchNormalization

        BatchNormalization.call = keras.layers.BatchNormalization.call
    model, data = _model_and_batch(network, batch)
    step = tf.function(model.train_step)
    clock = time.process_time if threads == 1 else time.perf_counter
    step(data)
    step(data)
    for line in sys.stdin:
        if line.strip() == "step":
            answer: Any = _seconds(lambda: step(data), clock)
        else:
            besides = _besides(model, data, lambda: step(data), clock)
            answer = {**_shares(lambda: step(data)), **besides}
        print(json.dumps(answer), flush=True)


def _model_and_batch(network: str, batch: int) -> tuple[Any, Any]:
    """The network as `examples/train_2d.py` compiles it, and faces of noise."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_facealign.presets import from_preset

    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    from train_2d import COMPILE

    model = from_preset(network, load_weights=False)
    model.compile(keras.optimizers.AdamW(1e-4, global_clipnorm=5.0), **COMPILE)
    rng, side, k = np.random.default_rng(0), model.input_size + 64, model.num_landmarks
    data = {
        "image": rng.integers(0, 256, (batch, side, side, 3)).astype(np.uint8),
        "landmarks": rng.uniform(40, side - 40, (batch, k, 2)).astype(np.float32),
        "visibility": np.ones((batch, k), np.float32),
    }
    return model, {name: tf.constant(array) for name, array in data.items()}


def _seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def _median_seconds(call: Callable[[], Any], clock: Callable[[], float], calls: int = 5) -> float:
    call()
    return statistics.median(_seconds(call, clock) for _ in range(calls))


def _shares(step: Callable[[], Any]) -> dict[str, float]:
    """The share of each kind of operation in the time of all."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            step()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace.FromString(Path(path).read_bytes())
    for plane in space.planes:
        for line in plane.lines if plane.name == "/host:CPU" else ():
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if ":" in name and not name.startswith(_AROUND):
                    spent[_kind(name.rpartition(":")[2])] += event.duration_ps
    return {kind: part / spent.total() for kind, part in spent.most_common()}


def _kind(operation: str) -> str:
    return next((kind for kind, parts in KINDS if any(p in operation for p in parts)), "other")


def _besides(
    model: Any, data: Any, step: Callable[[], Any], clock: Callable[[], float]
) -> dict[str, float]:
    """Augmentation, average and validation against the step."""
    import tensorflow as tf

    from keras_facealign.training import EMAWeights

    @tf.function
    def draw() -> Any:
        pair = model.make_views(data)
        return pair.first.images, pair.second.images, pair.first.landmarks, pair.second.landmarks

    average = EMAWeights(0.999)
    average.set_model(model)
    average.on_train_begin()

    def update() -> None:
        for i in range(average.every):
            average.on_train_batch_end(i)

    test = tf.function(model.test_step)
    seconds = _median_seconds(step, clock)
    validation = _median_seconds(lambda: test(data), clock) * VALIDATION_FACES / FACES
    return {
        "augmentation, of a step": _median_seconds(draw, clock) / seconds,
        "average of the weights, of a step": (
            _median_seconds(update, clock) / average.every / seconds
        ),
        "validation, of an epoch": validation / seconds,
    }


if __name__ == "__main__":
    main()
