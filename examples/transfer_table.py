"""Compares transfer with training from nothing, on few faces with 21 landmarks.

    OMP_NUM_THREADS=1 python examples/transfer_table.py --data 300w --output transfer.json

The landmarks are made from 300W's 68: twelve of them, and nine that the preset does not know, the
means of others, such as pupils and cheeks. Training faces are the first of 300W's training set in
the order of a checksum of their names; the error is measured on the 224 faces of lfpw/testset and
normalized by the distance of the outer eye corners. A run has a number of minutes of one processor,
counted from the first look at the faces; the learning rate falls to 0 over them. `sat1_cab_mobile`
has been trained on 300W's training faces, which include the few used here, but not on those
measured on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign import geometry
from keras_facealign.data.batches import FaceBatches
from keras_facealign.data.compact import compact
from keras_facealign.data.examples import read_sample
from keras_facealign.data.readers.ibug_300w import find_samples, load_samples
from keras_facealign.evaluation import nme
from keras_facealign.landmarks import IBUG68, scheme_from_dict
from keras_facealign.models.transfer import with_landmarks
from keras_facealign.presets import from_preset
from keras_facealign.training.own_landmarks import find_known_landmarks
from keras_facealign.training.transfer import HEAD_RATE, only_heads

PRESET = "sat1_cab_mobile"
# Each landmark is the mean of these of the 68.
POINTS = {
    **{"right_eye_outer": (36,), "right_eye_inner": (39,)},
    **{"left_eye_inner": (42,), "left_eye_outer": (45,)},
    **{"nose_tip": (30,), "right_nostril": (31,), "left_nostril": (35,)},
    **{"right_mouth": (48,), "left_mouth": (54,), "upper_lip": (51,), "lower_lip": (57,)},
    **{"chin_tip": (8,)},
    **{"right_pupil": tuple(range(36, 42)), "left_pupil": tuple(range(42, 48))},
    **{"right_cheek": (2, 31), "left_cheek": (14, 35)},
    **{"right_temple": (0, 17), "left_temple": (16, 26)},
    **{"mouth_center": (62, 66), "chin_middle": (57, 8), "philtrum": (33, 51)},
}
LOSSES = {"coherent_weight": 0.001, "foreground_weight": 9.0, "landmark_weight": 0.01}
AUGMENTATION = {"color": 0.3, "erase": 0.5}
BATCH_SIZE = 16
# Highest learning rates: from nothing, of new heads alone, and of a trained network; the share of
# the time that heads are trained alone.
FROM_NOTHING, HEADS, TRAINED, HEAD_SHARE = 1e-3, HEAD_RATE, 5e-4, 0.2
# Faces on which the nearest known landmarks are looked for.
LOOKED_AT = 16
WARM_UP = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="300W in its official layout")
    parser.add_argument("--output", type=Path, required=True, help="JSON file; runs are added")
    parser.add_argument("--faces", type=int, nargs="+", default=[200, 50])
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0])
    parser.add_argument("--ways", nargs="+", default=["transfer", "nothing"])
    args = parser.parse_args()
    scheme = own_scheme()
    files = sorted(
        find_samples(Path(args.data), "train"),
        key=lambda sample: zlib.crc32(sample.file_name.encode()),
    )
    train = [
        compact(own_face(read_sample(sample, IBUG68.num_landmarks), scheme))
        for sample in files[: max(args.faces)]
    ]
    test = [compact(own_face(face, scheme)) for face in load_samples(args.data, "lfpw_test")]
    rows = json.loads(args.output.read_text()) if args.output.is_file() else []
    for minutes in args.minutes:
        for way in args.ways:
            for count in args.faces:
                result = run(way, train[:count], test, scheme, minutes)
                rows.append({"way": way, "faces": count, "minutes": minutes, **result})
                print(rows[-1], flush=True)
                args.output.write_text(json.dumps(rows, indent=1))


def own_scheme() -> Any:
    """The scheme of the 21 landmarks."""
    names = list(POINTS)
    pairs = [[n, n.replace("right", "left")] for n in names if n.startswith("right")]
    corners = ["right_eye_outer", "left_eye_outer"]
    return scheme_from_dict(
        {"name": "own21", "names": names, "flip_pairs": pairs, "normalizer": corners}
    )


def own_face(face: Any, scheme: Any) -> Any:
    """A face with the 21 landmarks instead of the 68."""
    landmarks = np.stack([face.landmarks[list(points)].mean(axis=0) for points in POINTS.values()])
    visibility = np.full(len(landmarks), 2, np.int32)
    box = scheme.crop_box(geometry.landmarks_box(landmarks))
    return replace(face, landmarks=landmarks.astype(np.float32), visibility=visibility, box=box)


class TimeBudget(keras.callbacks.Callback):
    """Ends training after a processor time; until then the learning rate follows a cosine."""

    def __init__(self, seconds: float, rate: float, start: float) -> None:
        super().__init__()
        self.seconds, self.rate, self.start = seconds, rate, start
        self.steps = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        done = (time.process_time() - self.start) / self.seconds
        rate = 0.5 * self.rate * (1 + math.cos(math.pi * min(done, 1.0)))
        self.model.optimizer.learning_rate = rate * min(1.0, 0.01 + done / WARM_UP)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if time.process_time() - self.start >= self.seconds:
            self.model.stop_training = True


def run(way: str, faces: list[Any], test: list[Any], scheme: Any, minutes: float) -> dict[str, Any]:
    """Trains and measures one network."""
    keras.utils.set_random_seed(0)
    start, steps, before = time.process_time(), 0, None
    known = from_preset(PRESET)
    if way == "transfer":
        found = find_known_landmarks(known, faces, LOOKED_AT)
        model = with_landmarks(known, scheme, mapping=found.mapping())
        before = measure(model, test) if minutes == 0 else None
    else:
        config = known.get_config()
        config["architecture"]["num_landmarks"] = scheme.num_landmarks
        config |= {"scheme": scheme, "landmark_offset": [0.0, 0.0]}
        model = type(known).from_config(config)
    repeats = math.ceil(20 * BATCH_SIZE / len(faces))
    batches = FaceBatches(faces * repeats, BATCH_SIZE, model.input_size, shuffle=True)
    seconds = 60 * minutes

    def part(until: float, rate: float) -> int:
        begin = time.process_time()
        optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, global_clipnorm=5.0)
        model.compile(optimizer, **LOSSES, augmentation=AUGMENTATION, jit_compile=False)
        budget = TimeBudget(start + until - begin, rate, begin)
        model.fit(batches, epochs=1_000_000, verbose=0, callbacks=[budget])
        return budget.steps

    if way == "transfer" and minutes:
        with only_heads(model):
            steps += part(HEAD_SHARE * seconds, HEADS)
    if minutes:
        steps += part(seconds, TRAINED if way == "transfer" else FROM_NOTHING)
    spent = time.process_time() - start
    error = measure(model, test) if before is None else before
    return {"nme": round(error, 3), "steps": steps, "cpu_minutes": round(spent / 60, 2)}


def measure(model: Any, test: list[Any]) -> float:
    """Mean error on the test faces in percent of the distance of the outer eye corners."""
    matrices = [geometry.crop_matrix(face.box, model.input_size) for face in test]
    crops = np.stack(
        [
            geometry.crop_face(face.image, matrix, model.input_size)
            for face, matrix in zip(test, matrices, strict=True)
        ]
    )
    found = model.predict_landmarks(crops)[0]
    truth = np.stack(
        [
            geometry.transform_points(matrix, face.landmarks)
            for face, matrix in zip(test, matrices, strict=True)
        ]
    )
    return float(np.mean(nme(found, truth, "inter_ocular", scheme=model.scheme)))


if __name__ == "__main__":
    main()
