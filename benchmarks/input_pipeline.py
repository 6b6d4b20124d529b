"""Times reading and cropping: how many faces a second a built data set gives to training.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --name ibug_300w --split train --manual-dir 300w

Builds the data set twice in a temporary folder, as array_record (read by `from_tfds`, without
TensorFlow) and as tfrecord (read by `tf_dataset_from_tfds`), and reads each with shuffling and box
jitter in batches ready for `FaceAlignModel.fit`. Without --manual-dir it draws images of the size
and format of 300W-LP's.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.table import Table

import tfds_builders  # noqa: F401  (registers the builders)
from keras_facealign.data import BoxJitter, LazyFaceBatches, from_tfds, tf_dataset_from_tfds
from tfds_builders._drawing import SIZE, draw_face, write_mat5
from tfds_builders.w300_lp.make_dummy_data import parameters


def write_300w_lp(folder: Path, count: int, side: int = 450) -> None:
    """Writes faces as 300W-LP has them: JPEG of about 30 kB at 450 x 450 pixels, with `.mat` files.

    Args:
        folder: Becomes the data set's `manual_dir`.
        count: Number of faces.
        side: Side of the images in pixels.
    """
    rng = np.random.default_rng(450)
    place = folder / "300W_LP" / "HELEN"
    place.mkdir(parents=True)
    fixed = parameters(rng)
    for index in range(count):
        picture, landmarks = draw_face(rng)
        texture = rng.integers(0, 90, (side // 4, side // 4, 3), np.uint8)
        image = cv2.resize(np.asarray(picture), (side, side), interpolation=cv2.INTER_CUBIC) // 2
        image += cv2.resize(texture, (side, side), interpolation=cv2.INTER_CUBIC)
        stem = place / f"HELEN_{index:08d}_1_0"
        cv2.imwrite(f"{stem}.jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
        write_mat5(Path(f"{stem}.mat"), {"pt2d": landmarks.T * (side / SIZE), **fixed})


def build(name: str, manual_dir: Path, data_dir: Path, file_format: str) -> Any:
    """Builds a data set and returns its builder."""
    builder = tfds.builder(name, data_dir=data_dir, file_format=file_format)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=config)
    return builder


def one_epoch(faces: Any) -> Iterable[Any]:
    """The batches of an epoch, of a `LazyFaceBatches` or of a `tf.data.Dataset`."""
    if not isinstance(faces, LazyFaceBatches):
        return faces.as_numpy_iterator()
    faces.on_epoch_end()
    return (faces[i] for i in range(len(faces)))


def faces_a_second(batches: Callable[[], Iterable[Any]], epochs: int) -> list[float]:
    """The rate of each epoch after a first one that does not count."""
    rates = []
    for epoch in range(epochs + 1):
        start, count = time.perf_counter(), 0
        for batch in batches():
            count += len(batch["image"])
        if epoch:
            rates.append(count / (time.perf_counter() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="w300_lp/pt2d", help="data set")
    parser.add_argument("--split", default="train")
    parser.add_argument("--manual-dir", type=Path, help="the data set's files")
    parser.add_argument("--count", type=int, default=600, help="faces drawn without --manual-dir")
    parser.add_argument("--side", type=int, default=450, help="side of drawn images in pixels")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    options: dict[str, Any] = {"shuffle": True, "jitter": BoxJitter()}
    console = Console()
    table = Table(title=f"{args.name} {args.split}, {os.cpu_count()} cores")
    for column in ("read by", "faces", "faces a second", "lowest epoch"):
        table.add_column(column, justify="left" if column == "read by" else "right")
    with tempfile.TemporaryDirectory() as folder:
        manual_dir = args.manual_dir
        if manual_dir is None:
            manual_dir = Path(folder) / "drawn"
            write_300w_lp(manual_dir, args.count, args.side)
            sizes = [path.stat().st_size for path in manual_dir.rglob("*.jpg")]
            console.print(f"{len(sizes)} images of {np.mean(sizes) / 1e3:.0f} kB")
        for reader, file_format in (
            (from_tfds, "array_record"),
            (tf_dataset_from_tfds, "tfrecord"),
        ):
            builder = build(args.name, manual_dir, Path(folder) / file_format, file_format)
            faces = reader(builder, args.split, args.batch_size, **options)

            rates = faces_a_second(partial(one_epoch, faces), args.epochs)
            count = builder.info.splits[args.split].num_examples
            median, lowest = f"{np.median(rates):.0f}", f"{min(rates):.0f}"
            table.add_row(reader.__name__, str(count), median, lowest)
    console.print(table)


if __name__ == "__main__":
    main()
