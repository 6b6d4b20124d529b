"""Trains any preset's architecture on an accelerator, from one packed file of faces.

    keras-facealign pack ibug_300w:train=300W_ROOT -o train.faces.npz
    KERAS_BACKEND=jax python examples/train_gpu.py --faces train.faces.npz --preset sat2_cab \\
        --output runs/sat2_cab --minutes 25 --bfloat16 --validation test.faces.npz

All faces lie in the device's memory, and one call of a compiled function samples views, augments
and takes several steps without the host. It is made for the JAX backend and also runs on
TensorFlow. It needs Keras, the backend, NumPy, and OpenCV or Pillow.

The learning rate schedule fits the given minutes: the script measures the duration of a step and
corrects the number of steps during the run. A checkpoint is written every minute; the same command
continues from the last one, with the remaining minutes. At its end the output folder has `preset/`,
with 16-bit weights, whose path every command accepts as a preset.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from keras_facealign.data.packed import PackedFaces
from keras_facealign.errors import FaceAlignError
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.storage.half_precision import store_half_precision
from keras_facealign.training.device_loop import DeviceTrainingLoop, make_training_loop
from keras_facealign.training.ema import keep_better

SETTINGS: dict[str, Any] = {
    "coherent_weight": 0.001,
    "foreground_weight": 9.0,
    "landmark_weight": 0.01,
    "augmentation": {
        "base": {"rotation": 30.0, "scale": [0.8, 1.2], "translation": 0.08, "flip": 0.5},
        "pair": {"rotation": 20.0, "scale": [0.9, 1.1], "translation": 0.03, "flip": 0.5},
        "color": 0.3,
        "hue": 15.0,
        "gray": 0.1,
        "occlusion": 0.5,
        "blur": 1.5,
        "low_resolution": 2.0,
        "noise": 8.0,
        "jpeg": 70.0,
    },
}
WARMUP = 0.03  # of all steps
FLOOR = 0.01  # of the highest learning rate, where the warm-up starts


# ---- learning rate and number of steps ----------------------------------------------------------


def learning_rate(progress: float, highest: float) -> float:
    """Returns the rate of a linear warm-up, then of a cosine to 0, for a progress from 0 to 1."""
    if progress < WARMUP:
        return highest * (FLOOR + (1.0 - FLOOR) * progress / WARMUP)
    return highest * 0.5 * (1.0 + math.cos(math.pi * min((progress - WARMUP) / (1 - WARMUP), 1.0)))


@dataclass
class Budget:
    """Number of steps of a run: a given number, or as many as fit into a given time.

    Attributes:
        seconds: Time of the whole run, including earlier calls; infinite where `steps` is given.
        steps: Steps of the whole run, or None.
        per_call: Steps in one call of the compiled function.
        spent: Seconds of earlier calls of the script.
        call_seconds: Durations of the last calls of the compiled function.
        compile_seconds: Duration of its compilation.
        compiled: Whether it is compiled.
    """

    seconds: float
    steps: int | None
    per_call: int
    spent: float = 0.0
    call_seconds: tuple[float, ...] = ()
    compile_seconds: float = 0.0
    compiled: bool = False

    def total(self, done: int, elapsed: float) -> int | None:
        """Estimates the steps of the whole run after `done` steps; None while unknown."""
        if self.steps is not None:
            return -(-self.steps // self.per_call) * self.per_call
        left = self.seconds - self.spent - elapsed
        if left <= 0:
            return done
        if not self.call_seconds:
            return None
        left -= 0.0 if self.compiled else self.compile_seconds
        return done + self.per_call * max(0, math.floor(left / float(np.median(self.call_seconds))))

    def measured(self, seconds: float) -> None:
        """Records the duration of a call; the first one includes the compilation."""
        if self.compiled:
            self.call_seconds = (*self.call_seconds, seconds)[-20:]
        else:
            self.compile_seconds, self.compiled = seconds, True

    def note(self, done: int, elapsed: float) -> dict[str, Any]:
        """Returns the state for a checkpoint."""
        return {
            "step": done,
            "seconds": self.spent + elapsed,
            "call_seconds": self.call_seconds,
            "compile_seconds": self.compile_seconds,
        }

    def resume(self, note: dict[str, Any]) -> int:
        """Restores the state of a checkpoint; returns its number of steps."""
        self.spent, self.compile_seconds = note["seconds"], note["compile_seconds"]
        self.call_seconds = tuple(note["call_seconds"])
        return note["step"]

    def steps_a_second(self) -> float:
        """Returns the speed of the last calls; 0 before the first measurement."""
        return self.per_call / float(np.median(self.call_seconds)) if self.call_seconds else 0.0


class Order:
    """Order of the faces: every face once in an epoch, shuffled for each epoch."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if count < batch_size:
            raise FaceAlignError(f"{count} faces do not fill a batch of {batch_size}.")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epoch, self._permutation = -1, np.arange(0)

    def step(self, step: int) -> np.ndarray:
        """Returns the faces of one step, int32 (batch_size,)."""
        epoch, place = divmod(step, self.count // self.batch_size)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._permutation = epoch, rng.permutation(self.count)
        start = place * self.batch_size
        return self._permutation[start : start + self.batch_size].astype(np.int32)


# ---- checkpoints --------------------------------------------------------------------------------


def write_checkpoint(path: Path, steps: DeviceTrainingLoop, note: dict[str, Any]) -> None:
    """Writes state and note; the file gets its name when it is complete."""
    arrays = {str(i): array for i, array in enumerate(steps.arrays())}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **arrays)
    part.replace(path)


