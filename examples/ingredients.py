"""What each set of training faces gives: one trained network, trained on with and without it.

    keras-facealign pack ibug_300w:train=300W -o 300w.faces.npz
    keras-facealign pack pts_folder:train=INFANFACE -o infants.faces.npz
    keras-facealign pack ibug_300w:lfpw_test=300W -o test.faces.npz
    python examples/ingredients.py --faces 300W 300w.faces.npz \\
        --faces "+ InfAnFace" 300w.faces.npz infants.faces.npz --teacher sat2_cab_small \\
        --validation test.faces.npz --output runs/ingredients

All networks take the same steps of single views, whatever the number of faces. --teacher adds a row
of training on the first row's faces and on the heatmaps of that preset (`distillation.py`). The
columns are those of `dual_transformers.py`; with --also there is one more for each further packed
file, the error in percent of the box. An ingredient helps if it lowers an error by more than the
spread over the seeds.

The same command continues after an interruption, within a run after its last epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from distillation import student
from dual_transformers import (
    AS_THEY_ARE,
    BATCH,
    Results,
    folder_of,
    make_config,
    mean_error,
    measure,
    show,
)
from grow_2d import ShortEpochs
from one_view import one_view
from rich.console import Console

from keras_facealign.data.packed import PackedFaces
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import from_preset
from keras_facealign.training import fit
from keras_facealign.training.precision import PRECISIONS, choose_precision


class JoinedFaces(ShortEpochs):
    """Faces of several packed files, of which an epoch takes no more than `steps` batches."""

    def __init__(self, paths: Sequence[str], *args: Any, steps: int | None = None, **kwargs: Any):
        super().__init__(paths[0], *args, steps=steps, **kwargs)
        for path in paths[1:]:
            more = PackedFaces(path)
            if more.images.shape[1:] != self.images.shape[1:] or more.input_size != self.input_size:
                raise SystemExit(f"{path} is packed for another size than {paths[0]}.")
            self.images = np.concatenate([self.images, more.images])
            self.landmarks = np.concatenate([self.landmarks, more.landmarks])
            self.visibility = np.concatenate([self.visibility, more.visibility])
            self.file_names += more.file_names
        self._set_count(len(self.images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--faces",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help="packed faces to train on, of one or several files; once for each row",
    )
    parser.add_argument("--validation", required=True, type=Path, help="packed faces")
    parser.add_argument(
        "--also",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "FILE"),
        help="further packed faces to measure on",
    )
    parser.add_argument("--teacher", help="preset to learn the heatmaps of, in one more row")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--start", default="sat1_cab_mobile", help="preset to train on")
    parser.add_argument("--steps", type=int, default=1800, help="about so many")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    args = parser.parse_args()
    if empty := [name for name, *paths in args.faces if not paths]:
        parser.error(f"--faces {empty[0]}: give a name and at least one packed file")

    keras.mixed_precision.set_global_policy(choose_precision(args.precision))
    results, held_out = Results(args.output / "results.json"), PackedFaces(args.validation, 32)

    def all_errors(model: FaceAlignModel) -> dict[str, float]:
        further = {
            name: mean_error(model, PackedFaces(path, 32), AS_THEY_ARE, 1, "box_size")
            for name, path in args.also
        }
        return {**further, **measure(model, held_out)}

    if "before" not in results.read():
        results.add("before", {**all_errors(from_preset(args.start)), "steps": 0})
    rows = {name: (paths, None) for name, *paths in args.faces}
    if args.teacher:
        rows[f"+ heatmaps of {args.teacher}"] = (args.faces[0][1:], args.teacher)
    # Of the larger sets an epoch takes a part, another one each time.
    per_epoch = min(len(JoinedFaces(paths, BATCH, shuffle=True)) for paths, _ in rows.values())
    epochs = max(round(args.steps / per_epoch), 1)
    for seed in range(args.seeds):
        for name, (paths, teacher) in rows.items():
            key = f"{name}/{seed}"
            if key in results.read():
                continue
            keras.utils.set_random_seed(seed)
            batches = JoinedFaces(paths, BATCH, shuffle=True, seed=seed, steps=per_epoch)
            config = make_config(0.0, epochs, seed, args.learning_rate)
            run = args.output / folder_of(key)
            model = from_preset(args.start)
            model = student(model, from_preset(teacher)) if teacher else one_view(model)
            fit(model, batches, held_out, run, config, verbose=2)
            steps = epochs * per_epoch
            results.add(key, {**all_errors(from_preset(run / "preset")), "steps": steps})
    show(results.read(), ("before", *rows), f"{epochs * per_epoch} further steps", Console())


if __name__ == "__main__":
    main()
