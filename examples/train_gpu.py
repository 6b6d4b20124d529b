"""Trains any preset's architecture on an accelerator, from one packed file of faces.

    keras-facealign pack ibug_300w:train=300W_ROOT -o train.faces.npz
    KERAS_BACKEND=jax python examples/train_gpu.py --faces train.faces.npz --preset sat2_cab \\
        --output runs/sat2_cab --minutes 25 --bfloat16 --validation test.faces.npz

All faces lie in the device's memory, and a call of the compiled function draws views, augments and
takes several steps without a word to the host. Keras with the JAX backend is what this is made for;
with TensorFlow it runs too. It needs Keras, the backend, NumPy, and OpenCV or Pillow.

The run fits its schedule to the minutes that it is given: it measures how long a step takes, and
keeps correcting the number of steps as it goes. A checkpoint is written every minute; the same
command given again goes on from the last, with the minutes that are left. At its end the output
folder holds `preset/`, with 16-bit weights, which every command takes in place of a preset's name.
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


# ---- the schedule -------------------------------------------------------------------------------


def learning_rate(progress: float, highest: float) -> float:
    """A linear warm-up, then half a cosine down to 0, over a progress from 0 to 1."""
    if progress < WARMUP:
        return highest * (FLOOR + (1.0 - FLOOR) * progress / WARMUP)
    return highest * 0.5 * (1.0 + math.cos(math.pi * min((progress - WARMUP) / (1 - WARMUP), 1.0)))


@dataclass
class Budget:
    """How many steps there will be: as many as given, or as many as fit into the time.

    Attributes:
        seconds: Time of the whole run, earlier calls included; infinite where `steps` decides.
        steps: Steps of the whole run where they are given, else None.
        per_call: Steps that are taken at a time.
        spent: Seconds that earlier calls took.
        call_seconds: What calls of the compiled function took, the latest last.
        compile_seconds: What compiling it took.
        compiled: Whether that lies behind.
    """

    seconds: float
    steps: int | None
    per_call: int
    spent: float = 0.0
    call_seconds: tuple[float, ...] = ()
    compile_seconds: float = 0.0
    compiled: bool = False

    def total(self, done: int, elapsed: float) -> int | None:
        """Steps of the whole run as expected after `done` steps; None before it can be told."""
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
        """Notes how long a call took; the first one compiled the function."""
        if self.compiled:
            self.call_seconds = (*self.call_seconds, seconds)[-20:]
        else:
            self.compile_seconds, self.compiled = seconds, True

    def note(self, done: int, elapsed: float) -> dict[str, Any]:
        """What a checkpoint says of the time."""
        return {
            "step": done,
            "seconds": self.spent + elapsed,
            "call_seconds": self.call_seconds,
            "compile_seconds": self.compile_seconds,
        }

    def resume(self, note: dict[str, Any]) -> int:
        """Takes over what an earlier call noted; returns its number of steps."""
        self.spent, self.compile_seconds = note["seconds"], note["compile_seconds"]
        self.call_seconds = tuple(note["call_seconds"])
        return note["step"]

    def steps_a_second(self) -> float:
        """How fast the last calls were; 0 as long as none is measured."""
        return self.per_call / float(np.median(self.call_seconds)) if self.call_seconds else 0.0


class Order:
    """Which faces each step sees: every face once in an epoch, in an order of the epoch's own."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        if count < batch_size:
            raise FaceAlignError(f"{count} faces do not fill a batch of {batch_size}.")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epoch, self._permutation = -1, np.arange(0)

    def step(self, step: int) -> np.ndarray:
        """int32 (batch_size,): the faces of one step."""
        epoch, place = divmod(step, self.count // self.batch_size)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._permutation = epoch, rng.permutation(self.count)
        start = place * self.batch_size
        return self._permutation[start : start + self.batch_size].astype(np.int32)


# ---- checkpoints --------------------------------------------------------------------------------


def write_checkpoint(path: Path, steps: DeviceTrainingLoop, note: dict[str, Any]) -> None:
    """Writes state and note under a name that only a whole file gets."""
    arrays = {str(i): array for i, array in enumerate(steps.arrays())}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **arrays)
    part.replace(path)