def read_checkpoint(
    path: Path, steps: DeviceTrainingLoop, settings: dict[str, Any]
) -> dict[str, Any]:
    """Restores a checkpoint's state, and returns its note."""
    try:
        with np.load(path, allow_pickle=False) as file:
            note = json.loads(file["note"].tobytes())
            arrays = [file[str(i)] for i in range(len(file.files) - 1)]
    except Exception as error:  # zipfile and NumPy raise errors of every kind on damaged files
        raise FaceAlignError(
            f"{path} cannot be read ({error}); delete it to start over."
        ) from error
    if note["settings"] != settings:
        changed = [k for k in settings if note["settings"].get(k) != settings[k]]
        raise FaceAlignError(
            f"{path} is of a run with another {' and '.join(changed)}; give another output folder."
        )
    steps.restore(arrays)
    return note


# ---- the run ------------------------------------------------------------------------------------


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--faces", required=True, help="file of `keras-facealign pack` to train on")
    add("--validation", help="such a file to judge by at the end")
    add("--preset", default="sat2_cab", help="preset, by name or folder, whose architecture to use")
    add("--fine-tune", action="store_true", help="start from the preset's trained weights")
    add("--output", required=True, help="folder of the run; resumed if it holds a checkpoint")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=25.0, help="time from start to last step")
    length.add_argument("--steps", type=int, help="train for a number of steps instead")
    add("--batch-size", type=int, default=32, help="faces in a step, two views each")
    add("--learning-rate", type=float, default=1e-3, help="the highest")
    add("--weight-decay", type=float, default=1e-4)
    add("--ema-momentum", "--average", type=float, default=0.999, help="of the averaged weights")
    add("--bfloat16", action="store_true", help="compute in bfloat16, keep weights in float32")
    add("--steps-per-call", type=int, default=20, help="steps in one call of the compiled function")
    add("--checkpoint-seconds", type=float, default=60.0, help="time between two checkpoints")
    add("--settings", type=json.loads, default={}, help="JSON that overrides compile settings")
    add("--seed", type=int, default=0)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> dict[str, Any]:
    started = time.monotonic()
    args = arguments(words)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    keras.config.set_dtype_policy("mixed_bfloat16" if args.bfloat16 else "float32")
    keras.utils.set_random_seed(args.seed)
    faces = PackedFaces(args.faces, args.batch_size)
    model = from_preset(args.preset, load_weights=args.fine_tune)
    model.landmark_offset = (0.0, 0.0)  # it was measured for the initial weights
    if faces.input_size != model.input_size:
        raise FaceAlignError(
            f"{args.faces} is packed for an input of {faces.input_size} pixels, and {args.preset} "
            f"takes {model.input_size}; pack the faces again for this size."
        )
    compile_settings = {**SETTINGS, **args.settings}
    compile_settings["augmentation"] = {"seed": args.seed, **compile_settings["augmentation"]}
    optimizer = keras.optimizers.AdamW(
        args.learning_rate, weight_decay=args.weight_decay, global_clipnorm=5.0
    )
    model.compile(optimizer, jit_compile="auto", **compile_settings)
    optimizer.build(model.trainable_variables)
    steps = make_training_loop(model, faces, args.ema_momentum)
    settings = {
        name: getattr(args, name)
        for name in ("batch_size", "weight_decay", "ema_momentum", "bfloat16", "seed", "fine_tune")
    }
    settings = {**settings, "faces": len(faces.images), "model": model.architecture.to_dict()}
    settings = json.loads(json.dumps(settings))
    seconds = math.inf if args.steps is not None else 60.0 * args.minutes
    budget = Budget(seconds, args.steps, args.steps_per_call)
    checkpoint, done = output / "checkpoint.npz", 0
    if checkpoint.is_file():
        note = read_checkpoint(checkpoint, steps, settings)
        done = budget.resume(note)
        print(f"resumed at step {done}, after {budget.spent / 60:.1f} minutes", flush=True)
    done = _train(args, steps, budget, done, settings, checkpoint, started)
    result: dict[str, Any] = {
        "steps": done,
        "minutes": round((budget.spent + time.monotonic() - started) / 60, 2),
        "images_per_second": round(2 * args.batch_size * budget.steps_a_second(), 1),
    }
    steps.sync()
    held_out = PackedFaces(args.validation, args.batch_size) if args.validation else None
    swap = steps.swap_average
    result["weights"], scores = keep_better(model, swap, swap, held_out)
    if scores:
        result["nme"] = {name: round(logs["nme"], 4) for name, logs in scores.items()}
    metadata = {
        "description": f"Architecture of {args.preset}, trained by examples/train_gpu.py.",
        "landmarks": f"{model.num_landmarks} ({model.scheme.name})",
        "license": "that of the data sets it was trained on",
        "training": {**result, "settings": compile_settings, "batch_size": args.batch_size},
    }
    store_half_precision(save_to_preset(model, output / "preset", metadata))
    print(json.dumps(result), flush=True)
    print(f"The preset is in {output / 'preset'}", flush=True)
    return result


