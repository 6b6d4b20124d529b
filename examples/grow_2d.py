"""Grows the paper's SAT (III)-2-CAB, the preset `sat2_cab`, from the trained `sat2_cab_small`.

    keras-facealign pack ibug_300w:train=300W merl_rav:train:train=MERL_RAV -o train.faces.npz
    keras-facealign pack ibug_300w:lfpw_test=300W -o test.faces.npz
    python examples/grow_2d.py --faces train.faces.npz --validation test.faces.npz \\
        --output runs/sat2_cab

`sat2_cab` costs 16 times as much as `sat2_cab_small`, and differs in what is in front of the
stacks: it takes 128 pixels through the original stem to maps of 64, instead of through a light stem
to maps of 32. Three stages avoid most of that cost. An interrupted one resumes with the same
command after its last epoch, and each starts from the preset of the one before.

1. stem: at half the width, the original stem learns the features that the light one has for an
   image of twice the size; the stacks keep their weights (`keras_facealign.models.rescale`).
2. half: the whole network of half the width learns from labels, in maps of 64.
3. wide: twice the width without changing the heatmaps (`widen`), and training goes on.

A step of stages 2 and 3 takes one view of every face, without the coherent loss: half the cost.
With --pseudo it takes as many faces again whose labels are predictions.

With --dual the network becomes the paper's last one, the preset `dense_unet2_dual`: convolutions in
and before the heads and between the stacks are made deformable, again without changing the heatmaps
(`make_deformable`), and stages 2 and 3, in folders of their own, train on pairs of views with the
coherent loss:

    python examples/grow_2d.py --dual --start runs/sat2_cab/half/preset ... --output runs/dual
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
from one_view import one_view
from train_2d import COMPILE, VIEWS

from keras_facealign.data.epochs import EpochBatches, MixedBatches
from keras_facealign.data.packed import PackedFaces
from keras_facealign.models import (
    DenseUNetFaceAlign,
    FaceAlignModel,
    SATFaceAlign,
    make_deformable,
    rescale,
    widen,
)
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.training import TrainingConfig, fit
from keras_facealign.training.precision import PRECISIONS, choose_precision

SETTINGS = {**COMPILE, "landmark_weight": 0.01, "sigma": 1.5}


class StemFit(keras.Model):
    """Trains a network's stem to have the features that another one has for a larger image.

    Args:
        model: The network whose stem is trained.
        teacher: A network with the same stacks, for images of any multiple of the size.
    """

    def __init__(self, model: FaceAlignModel, teacher: FaceAlignModel, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        first = f"{'sat' if model.architecture.topology == 'sat' else 'stack'}0"
        self.augmentation, self.size = model.augmentation, teacher.input_size
        self.stem = keras.Model(model.inputs, model.get_layer(first).input)
        self.target = keras.Model(teacher.inputs, teacher.get_layer(first).input)
        self.target.trainable = False

    def call(self, batch: dict[str, Any], training: bool = False) -> Any:
        augmentation, images = self.augmentation, batch["image"]
        matrix, flip = augmentation.sample_base(keras.ops.shape(images)[0], int(images.shape[1]))
        view = augmentation.corrupt(augmentation.view(batch, matrix, flip).images)
        larger = keras.ops.image.resize(view, (self.size, self.size))
        wanted = keras.ops.cast(self.target(larger, training=False), "float32")
        found = keras.ops.cast(self.stem(view, training=training), "float32")
        spread = keras.ops.std(wanted, axis=(0, 1, 2)) + 0.02
        self.add_loss(keras.ops.mean(keras.ops.square((found - wanted) / spread)))
        return found


class ShortEpochs(PackedFaces):
    """Faces of which an epoch takes no more than `steps` batches, the first of its own order."""

    def __init__(self, *args: Any, steps: int | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps = steps

    def __len__(self) -> int:
        every = super().__len__()
        return min(every, self.steps or every)


def with_transformers(model: SATFaceAlign) -> DenseUNetFaceAlign:
    """Returns the network with deformable convolutions, as one that trains with coherent loss."""
    deformable = make_deformable(model, "both")
    config = {**deformable.get_config(), "name": "dense_unet2_dual", "outside": True}
    dual = DenseUNetFaceAlign.from_config(config)
    dual.set_weights(deformable.get_weights())
    return dual  # pyright: ignore[reportReturnType]


def train(
    model: SATFaceAlign, args: argparse.Namespace, stage: str, epochs: int, rate: float
) -> Path:
    """Trains a network on labels; returns the folder of its preset."""
    settings = dict(SETTINGS)
    if not args.dual:
        model, settings["coherent_weight"] = one_view(model), 0.0
    config = TrainingConfig(
        epochs=epochs,
        batch_size=args.batch_size,
        learning_rate=rate,
        warmup_steps=min(60, args.steps or 60),
        seed=args.seed,
        compile={**settings, "augmentation": VIEWS[args.views]},
        ema_momentum=args.ema_momentum,
    )
    faces: EpochBatches = ShortEpochs(
        args.faces, args.batch_size, shuffle=True, seed=args.seed, steps=args.steps
    )
    if args.pseudo:
        more = PackedFaces(args.pseudo, args.batch_size, shuffle=True, seed=args.seed)
        faces = MixedBatches(faces, more)
    held_out = PackedFaces(args.validation, 16)
    fit(model, faces, held_out, args.output / stage, config, verbose=2)
    return args.output / stage / "preset"


def fit_stem(small: FaceAlignModel, args: argparse.Namespace) -> FaceAlignModel:
    """Returns the network with maps of twice the size, its original stem fitted."""
    size, maps = small.input_size, 2 * small.architecture.map_size
    teacher = rescale(small, input_size=2 * size, map_size=maps)
    model = rescale(small, map_size=maps, stem="full")
    model.augmentation.configure({**VIEWS[args.views], "seed": args.seed})
    faces = PackedFaces(args.faces, 8, shuffle=True, seed=args.seed)
    stem = StemFit(model, teacher)
    steps = args.stem_epochs * len(faces)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    stem.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=5.0))
    stem.fit(faces, epochs=args.stem_epochs, verbose=2)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True, help="packed faces to train on")
    parser.add_argument("--pseudo", type=Path, help="further faces, of self_training.py")
    parser.add_argument("--validation", type=Path, required=True, help="packed faces")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--start", default="sat2_cab_small", help="preset to grow, or a stage's")
    parser.add_argument("--dual", action="store_true", help="with the paper's two transformers")
    parser.add_argument("--stem-epochs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="of the half-width network")
    parser.add_argument("--wide-epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="of an epoch at most; default: all faces")
    parser.add_argument("--learning-rate", type=float, default=7e-4)
    parser.add_argument("--ema-momentum", type=float, default=0.996)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--noise", type=float, default=0.02, help="how the wide copies differ")
    parser.add_argument("--views", choices=VIEWS, default="rough", help="strength of augmentation")
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    args = parser.parse_args()

    keras.mixed_precision.set_global_policy(choose_precision(args.precision))
    keras.utils.set_random_seed(args.seed)
    fitted, half = args.output / "stem", args.output / "half" / "preset"
    if not fitted.is_dir():
        start = from_preset(args.start)
        complete = start.architecture.stem == "full"
        grown = start if complete else fit_stem(start, args)
        save_to_preset(with_transformers(grown) if args.dual else grown, fitted)
    if not half.is_dir():
        train(from_preset(fitted), args, "half", args.epochs, args.learning_rate)
    wide = widen(from_preset(half), noise=args.noise, seed=args.seed)
    print(train(wide, args, "wide", args.wide_epochs, 0.1 * args.learning_rate))


if __name__ == "__main__":
    main()