def read_checkpoint(
    path: Path, steps: DeviceTrainingLoop, settings: dict[str, Any]
) -> dict[str, Any]:
    """Sets the state to a checkpoint's, and returns its note."""
    try:
        with np.load(path, allow_pickle=False) as file:
            note = json.loads(file["note"].tobytes())
            arrays = [file[str(i)] for i in range(len(file.files) - 1)]
    except Exception as error:  # zipfile and NumPy meet damage with errors of every kind
        raise FaceAlignError(
            f"{path} cannot be read ({error}); delete it to start anew."
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
    add("--average", type=float, default=0.999, help="decay of the weights' average, by step")
    add("--bfloat16", action="store_true", help="compute in bfloat16, keep weights in float32")
    add("--steps-per-call", type=int, default=20, help="steps between two words to the host")
    add("--checkpoint-seconds", type=float, default=60.0, help="time between two checkpoints")
    add("--settings", type=json.loads, default={}, help="JSON, over this script's compile settings")
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
    model.landmark_offset = (0.0, 0.0)  # measured for the weights that it starts from
    if faces.input_size != model.input_size:
        raise FaceAlignError(
            f"{args.faces} is packed for an input of {faces.input_size} pixels, and {args.preset} "
            f"takes {model.input_size}; pack the faces anew."
        )
    compile_settings = {**SETTINGS, **args.settings}
    compile_settings["augmentation"] = {"seed": args.seed, **compile_settings["augmentation"]}
    optimizer = keras.optimizers.AdamW(
        args.learning_rate, weight_decay=args.weight_decay, global_clipnorm=5.0
    )
    model.compile(optimizer, jit_compile="auto", **compile_settings)
    optimizer.build(model.trainable_variables)
    steps = make_training_loop(model, faces, args.average)
    settings = {
        name: getattr(args, name)
        for name in ("batch_size", "weight_decay", "average", "bfloat16", "seed", "fine_tune")
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
    result |= _keep_better(model, steps, args)
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
    said = saved = time.monotonic()
    calls = 0
    while True:
        total = budget.total(done, time.monotonic() - started)
        if total is not None and done >= total:
            break
        # Until a call is measured nobody knows the end, and the rate stays at the warm-up's start.
        ahead = [0.0 if total is None else (done + i) / total for i in range(budget.per_call)]
        rates = np.array([learning_rate(progress, args.learning_rate) for progress in ahead])
        indices = np.stack([order.step(done + i) for i in range(budget.per_call)])
        began = time.monotonic()
        logs = steps.run(indices, rates, done)
        now = time.monotonic()
        done, calls = done + budget.per_call, calls + 1
        if not math.isfinite(logs["loss"]):
            raise FaceAlignError(f"The loss is {logs['loss']} at step {done}; lower the rate.")
        budget.measured(now - began)
        if calls <= 2 or now - said > 10:
            said = now
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


def _keep_better(model: Any, steps: DeviceTrainingLoop, args: argparse.Namespace) -> dict[str, Any]:
    """Leaves the model with the average of the weights, or the last ones where those do better."""
    steps.sync()
    if args.validation is None:
        steps.swap_average()
        return {"weights": "average"}
    held_out = PackedFaces(args.validation, args.batch_size)
    last = model.evaluate(held_out, verbose=0, return_dict=True)["nme"]
    steps.swap_average()
    average = model.evaluate(held_out, verbose=0, return_dict=True)["nme"]
    if last < average:
        steps.swap_average()
    nme = {"average": round(float(average), 4), "last step": round(float(last), 4)}
    return {"weights": min(nme, key=lambda name: nme[name]), "nme": nme}


if __name__ == "__main__":
    main()