def _train(
    args: argparse.Namespace,
    steps: DeviceTrainingLoop,
    budget: Budget,
    done: int,
    settings: dict[str, Any],
    checkpoint: Path,
    started: float,
) -> int:
    """Takes steps until the budget is spent; returns their number."""

    def save() -> None:
        note = budget.note(done, time.monotonic() - started)
        write_checkpoint(checkpoint, steps, {**note, "settings": settings})

    order = Order(settings["faces"], args.batch_size, args.seed)
    printed = saved = time.monotonic()
    calls = 0
    while True:
        total = budget.total(done, time.monotonic() - started)
        if total is not None and done >= total:
            break
        # Before the first measurement the rate is that of the warm-up's start.
        ahead = [0.0 if total is None else (done + i) / total for i in range(budget.per_call)]
        rates = np.array([learning_rate(progress, args.learning_rate) for progress in ahead])
        indices = np.stack([order.step(done + i) for i in range(budget.per_call)])
        began = time.monotonic()
        logs = steps.run(indices, rates, done)
        now = time.monotonic()
        done, calls = done + budget.per_call, calls + 1
        budget.measured(now - began)
        if calls <= 2 or now - printed > 10:
            printed = now
            words = ", ".join(f"{name} {value:.4f}" for name, value in logs.items())
            speed = 2 * args.batch_size * budget.steps_a_second()
            print(
                f"step {done} of {total or '?'}: {words}, rate {rates[-1]:.2e}, {speed:.0f} "
                f"images/s, {(budget.spent + now - started) / 60:.1f} minutes",
                flush=True,
            )
        if now - saved >= args.checkpoint_seconds:
            save()
            saved = time.monotonic()
    save()
    return done


if __name__ == "__main__":
    main()
