"""Trains the bundled 3D presets from a 2D one: landmarks as projections of points on the head.

    keras-facealign synthesize-poses --data 300W --model head.npz --output turned
    python examples/train_3d.py --turned turned --merl-rav MERL_RAV --face-synthetics FACES \\
        --validation AFLW2000 --output runs/mobile_3d

Training data, in one scheme of 68 points:

- faces of 300W, fitted with a 3D head and turned by up to 90 degrees (all points; faces turned by
  less than 30 degrees count twice, since photos have more of them);
- real faces in every pose from MERL-RAV, registered by the 2D preset's landmarks; without the jaw,
  whose labels follow the visible contour, and without unlabeled points;
- rendered faces of FaceSynthetics except those for validation, each several times;
- photos of CFP with 30 points of the half of the face that shows, a third of them real profiles;
- folders of pictures with `.pts` files of 3D points: those of 300W-LP's IBUG part, 1786 views.

With --single-views a step takes one view of every face instead of a pair, without the coherent
loss, and so sees twice as many faces in the same time.

It starts from the 2D preset's weights; `--widen` and `--stacks` start a larger network with the
same outputs (`keras_facealign.models.widening`).

The bundled `sat1_cab_mobile_3d` took 75 minutes on two busy cores of an AMD EPYC, in stages, since
the labels of the turned views became better on the way: five passes over views without habits and
shift (`keras_facealign.data.face_profiling.annotated`; error on the 126 approximate crops of
AFLW2000-3D 4.08 % of the box size), one with habits at a highest rate of 7e-4 (4.13 %), and one
over 6000 views with both at 5e-4 (3.92 %). Views that `synthesize-poses` writes now have both from
the start.

`sat1_cab_mobile_3d` was then trained on for 95 minutes of one core, on new views of all the above:

    --start sat1_cab_mobile_3d --cfp CFP --labeled IBUG_3D --single-views --epochs 5 \\
        --learning-rate 8e-4 --seed 5 --output runs/more
    --start runs/more/preset --cfp CFP --labeled IBUG_3D --single-views --epochs 3 --views medium \\
        --learning-rate 4e-4 --seed 6 --output runs/last

Its errors went from 3.92 to 3.86 and 3.83 % on the crops, and on CFP's persons 101 to 150 from 4.17
to 3.33 and 3.18 % (frontal) and from 4.73 to 4.22 and 4.12 % (profiles).

`sat2_cab_3d`, the network of the paper, was trained at half its width from the 2D network that
`grow_2d.py` trains at that width, and then made twice as wide; `turned_a` and `turned_b` hold the
views of every other photo. All on one core, with `--cfp CFP --labeled IBUG_3D --single-views
--batch-size 8`:

    --start runs/sat2_cab/half/preset --turned turned_a --epochs 2 --learning-rate 8e-4 \\
        --seed 7 --output runs/half
    --start runs/half/preset --turned turned_b --epochs 2 --learning-rate 4e-4 --views medium \\
        --seed 11 --output runs/half_more
    --start runs/half_more/preset --turned turned_a --epochs 1 --learning-rate 4e-4 \\
        --views rough --seed 31 --output runs/half_rough
    --start runs/half_rough/preset --turned turned --widen 2 --noise 0.02 --epochs 1 \\
        --learning-rate 1e-4 --views rough --share 0.11 --seed 41 --output runs/sat2_3d

This took 265 and 27 minutes. The page docs/paper_networks.md has the errors after each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from one_view import one_view
from train_2d import COMPILE, VIEWS, read_merl_rav

from keras_facealign.data.batches import FaceBatches
from keras_facealign.data.catalog import load
from keras_facealign.data.examples import FaceExample
from keras_facealign.models.widening import deepen, widen
from keras_facealign.presets import from_preset
from keras_facealign.training import TrainingConfig, fit
from keras_facealign.training.precision import PRECISIONS, choose_precision

JAW = slice(0, 17)
SMALL_TURN = 30.0  # degrees
RENDERED_TIMES = 6


def turned(root: str) -> Iterator[FaceExample]:
    """Yields the views of fitted heads, those turned by a small angle twice."""
    for face in load("turned_faces", root, "train"):
        yield face
        if abs(float(face.extras["turn"])) < SMALL_TURN:  # pyright: ignore[reportAttributeAccessIssue]
            yield face


def without_jaw(faces: Iterator[FaceExample]) -> Iterator[FaceExample]:
    """Hides the landmarks of 2D faces that are elsewhere on the head than 3D ones."""
    for face in faces:
        visibility = face.visibility.copy()
        visibility[JAW] = 0
        yield replace(face, visibility=visibility)


def read_training(args: argparse.Namespace, counts: dict[str, int]) -> Iterator[FaceExample]:
    """Yields all training faces, and counts them by source in `counts`."""
    sources: dict[str, Iterator[FaceExample]] = {"turned views of 300W": turned(args.turned)}
    if args.merl_rav:
        real = read_merl_rav(args.merl_rav, args.register_by)
        sources["MERL-RAV without jaws"] = without_jaw(real)
    if args.face_synthetics:
        rendered = list(load("face_synthetics/ibug68", args.face_synthetics, "train_part"))
        sources["FaceSynthetics"] = iter(rendered * RENDERED_TIMES)
    if args.cfp:
        sources["CFP"] = load("cfp/landmarks", args.cfp, "train")
    for folder in args.labeled:
        sources[Path(folder).name] = load("pts_folder", folder, "train")
    for name, faces in sources.items():
        counts[name] = 0
        rng = np.random.default_rng([args.seed, len(counts)])
        for face in islice(faces, args.limit):
            if rng.random() < args.share:
                counts[name] += 1
                yield face


def read_validation(args: argparse.Namespace) -> list[FaceExample]:
    """Reads AFLW2000-3D's faces, also from approximate crops."""
    faces: list[FaceExample] = []
    for name in ("aflw_3d_crops", "aflw2000_3d"):
        faces += islice(load(name, args.validation, "test"), args.limit)
    return faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turned", required=True, help="folder of `synthesize-poses`")
    parser.add_argument("--merl-rav", help="root of MERL-RAV; not used if omitted")
    parser.add_argument("--face-synthetics", help="root of FaceSynthetics; not used if omitted")
    parser.add_argument("--cfp", help="root of CFP; not used if omitted")
    parser.add_argument(
        "--labeled", action="append", default=[], help="a folder with .pts files of 3D points"
    )
    parser.add_argument("--validation", required=True, help="root of AFLW2000-3D")
    parser.add_argument("--output", required=True, help="folder of the run; resumed if it exists")
    parser.add_argument("--start", default="sat1_cab_mobile", help="preset to start from")
    parser.add_argument("--register-by", default="sat1_cab_mobile", help="2D preset, or none")
    parser.add_argument("--widen", type=int, default=1, help="times the channels of --start")
    parser.add_argument("--noise", type=float, default=0.5, help="by which --widen's copies differ")
    parser.add_argument("--stacks", type=int, help="stacks, if more than --start has")
    parser.add_argument("--single-views", action="store_true", help="no pairs of views")
    parser.add_argument("--views", default="hard", choices=VIEWS, help="strength of augmentation")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the faces of every set, drawn by --seed"
    )
    parser.add_argument("--limit", type=int, help="use the first N faces of a set, to try it out")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    args = parser.parse_args()

    keras.mixed_precision.set_global_policy(choose_precision(args.precision))
    keras.utils.set_random_seed(args.seed)
    model = from_preset(args.start)
    if args.widen > 1:
        model = widen(model, args.widen, noise=args.noise, seed=args.seed)
    if args.stacks:
        model = deepen(model, args.stacks)
    settings = {**COMPILE, "augmentation": VIEWS[args.views], "nme_normalizer": "box_size"}
    if args.single_views:
        model = one_view(model)
        settings["coherent_weight"] = 0.0
    config = TrainingConfig(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        seed=args.seed,
        compile=settings,
        ema_momentum=0.998,
    )
    counts: dict[str, int] = {}
    batches = FaceBatches(
        read_training(args, counts), config.batch_size, model.input_size, True, None, args.seed
    )
    trained_on = "; ".join(f"{name} ({count})" for name, count in counts.items())
    print("Training on", trained_on, flush=True)
    metadata = {
        "description": "",
        "landmarks": "68, projections of 3D points (ibug68)",
        "license": "research, non-commercial data",
        "trained_on": trained_on,
    }
    result = fit(model, batches, read_validation(args), args.output, config, metadata, verbose=2)
    print(f"NME {result['val_nme']:.3f} % after {result['seconds'] / 60:.0f} minutes")


if __name__ == "__main__":
    main()
